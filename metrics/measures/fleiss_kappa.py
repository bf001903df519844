"""Observed agreement of many annotators, and Fleiss' kappa, in K. L. Gwet's form where ratings are missing.

J. L. Fleiss (1971), "Measuring nominal scale agreement among many raters", Psychological Bulletin 76:378-382.
K. L. Gwet (2014), "Handbook of Inter-Rater Reliability", 4th edition, chapter 2: agreement is observed on the images
that two annotators or more have rated; frequencies are of all that anybody has. The variance (K. L. Gwet 2008,
"Computing inter-rater reliability and its variance in the presence of high agreement", British Journal of Mathematical
and Statistical Psychology 61:29-48) is that of images' linearised scores.
"""

from fractions import Fraction

import numpy as np

from metrics.cross_tables import FloatArray, Patterns
from metrics.measures import BY_CHANCE, MANY, NO_IMAGES, NORMAL, Estimate, Figures, Undefined, coefficient, fields
from metrics.ratings import BinaryRatings, Ratings

COUNTS = MANY
FIELDS = [
    *fields("observed", "mean share of pairs of annotators that agree on an image", NORMAL),
    *fields("expected", "agreement expected by chance, from how often any of them gave each label", f"Gwet, {NORMAL}"),
    *fields("fleiss_kappa", "Fleiss' kappa, in Gwet's form for missing ratings", f"Gwet 2014, {NORMAL}"),
]


def figures(counts: Ratings | BinaryRatings) -> Figures:
    """The figures of `FIELDS`."""
    patterns = counts.patterns
    return {
        **coefficient("observed", observed(patterns)),
        **coefficient("expected", expected(patterns)),
        **coefficient("fleiss_kappa", estimate(patterns)),
    }


def observed(patterns: Patterns) -> Estimate | Undefined:
    """Observed agreement, of the images that two or more have rated."""
    if not patterns.pairable.n:
        return Undefined(NO_IMAGES)
    pairable, value = patterns.pairable, patterns.observed
    return Estimate(value, pairable.standard_error(agreements(pairable), float(value)))


def expected(patterns: Patterns) -> Estimate | Undefined:
    """Expected agreement: the sum of squared shares of the labels."""
    if not patterns.n:
        return Undefined(NO_IMAGES)
    shares = patterns.shares
    value = sum((share * share for share in shares), Fraction(0))
    scores = 2 * patterns.expected_share(shares, patterns.raters) - float(value)
    return Estimate(value, patterns.standard_error(scores, float(value)))


def estimate(patterns: Patterns) -> Estimate | Undefined:
    """Fleiss' kappa; of two annotators who rated all images it is Scott's pi."""
    shares = patterns.shares if patterns.pairable.n else []
    return corrected(patterns, shares, sum((share * share for share in shares), Fraction(0)))


def corrected(patterns: Patterns, weights: list[Fraction], by_chance: Fraction) -> Estimate | Undefined:
    """A coefficient (observed - expected) / (1 - expected), with Gwet's standard error.

    Args:
        patterns: of the ratings.
        weights: for each label what a rating with it adds to the agreement expected by chance.
        by_chance: that agreement.
    """
    if not patterns.pairable.n:
        return Undefined(NO_IMAGES)
    if by_chance == 1:
        return Undefined(BY_CHANCE)
    value = (patterns.observed - by_chance) / (1 - by_chance)
    chance, left = float(by_chance), float(1 - by_chance)
    agree = patterns.n / patterns.pairable.n * (agreements(patterns) - chance * (patterns.raters >= 2)) / left
    shifts = (patterns.expected_share(weights, patterns.raters) - chance) / left
    scores = agree - 2 * float(1 - value) * shifts
    return Estimate(value, patterns.standard_error(scores, float(value)))


def agreements(patterns: Patterns) -> FloatArray:
    """Of each pattern the share of pairs of annotators that agree; 0 for a single one."""
    return np.asarray(patterns.agreeing / np.maximum(patterns.raters * (patterns.raters - 1), 1))
