"""Which labels annotators gave to images, and how many of them each: what the formulas for any number of them take."""

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np
import numpy.typing as npt

from pipelines.counts import IntArray, summed

FloatArray = npt.NDArray[np.float64]


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
            given = summed(self.category[of], (images * self.times)[of], self.categories).tolist()
            totals = [total + common // raters * one for total, one in zip(totals, given, strict=True)]
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
