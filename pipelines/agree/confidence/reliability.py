"""How right an annotator is at each confidence: reliability bins, expected calibration error and Brier score.

Guo et al. 2017 (https://arxiv.org/abs/1706.04599), of the label that was given: ECE is the mean over images of
|accuracy - mean confidence| of their bin. The Brier score is the mean of (confidence - correct)^2 (G. W. Brier 1950,
"Verification of forecasts expressed in terms of probability", Monthly Weather Review 78:1-3), correct being 1 or 0.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.agree.confidence import (
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
from schemas.confidence_tables import ALL, BIN, CALIBRATION

BINS = 15
_ROWS = ("n", "correct", "confidence", "squared")


@dataclass(frozen=True, eq=False)
class Counts:
    """Counts of images of known truth: (4, bins) n, correct, and fixed-point sums of confidence and of its Brier score.

    Attributes:
        raw: by raw confidence.
        calibrated: by calibrated confidence, of those that have one.
    """

    raw: Whole
    calibrated: Whole


def count(confidence: Confidences, calibrated: Confidences, correct: Marks, bins: int = BINS) -> Counts:
    """Count the images of one annotator.

    Args:
        confidence: (n,) in [0, 1]; NaN where not known.
        calibrated: (n,) the same after calibration.
        correct: (n,) 1, 0 or `UNKNOWN`.
        bins: how many.

    Raises:
        ValueError: a confidence is not in [0, 1].
    """
    return Counts(_counted(confidence, correct, bins), _counted(calibrated, correct, bins))


def _counted(confidence: Confidences, correct: Marks, bins: int) -> Whole:
    there = (correct != UNKNOWN) & ~np.isnan(confidence)
    sure, right = checked(confidence[there]), correct[there].astype(np.int64)
    place = equal_bins(sure, bins)
    squared = fixed((sure.astype(np.float64) - right) ** 2)
    return np.stack([tally(place, bins, weights) for weights in (None, right, fixed(sure), squared)])


def merge(parts: Iterable[Counts], bins: int = BINS) -> Counts:
    """The sum of counts; of none, zeros in so many bins."""
    whole = list(parts) or [Counts(np.zeros((len(_ROWS), bins), np.int64), np.zeros((len(_ROWS), bins), np.int64))]
    return Counts(added(part.raw for part in whole), added(part.calibrated for part in whole))


def calibration_table(counts: Counts, keys: Mapping[str, str]) -> pa.Table:
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
