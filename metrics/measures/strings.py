"""Strings of digits: whether their lengths, their digits at each place and the edits between them agree.

V. I. Levenshtein (1966), "Binary codes capable of correcting deletions, insertions, and reversals", Soviet Physics
Doklady 10:707-710. Whole strings are compared by `agreement` and `accuracy`.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from metrics.counts import SequenceCounts
from metrics.cross_tables import NO_LABEL, IntArray
from metrics.measures import NO_IMAGES, Figure, proportion, ratio
from schemas.manifests import LENGTHS, MORE, PLACES

COUNTS = (SequenceCounts,)
_WHO = {"": "both annotators", "_a": "a and the reference", "_b": "b and the reference"}
MEASURES = {
    **{
        f"same_length{of}": f"share of strings of which {who} have the same length (all above {PLACES} digits are one)"
        for of, who in _WHO.items()
    },
    **{
        f"same_digit_{place}{of}": f"share the same, where {who}, or one of them, has a digit {place}"
        for of, who in _WHO.items()
        for place in range(1, PLACES + 1)
    },
    **{f"mean_edit_distance{of}": f"mean insertions, deletions and changes between {who}" for of, who in _WHO.items()},
}
Chars = npt.NDArray[np.int32]


def figures(counts: SequenceCounts) -> Iterator[Figure]:
    """The figures of `MEASURES`; those against the reference only where there is one."""
    a, b, reference, images = counts.codes
    letters = _letters(counts.labels)
    for of, (left, right) in {"": (a, b), "_a": (a, reference), "_b": (b, reference)}.items():
        known = right != NO_LABEL
        if not of or known.any():
            yield from _compare(letters[left[known]], letters[right[known]], images[known], of)


def _compare(left: Chars, right: Chars, images: IntArray, of: str) -> Iterator[Figure]:
    """The figures of pairs of strings, each with how many images have it."""
    total = int(images.sum())
    same = _lengths(left) == _lengths(right)
    yield proportion(f"same_length{of}", int(images[same].sum()), total)
    for place in range(1, PLACES + 1):
        one, other = (_digit(letters, place - 1) for letters in (left, right))
        either = (one > 0) | (other > 0)
        agree = int(images[either & (one == other)].sum())
        why = "no string is so long" if total else NO_IMAGES
        yield proportion(f"same_digit_{place}{of}", agree, int(images[either].sum()), why)
    yield ratio(f"mean_edit_distance{of}", int((edit_distance(left, right) * images).sum()), total)


def _letters(strings: list[str]) -> Chars:
    """Strings as rows of code points, padded with zeros behind."""
    width = max((len(one) for one in strings), default=0)
    array = np.array(strings, dtype=f"<U{max(width, 1)}")
    return array.view(np.int32).reshape(len(strings), max(width, 1))


def _digit(letters: Chars, place: int) -> Chars:
    """The code point at a place; 0 where the string is shorter, or only states that there is more."""
    if place >= letters.shape[1]:
        return np.zeros(len(letters), dtype=np.int32)
    return np.where(letters[:, place] == ord(MORE), 0, letters[:, place]).astype(np.int32)


def _lengths(letters: Chars) -> IntArray:
    """The length of each string; all longer than five digits are of one."""
    return np.asarray(np.minimum((letters > 0).sum(axis=1), LENGTHS - 1), dtype=np.int64)


def edit_distance(left: Chars, right: Chars) -> IntArray:
    """Levenshtein distance of each row of one to that of the other, (n,); zeros behind are padding.

    A row of the table of distances at a time, for all pairs of strings at once.
    """
    places = np.arange(right.shape[1] + 1)
    row = np.repeat(places[None], len(left), axis=0)
    ends = (right > 0).sum(axis=1)
    for place in range(left.shape[1]):
        inside = left[:, place] > 0
        changed = row[:, :-1] + (left[:, place, None] != right)
        best = np.minimum(np.pad(changed, ((0, 0), (1, 0)), constant_values=place + 1), row + 1)
        best = np.minimum.accumulate(best - places, axis=1) + places  # insertions, one after the other
        row = np.where(inside[:, None], best, row)
    return np.asarray(row[np.arange(len(left)), ends], dtype=np.int64)
