"""Coverage: how many images need no person, for an accuracy that is asked for, and how accurate they turn out to be.

Images are accepted whose confidence is at or above a threshold: that of one annotator, or, of two that agree, the
lesser of both. The threshold is the lowest at which the accepted images of one split, mostly validation, are right
often enough (at least the target); it is then judged on another, mostly test, on which nothing was chosen. This is
selective prediction (Geifman and El-Yaniv 2017, https://arxiv.org/abs/1705.08500) with counts in place of a bound:
rely on what the interval of the accuracy on the other split says.

No threshold is chosen by fewer than `LEAST` accepted images of known truth. Images of unknown truth count for the
share, not for the accuracy. A threshold lies in a bin where some truth was known: never below all that was seen.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from metrics.confidence_bins import (
    NOT_KNOWN,
    SIZE,
    UNKNOWN,
    Confidences,
    Marks,
    Whole,
    added,
    fine_bins,
    lower_bounds,
    share,
    tally,
)
from schemas.tables import AGREE, AGREE_AND_SURE, COVERAGE, COVERAGE_CURVE, ONE

TARGETS = (0.9, 0.95, 0.98, 0.99, 0.995)
LEAST = 30
POINTS = 100
_DENOMINATOR = 10**6  # targets are told by this many parts, so that comparisons are exact
Row = dict[str, Any]


@dataclass(frozen=True, eq=False)
class CoverageCounts:
    """Counts of the images that might be accepted.

    Attributes:
        images: (1,) all that there are, accepted or not.
        bins: (3, SIZE) those that might be: n, of known truth, and correct, by their fine bin.
    """

    images: Whole
    bins: Whole

    @property
    def upward(self) -> Whole:
        """(3, SIZE) the same of images in this bin or a higher one."""
        return self.bins[:, ::-1].cumsum(axis=1)[:, ::-1]


def count_coverage(
    confidence: Confidences, correct: Marks, there: npt.NDArray[np.bool_] | None = None
) -> CoverageCounts:
    """Count the images of one annotator.

    Args:
        confidence: (n,) in [0, 1]; NaN where not known: such an image is never sure.
        correct: (n,) 1, 0 or `UNKNOWN`.
        there: (n,) whether it might be accepted; None: all might.

    Raises:
        ValueError: a confidence is not in [0, 1].
    """
    images = np.array([len(confidence)], dtype=np.int64)
    if there is not None:
        confidence, correct = confidence[there], correct[there]
    place, known = fine_bins(confidence), correct != UNKNOWN
    return CoverageCounts(images, np.stack([tally(one, SIZE) for one in (place, place[known], place[correct == 1])]))


def count_agreed(
    confidence_a: Confidences, confidence_b: Confidences, agree: npt.NDArray[np.bool_], correct: Marks
) -> CoverageCounts:
    """Count the images on which two annotators agree, by the lesser confidence; see `count`."""
    return count_coverage(np.minimum(confidence_a, confidence_b), correct, agree)


def merge_coverage(parts: Iterable[CoverageCounts]) -> CoverageCounts:
    """The sum of counts."""
    whole = [CoverageCounts(np.zeros(1, np.int64), np.zeros((3, SIZE), np.int64)), *parts]
    return CoverageCounts(added(part.images for part in whole), added(part.bins for part in whole))


def threshold_bin(counts: CoverageCounts, target: float, least: int = LEAST) -> int | None:
    """The lowest bin from which on accepted images are accurate enough; None where there is none.

    Args:
        counts: of the split by which it is chosen.
        target: the accuracy asked for, in (0, 1].
        least: accepted images of known truth that it takes.

    Raises:
        ValueError: the target is no such share.
    """
    if not 0 < target <= 1:
        raise ValueError(f"an accuracy to reach must lie in (0, 1], got {target}")
    wanted = Fraction(str(float(target))).limit_denominator(_DENOMINATOR)
    _, known, correct = counts.upward
    good = (known >= max(least, 1)) & (correct * wanted.denominator >= known * wanted.numerator)
    found = np.flatnonzero(good & (counts.bins[1] > 0))
    found = found[found > NOT_KNOWN]
    return int(found[0]) if len(found) else None


def accepted(counts: CoverageCounts, first: int | None) -> Row:
    """What becomes of the images in a bin or a higher one, as columns of the tables; None accepts no image."""
    n, known, correct = (0, 0, 0) if first is None else (int(total) for total in counts.bins[:, first:].sum(axis=1))
    images = int(counts.images[0])
    shares = {**share("share", n, images), **share("accuracy", correct, known)}
    return {"n": images, "accepted": n, "known": known, "correct": correct, **shares}


def coverage_rows(
    chosen: CoverageCounts,
    judged: CoverageCounts,
    keys: Mapping[str, Any],
    targets: Sequence[float] = TARGETS,
    least: int = LEAST,
) -> list[Row]:
    """A row a target: the threshold by one split, and what it reaches on another.

    Args:
        chosen: counts of the split by which thresholds are chosen.
        judged: counts of the split on which they are judged.
        keys: `dataset`, `split` (that is judged), `chosen_on`, `a`, `b` (None for one), `rule`, `confidence`.
        targets: accuracies asked for.
        least: see `threshold_bin`.
    """
    bounds, rows = lower_bounds(), []
    for target in targets:
        first = threshold_bin(chosen, target, least)
        there = accepted(chosen, first)
        row = {"target": target, "threshold": None if first is None else float(bounds[first])}
        row |= {"chosen_known": there["known"], "chosen_accuracy": there["accuracy"]}
        rows.append({**keys, **row, **accepted(judged, first)})
    return rows


def coverage_table(
    chosen: CoverageCounts,
    judged: CoverageCounts,
    keys: Mapping[str, Any],
    targets: Sequence[float] = TARGETS,
    least: int = LEAST,
) -> pa.Table:
    """Rows of schema `COVERAGE`: of one annotator alone where `b` is None, else both agree, and are sure as well.

    Args:
        chosen: counts of the split by which thresholds are chosen; of two annotators, of agreed images alone.
        judged: counts of the split on which they are judged.
        keys: `dataset`, `split` (that is judged), `chosen_on`, `a`, `b`, `confidence`.
        targets: accuracies asked for.
        least: see `threshold_bin`.
    """
    rule = ONE if keys["b"] is None else AGREE_AND_SURE
    rows = coverage_rows(chosen, judged, {**keys, "rule": rule}, targets, least)
    if keys["b"] is not None:
        rows.insert(0, {**keys, "rule": AGREE, "chosen_on": None, **accepted(judged, NOT_KNOWN)})
    return pa.Table.from_pylist(rows, schema=COVERAGE)


def curve_rows(counts: CoverageCounts, keys: Mapping[str, Any], points: int = POINTS) -> list[Row]:
    """Accuracy and share at thresholds that accept about 1/points, 2/points, ... of the images that might be accepted.

    Args:
        counts: of one split.
        keys: `dataset`, `split`, `a`, `b` (None for one), `rule`, `confidence`.
        points: how many thresholds, at most.
    """
    downward = counts.bins[0, NOT_KNOWN + 1 :][::-1].cumsum()
    total = int(downward[-1])
    wanted = -(-np.arange(1, points + 1) * total // points)  # rounded up
    found = np.unique(SIZE - 1 - np.searchsorted(downward, wanted))[::-1] if total else np.zeros(0, np.int64)
    bounds = lower_bounds()
    return [{**keys, "threshold": float(bounds[first]), **accepted(counts, int(first))} for first in found]


def curve_table(counts: CoverageCounts, keys: Mapping[str, Any], points: int = POINTS) -> pa.Table:
    """Rows of schema `COVERAGE_CURVE`: of one annotator alone where `b` is None, else both agree and both are sure.

    Args:
        counts: of one split; of two annotators, of the images on which they agree.
        keys: `dataset`, `split`, `a`, `b`, `confidence`.
        points: see `curve_rows`.
    """
    rule = ONE if keys["b"] is None else AGREE_AND_SURE
    return pa.Table.from_pylist(curve_rows(counts, {**keys, "rule": rule}, points), schema=COVERAGE_CURVE)
