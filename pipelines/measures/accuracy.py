"""Accuracy of each annotator against the truth: the share of images that it labels as the truth does."""

import pyarrow as pa

from pipelines.measures import Counts, Figures, field, ratio

FIELDS = [
    field("n_truth", pa.int64(), "images labelled by both annotators whose truth is known"),
    field("accuracy_a", pa.float64(), "share of them that a labels as the truth does; null without a truth"),
    field("accuracy_b", pa.float64(), "share of them that b labels as the truth does; null without a truth"),
]


def figures(counts: Counts) -> Figures:
    """The figures of `FIELDS`."""
    right_a, known = counts.correct("a")
    right_b, _ = counts.correct("b")
    return {"n_truth": known, "accuracy_a": ratio(right_a, known), "accuracy_b": ratio(right_b, known)}
