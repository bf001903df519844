"""Coverage: the share of images that can be accepted without human review at a target accuracy, and their accuracy.

Images are accepted whose confidence is at or above a threshold: that of one annotator, or, of two that agree, the
lower of both. The threshold is the lowest at which the accepted images of one split, mostly validation, are accurate
enough (at least the target); it is then evaluated on another, mostly test, on which nothing was chosen. This is
selective prediction (Geifman and El-Yaniv 2017, https://arxiv.org/abs/1705.08500) with counts in place of a bound:
rely on the interval of the accuracy on the other split.

No threshold is chosen by fewer than `LEAST` accepted images with a reference label. Images without one count for the
coverage, not for the accuracy. A threshold lies in a bin that holds some reference label: never below all of them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from metrics.calibration import (
    NOT_KNOWN,
    SIZE,
    UNKNOWN,
    Confidences,
    Marks,
    Whole,
    add_counts,
    fine_bins,
    lower_bounds,
    share_with_interval,
    tally,
)
from schemas.tables import AGREE, AGREE_AND_CONFIDENT, COVERAGE, COVERAGE_CURVE, ONE

TARGETS = (0.9, 0.95, 0.98, 0.99, 0.995)
LEAST = 30
POINTS = 100
_DENOMINATOR = 10**6  # targets are multiples of 1 / this, so that comparisons are exact
Row = dict[str, Any]


@dataclass(frozen=True, eq=False)
class CoverageCounts:
    """Counts of the images that might be accepted.

    Attributes:
        images: (1,) all that there are, accepted or not.
        bins: (3, SIZE) those that might be: n, with a reference label, and correct, by their fine bin.
    """

    images: Whole
    bins: Whole

    @property
    def upward(self) -> Whole:
        """(3, SIZE) the same of images in this bin or a higher one."""
        return self.bins[:, ::-1].cumsum(axis=1)[:, ::-1]


def count_coverage(
    confidence: Confidences, correct: Marks, acceptable: npt.NDArray[np.bool_] | None = None
) -> CoverageCounts:
    """Count the images of one annotator.

    Args:
        confidence: (n,) in [0, 1]; NaN where not known: such an image is never accepted.
        correct: (n,) 1, 0 or `UNKNOWN`.
        acceptable: (n,) whether it might be accepted; None: all might.

    Raises:
        ValueError: a confidence is not in [0, 1].
    """
    images = np.array([len(confidence)], dtype=np.int64)
    if acceptable is not None:
        confidence, correct = confidence[acceptable], correct[acceptable]
    place, known = fine_bins(confidence), correct != UNKNOWN
    return CoverageCounts(images, np.stack([tally(one, SIZE) for one in (place, place[known], place[correct == 1])]))


def count_agreed(
    confidence_a: Confidences, confidence_b: Confidences, agree: npt.NDArray[np.bool_], correct: Marks
) -> CoverageCounts:
    """Count the images on which two annotators agree, by the lower confidence; see `count_coverage`."""
    return count_coverage(np.minimum(confidence_a, confidence_b), correct, agree)


def merge_coverage(parts: Iterable[CoverageCounts]) -> CoverageCounts:
    """The sum of counts."""
    whole = [CoverageCounts(np.zeros(1, np.int64), np.zeros((3, SIZE), np.int64)), *parts]
    return CoverageCounts(add_counts(part.images for part in whole), add_counts(part.bins for part in whole))


def threshold_bin(counts: CoverageCounts, target: float, least: int = LEAST) -> int | None:
    """The lowest bin from which on accepted images are accurate enough; None where there is none.

    Args:
        counts: of the split by which it is chosen.
        target: the accuracy to reach, in (0, 1].
        least: accepted images with a reference label that it takes.

    Raises:
        ValueError: the target is no such share.
    """
    if not 0 < target <= 1:
        raise ValueError(f"a target accuracy must lie in (0, 1], got {target}")
    exact = Fraction(str(float(target))).limit_denominator(_DENOMINATOR)
    _, known, correct = counts.upward
    good = (known >= max(least, 1)) & (correct * exact.denominator >= known * exact.numerator)
    bins = np.flatnonzero(good & (counts.bins[1] > 0))
    bins = bins[bins > NOT_KNOWN]
    return int(bins[0]) if len(bins) else None


def count_accepted(counts: CoverageCounts, first: int | None) -> Row:
    """What becomes of the images in a bin or a higher one, as columns of the tables; None accepts no image."""
    n, known, correct = (0, 0, 0) if first is None else (int(total) for total in counts.bins[:, first:].sum(axis=1))
    images = int(counts.images[0])
    shares = {**share_with_interval("coverage", n, images), **share_with_interval("accuracy", correct, known)}
    return {"n": images, "accepted": n, "known": known, "correct": correct, **shares}


def coverage_rows(
    chosen: CoverageCounts,
    evaluated: CoverageCounts,
    keys: Mapping[str, Any],
    targets: Sequence[float] = TARGETS,
    least: int = LEAST,
) -> list[Row]:
    """One row per target: the threshold by one split, and what it reaches on another.

    Args:
        chosen: counts of the split by which thresholds are chosen.
        evaluated: counts of the split on which they are evaluated.
        keys: `dataset`, `split` (that is evaluated), `threshold_split`, `annotator_a`, `annotator_b` (None for one),
            `rule`, `confidence`.
        targets: accuracies to reach.
        least: see `threshold_bin`.
    """
    bounds, rows = lower_bounds(), []
    for target in targets:
        first = threshold_bin(chosen, target, least)
        reached = count_accepted(chosen, first)
        row = {"target": target, "threshold": None if first is None else float(bounds[first])}
        row |= {"threshold_split_known": reached["known"], "threshold_split_accuracy": reached["accuracy"]}
        rows.append({**keys, **row, **count_accepted(evaluated, first)})
    return rows


def coverage_table(
    chosen: CoverageCounts,
    evaluated: CoverageCounts,
    keys: Mapping[str, Any],
    targets: Sequence[float] = TARGETS,
    least: int = LEAST,
) -> pa.Table:
    """Rows of schema `COVERAGE`: of one annotator where `annotator_b` is None, else of two that agree.

    Args:
        chosen: counts of the split by which thresholds are chosen; of two annotators, of agreed images alone.
        evaluated: counts of the split on which they are evaluated.
        keys: `dataset`, `split` (that is evaluated), `threshold_split`, `annotator_a`, `annotator_b`, `confidence`.
        targets: accuracies to reach.
        least: see `threshold_bin`.
    """
    rule = ONE if keys["annotator_b"] is None else AGREE_AND_CONFIDENT
    rows = coverage_rows(chosen, evaluated, {**keys, "rule": rule}, targets, least)
    if keys["annotator_b"] is not None:
        rows.insert(0, {**keys, "rule": AGREE, "threshold_split": None, **count_accepted(evaluated, NOT_KNOWN)})
    return pa.Table.from_pylist(rows, schema=COVERAGE)


def curve_rows(counts: CoverageCounts, keys: Mapping[str, Any], points: int = POINTS) -> list[Row]:
    """Accuracy and coverage at thresholds that accept about 1/points, 2/points, ... of what might be accepted.

    Args:
        counts: of one split.
        keys: `dataset`, `split`, `annotator_a`, `annotator_b` (None for one), `rule`, `confidence`.
        points: how many thresholds, at most.
    """
    downward = counts.bins[0, NOT_KNOWN + 1 :][::-1].cumsum()
    total = int(downward[-1])
    steps = -(-np.arange(1, points + 1) * total // points)  # rounded up
    bins = np.unique(SIZE - 1 - np.searchsorted(downward, steps))[::-1] if total else np.zeros(0, np.int64)
    bounds = lower_bounds()
    return [{**keys, "threshold": float(bounds[first]), **count_accepted(counts, int(first))} for first in bins]


def curve_table(counts: CoverageCounts, keys: Mapping[str, Any], points: int = POINTS) -> pa.Table:
    """Rows of schema `COVERAGE_CURVE`: of one annotator where `annotator_b` is None, else of two that agree.

    Args:
        counts: of one split; of two annotators, of the images on which they agree.
        keys: `dataset`, `split`, `annotator_a`, `annotator_b`, `confidence`.
        points: see `curve_rows`.
    """
    rule = ONE if keys["annotator_b"] is None else AGREE_AND_CONFIDENT
    return pa.Table.from_pylist(curve_rows(counts, {**keys, "rule": rule}, points), schema=COVERAGE_CURVE)
