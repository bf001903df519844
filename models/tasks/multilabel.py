"""Task `multilabel`: a set of labels an image.

Targets are (n, ceil(classes / 8)) bytes, a bit a class, the first class the highest bit; scores are (n, classes), each
a probability of its own. An image with no row in the label set is not known. One with rows has just the labels that
they say it has, if the label set is complete; one that also says what images do not have is taken at its word alone.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy import special

from models.calibration import Choices, Floats, Temperatures
from models.tasks import Reading, Scores, Targets, class_rows, places
from schemas import tables

THRESHOLD = 0.5
_SUREST = np.float32(1 - 2**-24)  # of what float32 has below 1: a sigmoid rounds up to 1 from a logit of 17 on


def scores(classes: int) -> int:
    """A score a class."""
    return classes


def targets(labels: pa.Table, ids: Sequence[str], classes: Sequence[str], complete: bool = True) -> Targets:
    """The labels of each image, a bit each: a million images of 512 classes take 64 MB.

    Args:
        labels: rows of a label set.
        ids: of the images.
        classes: their names.
        complete: whether an image has none of the classes that no row of its own speaks of; otherwise it is not known
            whether it has them, and as many bits more say of which classes it is.
    """
    present = labels.filter(tables.present(labels))
    found, indices = places(present, ids), class_rows(present, classes)
    kept = found >= 0
    truth = np.zeros((len(ids), len(classes)), dtype=np.bool_)
    truth[found[kept], indices[kept]] = True
    known = np.zeros(len(ids), dtype=np.bool_)
    any_row = places(labels, ids)
    known[any_row[any_row >= 0]] = True
    packed = np.packbits(truth, axis=1)
    if complete:
        return Targets(packed, known)
    index_of = {name: index for index, name in enumerate(classes)}  # what is denied need not be a class
    spoken_of = np.array([index_of.get(label, -1) for label in labels["label"].to_pylist()], dtype=np.int64)
    both = (any_row >= 0) & (spoken_of >= 0)
    told_of = np.zeros((len(ids), len(classes)), dtype=np.bool_)
    told_of[any_row[both], spoken_of[both]] = True
    return Targets(np.concatenate([packed, np.packbits(told_of, axis=1)], axis=1), known)


def unpacked(values: npt.NDArray[np.uint8], classes: int) -> npt.NDArray[np.uint8]:
    """The labels (n, classes), 0 or 1."""
    return np.unpackbits(values, axis=1, count=classes)


def told(values: npt.NDArray[np.uint8], classes: int) -> npt.NDArray[np.bool_]:
    """Of which classes it is known whether an image has them, (n, classes)."""
    half = -(-classes // 8)
    if values.shape[1] == half:
        return np.ones((len(values), classes), dtype=np.bool_)
    return np.unpackbits(values[:, half:], axis=1, count=classes).astype(np.bool_)


def read(given: Scores, classes: Sequence[str], thresholds: Sequence[float] | None = None) -> Reading:
    """Every class whose score is at or above its threshold."""
    rows, indices = np.nonzero(given >= _limits(classes, thresholds))
    return Reading(rows, np.array(classes, dtype=object)[indices], given[rows, indices])


def choose_thresholds(values: npt.NDArray[Any], given: Scores, classes: Sequence[str]) -> list[float]:
    """For each class the threshold that gives the highest F1; 0.5 where no image has the class.

    F1 changes only at scores that occur: each is tried, and the threshold put halfway to the score below, so that it
    does not hang on the last digits of one score. Of equals the highest counts.
    """
    truth, known = unpacked(values, len(classes)).astype(np.int64), told(values, len(classes))
    return [
        _best_threshold(truth[known[:, index], index], given[known[:, index], index]) for index in range(len(classes))
    ]


def _best_threshold(truth: npt.NDArray[np.int64], given: npt.NDArray[np.float32]) -> float:
    if not truth.any():
        return THRESHOLD
    order = np.argsort(-given, kind="stable")
    ordered = given[order].astype(np.float64)
    last = np.append(ordered[1:] < ordered[:-1], True)  # a threshold takes all of equal scores, or none
    hits, taken = np.cumsum(truth[order]), np.arange(1, len(truth) + 1)
    f1 = np.where(last, 2 * hits / (taken + truth.sum()), -1)
    best = int(f1.argmax())
    below = ordered[best + 1] if best + 1 < len(ordered) else 0.0
    halfway = np.float32((ordered[best] + below) / 2)  # as it will be compared
    return float(halfway if halfway > below else ordered[best])


def figures(
    values: npt.NDArray[Any], given: Scores, classes: Sequence[str], thresholds: Sequence[float] | None = None
) -> dict[str, Any]:
    """Micro F1, macro F1 over the classes that occur, Hamming loss, subset accuracy, and each class's F1.

    What is not known of an image counts neither for nor against.
    """
    truth, known = unpacked(values, len(classes)).astype(np.bool_), told(values, len(classes))
    said = (given >= _limits(classes, thresholds)) & known
    hits, wrong, missed = (truth & said).sum(axis=0), (~truth & said).sum(axis=0), (truth & ~said).sum(axis=0)
    occurs = np.asarray(truth.any(axis=0))
    f1 = 2 * hits / np.maximum(2 * hits + wrong + missed, 1)
    per_class = {
        name: {"images": int(truth[:, index].sum()), "f1": float(f1[index])}
        for index, name in enumerate(classes)
        if occurs[index]
    }
    return {
        "micro_f1": float(2 * hits.sum() / max(int((2 * hits + wrong + missed).sum()), 1)),
        "macro_f1": float(f1[occurs].mean()) if occurs.any() else 0.0,
        "hamming_loss": float((truth != said).sum() / max(int(known.sum()), 1)),
        "subset_accuracy": float((truth == said).all(axis=1).mean()),
        "by_class": per_class,
    }


def _limits(classes: Sequence[str], thresholds: Sequence[float] | None) -> npt.NDArray[np.float32]:
    return np.array(thresholds if thresholds is not None else [THRESHOLD] * len(classes), dtype=np.float32)


def choices(values: npt.NDArray[Any], given: Scores, classes: Sequence[str]) -> dict[str, Choices]:
    """A choice a class and image of which it is known: whether the image has it; the logit is that of the sigmoid."""
    known = told(values, len(classes))
    yes = np.minimum(given[known], _SUREST)
    truth = unpacked(values, len(classes))[known].astype(np.int64)
    return {"label": Choices(np.stack([1 - yes, yes], axis=1), truth)}


def calibrated(given: Scores, reading: Reading, classes: Sequence[str], temperatures: Temperatures) -> Floats:
    """The confidence of each label at the temperature of its image; thresholds are of scores as they come."""
    each = np.broadcast_to(np.asarray(temperatures["label"], dtype=np.float64), len(given))[reading.rows]
    yes = np.clip(reading.confidences, np.finfo(np.float32).tiny, _SUREST).astype(np.float64)
    return np.asarray(special.expit(special.logit(yes) / each), dtype=np.float32)
