"""Gwet's AC1, for two annotators or many: it stays meaningful where one label is nearly all, and kappa does not.

K. L. Gwet (2008), "Computing inter-rater reliability and its variance in the presence of high agreement", British
Journal of Mathematical and Statistical Psychology 61:29-48; with missing ratings as in his Handbook (2014). The
variance is divided by n for two annotators, by n - 1 for many, as he has it.
"""

from fractions import Fraction

from metrics.counts import BinaryCounts, LabelCounts
from metrics.cross_tables import Patterns
from metrics.measures import (
    MANY,
    NO_IMAGES,
    NORMAL,
    ONE_LABEL,
    TWO,
    Estimate,
    Figures,
    Undefined,
    coefficient,
    fields,
    fleiss_kappa,
)
from metrics.ratings import BinaryRatings, Ratings

COUNTS = (*TWO, *MANY)
FIELDS = fields("ac1", "Gwet's AC1, of the labels that occur", f"Gwet 2008, {NORMAL}")


def figures(counts: LabelCounts | BinaryCounts | Ratings | BinaryRatings) -> Figures:
    """The figures of `FIELDS`."""
    return coefficient("ac1", estimate(counts.patterns))


def estimate(patterns: Patterns) -> Estimate | Undefined:
    """AC1: a label that is nearly always, or nearly never, given is one that chance hardly agrees on."""
    if not patterns.pairable.n:
        return Undefined(NO_IMAGES)
    if patterns.categories < 2:
        return Undefined(ONE_LABEL)
    others = patterns.categories - 1
    weights = [(1 - share) / others for share in patterns.shares]
    by_chance = sum((share * weight for share, weight in zip(patterns.shares, weights, strict=True)), Fraction(0))
    return fleiss_kappa.corrected(patterns, weights, by_chance)
