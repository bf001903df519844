"""How accurate each annotator is against the reference: accuracy, precision, recall and F1, and their macro averages.

With one label per image the micro averages are the accuracy; multilabel they are of all image-class decisions together.
C. J. van Rijsbergen (1979), "Information Retrieval", chapter 7; N. Chinchor (1992), "MUC-4 evaluation metrics".
"""

from collections.abc import Iterator

from metrics.counts import BinaryCounts, Hits, LabelCounts, MultilabelCounts, SequenceCounts
from metrics.measures import TWO, CrossTabulated, Figure, mean, overlap, prefix, proportion, with_one_vs_rest

COUNTS = (*TWO, MultilabelCounts)
_SCORES = {
    "precision": "share of the labels that {0} gave that the reference has too",
    "recall": "share of the labels of the reference that {0} gave too",
    "f1": "harmonic mean of {0}'s precision and recall",
}
MEASURES = {
    "n_reference": "images labelled by both that have a reference label; multilabel: image-class decisions known",
    **with_one_vs_rest(
        {f"accuracy_{side}": f"share of n_reference on which {side} is as the reference says" for side in "ab"}
    ),
    **{f"{score}_{side}": f"{text.format(side)}; of one class" for side in "ab" for score, text in _SCORES.items()},
    **{
        f"micro_{score}_{side}": f"{text.format(side)}; of all classes together"
        for side in "ab"
        for score, text in _SCORES.items()
    },
    **{
        f"macro_{score}_{side}": f"mean {score} over the classes that {side} or the reference gave, 0 where undefined"
        for side in "ab"
        for score in _SCORES
    },
}


def figures(counts: CrossTabulated | MultilabelCounts) -> Iterator[Figure]:
    """The figures of `MEASURES`."""
    if not isinstance(counts, MultilabelCounts):
        n = counts.correct("a")[1]
        yield Figure("n_reference", n)
        if n:
            yield from _accuracies(counts)
        if n and type(counts) is not SequenceCounts:
            yield from _scores(counts)
    if isinstance(counts, MultilabelCounts) or type(counts) is LabelCounts:
        yield from _macro_averages(counts)


def _accuracies(counts: CrossTabulated) -> Iterator[Figure]:
    for side in "ab":
        yield proportion(f"{prefix(counts)}accuracy_{side}", *counts.correct(side))


def _scores(counts: CrossTabulated) -> Iterator[Figure]:
    """Precision, recall and F1: of one class, or micro averages."""
    micro = "" if type(counts) is BinaryCounts else "micro_"
    for side in "ab":
        right, wrong, missed = counts.pooled_hits(side)
        never = f"{side} never gave it where the reference is known"
        yield proportion(f"{micro}precision_{side}", right, right + wrong, never)
        yield proportion(f"{micro}recall_{side}", right, right + missed, "the reference never has it")
        yield overlap(f"{micro}f1_{side}", right, wrong + missed, f"neither {side} nor the reference has it")


def _macro_averages(counts: LabelCounts | MultilabelCounts) -> Iterator[Figure]:
    """Means over classes, an undefined figure counting as 0, as in scikit-learn; none without a reference."""
    known = counts.known.images if isinstance(counts, MultilabelCounts) else counts.correct("a")[1]
    for side in "ab" if known else "":
        by_label = [scores_of(hits) for hits in counts.hits(side).values()]
        for place, score in enumerate(_SCORES):
            values = [one[place] for one in by_label]
            yield mean(f"macro_{score}_{side}", values, "no label is given where the reference is known")


def scores_of(hits: Hits) -> tuple[float, float, float]:
    """Precision, recall and F1 of one class that the annotator or the reference gave; 0 where undefined."""
    right, wrong, missed = hits
    return right / max(right + wrong, 1), right / max(right + missed, 1), 2 * right / (2 * right + wrong + missed)
