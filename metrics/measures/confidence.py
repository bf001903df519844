"""How confident each annotator was where the two agree, and where they do not."""

from collections.abc import Iterator

from metrics.counts import BinaryCounts, mean_confidence
from metrics.measures import TWO, CrossTabulated, Figure

COUNTS = TWO
MEASURES = {
    **{f"mean_confidence_{side}_agree": f"mean confidence of {side} where they agree" for side in "ab"},
    **{f"mean_confidence_{side}_differ": f"mean confidence of {side} where they do not agree" for side in "ab"},
    **{
        f"mean_confidence_{side}_both_present": f"mean confidence of {side} in the label, where both gave it"
        for side in "ab"
    },
    **{
        f"mean_confidence_{side}_only_{side}": f"mean confidence of {side} in the label, where {side} alone gave it"
        for side in "ab"
    },
}


def figures(counts: CrossTabulated) -> Iterator[Figure]:
    """The figures of `MEASURES`; the sums are exact, and each mean is rounded once."""
    for side in "ab":
        for agree in (True, False):
            total, images = counts.confidence(side, agree)
            why = None if images else f"they {'agree' if agree else 'differ'} on nothing"
            yield Figure(_name(counts, side, agree), mean_confidence(total, images), undefined_because=why)


def _name(counts: CrossTabulated, side: str, agree: bool) -> str:
    if type(counts) is BinaryCounts:
        return f"mean_confidence_{side}_" + ("both_present" if agree else f"only_{side}")
    return f"mean_confidence_{side}_" + ("agree" if agree else "differ")
