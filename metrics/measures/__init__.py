"""Measures of agreement: a file per kind, found by its name; counts in, figures out.

Each module has `COUNTS`, the kinds of counts that it takes, `FIELDS`, the columns that it adds to their table, and
`figures(counts)`, their values. A figure whose formula is not defined for the counts is an `Undefined` that says why.
Counts are integers and fixed-point sums, so that they merge exactly (`metrics.cross_tables`); formulas come last.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import pyarrow as pa

from metrics.counts import BinaryCounts, LabelCounts, MultilabelCounts, SequenceCounts, count_labels
from metrics.cross_tables import CONFIDENCE_UNIT
from metrics.intervals import Z, wilson_interval
from metrics.ratings import BinaryRatings, Ratings
from schemas import tables

__all__ = ["CONFIDENCE_UNIT", "LabelCounts", "count_labels", "merge"]
Figures = dict[str, Any]
TWO = (LabelCounts, SequenceCounts, BinaryCounts)  # the counts of two annotators that have a cross table
MANY = (Ratings, BinaryRatings)
PAIRED = (*TWO, MultilabelCounts)

NO_IMAGES = "no image was labelled by two"
ONE_LABEL = "only one label occurs"
BY_CHANCE = "chance alone agrees on everything"
NORMAL = "normal, cut off at -1 and 1"


@dataclass(frozen=True)
class Undefined:
    """Stands for a figure that its formula does not define, and says why."""

    why: str


@dataclass(frozen=True)
class Estimate:
    """An estimate and its standard error, None where there are too few images for one."""

    value: Fraction
    error: float | None


def merge(parts: Iterable[Any]) -> Any:
    """The sum of counts, all of one kind; of nothing, no `Counts`."""
    parts = list(parts)
    kind = type(parts[0]) if parts else LabelCounts
    return kind.merged(parts)


def field(name: str, kind: pa.DataType, description: str) -> pa.Field:
    """A column of a table of figures; null where the figure is not defined, or is none of the dataset's task."""
    return tables.figure(name, kind, description)


def fields(name: str, description: str, interval: str) -> list[pa.Field]:
    """The columns of a figure and of its 95 % interval, whose method is named."""
    return [
        field(name, pa.float64(), description),
        field(f"{name}_low", pa.float64(), f"lower end of its 95 % interval ({interval})"),
        field(f"{name}_high", pa.float64(), f"upper end of its 95 % interval ({interval})"),
    ]


def ratio(numerator: int, denominator: int, why: str = NO_IMAGES) -> float | Undefined:
    """A quotient of whole numbers, rounded once."""
    return numerator / denominator if denominator else Undefined(why)


def absent(name: str, why: Undefined | None) -> Figures:
    """A figure and its interval where there are none: undefined, or of no concern (None)."""
    return {name: why, f"{name}_low": why, f"{name}_high": why}


def proportion(name: str, successes: int, trials: int, why: str = NO_IMAGES) -> Figures:
    """A share with its Wilson score interval."""
    if not trials:
        return absent(name, Undefined(why))
    _, low, high = wilson_interval(successes, trials)
    return {name: successes / trials, f"{name}_low": low, f"{name}_high": high}


def overlap(name: str, both: int, one: int, why: str) -> Figures:
    """2 both / (2 both + one): the specific agreement, or F1, of what two gave and what one alone did.

    It is 2 p / (1 + p), where p = both / (both + one); its interval is that of p (Wilson), carried over.
    """
    if not both + one:
        return absent(name, Undefined(why))
    low, high = (2 * end / (1 + end) for end in wilson_interval(both, both + one)[1:])
    return {name: 2 * both / (2 * both + one), f"{name}_low": low, f"{name}_high": high}


def coefficient(name: str, estimate: Estimate | Undefined) -> Figures:
    """An estimate with its normal interval, within [-1, 1]."""
    if isinstance(estimate, Undefined):
        return absent(name, estimate)
    value = float(estimate.value)
    if estimate.error is None:
        few = Undefined("too few images")
        return {name: value, f"{name}_low": few, f"{name}_high": few}
    half = Z * estimate.error
    return {name: value, f"{name}_low": max(value - half, -1.0), f"{name}_high": min(value + half, 1.0)}
