"""Observed agreement: the share of images to which two annotators gave the same label."""

from metrics.counts import BinaryCounts, LabelCounts
from metrics.measures import TWO, Figures, fields, proportion

COUNTS = TWO
FIELDS = fields(
    "observed", "share on which they agree, of images; of several labels, of image-class decisions", "Wilson"
)


def figures(counts: LabelCounts | BinaryCounts) -> Figures:
    """The figures of `FIELDS`."""
    return proportion("observed", counts.n_agree, counts.n)
