"""Task `multilabel`: a set of labels per image.

Targets are (n, ceil(classes / 8)) bytes, one bit per class, the first class the highest bit; scores are (n, classes),
each a probability of its own. An image with no row in the label set is not known. One with rows has exactly the labels
that they state, if the label set is complete; where it also states what images do not have, nothing else is known.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy import special

from models.calibration import Choices, Floats, Temperatures
from models.tasks import DecodedLabels, Scores, Targets, class_indices, dense_scores, image_positions, multiclass
from schemas import tables

INDEPENDENT = True
MONITORED = "average_precision"
THRESHOLD = 0.5
UNKNOWN = -1.0  # as a target: it is not known whether an image has the class
_BITS = (128, 64, 32, 16, 8, 4, 2, 1)
_HIGHEST = np.float32(1 - 2**-24)  # of what float32 has below 1: a sigmoid rounds up to 1 from a logit of 17 on


def count_scores(classes: int) -> int:
    """One score per class."""
    return classes


def encode_targets(labels: pa.Table, ids: Sequence[str], classes: Sequence[str], complete: bool = True) -> Targets:
    """The labels of each image, one bit per class: a million images of 512 classes take 64 MB.

    Args:
        labels: rows of a label set.
        ids: of the images.
        classes: their names.
        complete: whether an image has none of the classes that no row of its own names; otherwise it is not known
            whether it has them, and as many bits more state of which classes it is known.
    """
    present = labels.filter(tables.present(labels))
    positions, indices = image_positions(present, ids), class_indices(present, classes)
    kept = positions >= 0
    expected = np.zeros((len(ids), len(classes)), dtype=np.bool_)
    expected[positions[kept], indices[kept]] = True
    known = np.zeros(len(ids), dtype=np.bool_)
    any_row = image_positions(labels, ids)
    known[any_row[any_row >= 0]] = True
    packed = np.packbits(expected, axis=1)
    if complete:
        return Targets(packed, known)
    index_of = {name: index for index, name in enumerate(classes)}  # what is denied need not be a class
    named = np.array([index_of.get(label, -1) for label in labels["label"].to_pylist()], dtype=np.int64)
    both = (any_row >= 0) & (named >= 0)
    known_classes = np.zeros((len(ids), len(classes)), dtype=np.bool_)
    known_classes[any_row[both], named[both]] = True
    return Targets(np.concatenate([packed, np.packbits(known_classes, axis=1)], axis=1), known)


def unpack_labels(values: npt.NDArray[np.uint8], classes: int) -> npt.NDArray[np.uint8]:
    """The labels (n, classes), 0 or 1."""
    return np.unpackbits(values, axis=1, count=classes)


def unpack_known(values: npt.NDArray[np.uint8], classes: int) -> npt.NDArray[np.bool_]:
    """Of which classes it is known whether an image has them, (n, classes)."""
    half = -(-classes // 8)
    if values.shape[1] == half:
        return np.ones((len(values), classes), dtype=np.bool_)
    return np.unpackbits(values[:, half:], axis=1, count=classes).astype(np.bool_)


def decode_labels(scores: Scores, classes: Sequence[str], thresholds: Sequence[float] | None = None) -> DecodedLabels:
    """Every class whose score is at or above its threshold."""
    rows, indices = np.nonzero(scores >= _limits(classes, thresholds))
    return DecodedLabels(rows, np.array(classes, dtype=object)[indices], scores[rows, indices])


def choose_thresholds(values: npt.NDArray[Any], scores: Scores, classes: Sequence[str]) -> list[float]:
    """For each class the threshold that gives the highest F1; 0.5 where no image has the class.

    F1 changes only at scores that occur: each is tried, and the threshold put halfway to the score below, so that it
    does not hang on the last digits of one score. Of equals the highest counts.
    """
    expected, known = unpack_labels(values, len(classes)).astype(np.int64), unpack_known(values, len(classes))
    return [
        _best_threshold(expected[known[:, index], index], scores[known[:, index], index])
        for index in range(len(classes))
    ]


def _best_threshold(expected: npt.NDArray[np.int64], scores: npt.NDArray[np.float32]) -> float:
    if not expected.any():
        return THRESHOLD
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order].astype(np.float64)
    last = np.append(ordered[1:] < ordered[:-1], True)  # a threshold takes all of equal scores, or none
    hits, taken = np.cumsum(expected[order]), np.arange(1, len(expected) + 1)
    f1 = np.where(last, 2 * hits / (taken + expected.sum()), -1)
    best = int(f1.argmax())
    below = ordered[best + 1] if best + 1 < len(ordered) else 0.0
    halfway = np.float32((ordered[best] + below) / 2)  # as it will be compared
    return float(halfway if halfway > below else ordered[best])


def evaluate(
    values: npt.NDArray[Any], scores: Scores, classes: Sequence[str], thresholds: Sequence[float] | None = None
) -> dict[str, Any]:
    """Micro F1, macro F1 over the classes that occur, Hamming loss, subset accuracy, and each class's F1.

    What is not known of an image counts neither for nor against.
    """
    expected, known = unpack_labels(values, len(classes)).astype(np.bool_), unpack_known(values, len(classes))
    predicted = (scores >= _limits(classes, thresholds)) & known
    hits, missed = (expected & predicted).sum(axis=0), (expected & ~predicted).sum(axis=0)
    wrong = (~expected & predicted).sum(axis=0)
    occurs = np.asarray(expected.any(axis=0))
    f1 = 2 * hits / np.maximum(2 * hits + wrong + missed, 1)
    per_class = {
        name: {"images": int(expected[:, index].sum()), "f1": float(f1[index])}
        for index, name in enumerate(classes)
        if occurs[index]
    }
    return {
        "micro_f1": float(2 * hits.sum() / max(int((2 * hits + wrong + missed).sum()), 1)),
        "macro_f1": float(f1[occurs].mean()) if occurs.any() else 0.0,
        "hamming_loss": float((expected != predicted).sum() / max(int(known.sum()), 1)),
        "subset_accuracy": float((expected == predicted).all(axis=1).mean()),
        "by_class": per_class,
    }


def _limits(classes: Sequence[str], thresholds: Sequence[float] | None) -> npt.NDArray[np.float32]:
    return np.array(thresholds if thresholds is not None else [THRESHOLD] * len(classes), dtype=np.float32)


def list_choices(values: npt.NDArray[Any], scores: Scores, classes: Sequence[str]) -> dict[str, Choices]:
    """One choice per image and known class: whether the image has it; the logit is that of the sigmoid."""
    known = unpack_known(values, len(classes))
    yes = np.minimum(scores[known], _HIGHEST)
    expected = unpack_labels(values, len(classes))[known].astype(np.int64)
    return {"label": Choices(np.stack([1 - yes, yes], axis=1), expected)}


def calibrate(scores: Scores, labels: DecodedLabels, classes: Sequence[str], temperatures: Temperatures) -> Floats:
    """The confidence of each label at the temperature of its image; thresholds are of scores as they come."""
    each = np.broadcast_to(np.asarray(temperatures["label"], dtype=np.float64), len(scores))[labels.rows]
    yes = np.clip(labels.confidences, np.finfo(np.float32).tiny, _HIGHEST).astype(np.float64)
    return np.asarray(special.expit(special.logit(yes) / each), dtype=np.float32)


mark_label = multiclass.mark_label


def build_head(features: Any, classes: int) -> Any:
    """A sigmoid for each class."""
    return dense_scores(features, classes, "sigmoid")


def unpack_targets(values: Any, classes: int) -> Any:
    """Zeros and ones (n, classes); `UNKNOWN` where it is not known whether the image has the class."""
    from models.tensorflow_setup import tensorflow as tf

    def unpack_bits(part: Any) -> Any:
        bits = part[:, :, None] // tf.constant(_BITS, tf.uint8) % tf.constant(2, tf.uint8)
        return tf.cast(tf.reshape(bits, (-1, part.shape[1] * 8))[:, :classes], tf.float32)

    half = -(-classes // 8)
    expected = unpack_bits(values[:, :half])
    return expected if values.shape[1] == half else tf.where(unpack_bits(values[:, half:]) > 0, expected, UNKNOWN)


def build_loss(classes: int, smoothing: float) -> Callable[[Any, Any], Any]:
    """Binary cross-entropy, the mean over the classes of which it is known whether an image has them."""
    return partial(_loss, smoothing=smoothing)


def _loss(expected: Any, scores: Any, smoothing: float) -> Any:
    from keras import ops

    known = ops.cast(expected >= 0, scores.dtype)
    target = ops.cast(ops.maximum(expected, 0), scores.dtype) * (1 - smoothing) + smoothing / 2
    losses = ops.binary_crossentropy(target, scores) * known
    return ops.sum(losses, axis=1) / ops.maximum(ops.sum(known, axis=1), 1)


def build_metrics(classes: int) -> list[Any]:
    """The area under the curve of precision and recall, over what is known."""
    import keras

    class KnownPrecision(keras.metrics.AUC):  # type: ignore[misc]
        """Takes the labels (n, classes), below 0 where it is not known."""

        def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
            known = keras.ops.cast(y_true >= 0, "float32")
            super().update_state(keras.ops.maximum(y_true, 0), y_pred, sample_weight=known)

    return [KnownPrecision(curve="PR", name=MONITORED)]
