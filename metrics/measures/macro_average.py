"""Macro averages: the mean over labels of precision, recall and F1 of each annotator against the truth."""

import math

import pyarrow as pa

from metrics.counts import Hits, LabelCounts, MultilabelCounts
from metrics.measures import Figures, Undefined, field

COUNTS = (LabelCounts, MultilabelCounts)
_FIGURES = ("precision", "recall", "f1")
FIELDS = [
    field(
        f"macro_{figure}_{annotator}",
        pa.float64(),
        f"mean {figure} over the labels that {annotator} or the truth gave, 0 where it is not defined",
    )
    for annotator in "ab"
    for figure in _FIGURES
]


def figures(counts: LabelCounts | MultilabelCounts) -> Figures:
    """The figures of `FIELDS`; an undefined one of a label counts as 0, as in scikit-learn."""
    found: Figures = {}
    for annotator in "ab":
        hits = list(counts.hits(annotator).values())
        by_label = [_of_label(one) for one in hits]
        for place, figure in enumerate(_FIGURES):
            name = f"macro_{figure}_{annotator}"
            found[name] = math.fsum(one[place] for one in by_label) / len(by_label) if by_label else _none(counts)
    return found


def _of_label(hits: Hits) -> tuple[float, float, float]:
    right, wrong, missed = hits
    return right / max(right + wrong, 1), right / max(right + missed, 1), 2 * right / (2 * right + wrong + missed)


def _none(counts: LabelCounts | MultilabelCounts) -> Undefined | None:
    """Without a truth there is nothing to be averaged; with one that has no label, the mean is not defined."""
    known = counts.told.images if isinstance(counts, MultilabelCounts) else counts.correct("a")[1]
    return Undefined("no label is given where the truth is known") if known else None
