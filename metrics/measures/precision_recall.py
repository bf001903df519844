"""Precision, recall and F1 of each annotator against the truth: of one label, or of all decisions together (micro).

C. J. van Rijsbergen (1979), "Information Retrieval", chapter 7; N. Chinchor (1992), "MUC-4 evaluation metrics".
"""

from metrics.counts import BinaryCounts, LabelCounts
from metrics.measures import Figures, absent, fields, overlap, proportion

COUNTS = (LabelCounts, BinaryCounts)
FIELDS = [
    column
    for annotator in "ab"
    for column in (
        *fields(
            f"precision_{annotator}", f"of what {annotator} gave, the share that is right; of all, micro", "Wilson"
        ),
        *fields(
            f"recall_{annotator}", f"of what the truth has, the share that {annotator} gave; of all, micro", "Wilson"
        ),
        *fields(
            f"f1_{annotator}",
            f"harmonic mean of {annotator}'s precision and recall; of all, micro",
            "Wilson's of right / (right + wrong + missed), carried over",
        ),
    )
]


def figures(counts: LabelCounts | BinaryCounts) -> Figures:
    """The figures of `FIELDS`."""
    found: Figures = {}
    for annotator in "ab":
        names = [f"{figure}_{annotator}" for figure in ("precision", "recall", "f1")]
        if not counts.correct(annotator)[1]:
            found |= {key: None for name in names for key in absent(name, None)}
            continue
        right, wrong, missed = counts.pooled_hits(annotator)
        found |= proportion(names[0], right, right + wrong, f"{annotator} never gave it where the truth is known")
        found |= proportion(names[1], right, right + missed, "the truth never has it")
        found |= overlap(names[2], right, wrong + missed, f"neither {annotator} nor the truth has it")
    return found
