"""Task `multiclass`: one label an image. Targets are (n, 1) class indices; scores are (n, classes), a softmax."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from models.calibration import Choices, Floats, Temperatures, highest
from models.tasks import Reading, Scores, Targets, class_rows, places


def scores(classes: int) -> int:
    """A score a class."""
    return classes


def targets(labels: pa.Table, ids: Sequence[str], classes: Sequence[str]) -> Targets:
    """The class of each image; where it has several, the most confident of them, and of equals the first class."""
    found, indices = places(labels, ids), class_rows(labels, classes)
    confidence = labels["confidence"].to_numpy()
    order = np.lexsort((-indices, confidence))  # what is written last stays
    order = order[found[order] >= 0]
    values = np.full(len(ids), -1, dtype=np.int64)
    values[found[order]] = indices[order]
    return Targets(values[:, None], values >= 0)


def read(given: Scores, classes: Sequence[str], thresholds: Sequence[float] | None = None) -> Reading:
    """The class of the highest score, which is its confidence."""
    best = given.argmax(axis=1)
    names = np.array(classes, dtype=object)[best]
    return Reading(np.arange(len(given)), names, given.max(axis=1, initial=0))


def figures(
    values: npt.NDArray[Any], given: Scores, classes: Sequence[str], thresholds: Sequence[float] | None = None
) -> dict[str, Any]:
    """Accuracy, and the accuracy of each class (its recall); classes without an image have none."""
    truth = values[:, 0]
    correct = given.argmax(axis=1) == truth
    per_class = {
        name: {"images": int((truth == index).sum()), "accuracy": float(correct[truth == index].mean())}
        for index, name in enumerate(classes)
        if (truth == index).any()
    }
    return {"accuracy": float(correct.mean()), "by_class": per_class}


def choices(values: npt.NDArray[Any], given: Scores, classes: Sequence[str]) -> dict[str, Choices]:
    """A choice an image: of its class."""
    return {"label": Choices(given, values[:, 0].astype(np.int64))}


def calibrated(given: Scores, reading: Reading, classes: Sequence[str], temperatures: Temperatures) -> Floats:
    """The confidence of each label at the temperature of its image."""
    return highest(given, np.reshape(temperatures["label"], (-1, 1)))
