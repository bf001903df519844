"""Accuracy of each annotator against the truth: the share of images that it labels as the truth does."""

import pyarrow as pa

from metrics.counts import BinaryCounts, LabelCounts
from metrics.measures import TWO, Figures, absent, field, fields, proportion

COUNTS = TWO
FIELDS = [
    field(
        "n_truth", pa.int64(), "images labelled by both whose truth is known; of several labels, image-class decisions"
    ),
    *fields("accuracy_a", "share of them that a labels as the truth does; null without a truth", "Wilson"),
    *fields("accuracy_b", "share of them that b labels as the truth does; null without a truth", "Wilson"),
]


def figures(counts: LabelCounts | BinaryCounts) -> Figures:
    """The figures of `FIELDS`."""
    found: Figures = {"n_truth": counts.correct("a")[1]}
    for annotator in "ab":
        right, known = counts.correct(annotator)
        name = f"accuracy_{annotator}"
        found |= proportion(name, right, known) if known else absent(name, None)
    return found
