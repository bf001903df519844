"""Two annotators on one split, with all that their tables say, and what follows for each of them."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from analysis.tables import Digest, Pair, Row
from metrics import classification

Judged = dict[tuple[str, str], tuple[str, Counter[tuple[str, str]]]]


@dataclass(frozen=True)
class Comparison:
    """A pair of annotators on one split, with all that its tables say."""

    pair: Pair
    summary: Row
    confusion: list[Row]
    digest: Digest


def right_where_agreed(found: Digest) -> tuple[int, int]:
    """Of the images on which both agree and whose truth is known: how many are right, and how many there are."""
    agreed = [cell for cell in found.cells if cell["label_a"] == cell["label_b"] and cell["reference"] is not None]
    right = sum(cell["n"] for cell in agreed if cell["label_a"] == cell["reference"])
    return right, sum(cell["n"] for cell in agreed)


def judged(comparisons: Iterable[Comparison]) -> Judged:
    """Name of the truth and counts of (truth, label) by split and annotator, from its comparison with most images.

    Comparisons of several labels an image are left out: their rows are no images.
    """
    best: Judged = {}
    for entry in comparisons:
        if entry.pair.several:
            continue
        for side, annotator in (("a", entry.pair.a), ("b", entry.pair.b)):
            counts = classification.against_reference(entry.digest.cells, side)
            key = entry.pair.split, annotator
            if counts and (key not in best or counts.total() > best[key][1].total()):
                best[key] = entry.pair.truth, counts
    return best
