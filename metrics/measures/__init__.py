"""Measures of agreement and accuracy: one file per theme, found by its name; counts in, figures out.

Each module has `COUNTS`, the kinds of counts that it takes; `MEASURES`, what each of its measures is, by name; and
`figures(counts)`, which yields the `Figure` of each measure that applies to these counts: none against the reference
where there is no reference. All of them become rows of the table `measures`. Counts are integers and fixed-point sums,
so that they merge exactly (`metrics.counts`, `metrics.ratings`); formulas come last.

A figure of one label against the rest has a name of its own wherever the bare name would read like a figure of all
labels or of the class: `one_vs_rest_accuracy_a`, not `accuracy_a`.
"""

import importlib
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from types import ModuleType
from typing import Any

from metrics.counts import BinaryCounts, DecisionCounts, LabelCounts, SequenceCounts
from metrics.intervals import WILSON, Z, wilson_interval
from metrics.ratings import BinaryRatings, Ratings
from schemas import plugins

TWO = (LabelCounts, SequenceCounts, BinaryCounts, DecisionCounts)  # the counts of two annotators with a cross table
MANY = (Ratings, BinaryRatings)
CLASS = (BinaryCounts, BinaryRatings)  # of one label against the rest
CrossTabulated = LabelCounts | BinaryCounts

NO_IMAGES = "no image was labelled by two"
NORMAL = "normal, cut off at -1 and 1"
ONE_VS_REST = "one_vs_rest_"


@dataclass(frozen=True)
class Figure:
    """The value of a measure, with the ends of its 95 % interval; None what is not defined, or has no interval."""

    measure: str
    value: float | None
    low: float | None = None
    high: float | None = None
    method: str | None = None
    undefined_because: str | None = None


@dataclass(frozen=True)
class Undefined:
    """Stands for an estimate that its formula does not define, and says why."""

    why: str


@dataclass(frozen=True)
class Estimate:
    """An estimate and its standard error, None where there are too few images for one."""

    value: Fraction
    error: float | None


@cache
def modules() -> list[ModuleType]:
    """Every file of measures."""
    package = importlib.import_module(__name__)
    return [plugins.load(package, "measure", name) for name in plugins.names(package)]


def descriptions() -> dict[str, str]:
    """What each measure is, by name."""
    return {name: text for module in modules() for name, text in module.MEASURES.items()}


def figures_of(counts: Any) -> Iterator[Figure]:
    """The figure of every measure that applies to some counts."""
    for module in modules():
        if type(counts) in module.COUNTS:
            yield from module.figures(counts)


def prefix(counts: Any) -> str:
    """What the names of measures of one label against the rest begin with; empty for the counts of all labels."""
    return ONE_VS_REST if type(counts) in CLASS else ""


def with_one_vs_rest(measures: Mapping[str, str]) -> dict[str, str]:
    """The descriptions of measures, and of the same measures of one label against the rest."""
    of_label = {f"{ONE_VS_REST}{name}": f"{text}; of the label against the rest" for name, text in measures.items()}
    return {**measures, **of_label}


def ratio(measure: str, numerator: int, denominator: int, why: str = NO_IMAGES) -> Figure:
    """A quotient of whole numbers, rounded once."""
    return Figure(measure, numerator / denominator) if denominator else Figure(measure, None, undefined_because=why)


def proportion(measure: str, successes: int, trials: int, why: str = NO_IMAGES) -> Figure:
    """A share with its Wilson score interval."""
    if not trials:
        return Figure(measure, None, undefined_because=why)
    _, low, high = wilson_interval(successes, trials)
    return Figure(measure, successes / trials, low, high, WILSON)


def overlap(measure: str, both: int, one: int, why: str) -> Figure:
    """2 both / (2 both + one): the specific agreement, or F1, of what two gave and what one alone did.

    It is 2 p / (1 + p), where p = both / (both + one); its interval is that of p (Wilson), carried over.
    """
    if not both + one:
        return Figure(measure, None, undefined_because=why)
    low, high = (2 * end / (1 + end) for end in wilson_interval(both, both + one)[1:])
    return Figure(measure, 2 * both / (2 * both + one), low, high, f"{WILSON}, carried over from both / either")


def coefficient(measure: str, estimate: Estimate | Undefined, method: str) -> Figure:
    """An estimate with its normal interval, within [-1, 1]."""
    if isinstance(estimate, Undefined):
        return Figure(measure, None, undefined_because=estimate.why)
    value = float(estimate.value)
    if estimate.error is None:
        return Figure(measure, value, undefined_because="too few images")
    half = Z * estimate.error
    return Figure(measure, value, max(value - half, -1.0), min(value + half, 1.0), f"{method}, {NORMAL}")


def mean(measure: str, values: Iterable[float], why: str) -> Figure:
    """The plain mean of some values, rounded once."""
    some = list(values)
    return Figure(measure, math.fsum(some) / len(some)) if some else Figure(measure, None, undefined_because=why)
