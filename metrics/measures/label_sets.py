"""Whole sets of labels: equal sets (subset accuracy), wrong decisions (Hamming loss), and macro averages of agreement.

R. E. Schapire and Y. Singer (2000), "BoosTexter", Machine Learning 39:135-168; M. S. Sorower (2010), "A literature
survey on algorithms for multi-label learning".
"""

from collections.abc import Iterator

from metrics.counts import MultilabelCounts
from metrics.measures import ONE_VS_REST, Figure, chance_corrected, mean, proportion, ratio
from metrics.measures.agreement import specific_agreement

COUNTS = (MultilabelCounts,)
_AVERAGED = ("cohen_kappa", "scott_pi", "krippendorff_alpha", "gwet_ac1", "positive_agreement")
MEASURES = {
    "n_decisions": "image-class decisions: images times the labels that occur",
    "hamming_loss": "share of image-class decisions on which they differ",
    "subset_agreement": "share of images to which both gave the same set of labels",
    "n_reference_images": "images of which the reference states anything",
    **{f"hamming_loss_{side}": f"share of n_reference on which {side} is not as the reference says" for side in "ab"},
    **{
        f"subset_accuracy_{side}": f"share of n_reference_images on which {side} is right about all that is known"
        for side in "ab"
    },
    **{
        f"macro_{name}": f"mean {name} over the labels, each against the rest, where it is defined"
        for name in _AVERAGED
    },
}


def figures(counts: MultilabelCounts) -> Iterator[Figure]:
    """The figures of `MEASURES`; those against the reference only where there is one."""
    pooled, images = counts.pooled, counts.known.images
    yield Figure("n_decisions", pooled.n)
    yield ratio("hamming_loss", pooled.n - pooled.n_agree, pooled.n, "no label was given")
    yield proportion("subset_agreement", counts.n_agree, counts.n)
    yield Figure("n_reference_images", images)
    for side in "ab" if images else "":
        right, known = pooled.correct(side)
        yield ratio(f"hamming_loss_{side}", known - right, known, "nothing is known of a label")
        yield proportion(f"subset_accuracy_{side}", counts.right(side), images)
    yield from _macro_agreement(counts)


def _macro_agreement(counts: MultilabelCounts) -> Iterator[Figure]:
    by_label: dict[str, list[float]] = {name: [] for name in _AVERAGED}
    for _, one in counts.by_label():
        for figure in (*chance_corrected.figures(one), *specific_agreement(one)):
            values = by_label.get(figure.measure.removeprefix(ONE_VS_REST))
            if values is not None and figure.value is not None:
                values.append(figure.value)
    for name, values in by_label.items():
        yield mean(f"macro_{name}", values, "defined for no label")
