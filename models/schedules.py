"""The learning rate over the steps of a training."""

import math
from typing import Any

from models.quiet import keras
from schemas.train_settings import TrainSettings


class WarmedUp(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]
    """Rises in a straight line over the first steps, then stays, or falls to nothing along half a cosine.

    (Loshchilov and Hutter 2017, https://arxiv.org/abs/1608.03983, without restarts)
    """

    def __init__(self, rate: float, warm_up: int, steps: int, cosine: bool) -> None:
        self.rate, self.warm_up, self.steps, self.cosine = rate, warm_up, steps, cosine

    def __call__(self, step: Any) -> Any:
        """The learning rate of a step, from 0 on."""
        ops = keras.ops
        step = ops.cast(step, "float32")
        rising = ops.minimum(1.0, (step + 1) / max(self.warm_up, 1)) if self.warm_up else 1.0
        if not self.cosine:
            return self.rate * rising
        gone = ops.clip((step - self.warm_up) / max(self.steps - self.warm_up, 1), 0.0, 1.0)
        return self.rate * rising * (1 + ops.cos(math.pi * gone)) / 2

    def get_config(self) -> dict[str, Any]:
        """What it was made with."""
        return {"rate": self.rate, "warm_up": self.warm_up, "steps": self.steps, "cosine": self.cosine}


def optimizer(settings: TrainSettings, rate: float, steps: int, epochs: int) -> Any:
    """Adam, or AdamW where weights decay, with the schedule of the settings.

    Args:
        settings: of the training.
        rate: the highest learning rate.
        steps: of an epoch.
        epochs: how many are planned.
    """
    schedule = WarmedUp(rate, round(settings.warm_up * steps), steps * epochs, settings.schedule == "cosine")
    plain = settings.schedule == "constant" and not settings.warm_up
    averaged = {"use_ema": True, "ema_momentum": settings.averaging} if settings.averaging else {}
    if not settings.weight_decay:
        return keras.optimizers.Adam(rate if plain else schedule, **averaged)
    made = keras.optimizers.AdamW(rate if plain else schedule, weight_decay=settings.weight_decay, **averaged)
    made.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return made
