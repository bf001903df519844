"""Agreement corrected for chance agreement: Cohen's kappa, Scott's pi, Gwet's AC1, Krippendorff's alpha, Fleiss' kappa.

Each is (observed - chance) / (1 - chance), and differs in how often annotators would agree by chance alone:

    cohen_kappa         two annotators, each with frequencies of its own: J. Cohen (1960), "A coefficient of agreement
                        for nominal scales", Educational and Psychological Measurement 20:37-46
    scott_pi            two annotators, with the frequencies of both together: W. A. Scott (1955), "Reliability of
                        content analysis: the case of nominal scale coding", Public Opinion Quarterly 19:321-325
    fleiss_kappa        many annotators: J. L. Fleiss (1971), "Measuring nominal scale agreement among many raters",
                        Psychological Bulletin 76:378-382; of two annotators who rated all images it is Scott's pi
    gwet_ac1            two or many, and meaningful where one label is nearly all and kappa is not: K. L. Gwet (2008),
                        "Computing inter-rater reliability and its variance in the presence of high agreement", British
                        Journal of Mathematical and Statistical Psychology 61:29-48
    krippendorff_alpha  two or many: K. Krippendorff (1970), "Estimating the reliability, systematic error and random
                        error of interval data", Educational and Psychological Measurement 30:61-70, and "Computing
                        Krippendorff's alpha-reliability" (2011)

Ratings may be missing (K. L. Gwet 2014, "Handbook of Inter-Rater Reliability", 4th edition, chapter 2): agreement is
observed on the images that two annotators or more have rated; frequencies are of all that anybody has. Variances are
those of images' linearised scores (Gwet 2008, 2014), over n for two annotators and over n - 1 for many, as he has it;
Cohen's is that of J. L. Fleiss, J. Cohen and B. S. Everitt (1969), "Large sample standard errors of kappa and weighted
kappa", Psychological Bulletin 72:323-327, over n: what irrCAC prints, and statsmodels as `std_kappa`.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction

from metrics.counts import BinaryCounts, LabelCounts
from metrics.cross_tables import CrossTable, Patterns, summed
from metrics.measures import (
    MANY,
    NO_IMAGES,
    TWO,
    Estimate,
    Figure,
    Undefined,
    coefficient,
    prefix,
    with_one_vs_rest,
)
from metrics.ratings import BinaryRatings, Ratings

COUNTS = (*TWO, *MANY)
MEASURES = with_one_vs_rest(
    {
        "chance_agreement": "agreement expected by chance, from how often each annotator gave each label; three or "
        "more: from how often any of them did",
        "cohen_kappa": "Cohen's kappa; see gwet_ac1 where one label is nearly all",
        "scott_pi": "Scott's pi: kappa with one set of frequencies for both",
        "fleiss_kappa": "Fleiss' kappa of three annotators or more, in Gwet's form for missing ratings",
        "gwet_ac1": "Gwet's AC1, of the labels that occur",
        "krippendorff_alpha": "Krippendorff's alpha, nominal",
    }
)
ONE_LABEL = "only one label occurs"
_ERROR_OF_KAPPA = "Fleiss, Cohen & Everitt 1969"
BY_CHANCE = "chance alone agrees on everything"


def figures(counts: LabelCounts | BinaryCounts | Ratings | BinaryRatings) -> Iterator[Figure]:
    """The figures of `MEASURES`."""
    patterns, start = counts.patterns, prefix(counts)
    if isinstance(counts, LabelCounts | BinaryCounts):
        yield coefficient(f"{start}chance_agreement", chance_agreement(counts.table), "delta method")
        yield coefficient(f"{start}cohen_kappa", cohen_kappa(counts.table), _ERROR_OF_KAPPA)
        yield coefficient(f"{start}scott_pi", fleiss_kappa(patterns), "Gwet 2008")
    else:
        yield coefficient(f"{start}chance_agreement", chance_agreement_of_many(patterns), "Gwet 2014")
        yield coefficient(f"{start}fleiss_kappa", fleiss_kappa(patterns), "Gwet 2014")
    yield coefficient(f"{start}gwet_ac1", gwet_ac1(patterns), "Gwet 2008")
    yield coefficient(f"{start}krippendorff_alpha", krippendorff_alpha(patterns), "Gwet 2014")


def chance_agreement(table: CrossTable) -> Estimate | Undefined:
    """Agreement expected by chance; its variance is that of each image's share in it, (a_j + b_i), over n."""
    n, by_chance = table.n, table.by_chance
    if not n:
        return Undefined(NO_IMAGES)
    variance = Fraction(n * _crossed(table, agree=True) + n * _crossed(table, agree=False) - 4 * by_chance**2, n**5)
    return Estimate(Fraction(by_chance, n * n), math.sqrt(variance))


def cohen_kappa(table: CrossTable) -> Estimate | Undefined:
    """Kappa and its standard error, in whole numbers up to the last root."""
    n, agree, by_chance = table.n, table.n_agree, table.by_chance
    if not n:
        return Undefined(NO_IMAGES)
    left = n * n - by_chance
    if not left:
        return Undefined(BY_CHANCE)
    a, b = table.marginals
    cells = zip(table.a.tolist(), table.b.tolist(), table.images.tolist(), strict=True)
    on = sum(images * (left - (a[i] + b[i]) * (n - agree)) ** 2 for i, j, images in cells if i == j)
    off = (n - agree) ** 2 * _crossed(table, agree=False)
    both = (agree * by_chance - 2 * by_chance * n + agree * n * n) ** 2
    variance = Fraction((n * (on + off) - both) * n, left**4)
    return Estimate(Fraction(n * agree - by_chance, left), math.sqrt(variance))


def kappa_of_counts(counts: Mapping[tuple[str, str], int]) -> Figure:
    """Cohen's kappa from how often each combination of two annotators' labels occurs."""
    return coefficient("cohen_kappa", cohen_kappa(CrossTable.of_counts(counts)), _ERROR_OF_KAPPA)


def _crossed(table: CrossTable, agree: bool) -> int:
    """The sum over images, on which they agree or do not, of (b's times of a's label + a's times of b's label)^2."""
    a, b = table.marginals
    cells = zip(table.a.tolist(), table.b.tolist(), table.images.tolist(), strict=True)
    return sum(images * (b[i] + a[j]) ** 2 for i, j, images in cells if (i == j) == agree)


def chance_agreement_of_many(patterns: Patterns) -> Estimate | Undefined:
    """Agreement expected by chance: the sum of squared shares of the labels."""
    if not patterns.n:
        return Undefined(NO_IMAGES)
    shares = patterns.shares
    value = _dot(shares, shares)
    scores = 2 * patterns.expected_share(shares, patterns.raters) - float(value)
    return Estimate(value, patterns.standard_error(scores, float(value)))


def fleiss_kappa(patterns: Patterns) -> Estimate | Undefined:
    """Fleiss' kappa; of two annotators who rated all images it is Scott's pi."""
    shares = patterns.shares if patterns.pairable.n else []
    return _corrected(patterns, shares, _dot(shares, shares))


def gwet_ac1(patterns: Patterns) -> Estimate | Undefined:
    """AC1: a label that is nearly always, or nearly never, given is one that chance hardly agrees on."""
    if not patterns.pairable.n:
        return Undefined(NO_IMAGES)
    if patterns.categories < 2:
        return Undefined(ONE_LABEL)
    weights = [(1 - share) / (patterns.categories - 1) for share in patterns.shares]
    return _corrected(patterns, weights, _dot(patterns.shares, weights))


def _dot(shares: Sequence[Fraction], weights: Sequence[Fraction]) -> Fraction:
    return sum((share * weight for share, weight in zip(shares, weights, strict=True)), Fraction(0))


def _corrected(patterns: Patterns, weights: list[Fraction], by_chance: Fraction) -> Estimate | Undefined:
    """A coefficient (observed - chance) / (1 - chance), with Gwet's standard error.

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
    agree = patterns.n / patterns.pairable.n * (patterns.agreements - chance * (patterns.raters >= 2)) / left
    shifts = (patterns.expected_share(weights, patterns.raters) - chance) / left
    scores = agree - 2 * float(1 - value) * shifts
    return Estimate(value, patterns.standard_error(scores, float(value)))


def krippendorff_alpha(patterns: Patterns) -> Estimate | Undefined:
    """Alpha, of the images that two annotators or more have rated; an image counts as often as it was rated."""
    patterns = patterns.pairable
    if not patterns.n:
        return Undefined(NO_IMAGES)
    times = summed(patterns.category, patterns.times * patterns.images[patterns.pattern], patterns.categories).tolist()
    ratings = sum(times)
    by_chance = Fraction(sum(one * one for one in times), ratings * ratings)
    if by_chance == 1:
        return Undefined(BY_CHANCE)
    raw = (_agreeing(patterns) / ratings - by_chance) / (1 - by_chance)
    corrected = raw + (1 - raw) / ratings  # for small samples
    return Estimate(corrected, _alpha_error(patterns, raw, [Fraction(one, ratings) for one in times], by_chance))


def _agreeing(patterns: Patterns) -> Fraction:
    """The sum over images of the ordered pairs of annotators that agree, each image's over its annotators less one."""
    total = Fraction(0)
    for raters in sorted(set(patterns.raters.tolist())):
        of = patterns.raters == raters
        total += Fraction(int((patterns.images * patterns.agreeing)[of].sum()), raters - 1)
    return total


def _alpha_error(patterns: Patterns, raw: Fraction, shares: list[Fraction], by_chance: Fraction) -> float | None:
    """The standard error of alpha before the correction for small samples: from the linearised score of each image."""
    raters = patterns.raters
    mean = float((patterns.images * raters).sum() / patterns.n)
    chance, left = float(by_chance), float(1 - by_chance)
    weight = (raters - mean) / mean
    observed = float(raw) * left + chance
    agree = patterns.agreeing / (mean * (raters - 1)) - observed * weight
    shifts = (patterns.expected_share(shares, mean) - chance * weight - chance) / left
    return patterns.standard_error((agree - chance) / left - 2 * float(1 - raw) * shifts, float(raw))
