"""The numeric forms of counts that formulas take: cross tables of two annotators, patterns of any number of them.

Everything here is integers and fixed-point sums, which merge exactly in any order.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
CONFIDENCE_UNIT = 2**32  # a confidence of 1, in the fixed-point sums: exact up to 2**31 images
NO_LABEL = -1  # code of a label that an annotator did not give
_DENSE = 2**20  # entries of a table that fits a processor's cache


def fixed_point(confidences: Any) -> IntArray:
    """Confidences in units of `CONFIDENCE_UNIT`; 0 where there is none."""
    known: npt.NDArray[np.float64] = np.nan_to_num(confidences.to_numpy().astype(np.float64))
    return np.rint(known * CONFIDENCE_UNIT).astype(np.int64)


def coded(columns: Sequence[pa.ChunkedArray]) -> tuple[list[IntArray], list[str]]:
    """Columns of strings as integers, in one code for all of them; null becomes `NO_LABEL`.

    Returns:
        the codes of each column, and the strings that they stand for, in order.
    """
    chunks = [chunk for column in columns for chunk in column.chunks if len(chunk)]
    if not chunks:
        return [np.zeros(0, np.int64) for _ in columns], []
    encoded = pa.concat_arrays(chunks).dictionary_encode()
    order = np.argsort(np.array(encoded.dictionary.to_pylist(), dtype=object), kind="stable")
    rank = np.empty(len(order) + 1, dtype=np.int64)
    rank[order], rank[NO_LABEL] = np.arange(len(order)), NO_LABEL
    codes = rank[encoded.indices.fill_null(NO_LABEL).to_numpy(zero_copy_only=False)]
    ends = np.cumsum([len(column) for column in columns])[:-1]
    return list(np.split(codes, ends)), encoded.dictionary.take(pa.array(order)).to_pylist()


def distinct(codes: IntArray, size: int) -> tuple[IntArray, IntArray]:
    """As `np.unique(codes, return_inverse=True)` for codes below a size; where that is small, without sorting them."""
    if size > _DENSE:
        values, place = np.unique(codes, return_inverse=True)
        return values, place
    occurs = np.bincount(codes, minlength=size) > 0
    return np.flatnonzero(occurs), (np.cumsum(occurs) - 1)[codes]


def summed(codes: IntArray, values: IntArray, size: int) -> IntArray:
    """The sum of the values of each code, (size,): as `np.bincount`, but exact beyond 2**53."""
    totals = np.zeros(size, dtype=np.int64)
    np.add.at(totals, codes, values)
    return totals


# How many annotators gave which label: what the formulas for any number of annotators take.


@dataclass(frozen=True)
class Patterns:
    """Distinct patterns of ratings, an entry for each label that a pattern has.

    Attributes:
        pattern: (e,) which pattern an entry is of.
        category: (e,) its label.
        times: (e,) how many annotators gave that label, one or more.
        images: (p,) how many images have each pattern.
        categories: how many labels there are.
        spent: degrees of freedom that a variance is divided by less than `n`: 0 as K. Gwet takes for a table of two
            annotators, 1 as he takes for many.
    """

    pattern: IntArray
    category: IntArray
    times: IntArray
    images: IntArray
    categories: int
    spent: int = 1

    @cached_property
    def raters(self) -> IntArray:
        """How many annotators rated the images of each pattern, (p,)."""
        return summed(self.pattern, self.times, len(self.images))

    @cached_property
    def n(self) -> int:
        """Images."""
        return int(self.images.sum())

    @cached_property
    def agreeing(self) -> IntArray:
        """How many ordered pairs of annotators gave the same label, of each pattern, (p,)."""
        return summed(self.pattern, self.times * (self.times - 1), len(self.images))

    @cached_property
    def agreements(self) -> FloatArray:
        """The share of pairs of annotators that agree, of each pattern, (p,); 0 for a single annotator."""
        return np.asarray(self.agreeing / np.maximum(self.raters * (self.raters - 1), 1))

    @cached_property
    def pairable(self) -> "Patterns":
        """Those of the patterns that two annotators or more have rated."""
        kept = self.raters >= 2
        if kept.all():
            return self
        number = np.cumsum(kept) - 1
        of = kept[self.pattern]
        parts = (number[self.pattern[of]], self.category[of], self.times[of], self.images[kept])
        return Patterns(*parts, self.categories, self.spent)

    @cached_property
    def observed(self) -> Fraction:
        """The mean over pairable images of the share of pairs of annotators that agree; exact.

        Raises:
            ZeroDivisionError: no image is pairable.
        """
        pairable = self.pairable
        by_raters = (
            Fraction(int((pairable.images * pairable.agreeing)[pairable.raters == raters].sum()), raters * (raters - 1))
            for raters in np.unique(pairable.raters).tolist()
        )
        return sum(by_raters, Fraction(0)) / pairable.n

    @cached_property
    def shares(self) -> list[Fraction]:
        """The mean over images of the share of annotators that gave each label, (categories,); exact."""
        of_entry, images = self.raters[self.pattern], self.images[self.pattern]
        numbers = np.unique(self.raters).tolist()
        common = math.lcm(*numbers)
        totals = [0] * self.categories
        for raters in numbers:
            of = of_entry == raters
            times = summed(self.category[of], (images * self.times)[of], self.categories).tolist()
            totals = [total + common // raters * one for total, one in zip(totals, times, strict=True)]
        return [Fraction(total, common * self.n) for total in totals]

    def expected_share(self, weights: list[Fraction], raters: float | IntArray) -> FloatArray:
        """For each pattern the sum of its labels' weights, each as often as it was given, over `raters`, (p,)."""
        of_category = np.array([float(weight) for weight in weights])
        total = np.bincount(self.pattern, of_category[self.category] * self.times, len(self.images))
        return np.asarray(total / raters)

    def standard_error(self, scores: FloatArray, mean: float) -> float | None:
        """The standard error of a mean of scores of images; None for too few images."""
        freedom = self.n - self.spent
        if freedom < 1:
            return None
        return math.sqrt(math.fsum(self.images * (scores - mean) ** 2) / (self.n * freedom))


# The cross table of two annotators, in numbers: how often one gave one label, and the other another.


@dataclass(frozen=True)
class CrossTable:
    """The cells that occur, of one annotator's labels against another's.

    Attributes:
        a: (c,) label of annotator a.
        b: (c,) label of annotator b.
        images: (c,) how many images have them.
        categories: how many labels there are.
    """

    a: IntArray
    b: IntArray
    images: IntArray
    categories: int

    @classmethod
    def of_counts(cls, counts: Mapping[tuple[str, str], int]) -> Self:
        """The table of how often each combination of two labels occurs."""
        (a, b), labels = coded([pa.chunked_array([pa.array(side)]) for side in zip(*counts, strict=True)])
        return cls(a, b, np.array(list(counts.values()), dtype=np.int64), len(labels))

    @cached_property
    def n(self) -> int:
        """Images."""
        return int(self.images.sum())

    @cached_property
    def n_agree(self) -> int:
        """Images that both gave the same label."""
        return int(self.images[self.a == self.b].sum())

    @cached_property
    def marginals(self) -> tuple[list[int], list[int]]:
        """How often a, and how often b, gave each label."""
        a, b = (summed(codes, self.images, self.categories).tolist() for codes in (self.a, self.b))
        return a, b

    @cached_property
    def by_chance(self) -> int:
        """Agreements expected by chance from each one's own frequencies, times the number of images."""
        return sum(a * b for a, b in zip(*self.marginals, strict=True))

    @cached_property
    def patterns(self) -> Patterns:
        """The same, without saying who gave which label."""
        same = self.a == self.b
        numbers = np.arange(len(self.a))
        pattern = np.concatenate([numbers, numbers[~same]])
        category = np.concatenate([self.a, self.b[~same]])
        times = np.concatenate([np.where(same, 2, 1), np.ones(int((~same).sum()), dtype=np.int64)])
        return Patterns(pattern, category, times, self.images, self.categories, spent=0)
