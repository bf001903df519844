"""Positive and negative agreement on one label: of what either gave (or did not give), how much the other did too.

D. V. Cicchetti and A. R. Feinstein (1990), "High agreement but low kappa: II. Resolving the paradoxes", Journal of
Clinical Epidemiology 43:551-558: 2 both / (2 both + only one), of the images with the label, and of those without.
"""

from metrics.counts import BinaryCounts
from metrics.measures import Figures, fields, overlap

COUNTS = (BinaryCounts,)
_INTERVAL = "Wilson's of both / either, carried over"
FIELDS = [
    *fields("positive_agreement", "of the label where either gave it, the share that both did", _INTERVAL),
    *fields("negative_agreement", "of its absence where either left it out, the share that both did", _INTERVAL),
]


def figures(counts: BinaryCounts) -> Figures:
    """The figures of `FIELDS`."""
    both, only_a, only_b, neither = counts.cells
    return {
        **overlap("positive_agreement", both, only_a + only_b, "neither gave the label"),
        **overlap("negative_agreement", neither, only_a + only_b, "both gave the label to all"),
    }
