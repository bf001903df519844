"""Task `multiclass`: one label per image. Targets are (n, 1) class indices; scores are (n, classes), a softmax."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from models.calibration import Choices, Floats, Temperatures, highest
from models.tasks import DecodedLabels, Scores, Targets, class_indices, cross_entropy, dense_scores, image_positions
from schemas import tables

INDEPENDENT = False
MONITORED = "accuracy"


def count_scores(classes: int) -> int:
    """One score per class."""
    return classes


def encode_targets(labels: pa.Table, ids: Sequence[str], classes: Sequence[str], complete: bool = True) -> Targets:
    """The class of each image; where it has several, the most confident of them, and of equals the first class.

    A rejected label states that an image is something else, not what, and so is not learnt.
    """
    present = labels.filter(tables.present(labels))
    positions, indices = image_positions(present, ids), class_indices(present, classes)
    order = np.lexsort((-indices, present["confidence"].to_numpy()))  # what is written last stays
    order = order[positions[order] >= 0]
    values = np.full(len(ids), -1, dtype=np.int64)
    values[positions[order]] = indices[order]
    return Targets(values[:, None], values >= 0)


def decode_labels(scores: Scores, classes: Sequence[str], thresholds: Sequence[float] | None = None) -> DecodedLabels:
    """The class of the highest score, which is its confidence."""
    names = np.array(classes, dtype=object)[scores.argmax(axis=1)]
    return DecodedLabels(np.arange(len(scores)), names, scores.max(axis=1, initial=0))


def evaluate(
    values: npt.NDArray[Any], scores: Scores, classes: Sequence[str], thresholds: Sequence[float] | None = None
) -> dict[str, Any]:
    """Accuracy, and the accuracy of each class (its recall); classes without an image have none."""
    expected = values[:, 0]
    correct = scores.argmax(axis=1) == expected
    per_class = {
        name: {"images": int((expected == index).sum()), "accuracy": float(correct[expected == index].mean())}
        for index, name in enumerate(classes)
        if (expected == index).any()
    }
    return {"accuracy": float(correct.mean()), "by_class": per_class}


def list_choices(values: npt.NDArray[Any], scores: Scores, classes: Sequence[str]) -> dict[str, Choices]:
    """One choice per image: of its class."""
    return {"label": Choices(scores, values[:, 0].astype(np.int64))}


def calibrate(scores: Scores, labels: DecodedLabels, classes: Sequence[str], temperatures: Temperatures) -> Floats:
    """The confidence of each label at the temperature of its image."""
    return highest(scores, np.reshape(temperatures["label"], (-1, 1)))


def mark_label(scores: Scores, classes: int) -> Scores:
    """The highest score of each image."""
    marks = np.zeros_like(scores)
    marks[np.arange(len(scores)), scores.argmax(axis=1)] = 1
    return marks


def build_head(features: Any, classes: int) -> Any:
    """A softmax over the classes."""
    return dense_scores(features, classes, "softmax")


def unpack_targets(values: Any, classes: int) -> Any:
    """The class index (n,)."""
    return values[:, 0]


def build_loss(classes: int, smoothing: float) -> Callable[[Any, Any], Any]:
    """Cross-entropy of the class."""
    return partial(_loss, smoothing=smoothing)


def _loss(expected: Any, scores: Any, smoothing: float) -> Any:
    from keras import ops

    return cross_entropy(ops.reshape(expected, (-1,)), scores, smoothing)


def build_metrics(classes: int) -> list[Any]:
    """The accuracy."""
    from keras import metrics

    return [metrics.SparseCategoricalAccuracy(name=MONITORED)]
