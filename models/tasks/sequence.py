"""Task `sequence`: a number of up to five digits, read as Goodfellow et al. 2013 do (https://arxiv.org/abs/1312.6082).

Targets are (n, 6): the length (0 to 5; 6: more), and five digits, -1 where there is none. Scores are (n, 57): the
probabilities of the seven lengths, then those of ten digits for each of five places.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from models.calibration import Choices, Floats, Temperatures, highest
from models.tasks import DecodedLabels, Scores, Targets, cross_entropy, dense_scores, image_positions
from schemas import tables
from schemas.layout import DIGITS
from schemas.manifests import LENGTHS, MORE, PLACES

INDEPENDENT = False
MONITORED = "accuracy"


def count_scores(classes: int) -> int:
    """Seven lengths, and one score per digit for each place."""
    return LENGTHS + PLACES * classes


def encode_targets(labels: pa.Table, ids: Sequence[str], classes: Sequence[str], complete: bool = True) -> Targets:
    """Length and digits of each image's number; of several the most confident, of equals the first in order.

    A rejected number states that an image shows something else, not what, and so is not learnt.
    """
    present = labels.filter(tables.present(labels))
    positions = image_positions(present, ids)
    texts, confidence = present["label"].to_pylist(), present["confidence"].to_numpy()
    values = np.full((len(ids), PLACES + 1), -1, dtype=np.int64)
    backwards = sorted(range(len(texts)), key=lambda row: str(texts[row]), reverse=True)
    for row in sorted(backwards, key=lambda row: float(confidence[row])):  # what is written last stays
        if positions[row] >= 0:
            values[positions[row]] = encode_number(texts[row], classes)
    return Targets(values, values[:, 0] >= 0)


def encode_number(text: str, classes: Sequence[str] = DIGITS) -> list[int]:
    """Length and digits of a number.

    Raises:
        KeyError: it contains something else than digits.
    """
    digits = text.removesuffix(MORE)
    if any(letter not in classes for letter in digits):
        raise KeyError(text)
    known = [classes.index(letter) for letter in digits[:PLACES]]
    length = LENGTHS - 1 if len(digits) > PLACES or text != digits else len(digits)
    return [length, *known, *[-1] * (PLACES - len(known))]


def decode_labels(scores: Scores, classes: Sequence[str], thresholds: Sequence[float] | None = None) -> DecodedLabels:
    """The most probable number of each image; its confidence is its probability."""
    lengths, digits, confidences = decode_numbers(scores, len(classes))
    names = np.array(classes, dtype=object)
    texts = [
        "".join(names[row[:length]]) + (MORE if length > PLACES else "")
        for length, row in zip(lengths, digits, strict=True)
    ]
    return DecodedLabels(np.arange(len(scores)), np.array(texts, dtype=object), confidences)


def decode_numbers(
    scores: Scores, classes: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Length (n,), digits (n, 5) and probability (n,) of the most probable number.

    P(length) times the product of the digits' probabilities up to that length; each digit is its place's best.
    """
    of_place = scores[:, LENGTHS:].reshape(-1, PLACES, classes)
    products = np.cumprod(of_place.max(axis=2, initial=0), axis=1)
    upto = np.concatenate([np.ones((len(scores), 1)), products, products[:, -1:]], axis=1)  # 0 to 5 digits, and more
    numbers = scores[:, :LENGTHS] * upto
    lengths = numbers.argmax(axis=1)
    return lengths, of_place.argmax(axis=2), numbers.max(axis=1, initial=0).clip(0, 1).astype(np.float32)


def evaluate(
    values: npt.NDArray[Any], scores: Scores, classes: Sequence[str], thresholds: Sequence[float] | None = None
) -> dict[str, Any]:
    """Accuracy of whole numbers, of the length, of each length's numbers, and of each place's digits."""
    lengths, digits, _ = decode_numbers(scores, len(classes))
    expected, true_digits = values[:, 0], values[:, 1:]
    absent = true_digits < 0
    right = (digits == true_digits) | absent
    whole = (lengths == expected) & right.all(axis=1)
    by_length = {
        ("more" if length > PLACES else str(length)): _share(whole[expected == length])
        for length in np.unique(expected)
    }
    by_place = {str(place + 1): _share(right[~absent[:, place], place]) for place in range(PLACES)}
    return {
        "accuracy": float(whole.mean()),
        "length_accuracy": float((lengths == expected).mean()),
        "digit_accuracy": float(right[~absent].mean()) if (~absent).any() else 0.0,
        "by_length": by_length,
        "by_place": {place: share for place, share in by_place.items() if share["images"]},
    }


def _share(right: npt.NDArray[np.bool_]) -> dict[str, Any]:
    return {"images": len(right), "accuracy": float(right.mean()) if len(right) else 0.0}


def list_choices(values: npt.NDArray[Any], scores: Scores, classes: Sequence[str]) -> dict[str, Choices]:
    """One choice per image, of its length, and one per digit of its number."""
    expected = values[:, 1:].astype(np.int64)
    there = expected >= 0
    of_place = scores[:, LENGTHS:].reshape(-1, PLACES, len(classes))
    return {
        "length": Choices(scores[:, :LENGTHS], values[:, 0].astype(np.int64)),
        "digits": Choices(of_place[there], expected[there]),
    }


def calibrate(scores: Scores, labels: DecodedLabels, classes: Sequence[str], temperatures: Temperatures) -> Floats:
    """The probability of each number, its length and its digits each at the temperature of its image."""
    lengths, _, _ = decode_numbers(scores, len(classes))
    of_length, of_digits = (np.asarray(temperatures[name], dtype=np.float32) for name in ("length", "digits"))
    of_lengths = np.maximum(scores[:, :LENGTHS], np.finfo(np.float32).tiny)
    logits = np.log(of_lengths / of_lengths.max(axis=1, keepdims=True)) / of_length.reshape(-1, 1)
    length = np.exp(logits[np.arange(len(scores)), lengths]) / np.exp(logits).sum(axis=1)
    digits = highest(scores[:, LENGTHS:].reshape(-1, PLACES, len(classes)), of_digits.reshape(-1, 1, 1))
    is_shown = np.arange(PLACES) < lengths[:, None]
    return np.asarray(length * np.where(is_shown, digits, np.float32(1)).prod(axis=1), dtype=np.float32)


def mark_label(scores: Scores, classes: int) -> Scores:
    """The length of each image's most probable number, and its digits."""
    marks, rows = np.zeros_like(scores), np.arange(len(scores))
    lengths, digits, _ = decode_numbers(scores, classes)
    marks[rows, lengths] = 1
    for place in range(PLACES):
        shown = lengths > place
        marks[rows[shown], LENGTHS + place * classes + digits[shown, place]] = 1
    return marks


def build_head(features: Any, classes: int) -> Any:
    """A softmax for the length, and one for each place."""
    from keras import layers

    parts = [dense_scores(features, LENGTHS, "softmax", "length")]
    parts += [dense_scores(features, classes, "softmax", f"digit{place + 1}") for place in range(PLACES)]
    return layers.Concatenate(name="scores", dtype="float32")(parts)


def unpack_targets(values: Any, classes: int) -> Any:
    """As they are encoded."""
    return values


def build_loss(classes: int, smoothing: float) -> Callable[[Any, Any], Any]:
    """Cross-entropy, the sum over length and digits; a place without a digit costs nothing."""
    return partial(_loss, classes=classes, smoothing=smoothing)


def _loss(expected: Any, scores: Any, classes: int, smoothing: float) -> Any:
    from keras import ops

    expected = ops.cast(expected, "int32")
    lengths, digits = _split(scores, classes)
    losses = cross_entropy(expected[:, 0], lengths, smoothing)
    shown = ops.cast(expected[:, 1:] >= 0, scores.dtype)
    of_digits = cross_entropy(ops.maximum(expected[:, 1:], 0), digits, smoothing)
    return losses + ops.sum(of_digits * shown, axis=1)


def build_metrics(classes: int) -> list[Any]:
    """Whether the most probable number is the whole number."""
    from keras import metrics

    return [metrics.MeanMetricWrapper(partial(_accuracy, classes=classes), name=MONITORED)]


def _accuracy(expected: Any, scores: Any, classes: int) -> Any:
    from keras import ops

    expected = ops.cast(expected, "int32")
    lengths, digits = _split(scores, classes)
    upto = ops.cumprod(ops.max(digits, axis=2), axis=1)
    whole = ops.concatenate([ops.ones_like(upto[:, :1]), upto, upto[:, -1:]], axis=1)
    right = ops.equal(ops.cast(ops.argmax(lengths * whole, axis=1), "int32"), expected[:, 0])
    same = ops.logical_or(
        ops.equal(ops.cast(ops.argmax(digits, axis=2), "int32"), expected[:, 1:]), expected[:, 1:] < 0
    )
    return ops.cast(ops.logical_and(right, ops.all(same, axis=1)), "float32")


def _split(scores: Any, classes: int) -> tuple[Any, Any]:
    from keras import ops

    return scores[:, :LENGTHS], ops.reshape(scores[:, LENGTHS:], (-1, PLACES, classes))
