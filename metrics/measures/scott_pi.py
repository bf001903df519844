"""Scott's pi, for two annotators: chance agreement follows from the frequencies of both together.

W. A. Scott (1955), "Reliability of content analysis: the case of nominal scale coding", Public Opinion Quarterly
19:321-325. It is Fleiss' kappa of two; the variance is K. L. Gwet's (2008), divided by n.
"""

from metrics.counts import BinaryCounts, LabelCounts
from metrics.measures import NORMAL, TWO, Figures, coefficient, fields, fleiss_kappa

COUNTS = TWO
FIELDS = fields("pi", "Scott's pi: kappa with one set of frequencies for both", f"Gwet 2008, {NORMAL}")


def figures(counts: LabelCounts | BinaryCounts) -> Figures:
    """The figures of `FIELDS`."""
    return coefficient("pi", fleiss_kappa.estimate(counts.patterns))
