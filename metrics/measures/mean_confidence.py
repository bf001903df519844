"""How sure each annotator was where the two agree, and where they do not."""

from typing import Any

import pyarrow as pa

from metrics.counts import BinaryCounts, LabelCounts, mean_confidence
from metrics.measures import TWO, Figures, Undefined, field

COUNTS = TWO
_WHERE = {"agree": "where they agree", "differ": "where they do not"}
FIELDS = [
    field(
        f"mean_confidence_{annotator}_{name}",
        pa.float64(),
        f"mean confidence of {annotator} {where}; of one label, in those that {annotator} gave it",
    )
    for annotator in "ab"
    for name, where in _WHERE.items()
]


def figures(counts: LabelCounts | BinaryCounts) -> Figures:
    """The figures of `FIELDS`; the sums are exact, and each mean rounded once."""
    return {
        f"mean_confidence_{annotator}_{name}": _mean(*counts.confidence(annotator, name == "agree"), name)
        for annotator in "ab"
        for name in _WHERE
    }


def _mean(total: int, images: int, name: str) -> Any:
    why = "they agree on nothing" if name == "agree" else "they differ on nothing"
    return Undefined(why) if not images else mean_confidence(total, images)
