"""Krippendorff's alpha for nominal labels, for two annotators or many, of whom some may be missing.

K. Krippendorff (1970), "Estimating the reliability, systematic error and random error of interval data", Educational
and Psychological Measurement 30:61-70, and "Computing Krippendorff's alpha-reliability" (2011). The variance is K. L.
Gwet's (2014), divided by n for two annotators, by n - 1 for many.
"""

from fractions import Fraction

from metrics.counts import BinaryCounts, LabelCounts
from metrics.cross_tables import Patterns, summed
from metrics.measures import BY_CHANCE, MANY, NO_IMAGES, NORMAL, TWO, Estimate, Figures, Undefined, coefficient, fields
from metrics.ratings import BinaryRatings, Ratings

COUNTS = (*TWO, *MANY)
FIELDS = fields("alpha", "Krippendorff's alpha, nominal", f"Gwet 2014, {NORMAL}")


def figures(counts: LabelCounts | BinaryCounts | Ratings | BinaryRatings) -> Figures:
    """The figures of `FIELDS`."""
    return coefficient("alpha", estimate(counts.patterns))


def estimate(patterns: Patterns) -> Estimate | Undefined:
    """Alpha, of the images that two annotators or more have rated; an image counts as often as it was rated."""
    patterns = patterns.pairable
    if not patterns.n:
        return Undefined(NO_IMAGES)
    given = _given(patterns)
    ratings = sum(given)
    by_chance = Fraction(sum(times * times for times in given), ratings * ratings)
    if by_chance == 1:
        return Undefined(BY_CHANCE)
    raw = (_agreeing(patterns) / ratings - by_chance) / (1 - by_chance)
    agree = raw + (1 - raw) / ratings  # corrected for small samples
    return Estimate(agree, _standard_error(patterns, raw, [Fraction(times, ratings) for times in given], by_chance))


def _given(patterns: Patterns) -> list[int]:
    """How often anybody gave each label."""
    return list(
        summed(patterns.category, patterns.times * patterns.images[patterns.pattern], patterns.categories).tolist()
    )


def _agreeing(patterns: Patterns) -> Fraction:
    """The sum over images of the ordered pairs of annotators that agree, each image's over its annotators less one."""
    total = Fraction(0)
    for raters in sorted(set(patterns.raters.tolist())):
        of = patterns.raters == raters
        total += Fraction(int((patterns.images * patterns.agreeing)[of].sum()), raters - 1)
    return total


def _standard_error(patterns: Patterns, raw: Fraction, shares: list[Fraction], by_chance: Fraction) -> float | None:
    """Of alpha before the correction for small samples: the linearised score of each image."""
    raters = patterns.raters
    mean = float((patterns.images * raters).sum() / patterns.n)
    chance, left = float(by_chance), float(1 - by_chance)
    weight = (raters - mean) / mean
    observed = float(raw) * left + chance
    agree = patterns.agreeing / (mean * (raters - 1)) - observed * weight
    shifts = (patterns.expected_share(shares, mean) - chance * weight - chance) / left
    return patterns.standard_error((agree - chance) / left - 2 * float(1 - raw) * shifts, float(raw))
