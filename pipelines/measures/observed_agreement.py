"""Observed agreement: the share of images to which two annotators gave the same label."""

from pipelines.counts.labels import BinaryCounts, Counts
from pipelines.measures import TWO, Figures, fields, proportion

COUNTS = TWO
FIELDS = fields(
    "observed", "share on which they agree, of images; of several labels, of image-class decisions", "Wilson"
)


def figures(counts: Counts | BinaryCounts) -> Figures:
    """The figures of `FIELDS`."""
    return proportion("observed", counts.n_agree, counts.n)
