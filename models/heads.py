"""What stands at the end of every network: the scores of a task, in plain Keras 3."""

from dataclasses import dataclass
from typing import Any

from keras import layers

from models.tasks.sequence import LENGTHS, PLACES
from schemas.manifests import MULTICLASS, MULTILABEL


@dataclass(frozen=True)
class Head:
    """The last layer of a network.

    Attributes:
        task: multiclass (softmax), multilabel (sigmoid) or sequence (a softmax for the length, and one for each place).
        classes: how many.
    """

    task: str
    classes: int

    def __call__(self, features: Any) -> Any:
        """Features (n, k) to scores (n, `models.tasks.<task>.scores(classes)`), in float32."""
        if self.task == MULTICLASS:
            return _dense(self.classes, "softmax", "scores")(features)
        if self.task == MULTILABEL:
            return _dense(self.classes, "sigmoid", "scores")(features)
        parts = [_dense(LENGTHS, "softmax", "length")(features)]
        parts += [_dense(self.classes, "softmax", f"digit{place + 1}")(features) for place in range(PLACES)]
        return layers.Concatenate(name="scores", dtype="float32")(parts)


def _dense(units: int, activation: str, name: str) -> layers.Layer:
    return layers.Dense(units, activation=activation, dtype="float32", name=name)
