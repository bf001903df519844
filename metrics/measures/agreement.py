"""How often annotators give the same label: observed agreement, and of one label positive and negative agreement.

D. V. Cicchetti and A. R. Feinstein (1990), "High agreement but low kappa: II. Resolving the paradoxes", Journal of
Clinical Epidemiology 43:551-558: 2 both / (2 both + only one), of the images with the label, and of those without.
"""

from collections.abc import Iterator
from typing import Any

from metrics.counts import BinaryCounts, DecisionCounts, MultilabelCounts
from metrics.cross_tables import Patterns
from metrics.measures import (
    MANY,
    NO_IMAGES,
    TWO,
    Estimate,
    Figure,
    Undefined,
    coefficient,
    overlap,
    prefix,
    proportion,
    with_one_vs_rest,
)

COUNTS = (*TWO, MultilabelCounts, *MANY)
MEASURES = {
    "n": "images that both annotators labelled",
    "n_agree": "images to which both gave the same label; multilabel: the same set of labels",
    **with_one_vs_rest(
        {
            "observed_agreement": "share of images to which both gave the same label; multilabel: of image-class "
            "decisions that are the same; three annotators or more: mean share of pairs that agree on an image"
        }
    ),
    "n_same_decision": "images on which both decide the same about the label: both gave it, or neither did",
    "n_both_present": "images to which both gave the label",
    "n_only_a": "images to which a gave the label and b did not",
    "n_only_b": "images to which b gave the label and a did not",
    "positive_agreement": "of the label where either gave it, the share that both did",
    "negative_agreement": "of its absence where either did not give it, the share that neither did",
    "micro_positive_agreement": "positive agreement of all image-class decisions together",
    "micro_negative_agreement": "negative agreement of all image-class decisions together",
    "n_rated": "images that at least one of three annotators or more labelled",
    "n_pairable": "images that at least two of three annotators or more labelled",
}


def figures(counts: Any) -> Iterator[Figure]:
    """The figures of `MEASURES`."""
    if type(counts) in MANY:
        patterns = counts.patterns
        yield Figure("n_rated", patterns.n)
        yield Figure("n_pairable", patterns.pairable.n)
        yield coefficient(
            f"{prefix(counts)}observed_agreement", observed(patterns), "standard error of the mean over images"
        )
        return
    if type(counts) is not DecisionCounts:
        yield Figure("n", counts.n)
        yield Figure("n_same_decision" if type(counts) is BinaryCounts else "n_agree", counts.n_agree)
    if type(counts) is not MultilabelCounts:
        yield proportion(f"{prefix(counts)}observed_agreement", counts.n_agree, counts.n)
    if type(counts) is BinaryCounts:
        both, only_a, only_b, _ = counts.cells
        yield Figure("n_both_present", both)
        yield Figure("n_only_a", only_a)
        yield Figure("n_only_b", only_b)
    if isinstance(counts, BinaryCounts):
        yield from specific_agreement(counts)


def specific_agreement(counts: BinaryCounts) -> Iterator[Figure]:
    """Positive and negative agreement: of one label, or micro averages."""
    both, only_a, only_b, neither = counts.cells
    micro = "micro_" if isinstance(counts, DecisionCounts) else ""
    yield overlap(f"{micro}positive_agreement", both, only_a + only_b, "neither gave the label")
    yield overlap(f"{micro}negative_agreement", neither, only_a + only_b, "both gave the label to all")


def observed(patterns: Patterns) -> Estimate | Undefined:
    """Observed agreement of many annotators, over the images that two or more have rated."""
    if not patterns.pairable.n:
        return Undefined(NO_IMAGES)
    pairable, value = patterns.pairable, patterns.observed
    return Estimate(value, pairable.standard_error(pairable.agreements, float(value)))
