"""Agreement expected by chance and Cohen's kappa, for two annotators.

J. Cohen (1960), "A coefficient of agreement for nominal scales", Educational and Psychological Measurement 20:37-46:
kappa = (observed - expected) / (1 - expected), where expected is the agreement of two annotators who label at random,
each with its own frequencies.

J. L. Fleiss, J. Cohen and B. S. Everitt (1969), "Large sample standard errors of kappa and weighted kappa",
Psychological Bulletin 72:323-327, gives the variance, divided by n (not n - 1) and without a correction for a finite
population: what irrCAC prints, and statsmodels as `std_kappa`.
"""

import math
from fractions import Fraction

from metrics.counts import BinaryCounts, LabelCounts
from metrics.cross_tables import CrossTable
from metrics.measures import BY_CHANCE, NO_IMAGES, NORMAL, TWO, Estimate, Figures, Undefined, coefficient, fields

COUNTS = TWO
FIELDS = [
    *fields("expected", "agreement expected by chance, from how often each gave each label", f"delta method, {NORMAL}"),
    *fields("kappa", "Cohen's kappa; see ac1 where one label is nearly all", f"Fleiss, Cohen & Everitt 1969, {NORMAL}"),
]


def figures(counts: LabelCounts | BinaryCounts) -> Figures:
    """The figures of `FIELDS`."""
    return {**coefficient("expected", expected(counts.table)), **coefficient("kappa", estimate(counts.table))}


def expected(table: CrossTable) -> Estimate | Undefined:
    """Agreement expected by chance; its variance is that of each image's share in it, (a_j + b_i), over n."""
    n, by_chance = table.n, table.by_chance
    if not n:
        return Undefined(NO_IMAGES)
    variance = Fraction(n * _crossed(table, agree=True) + n * _crossed(table, agree=False) - 4 * by_chance**2, n**5)
    return Estimate(Fraction(by_chance, n * n), math.sqrt(variance))


def estimate(table: CrossTable) -> Estimate | Undefined:
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


def _crossed(table: CrossTable, agree: bool) -> int:
    """The sum over images, on which they agree or do not, of (b's times of a's label + a's times of b's label)^2."""
    a, b = table.marginals
    cells = zip(table.a.tolist(), table.b.tolist(), table.images.tolist(), strict=True)
    return sum(images * (b[i] + a[j]) ** 2 for i, j, images in cells if (i == j) == agree)
