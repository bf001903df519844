"""Counts of two annotators who give each image a set of labels.

A table of pairs has a row for each image and label that a, b or the truth gave (`label_a` null: a did not). Images to
which nobody gave a label have no row, so how many images there are comes from outside. The truth of an image and label
is yes (`truth` is the label), no (`truth` is null, but `correct_a` is not) or unknown (`correct_a` is null).
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.counts import NOT_GIVEN, IntArray, coded, fixed_point
from pipelines.counts.labels import ABSENT, PRESENT, UNKNOWN, BinaryCounts, Hits

SHAPE = (3, 2, 2, 3)


@dataclass(frozen=True)
class Told:
    """Of how many of the images that both annotators have seen the truth tells whether they have a label.

    Attributes:
        images: of which it tells anything at all.
        every_label: of which it tells so of every label: what it does not give, they have not.
        by_label: of the others, by label.
    """

    images: int = 0
    every_label: int = 0
    by_label: Mapping[str, int] = field(default_factory=dict)

    def __add__(self, other: "Told") -> "Told":
        """The sum of two parts."""
        labels = sorted({*self.by_label, *other.by_label})
        by_label = {label: self.by_label.get(label, 0) + other.by_label.get(label, 0) for label in labels}
        return Told(self.images + other.images, self.every_label + other.every_label, by_label)


NOTHING_TOLD = Told()


@dataclass(frozen=True)
class MultilabelCounts:
    """How often two annotators gave which labels to the same images.

    Attributes:
        sums: by label, in order: as those of `BinaryCounts`, of the rows of pairs alone.
        n: images that both have seen.
        n_agree: images that both gave the same set of labels.
        told: of how many images the truth is known.
        right_a: images on which a is right about all that the truth tells of them, of `told.images`.
        right_b: the same of b.
    """

    sums: Mapping[str, IntArray]
    n: int = 0
    n_agree: int = 0
    told: Told = NOTHING_TOLD
    right_a: int = 0
    right_b: int = 0

    @classmethod
    def merged(cls, parts: Iterable[Self]) -> Self:
        """The sum of counts; every image is to be in one part, whole."""
        parts = list(parts)
        labels = sorted({label for part in parts for label in part.sums})
        zero = np.zeros(SHAPE, dtype=np.int64)
        sums = {label: np.asarray(sum((part.sums.get(label, zero) for part in parts), zero)) for label in labels}
        told = sum((part.told for part in parts), NOTHING_TOLD)
        n, n_agree = sum(part.n for part in parts), sum(part.n_agree for part in parts)
        return cls(sums, n, n_agree, told, sum(part.right_a for part in parts), sum(part.right_b for part in parts))

    def by_label(self) -> Iterator[tuple[str, BinaryCounts]]:
        """Every label that anybody gave, or the truth tells of, against its absence."""
        yield from self._by_label.items()

    @cached_property
    def _by_label(self) -> dict[str, BinaryCounts]:
        zero = np.zeros(SHAPE, dtype=np.int64)
        labels = sorted({*self.sums, *self.told.by_label})
        return {label: self._whole(label, self.sums.get(label, zero)) for label in labels}

    def _whole(self, label: str, found: IntArray) -> BinaryCounts:
        """The counts of a label, with the images to which nobody gave it."""
        sums, images = found.copy(), found[0]
        told = self.told.every_label + self.told.by_label.get(label, 0)
        sums[0, ABSENT, ABSENT, ABSENT] += told - images[..., :UNKNOWN].sum()
        sums[0, ABSENT, ABSENT, UNKNOWN] += self.n - told - images[..., UNKNOWN].sum()
        if sums.min() < 0:
            raise ValueError(
                f"label {label!r} has more rows than there are images ({self.n:,}, the truth known of {told:,})"
            )
        return BinaryCounts(sums)

    @cached_property
    def pooled(self) -> BinaryCounts:
        """All image-class decisions together: every image and every label that occurs."""
        zero = np.zeros(SHAPE, dtype=np.int64)
        return BinaryCounts(np.asarray(sum((one.sums for one in self._by_label.values()), zero)))

    def hits(self, annotator: str) -> dict[str, Hits]:
        """How an annotator did at each label that it or the truth gave, of what is known."""
        found = {label: one.pooled_hits(annotator) for label, one in self._by_label.items()}
        return {label: hits for label, hits in found.items() if any(hits)}

    def right(self, annotator: str) -> int:
        """Images on which an annotator is right about all that the truth tells of them."""
        return {"a": self.right_a, "b": self.right_b}[annotator]


def count(pairs: pa.Table, images: int, told: Told = NOTHING_TOLD) -> MultilabelCounts:
    """The counts of a table of pairs, with a row an image and label; all rows of an image are to be in it.

    Args:
        pairs: of schema `PAIRS`, the labels null where they were not given.
        images: how many images both annotators have seen.
        told: of how many of them the truth is known.
    """
    (a, b, truth), labels = coded([pairs[name] for name in ("label_a", "label_b", "truth")])
    code = np.maximum(np.maximum(a, b), truth)
    if (code == NOT_GIVEN).any():
        row = int(np.argmax(code == NOT_GIVEN))
        raise ValueError(f"row {row} of the pairs has no label at all (image {pairs['image_id'][row].as_py()!r})")
    known = pc.is_valid(pairs["correct_a"]).to_numpy()
    state = np.where(known, np.where(truth == NOT_GIVEN, ABSENT, PRESENT), UNKNOWN)
    found = np.zeros((len(labels), *SHAPE), dtype=np.int64)
    at = (code, (a != NOT_GIVEN).astype(np.int64), (b != NOT_GIVEN).astype(np.int64), state)
    ones = np.ones(len(a), dtype=np.int64)
    for what, values in enumerate((ones, fixed_point(pairs["confidence_a"]), fixed_point(pairs["confidence_b"]))):
        np.add.at(found[:, what], at, values)
    differ = _images(pairs, a != b)
    wrong = [_images(pairs, (state != UNKNOWN) & (given != truth)) for given in (a, b)]
    by_label = dict(zip(labels, found, strict=True))
    return MultilabelCounts(by_label, images, images - differ, told, *(told.images - one for one in wrong))


def _images(pairs: pa.Table, of: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> int:
    """How many images some rows speak of."""
    return int(pc.count_distinct(pairs["image_id"].filter(pa.array(of))).as_py())
