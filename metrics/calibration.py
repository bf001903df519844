"""How far confidence can be relied on: accuracy by confidence of one annotator, and the joint confidence of two.

Guo et al. 2017 (https://arxiv.org/abs/1706.04599), of the label that an annotator gave: the expected calibration error
(ECE) is the mean over images of |accuracy - mean confidence| of their bin. The Brier score is the mean of
(confidence - correct)^2 (G. W. Brier 1950, "Verification of forecasts expressed in terms of probability", Monthly
Weather Review 78:1-3), correct being 1 or 0.

Counts are whole numbers, and fixed-point sums of confidences: 1 is `UNIT`, exact up to 2**31 images. `count_...` makes
them from the images of one shard, `merge_...` adds them up, in any order, and `..._table` makes tables of the sums.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from metrics.intervals import wilson_interval
from schemas.tables import ALL, BIN, CALIBRATION, JOINT_CONFIDENCE

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
    totals = np.zeros(size, dtype=np.int64)
    np.add.at(totals, bins, weights)
    return totals


def fixed_point(values: npt.NDArray[Any]) -> Whole:
    """Numbers in [0, 1] in units of 1 / `UNIT`."""
    return np.rint(values.astype(np.float64) * UNIT).astype(np.int64)


def check_confidences(confidence: Confidences) -> Confidences:
    """Confidences that are all in [0, 1], or not known.

    Raises:
        ValueError: one is not.
    """
    wrong = np.flatnonzero((confidence < 0) | (confidence > 1))
    if len(wrong):
        raise ValueError(f"confidence must lie in [0, 1], got {confidence[wrong[0]]} in row {wrong[0]}")
    return confidence.astype(np.float32, copy=False)


def add_counts(parts: Iterable[Whole]) -> Whole:
    """The sum of arrays of counts.

    Raises:
        ValueError: they are of different bins.
    """
    whole = list(parts)
    if len({part.shape for part in whole}) > 1:
        raise ValueError(f"counts of different bins do not merge: {sorted({part.shape for part in whole})}")
    total: Whole = np.sum(whole, axis=0, dtype=np.int64)
    return total


def share_with_interval(name: str, successes: int, trials: int) -> dict[str, float | None]:
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
    confidence = check_confidences(confidence) + np.float32(0)  # -0 becomes 0
    below = 2 + np.maximum((_bits(confidence) >> _SHIFT) - _LOWEST, -1)
    distance = _bits(np.float32(1) - confidence)
    above = np.where(distance > 0, _MIDDLE + _HALF - 1 - ((distance - 1) >> _SHIFT), SIZE - 1)
    return np.where(np.isnan(confidence), NOT_KNOWN, np.where(confidence < 0.5, below, above)).astype(np.int64)


def _bits(values: npt.NDArray[np.float32]) -> npt.NDArray[np.int32]:
    return values.view(np.int32)


def lower_bounds() -> npt.NDArray[np.float32]:
    """The least confidence of each bin, (SIZE,); NaN of the first one. Some bins near 1 are too narrow to hold any."""
    lower = (np.arange(_LOWEST, _HALF, dtype=np.int32) << _SHIFT).view(np.float32)
    farthest = (np.arange(_HALF, _LEAST - 1, -1, dtype=np.int32) << _SHIFT).view(np.float32)
    upper = 1 - np.floor(farthest.astype(np.float64) * 2**24) / 2**24  # what float32 can distinguish below 1
    return np.concatenate([[np.nan, 0], lower, upper, [1]]).astype(np.float32)


# Reliability: how accurate one annotator is at each confidence.

RELIABILITY_BINS = 15
_ROWS = ("n", "correct", "confidence", "squared")


@dataclass(frozen=True, eq=False)
class ReliabilityCounts:
    """Counts of images with a reference label: (4, bins) n, correct, sums of confidence and of Brier scores.

    Attributes:
        raw: by raw confidence.
        calibrated: by calibrated confidence, of those that have one.
    """

    raw: Whole
    calibrated: Whole


def count_reliability(
    confidence: Confidences, calibrated: Confidences, correct: Marks, bins: int = RELIABILITY_BINS
) -> ReliabilityCounts:
    """Count the images of one annotator.

    Args:
        confidence: (n,) in [0, 1]; NaN where not known.
        calibrated: (n,) the same after calibration.
        correct: (n,) 1, 0 or `UNKNOWN`.
        bins: how many.

    Raises:
        ValueError: a confidence is not in [0, 1].
    """
    return ReliabilityCounts(_count_bins(confidence, correct, bins), _count_bins(calibrated, correct, bins))


def _count_bins(confidence: Confidences, correct: Marks, bins: int) -> Whole:
    known = (correct != UNKNOWN) & ~np.isnan(confidence)
    confidence, right = check_confidences(confidence[known]), correct[known].astype(np.int64)
    place = equal_bins(confidence, bins)
    squared = fixed_point((confidence.astype(np.float64) - right) ** 2)
    return np.stack([tally(place, bins, weights) for weights in (None, right, fixed_point(confidence), squared)])


def merge_reliability(parts: Iterable[ReliabilityCounts], bins: int = RELIABILITY_BINS) -> ReliabilityCounts:
    """The sum of counts; of none, zeros in so many bins."""
    whole = list(parts) or [
        ReliabilityCounts(np.zeros((len(_ROWS), bins), np.int64), np.zeros((len(_ROWS), bins), np.int64))
    ]
    return ReliabilityCounts(add_counts(part.raw for part in whole), add_counts(part.calibrated for part in whole))


def calibration_table(counts: ReliabilityCounts, keys: Mapping[str, str]) -> pa.Table:
    """Rows of schema `CALIBRATION`: of all images, and of each bin, empty ones included.

    Args:
        counts: of all shards.
        keys: `dataset`, `split`, `annotator`.
    """
    bins = counts.raw.shape[1]
    bounds = np.linspace(0, 1, bins + 1).tolist()
    places: list[tuple[str, int | None, float, float, slice]] = [(ALL, None, 0.0, 1.0, slice(None))]
    places += [(BIN, one, bounds[one], bounds[one + 1], slice(one, one + 1)) for one in range(bins)]
    rows = []
    for scope, number, low, high, place in places:
        row = {**keys, "scope": scope, "bin": number, "low": low, "high": high}
        raw, calibrated = counts.raw[:, place], counts.calibrated[:, place]
        rows.append({**row, **_figures(raw, scope, ""), **_figures(calibrated, scope, "_calibrated")})
    return pa.Table.from_pylist(rows, schema=CALIBRATION)


def _figures(counts: Whole, scope: str, suffix: str) -> dict[str, Any]:
    n, correct, confidence, squared = (int(total) for total in counts.sum(axis=1))
    return {
        f"n{suffix}": n,
        f"correct{suffix}": correct,
        **share_with_interval(f"accuracy{suffix}", correct, n),
        f"mean_confidence{suffix}": confidence / UNIT / n if n else None,
        f"ece{suffix}": ece(counts) if scope == ALL else None,
        f"brier{suffix}": squared / UNIT / n if n else None,
    }


def ece(counts: Whole) -> float | None:
    """Expected calibration error of counts (4, bins), in [0, 1]; computed in whole numbers, rounded once."""
    n, correct, confidence, _ = counts.tolist()
    gaps = sum(abs(right * UNIT - total) for right, total in zip(correct, confidence, strict=True))
    return gaps / (UNIT * sum(n)) if sum(n) else None


# Joint confidence: how often each pair of two annotators' confidences occurs, agrees and is right.

JOINT_BINS = 10
_NUMBERS = ("n", "n_agree", "n_known", "n_correct_a", "n_correct_b")


@dataclass(frozen=True, eq=False)
class JointCounts:
    """Counts of images that both labelled.

    Attributes:
        cells: (5, bins, bins) n, n_agree, n_known, n_correct_a and n_correct_b, by a's confidence and b's.
        sums: (2, 2) fixed-point sums of confidence: where they differ and where they agree, of a and of b.
    """

    cells: Whole
    sums: Whole


def count_joint(
    confidence_a: Confidences,
    confidence_b: Confidences,
    agree: npt.NDArray[np.bool_],
    correct_a: Marks,
    correct_b: Marks,
    bins: int = JOINT_BINS,
) -> JointCounts:
    """Count the images that two annotators labelled; those without both confidences are excluded.

    Args:
        confidence_a: (n,) in [0, 1]; NaN where not known.
        confidence_b: (n,) the same of the other.
        agree: (n,) whether both gave the same label.
        correct_a: (n,) 1, 0 or `UNKNOWN`.
        correct_b: (n,) the same of the other.
        bins: equally wide ones of each.

    Raises:
        ValueError: a confidence is not in [0, 1].
    """
    known = ~(np.isnan(confidence_a) | np.isnan(confidence_b))
    both = [check_confidences(confidence_a[known]), check_confidences(confidence_b[known])]
    same, right_a, right_b = agree[known].astype(np.int64), correct_a[known], correct_b[known]
    place = equal_bins(both[0], bins) * bins + equal_bins(both[1], bins)
    both_known = (right_a != UNKNOWN) & (right_b != UNKNOWN)
    numbers = (same, both_known, both_known & (right_a == 1), both_known & (right_b == 1))
    cells = [tally(place, bins * bins), *(tally(place, bins * bins, one.astype(np.int64)) for one in numbers)]
    sums = [tally(same, 2, fixed_point(one)) for one in both]
    return JointCounts(np.stack(cells).reshape(len(_NUMBERS), bins, bins), np.stack(sums, axis=1))


def merge_joint(parts: Iterable[JointCounts], bins: int = JOINT_BINS) -> JointCounts:
    """The sum of counts; of none, zeros in so many bins."""
    whole = list(parts) or [JointCounts(np.zeros((len(_NUMBERS), bins, bins), np.int64), np.zeros((2, 2), np.int64))]
    return JointCounts(add_counts(part.cells for part in whole), add_counts(part.sums for part in whole))


def joint_table(counts: JointCounts, keys: Mapping[str, str]) -> pa.Table:
    """Rows of schema `JOINT_CONFIDENCE`: of all images, with mean confidences, and of each pair of bins that occurs.

    Args:
        counts: of all shards.
        keys: `dataset`, `split`, `annotator_a`, `annotator_b`, `confidence`.
    """
    total = _numbers(counts.cells.sum(axis=(1, 2)))
    rows: list[dict[str, Any]] = [{**keys, "scope": ALL, **total, **_means(counts, total)}]
    for bin_a, bin_b in np.argwhere(counts.cells[0]).tolist():
        cell = _numbers(counts.cells[:, bin_a, bin_b])
        rows.append({**keys, "scope": BIN, "bin_a": bin_a, "bin_b": bin_b, **cell})
    return pa.Table.from_pylist(rows, schema=JOINT_CONFIDENCE)


def _numbers(cell: Whole) -> dict[str, int]:
    return dict(zip(_NUMBERS, cell.tolist(), strict=True))


def _means(counts: JointCounts, total: Mapping[str, int]) -> dict[str, float | None]:
    """Mean confidence of each annotator where they agree, and where they differ."""
    images = {"agree": total["n_agree"], "differ": total["n"] - total["n_agree"]}
    sums = {"agree": counts.sums[1].tolist(), "differ": counts.sums[0].tolist()}
    return {
        f"mean_{where}_{side}": sums[where][place] / UNIT / n if n else None
        for where, n in images.items()
        for place, side in enumerate("ab")
    }
