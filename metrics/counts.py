"""Counts of two annotators: one label or string per image, one label against the rest, or a set of labels per image."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from metrics.cross_tables import (
    CONFIDENCE_UNIT,
    NO_LABEL,
    CrossTable,
    IntArray,
    Patterns,
    coded,
    distinct,
    fixed_point,
    summed,
)

CELLS = pa.schema(
    [
        ("label_a", pa.string()),
        ("label_b", pa.string()),
        ("reference", pa.string()),
        ("n", pa.int64()),
        ("confidence_a", pa.int64()),
        ("confidence_b", pa.int64()),
    ]
)
_KEYS, _SUMS = CELLS.names[:3], CELLS.names[3:]
ABSENT, PRESENT, UNKNOWN = 0, 1, 2


class Hits(NamedTuple):
    """How an annotator did at one label, where the reference is known: right, wrongly given, and missed."""

    right: int
    wrong: int
    missed: int


@dataclass(frozen=True)
class LabelCounts:
    """How often two annotators gave which labels: one row per combination that occurs, of schema `CELLS`, in order."""

    cells: pa.Table

    @classmethod
    def merged(cls, parts: Iterable[Self]) -> Self:
        """The sum of counts."""
        return cls(_sum_parts(pa.concat_tables([CELLS.empty_table(), *(part.cells for part in parts)])))

    @property
    def n(self) -> int:
        """Images that both labelled."""
        return self.table.n

    @property
    def n_agree(self) -> int:
        """Images that both gave the same label."""
        return self.table.n_agree

    @cached_property
    def codes(self) -> tuple[IntArray, IntArray, IntArray, IntArray]:
        """Of each cell the labels of a, of b and of the reference as numbers in order of `labels`, and its images."""
        a, b, reference = self._coded[0]
        return a, b, reference, self.cells["n"].to_numpy()

    @property
    def labels(self) -> list[str]:
        """Every label that a, b or the reference gave, in order."""
        return self._coded[1]

    @cached_property
    def _coded(self) -> tuple[list[IntArray], list[str]]:
        return coded([self.cells[name] for name in _KEYS])

    @cached_property
    def table(self) -> CrossTable:
        """The cross table of the labels that a or b gave."""
        a, b, _, images = self.codes
        _, (a, b) = _renumbered(a, b)
        size = int(max(a.max(initial=-1), b.max(initial=-1))) + 1
        pairs, place = np.unique(a * size + b, return_inverse=True)
        return CrossTable(pairs // max(size, 1), pairs % max(size, 1), summed(place, images, len(pairs)), size)

    @property
    def patterns(self) -> Patterns:
        """The same table without saying who gave which label."""
        return self.table.patterns

    def marginal(self, annotator: str) -> dict[str, int]:
        """How often an annotator (`a` or `b`) gave each label."""
        codes = self.codes["ab".index(annotator)]
        times = summed(codes, self.codes[3], len(self.labels)).tolist()
        return {label: n for label, n in zip(self.labels, times, strict=True) if n}

    def correct(self, annotator: str) -> tuple[int, int]:
        """Of the images with a reference label: how many an annotator labelled so, and how many there are."""
        labels, (_, _, reference, images) = self.codes["ab".index(annotator)], self.codes
        return int(images[labels == reference].sum()), int(images[reference != NO_LABEL].sum())

    def hits(self, annotator: str) -> dict[str, Hits]:
        """How an annotator did at each label that it or the reference gave, of the images with a reference label."""
        _, _, reference, images = self.codes
        known = reference != NO_LABEL
        labels, true, n = self.codes["ab".index(annotator)][known], reference[known], images[known]
        predicted, actual = (summed(codes, n, len(self.labels)) for codes in (labels, true))
        right = summed(labels[labels == true], n[labels == true], len(self.labels))
        rows = zip(self.labels, right.tolist(), (predicted - right).tolist(), (actual - right).tolist(), strict=True)
        return {label: Hits(*numbers) for label, *numbers in rows if any(numbers)}

    def pooled_hits(self, annotator: str) -> Hits:
        """The sum of the hits at all labels."""
        right, known = self.correct(annotator)
        return Hits(right, known - right, known - right)

    def confidence(self, annotator: str, agree: bool) -> tuple[int, int]:
        """Fixed-point sum of an annotator's confidences, and how many, where they agree or where they do not."""
        a, b, _, images = self.codes
        of = (a == b) == agree
        return int(self.cells[f"confidence_{annotator}"].to_numpy()[of].sum()), int(images[of].sum())

    def by_label(self) -> Iterator[tuple[str, "BinaryCounts"]]:
        """Every label against the rest."""
        codes = list(self.codes[:3])
        sums = [self.cells[name].to_numpy() for name in _SUMS]
        known = codes[2] != NO_LABEL
        of_label = _one_against_rest(codes, sums, len(self.labels))
        totals = np.array([[one[~known].sum(), one[known].sum()] for one in sums], dtype=np.int64)
        for label, sums_of_label in zip(self.labels, of_label, strict=True):
            yield label, _with_rest(sums_of_label, totals)


class SequenceCounts(LabelCounts):
    """Counts of two annotators who give each image a string of digits."""


@dataclass(frozen=True)
class BinaryCounts:
    """How often two annotators gave one label.

    Attributes:
        sums: (3, 2, 2, 3) images, and the fixed-point sums of both's confidences, by whether a gave the label, whether
            b did, and whether the reference has it (ABSENT, PRESENT, UNKNOWN).
    """

    sums: IntArray

    @property
    def n(self) -> int:
        """Images, or decisions."""
        return self.table.n

    @property
    def n_agree(self) -> int:
        """Those on which they agree."""
        return self.table.n_agree

    @cached_property
    def cells(self) -> tuple[int, int, int, int]:
        """How often both gave the label, only a did, only b did, and neither did."""
        images = self.sums[0].sum(axis=-1)
        return int(images[1, 1]), int(images[1, 0]), int(images[0, 1]), int(images[0, 0])

    @cached_property
    def table(self) -> CrossTable:
        """The 2x2 table; two categories, whether both occur or not."""
        images = self.sums[0].sum(axis=-1).ravel()
        cells = np.flatnonzero(images)
        return CrossTable(cells // 2, cells % 2, images[cells], 2)

    @property
    def patterns(self) -> Patterns:
        """The same table without saying who gave which label."""
        return self.table.patterns

    def correct(self, annotator: str) -> tuple[int, int]:
        """Of what is known: how often an annotator is right, and how much there is."""
        of = self._of(annotator, 0)
        return int(of[ABSENT, ABSENT] + of[PRESENT, PRESENT]), int(of[:, :UNKNOWN].sum())

    def pooled_hits(self, annotator: str) -> Hits:
        """How an annotator did, of what is known."""
        of = self._of(annotator, 0)
        return Hits(int(of[PRESENT, PRESENT]), int(of[PRESENT, ABSENT]), int(of[ABSENT, PRESENT]))

    def confidence(self, annotator: str, agree: bool) -> tuple[int, int]:
        """Fixed-point sum of an annotator's confidences in the label, and how many, by whether the other gave it."""
        place = "ab".index(annotator)
        other = PRESENT if agree else ABSENT
        at = (PRESENT, other) if annotator == "a" else (other, PRESENT)
        return int(self.sums[1 + place][at].sum()), int(self.sums[0][at].sum())

    def _of(self, annotator: str, what: int) -> IntArray:
        """Sums by what an annotator gave, and by the reference, (2, 3)."""
        return np.asarray(self.sums[what].sum(axis=1 if annotator == "a" else 0))


class DecisionCounts(BinaryCounts):
    """The image-class decisions of all labels together: every image and every label that occurs."""


def count_labels(pairs: pa.Table) -> LabelCounts:
    """The counts of a table of pairs, with one label or string per image."""
    (a, b, reference), labels = coded([pairs[name] for name in _KEYS])
    size = len(labels) + 1
    both, of_both = distinct(a * size + b, size * size)  # in two steps: three codes may not fit 64 bits
    keys, place = distinct(of_both * size + reference + 1, len(both) * size)
    sums = (np.ones(len(a), dtype=np.int64), fixed_point(pairs["confidence_a"]), fixed_point(pairs["confidence_b"]))
    names = pa.array([*labels, None], pa.string())
    codes = (both[keys // size] // size, both[keys // size] % size, keys % size - 1)
    columns = [names.take(pa.array(np.where(code < 0, len(labels), code))) for code in codes]
    columns += [pa.array(summed(place, values, len(keys))) for values in sums]
    return LabelCounts(_sort_cells(pa.table(columns, schema=CELLS)))


def mean_confidence(total: int, images: int) -> float | None:
    """The mean of confidences from their fixed-point sum, rounded once."""
    return total / (CONFIDENCE_UNIT * images) if images else None


def _renumbered(*codes: IntArray) -> tuple[IntArray, list[IntArray]]:
    """Codes without those that none of these columns has."""
    used, numbers = np.unique(np.concatenate(codes), return_inverse=True)
    return used, np.split(numbers, np.cumsum([len(one) for one in codes])[:-1])


def _one_against_rest(codes: list[IntArray], sums: list[IntArray], labels: int) -> IntArray:
    """Sums by label and by who gave it, (labels, 3, 2, 2, 3), without the images to which nobody gave it."""
    by_label = np.zeros((labels, len(sums), 2, 2, 3), dtype=np.int64)
    a, b, reference = codes
    for place, code in enumerate(codes):  # a label that two of them gave is counted once
        new = (code != NO_LABEL) & np.all([code != before for before in codes[:place]], axis=0)
        label = code[new]
        state = np.where(reference[new] == NO_LABEL, UNKNOWN, reference[new] == label)
        at = (label, (a[new] == label).astype(np.int64), (b[new] == label).astype(np.int64), state)
        for what, values in enumerate(sums):
            np.add.at(by_label[:, what], at, values[new])
    return by_label


def _with_rest(of_label: IntArray, totals: IntArray) -> BinaryCounts:
    """The counts of one label, with the images to which nobody gave it: all but those to which somebody did."""
    sums = of_label.copy()
    sums[:, ABSENT, ABSENT, UNKNOWN] += totals[:, 0] - of_label[..., UNKNOWN].sum(axis=(1, 2))
    sums[:, ABSENT, ABSENT, ABSENT] += totals[:, 1] - of_label[..., :UNKNOWN].sum(axis=(1, 2, 3))
    return BinaryCounts(sums)


def _sum_parts(cells: pa.Table) -> pa.Table:
    grouped = cells.group_by(_KEYS).aggregate([(name, "sum") for name in _SUMS])
    return _sort_cells(grouped.rename_columns({f"{name}_sum": name for name in _SUMS}).select(CELLS.names).cast(CELLS))


def _sort_cells(cells: pa.Table) -> pa.Table:
    return cells.take(pc.sort_indices(cells, [(key, "ascending") for key in _KEYS]))


# Counts of two annotators who give each image a set of labels.

SHAPE = (3, 2, 2, 3)


@dataclass(frozen=True)
class ReferenceCounts:
    """Of how many of the images that both annotators have seen the reference states whether they have a label.

    Attributes:
        images: of which it states anything at all.
        every_label: of which it states every label: what it does not give, they do not have.
        by_label: of the others, by label.
    """

    images: int = 0
    every_label: int = 0
    by_label: Mapping[str, int] = field(default_factory=dict)

    def __add__(self, other: "ReferenceCounts") -> "ReferenceCounts":
        """The sum of two parts."""
        labels = sorted({*self.by_label, *other.by_label})
        by_label = {label: self.by_label.get(label, 0) + other.by_label.get(label, 0) for label in labels}
        return ReferenceCounts(self.images + other.images, self.every_label + other.every_label, by_label)


NO_REFERENCE = ReferenceCounts()


@dataclass(frozen=True)
class MultilabelCounts:
    """How often two annotators gave which labels to the same images.

    Attributes:
        sums: by label, in order: as those of `BinaryCounts`, of the rows of pairs alone.
        n: images that both have seen.
        n_agree: images that both gave the same set of labels.
        known: of how many images the reference is known.
        right_a: images on which a is right about all that the reference states of them, of `known.images`.
        right_b: the same of b.
    """

    sums: Mapping[str, IntArray]
    n: int = 0
    n_agree: int = 0
    known: ReferenceCounts = NO_REFERENCE
    right_a: int = 0
    right_b: int = 0

    @classmethod
    def merged(cls, parts: Iterable[Self]) -> Self:
        """The sum of counts; every image is to be in one part, whole."""
        parts = list(parts)
        labels = sorted({label for part in parts for label in part.sums})
        zero = np.zeros(SHAPE, dtype=np.int64)
        sums = {label: np.asarray(sum((part.sums.get(label, zero) for part in parts), zero)) for label in labels}
        known = sum((part.known for part in parts), NO_REFERENCE)
        n, n_agree = sum(part.n for part in parts), sum(part.n_agree for part in parts)
        return cls(sums, n, n_agree, known, sum(part.right_a for part in parts), sum(part.right_b for part in parts))

    def by_label(self) -> Iterator[tuple[str, BinaryCounts]]:
        """Every label that anybody gave, or that the reference states, against its absence."""
        yield from self._by_label.items()

    @cached_property
    def _by_label(self) -> dict[str, BinaryCounts]:
        zero = np.zeros(SHAPE, dtype=np.int64)
        labels = sorted({*self.sums, *self.known.by_label})
        return {label: self._with_absent(label, self.sums.get(label, zero)) for label in labels}

    def _with_absent(self, label: str, of_rows: IntArray) -> BinaryCounts:
        """The counts of a label, with the images to which nobody gave it."""
        sums, images = of_rows.copy(), of_rows[0]
        known = self.known.every_label + self.known.by_label.get(label, 0)
        sums[0, ABSENT, ABSENT, ABSENT] += known - images[..., :UNKNOWN].sum()
        sums[0, ABSENT, ABSENT, UNKNOWN] += self.n - known - images[..., UNKNOWN].sum()
        if sums.min() < 0:
            raise ValueError(
                f"label {label!r} has more rows than there are images ({self.n:,}, {known:,} with a known reference)"
            )
        return BinaryCounts(sums)

    @cached_property
    def pooled(self) -> DecisionCounts:
        """All image-class decisions together."""
        zero = np.zeros(SHAPE, dtype=np.int64)
        return DecisionCounts(np.asarray(sum((one.sums for one in self._by_label.values()), zero)))

    def hits(self, annotator: str) -> dict[str, Hits]:
        """How an annotator did at each label that it or the reference gave, of what is known."""
        by_label = {label: one.pooled_hits(annotator) for label, one in self._by_label.items()}
        return {label: hits for label, hits in by_label.items() if any(hits)}

    def right(self, annotator: str) -> int:
        """Images on which an annotator is right about all that the reference states of them."""
        return {"a": self.right_a, "b": self.right_b}[annotator]


def count_label_sets(pairs: pa.Table, images: int, known: ReferenceCounts = NO_REFERENCE) -> MultilabelCounts:
    """The counts of a table of pairs, with one row per image and label; it must hold all rows of an image.

    Args:
        pairs: of schema `PAIRS`, the labels null where they were not given.
        images: how many images both annotators have seen.
        known: of how many of them the reference is known.
    """
    (a, b, reference), labels = coded([pairs[name] for name in ("label_a", "label_b", "reference")])
    code = np.maximum(np.maximum(a, b), reference)
    if (code == NO_LABEL).any():
        row = int(np.argmax(code == NO_LABEL))
        raise ValueError(f"row {row} of the pairs has no label at all (image {pairs['image_id'][row].as_py()!r})")
    stated = pc.is_valid(pairs["correct_a"]).to_numpy()
    state = np.where(stated, np.where(reference == NO_LABEL, ABSENT, PRESENT), UNKNOWN)
    sums = np.zeros((len(labels), *SHAPE), dtype=np.int64)
    at = (code, (a != NO_LABEL).astype(np.int64), (b != NO_LABEL).astype(np.int64), state)
    ones = np.ones(len(a), dtype=np.int64)
    for what, values in enumerate((ones, fixed_point(pairs["confidence_a"]), fixed_point(pairs["confidence_b"]))):
        np.add.at(sums[:, what], at, values)
    differ = _count_images(pairs, a != b)
    wrong = [_count_images(pairs, (state != UNKNOWN) & (codes != reference)) for codes in (a, b)]
    by_label = dict(zip(labels, sums, strict=True))
    return MultilabelCounts(by_label, images, images - differ, known, *(known.images - one for one in wrong))


def _count_images(pairs: pa.Table, of: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> int:
    """How many images some rows are of."""
    return int(pc.count_distinct(pairs["image_id"].filter(pa.array(of))).as_py())
