"""How right an annotator is at each confidence: reliability bins, expected calibration error and Brier score.

Guo et al. 2017 (https://arxiv.org/abs/1706.04599), of the label that was given: ECE is the mean over images of
|accuracy - mean confidence| of their bin. The Brier score is the mean of (confidence - correct)^2 (G. W. Brier 1950,
"Verification of forecasts expressed in terms of probability", Monthly Weather Review 78:1-3), correct being 1 or 0.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from metrics.confidence_bins import (
    UNIT,
    UNKNOWN,
    Confidences,
    Marks,
    Whole,
    added,
    checked,
    equal_bins,
    fixed,
    share,
    tally,
)
from schemas.tables import ALL, BIN, CALIBRATION, JOINT_CONFIDENCE

RELIABILITY_BINS = 15
_ROWS = ("n", "correct", "confidence", "squared")


@dataclass(frozen=True, eq=False)
class ReliabilityCounts:
    """Counts of images of known truth: (4, bins) n, correct, and fixed-point sums of confidence and of its Brier score.

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
    return ReliabilityCounts(_counted(confidence, correct, bins), _counted(calibrated, correct, bins))


def _counted(confidence: Confidences, correct: Marks, bins: int) -> Whole:
    there = (correct != UNKNOWN) & ~np.isnan(confidence)
    sure, right = checked(confidence[there]), correct[there].astype(np.int64)
    place = equal_bins(sure, bins)
    squared = fixed((sure.astype(np.float64) - right) ** 2)
    return np.stack([tally(place, bins, weights) for weights in (None, right, fixed(sure), squared)])


def merge_reliability(parts: Iterable[ReliabilityCounts], bins: int = RELIABILITY_BINS) -> ReliabilityCounts:
    """The sum of counts; of none, zeros in so many bins."""
    whole = list(parts) or [
        ReliabilityCounts(np.zeros((len(_ROWS), bins), np.int64), np.zeros((len(_ROWS), bins), np.int64))
    ]
    return ReliabilityCounts(added(part.raw for part in whole), added(part.calibrated for part in whole))


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


def _figures(counted: Whole, scope: str, suffix: str) -> dict[str, Any]:
    n, correct, confidence, squared = (int(total) for total in counted.sum(axis=1))
    return {
        f"n{suffix}": n,
        f"correct{suffix}": correct,
        **share(f"accuracy{suffix}", correct, n),
        f"mean_confidence{suffix}": confidence / UNIT / n if n else None,
        f"ece{suffix}": ece(counted) if scope == ALL else None,
        f"brier{suffix}": squared / UNIT / n if n else None,
    }


def ece(counted: Whole) -> float | None:
    """Expected calibration error of counts (4, bins), in [0, 1]; computed in whole numbers, rounded once."""
    n, correct, confidence, _ = counted.tolist()
    gaps = sum(abs(right * UNIT - sure) for right, sure in zip(correct, confidence, strict=True))
    return gaps / (UNIT * sum(n)) if sum(n) else None


# The confidences of two annotators together: how often each pair of them occurs, agrees and is right.

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
    """Count the images that two annotators labelled; those without both confidences are left out.

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
    there = ~(np.isnan(confidence_a) | np.isnan(confidence_b))
    sure_a, sure_b = checked(confidence_a[there]), checked(confidence_b[there])
    same, right_a, right_b = agree[there].astype(np.int64), correct_a[there], correct_b[there]
    place = equal_bins(sure_a, bins) * bins + equal_bins(sure_b, bins)
    known = (right_a != UNKNOWN) & (right_b != UNKNOWN)
    numbers = (same, known, known & (right_a == 1), known & (right_b == 1))
    cells = [tally(place, bins * bins), *(tally(place, bins * bins, one.astype(np.int64)) for one in numbers)]
    sums = [tally(same, 2, fixed(sure)) for sure in (sure_a, sure_b)]
    return JointCounts(np.stack(cells).reshape(len(_NUMBERS), bins, bins), np.stack(sums, axis=1))


def merge_joint(parts: Iterable[JointCounts], bins: int = JOINT_BINS) -> JointCounts:
    """The sum of counts; of none, zeros in so many bins."""
    whole = list(parts) or [JointCounts(np.zeros((len(_NUMBERS), bins, bins), np.int64), np.zeros((2, 2), np.int64))]
    return JointCounts(added(part.cells for part in whole), added(part.sums for part in whole))


def joint_table(counts: JointCounts, keys: Mapping[str, str]) -> pa.Table:
    """Rows of schema `JOINT_CONFIDENCE`: of all images, with mean confidences, and of each pair of bins that occurs.

    Args:
        counts: of all shards.
        keys: `dataset`, `split`, `a`, `b`, `confidence`.
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
