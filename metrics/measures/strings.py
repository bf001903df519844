"""Strings of digits: how far they agree in length, at each place, and in edits from one to the other.

V. I. Levenshtein (1966), "Binary codes capable of correcting deletions, insertions, and reversals", Soviet Physics
Doklady 10:707-710. Whole strings are compared by `observed_agreement` and `accuracy`.
"""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from metrics.counts import SequenceCounts
from metrics.cross_tables import NOT_GIVEN, IntArray
from metrics.measures import NO_IMAGES, Figures, absent, field, fields, proportion, ratio
from models.tasks.sequence import LENGTHS, MORE, PLACES

COUNTS = (SequenceCounts,)
_WHO = {"": "both", "_a": "a and the truth", "_b": "b and the truth"}
_PLACES = range(1, PLACES + 1)
Chars = npt.NDArray[np.int32]
FIELDS = [
    column
    for of, who in _WHO.items()
    for column in (
        *fields(f"same_length{of}", f"share of strings of which {who} have one length (all above 5 are one)", "Wilson"),
        *(
            column
            for place in _PLACES
            for column in fields(
                f"same_digit_{place}{of}", f"where {who}, or one of them, has a digit {place}: share the same", "Wilson"
            )
        ),
        field(f"mean_edit_distance{of}", pa.float64(), f"mean insertions, deletions and changes between {who}"),
    )
]


def figures(counts: SequenceCounts) -> Figures:
    """The figures of `FIELDS`; those against the truth are None without one."""
    a, b, truth, images = counts.codes
    letters = _letters(counts.labels)
    found: Figures = {}
    for of, (left, right) in {"": (a, b), "_a": (a, truth), "_b": (b, truth)}.items():
        known = right != NOT_GIVEN
        if of and not known.any():
            names = [f"same_length{of}", *(f"same_digit_{place}{of}" for place in _PLACES)]
            found |= {key: None for name in names for key in absent(name, None)} | {f"mean_edit_distance{of}": None}
            continue
        found |= _compared(letters[left[known]], letters[right[known]], images[known], of)
    return found


def _compared(left: Chars, right: Chars, images: IntArray, of: str) -> Figures:
    """The figures of pairs of strings, each with how many images have it."""
    total = int(images.sum())
    same = _lengths(left) == _lengths(right)
    found = proportion(f"same_length{of}", int(images[same].sum()), total)
    for place in _PLACES:
        one, other = (_digit(letters, place - 1) for letters in (left, right))
        either = (one > 0) | (other > 0)
        agree = int(images[either & (one == other)].sum())
        why = "no string is so long" if total else NO_IMAGES
        found |= proportion(f"same_digit_{place}{of}", agree, int(images[either].sum()), why)
    edits = int((edit_distance(left, right) * images).sum())
    found[f"mean_edit_distance{of}"] = ratio(edits, total)
    return found


def _letters(strings: list[str]) -> Chars:
    """Strings as rows of code points, padded with zeros behind."""
    width = max((len(one) for one in strings), default=0)
    array = np.array(strings, dtype=f"<U{max(width, 1)}")
    return array.view(np.int32).reshape(len(strings), max(width, 1))


def _digit(letters: Chars, place: int) -> Chars:
    """The code point at a place; 0 where the string is shorter, or only says that there is more."""
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
