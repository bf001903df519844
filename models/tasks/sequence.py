"""Task `sequence`: a number of up to five digits, read as Goodfellow et al. 2013 do (https://arxiv.org/abs/1312.6082).

Targets are (n, 6): the length (0 to 5; 6: more), and five digits, -1 where there is none. Scores are (n, 57): the
probabilities of the seven lengths, then those of ten digits for each of five places.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from models.calibration import Choices, Floats, Temperatures, highest
from models.tasks import Reading, Scores, Targets, places
from schemas.layout import DIGITS

PLACES = 5
LENGTHS = PLACES + 2  # none to five, and more
MORE = "+"  # stands behind the first five digits of a longer number


def scores(classes: int) -> int:
    """Seven lengths, and a score a digit for each place."""
    return LENGTHS + PLACES * classes


def targets(labels: pa.Table, ids: Sequence[str], classes: Sequence[str]) -> Targets:
    """Length and digits of each image's number; of several the most confident, of equals the first in order."""
    found = places(labels, ids)
    texts, confidence = labels["label"].to_pylist(), labels["confidence"].to_numpy()
    values = np.full((len(ids), PLACES + 1), -1, dtype=np.int64)
    backwards = sorted(range(len(texts)), key=lambda row: str(texts[row]), reverse=True)
    for row in sorted(backwards, key=lambda row: float(confidence[row])):  # what is written last stays
        if found[row] >= 0:
            values[found[row]] = spelt(texts[row], classes)
    return Targets(values, values[:, 0] >= 0)


def spelt(text: str, classes: Sequence[str] = DIGITS) -> list[int]:
    """Length and digits of a number.

    Raises:
        KeyError: it holds something else than digits.
    """
    digits = text.removesuffix(MORE)
    if any(letter not in classes for letter in digits):
        raise KeyError(text)
    known = [classes.index(letter) for letter in digits[:PLACES]]
    length = LENGTHS - 1 if len(digits) > PLACES or text != digits else len(digits)
    return [length, *known, *[-1] * (PLACES - len(known))]


def read(given: Scores, classes: Sequence[str], thresholds: Sequence[float] | None = None) -> Reading:
    """The most probable reading of each image; its confidence is its probability."""
    lengths, digits, confidences = most_probable(given, len(classes))
    names = np.array(classes, dtype=object)
    texts = [
        "".join(names[row[:length]]) + (MORE if length > PLACES else "")
        for length, row in zip(lengths, digits, strict=True)
    ]
    return Reading(np.arange(len(given)), np.array(texts, dtype=object), confidences)


def most_probable(
    given: Scores, classes: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Length (n,), digits (n, 5) and probability (n,) of the most probable reading.

    P(length) times the product of the digits' probabilities up to that length; each digit is its place's best.
    """
    of_place = given[:, LENGTHS:].reshape(-1, PLACES, classes)
    products = np.cumprod(of_place.max(axis=2, initial=0), axis=1)
    upto = np.concatenate([np.ones((len(given), 1)), products, products[:, -1:]], axis=1)  # 0 to 5 digits, and more
    readings = given[:, :LENGTHS] * upto
    lengths = readings.argmax(axis=1)
    return lengths, of_place.argmax(axis=2), readings.max(axis=1, initial=0).clip(0, 1).astype(np.float32)


def figures(
    values: npt.NDArray[Any], given: Scores, classes: Sequence[str], thresholds: Sequence[float] | None = None
) -> dict[str, Any]:
    """Accuracy of whole numbers, of the length, of each length's numbers, and of each place's digits."""
    lengths, digits, _ = most_probable(given, len(classes))
    truth, spelt_out = values[:, 0], values[:, 1:]
    absent = spelt_out < 0
    right = (digits == spelt_out) | absent
    whole = (lengths == truth) & right.all(axis=1)
    by_length = {
        ("more" if length > PLACES else str(length)): _share(whole[truth == length]) for length in np.unique(truth)
    }
    by_place = {str(place + 1): _share(right[~absent[:, place], place]) for place in range(PLACES)}
    return {
        "accuracy": float(whole.mean()),
        "length_accuracy": float((lengths == truth).mean()),
        "digit_accuracy": float(right[~absent].mean()) if (~absent).any() else 0.0,
        "by_length": by_length,
        "by_place": {place: found for place, found in by_place.items() if found["images"]},
    }


def _share(right: npt.NDArray[np.bool_]) -> dict[str, Any]:
    return {"images": len(right), "accuracy": float(right.mean()) if len(right) else 0.0}


def choices(values: npt.NDArray[Any], given: Scores, classes: Sequence[str]) -> dict[str, Choices]:
    """A choice an image, of its length, and one a digit that there is."""
    truth = values[:, 1:].astype(np.int64)
    there = truth >= 0
    of_place = given[:, LENGTHS:].reshape(-1, PLACES, len(classes))
    return {
        "length": Choices(given[:, :LENGTHS], values[:, 0].astype(np.int64)),
        "digits": Choices(of_place[there], truth[there]),
    }


def calibrated(given: Scores, reading: Reading, classes: Sequence[str], temperatures: Temperatures) -> Floats:
    """The probability of each reading, its length and its digits each at the temperature of its image."""
    lengths, _, _ = most_probable(given, len(classes))
    of_length, of_digits = (np.asarray(temperatures[name], dtype=np.float32) for name in ("length", "digits"))
    scores = np.maximum(given[:, :LENGTHS], np.finfo(np.float32).tiny)
    logits = np.log(scores / scores.max(axis=1, keepdims=True)) / of_length.reshape(-1, 1)
    length = np.exp(logits[np.arange(len(given)), lengths]) / np.exp(logits).sum(axis=1)
    digits = highest(given[:, LENGTHS:].reshape(-1, PLACES, len(classes)), of_digits.reshape(-1, 1, 1))
    read_out = np.arange(PLACES) < lengths[:, None]
    return np.asarray(length * np.where(read_out, digits, np.float32(1)).prod(axis=1), dtype=np.float32)
