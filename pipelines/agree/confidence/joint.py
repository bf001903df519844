"""The confidences of two annotators together: how often each pair of them occurs, agrees and is right."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
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
    tally,
)
from schemas.confidence_tables import ALL, BIN, JOINT_CONFIDENCE

BINS = 10
_NUMBERS = ("n", "n_agree", "n_known", "n_correct_a", "n_correct_b")


@dataclass(frozen=True, eq=False)
class Counts:
    """Counts of images that both labelled.

    Attributes:
        cells: (5, bins, bins) n, n_agree, n_known, n_correct_a and n_correct_b, by a's confidence and b's.
        sums: (2, 2) fixed-point sums of confidence: where they differ and where they agree, of a and of b.
    """

    cells: Whole
    sums: Whole


def count(
    confidence_a: Confidences,
    confidence_b: Confidences,
    agree: npt.NDArray[np.bool_],
    correct_a: Marks,
    correct_b: Marks,
    bins: int = BINS,
) -> Counts:
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
    return Counts(np.stack(cells).reshape(len(_NUMBERS), bins, bins), np.stack(sums, axis=1))


def merge(parts: Iterable[Counts], bins: int = BINS) -> Counts:
    """The sum of counts; of none, zeros in so many bins."""
    whole = list(parts) or [Counts(np.zeros((len(_NUMBERS), bins, bins), np.int64), np.zeros((2, 2), np.int64))]
    return Counts(added(part.cells for part in whole), added(part.sums for part in whole))


def joint_table(counts: Counts, keys: Mapping[str, str]) -> pa.Table:
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


def _means(counts: Counts, total: Mapping[str, int]) -> dict[str, float | None]:
    """Mean confidence of each annotator where they agree, and where they differ."""
    images = {"agree": total["n_agree"], "differ": total["n"] - total["n_agree"]}
    sums = {"agree": counts.sums[1].tolist(), "differ": counts.sums[0].tolist()}
    return {
        f"mean_{where}_{side}": sums[where][place] / UNIT / n if n else None
        for where, n in images.items()
        for place, side in enumerate("ab")
    }
