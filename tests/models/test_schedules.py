"""The learning rate over a training against its formula in NumPy, and what decays."""

from typing import Any

import numpy as np
import pytest

from models.fitting import WarmedUp, build_optimizer
from models.tensorflow_setup import keras
from schemas.settings.train import TrainSettings


def settings(**changed: Any) -> TrainSettings:
    return TrainSettings(dataset="d", network="cnn1", **changed)


def rates(rate: float, warm_up: int, steps: int, cosine: bool) -> list[float]:
    """The formula of Loshchilov and Hutter 2017, with a straight rise before it."""
    found = []
    for step in range(steps + 3):
        rising = min((step + 1) / warm_up, 1) if warm_up else 1
        gone = np.clip((step - warm_up) / (steps - warm_up), 0, 1)
        found.append(rate * rising * (0.5 * (1 + np.cos(np.pi * gone)) if cosine else 1))
    return found


@pytest.mark.parametrize("cosine", [False, True])
@pytest.mark.parametrize("warm_up", [0, 1, 4])
def test_the_rate_rises_and_falls_as_the_formula_says(warm_up: int, cosine: bool) -> None:
    schedule = WarmedUp(0.01, warm_up, 20, cosine)
    expected = rates(0.01, warm_up, 20, cosine)
    np.testing.assert_allclose([float(schedule(step)) for step in range(23)], expected, rtol=1e-5, atol=1e-9)
    assert max(expected) == pytest.approx(0.01)
    assert WarmedUp(**schedule.get_config())(7) == schedule(7)


def test_epochs_are_counted_in_steps() -> None:
    made = build_optimizer(settings(schedule="cosine", warm_up=0.5), 0.01, steps=8, epochs=5)
    assert made._learning_rate.get_config() == {"rate": 0.01, "warm_up": 4, "steps": 40, "cosine": True}
    constant = build_optimizer(settings(), 0.02, steps=8, epochs=5)
    assert float(constant.learning_rate) == pytest.approx(0.02)
    assert build_optimizer(settings(warm_up=1.0), 0.02, 8, 5)._learning_rate.get_config()["cosine"] is False


def test_warming_up_for_the_whole_training_is_no_error() -> None:
    schedule = WarmedUp(0.01, 20, 20, True)
    assert [float(schedule(step)) for step in (0, 19)] == pytest.approx([0.0005, 0.01])


def test_adam_is_plain_unless_weights_decay_or_are_averaged() -> None:
    plain = build_optimizer(settings(), 0.01, 8, 5)
    assert type(plain) is keras.optimizers.Adam and plain.weight_decay is None and not plain.use_ema
    averaged = build_optimizer(settings(ema_momentum=0.9), 0.01, 8, 5)
    assert (averaged.use_ema, averaged.ema_momentum) == (True, 0.9)
    decaying = build_optimizer(settings(weight_decay=0.01, ema_momentum=0.9), 0.01, 8, 5)
    assert type(decaying) is keras.optimizers.AdamW
    assert (decaying.weight_decay, decaying.use_ema) == (0.01, True)


def test_kernels_decay_and_biases_and_statistics_do_not() -> None:
    pixels = keras.Input((4,))
    model = keras.Model(pixels, keras.layers.BatchNormalization()(keras.layers.Dense(3)(pixels)))
    model.set_weights([np.ones(one.shape) for one in model.get_weights()])
    made = build_optimizer(settings(weight_decay=0.5), 0.1, 8, 5)
    made.build(model.trainable_variables)
    made.apply([np.zeros(one.shape, np.float32) for one in model.trainable_variables], model.trainable_variables)
    found = {variable.name: float(np.ptp(variable) + variable.numpy().max()) for variable in model.trainable_variables}
    assert found == {"kernel": pytest.approx(1 - 0.1 * 0.5), "bias": 1.0, "gamma": 1.0, "beta": 1.0}
