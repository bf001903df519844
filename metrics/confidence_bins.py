"""How far confidence can be trusted: counts of shards, that merge exactly in any order, and tables from them.

    reliability   how right an annotator is at each confidence: reliability bins, ECE, Brier score
    joint         the confidences of two annotators together
    coverage      how many images need no person, for an accuracy that is asked for

Each module has `count(...)`, from arrays of the images of one shard, `merge(...)`, the sum of counts, and functions
from counts to tables. Counts are whole numbers, and fixed-point sums of confidences: 1 is `UNIT`, exact up to 2**31
images.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from metrics.intervals import wilson_interval

UNIT = 2**32
UNKNOWN = -1

Confidences = npt.NDArray[np.float32]
Marks = npt.NDArray[np.int8]
Whole = npt.NDArray[np.int64]


def confidences(column: pa.ChunkedArray) -> Confidences:
    """A column of confidences; NaN where it is null."""
    return np.asarray(column.cast(pa.float32()).to_numpy(), dtype=np.float32)


def marks(column: pa.ChunkedArray) -> Marks:
    """A column of whether labels are correct, as 1 and 0; `UNKNOWN` where it is null."""
    return np.asarray(column.cast(pa.int8()).fill_null(UNKNOWN).to_numpy(), dtype=np.int8)


def equal_bins(confidence: Confidences, bins: int) -> Whole:
    """The bin of each confidence, of so many equally wide ones: (0, 1/bins], ..., and 0 in the first one.

    Bounds are doubles, and as in scikit-learn's `calibration_curve` each belongs to the bin below it (Guo et al. 2017).
    """
    return np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], confidence.astype(np.float64)).astype(np.int64)


def tally(bins: Whole, size: int, weights: Whole | None = None) -> Whole:
    """How many fall into each bin, or the sum of their weights, in whole numbers throughout."""
    if weights is None:
        return np.bincount(bins, minlength=size).astype(np.int64)
    found = np.zeros(size, dtype=np.int64)
    np.add.at(found, bins, weights)
    return found


def fixed(values: npt.NDArray[Any]) -> Whole:
    """Numbers in [0, 1] in units of 1 / `UNIT`."""
    return np.rint(values.astype(np.float64) * UNIT).astype(np.int64)


def checked(confidence: Confidences) -> Confidences:
    """Confidences that are all in [0, 1], or not known.

    Raises:
        ValueError: one is not.
    """
    wrong = np.flatnonzero((confidence < 0) | (confidence > 1))
    if len(wrong):
        raise ValueError(f"confidence must lie in [0, 1], got {confidence[wrong[0]]} in row {wrong[0]}")
    return confidence.astype(np.float32, copy=False)


def added(parts: Iterable[Whole]) -> Whole:
    """The sum of arrays of counts.

    Raises:
        ValueError: they are of different bins.
    """
    whole = list(parts)
    if len({part.shape for part in whole}) > 1:
        raise ValueError(f"counts of different bins do not merge: {sorted({part.shape for part in whole})}")
    total: Whole = np.sum(whole, axis=0, dtype=np.int64)
    return total


def share(name: str, successes: int, trials: int) -> dict[str, float | None]:
    """A share and its Wilson interval, as columns of a table; null where none was tried."""
    values = [None if np.isnan(one) else one for one in wilson_interval(successes, trials)]
    return dict(zip((name, f"{name}_low", f"{name}_high"), values, strict=True))


# A fixed scale of fine bins of float32 confidences, so that thresholds come from counts that merge in any order.

NOT_KNOWN = 0  # the bin of images without a confidence, below every threshold
_SHIFT = 16  # of the 23 bits of a float32's fraction, seven are kept
_LOWEST = 118 << 7  # exponent and fraction of 2**-9
_HALF = 126 << 7  # of 0.5
_LEAST = 103 << 7  # of 2**-24, the least distance to 1
_MIDDLE = 2 + _HALF - _LOWEST  # the bin of 0.5
SIZE = _MIDDLE + _HALF - _LEAST + 2  # the last bin is that of 1


def fine_bins(confidence: Confidences) -> Whole:
    """The bin of each confidence, 0 for NaN.

    Raises:
        ValueError: one is not in [0, 1].
    """
    sure = checked(confidence) + np.float32(0)  # -0 becomes 0
    below = 2 + np.maximum((_bits(sure) >> _SHIFT) - _LOWEST, -1)
    distance = _bits(np.float32(1) - sure)
    above = np.where(distance > 0, _MIDDLE + _HALF - 1 - ((distance - 1) >> _SHIFT), SIZE - 1)
    return np.where(np.isnan(sure), NOT_KNOWN, np.where(sure < 0.5, below, above)).astype(np.int64)


def _bits(values: npt.NDArray[np.float32]) -> npt.NDArray[np.int32]:
    return values.view(np.int32)


def lower_bounds() -> npt.NDArray[np.float32]:
    """The least confidence of each bin, (SIZE,); NaN of the first one. Some bins near 1 are too narrow to hold any."""
    lower = (np.arange(_LOWEST, _HALF, dtype=np.int32) << _SHIFT).view(np.float32)
    farthest = (np.arange(_HALF, _LEAST - 1, -1, dtype=np.int32) << _SHIFT).view(np.float32)
    upper = 1 - np.floor(farthest.astype(np.float64) * 2**24) / 2**24  # what float32 can tell apart below 1
    return np.concatenate([[np.nan, 0], lower, upper, [1]]).astype(np.float32)
