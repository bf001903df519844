"""The cross table of two annotators, in numbers: how often one gave one label, and the other another."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pipelines.counts import IntArray, summed
from pipelines.counts.patterns import Patterns


@dataclass(frozen=True)
class CrossTable:
    """The cells that occur.

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
