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

from pipelines.intervals import of_share

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
    values = [None if np.isnan(one) else one for one in of_share(successes, trials)]
    return dict(zip((name, f"{name}_low", f"{name}_high"), values, strict=True))
