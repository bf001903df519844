"""Counts of three annotators or more, of whom some may be missing: how often each pattern of labels occurs."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from metrics.cross_tables import NO_LABEL, IntArray, Patterns, coded, summed


@dataclass(frozen=True)
class Ratings:
    """How often each pattern of labels occurs: how many annotators gave each, and not who.

    Attributes:
        rows: one row per pattern that occurs: `label_1` to `label_k`, its labels in order, each as often as it occurs
            and null where an annotator gave none; and `n`, how many images have it.
        annotators: their names.
    """

    rows: pa.Table
    annotators: tuple[str, ...]

    @classmethod
    def merged(cls, parts: Iterable[Self]) -> Self:
        """The sum of counts of the same annotators.

        Raises:
            ValueError: there are none, or they are of different annotators.
        """
        parts = list(parts)
        if len({part.annotators for part in parts}) != 1:
            names = " and ".join(sorted({", ".join(part.annotators) for part in parts}))
            raise ValueError(f"only ratings of the same annotators can be merged, got those of {names or 'none'}")
        rows = pa.concat_tables([part.rows for part in parts])
        keys = rows.column_names[:-1]
        grouped = rows.group_by(keys).aggregate([("n", "sum")]).rename_columns([*keys, "n"])
        return cls(_sort_rows(grouped), parts[0].annotators)

    @cached_property
    def _coded(self) -> tuple[IntArray, list[str]]:
        columns, labels = coded(self.rows.columns[:-1])
        return np.stack(columns, axis=1), labels

    @property
    def labels(self) -> list[str]:
        """Every label that an annotator gave, in order."""
        return self._coded[1]

    @cached_property
    def patterns(self) -> Patterns:
        """Their numeric form."""
        codes, labels = self._coded
        width = max(len(labels), 1)
        pattern, place = np.nonzero(codes != NO_LABEL)
        entries, times = np.unique(pattern * width + codes[pattern, place], return_counts=True)
        return Patterns(entries // width, entries % width, times, self.rows["n"].to_numpy(), len(labels))

    def by_label(self) -> Iterator[tuple[str, "BinaryRatings"]]:
        """Every label against the rest."""
        whole = self.patterns
        if not whole.n:
            return
        raters = whole.raters
        width = int(raters.max(initial=0)) + 1
        size = width * width  # a pattern of one label: how many annotators there are, and how many of them gave it
        rated = summed(raters * width, whole.images, size)
        order = np.argsort(whole.category, kind="stable")
        ends = np.cumsum(np.bincount(whole.category, minlength=len(self.labels)))
        for label, of in zip(self.labels, np.split(order, ends[:-1]), strict=True):
            images, number = whole.images[whole.pattern[of]], raters[whole.pattern[of]]
            with_label = summed(number * width + whole.times[of], images, size)
            without = rated - summed(number * width, images, size)
            yield label, BinaryRatings(_label_patterns(with_label + without, width))


@dataclass(frozen=True)
class BinaryRatings:
    """How many annotators gave one label, and how many another."""

    patterns: Patterns


def count_ratings(labels: pa.Table) -> Ratings:
    """The counts of images that annotators labelled.

    Args:
        labels: one column per annotator, called like it; one row per image; null where an annotator gave no label.
    """
    columns, names = coded(labels.columns)
    codes = np.stack(columns, axis=1)
    codes = np.sort(np.where(codes == NO_LABEL, len(names), codes), axis=1)  # what is missing comes last
    codes = codes[codes[:, 0] < len(names)] if codes.size else codes
    place, keys = np.zeros(len(codes), dtype=np.int64), codes[:0]
    for column in codes.T:
        _, place = np.unique(place * (len(names) + 1) + column, return_inverse=True)
    _, first, images = np.unique(place, return_index=True, return_counts=True)
    keys = codes[first]
    strings = pa.array([*names, None], pa.string())
    rows = {f"label_{number + 1}": strings.take(pa.array(column)) for number, column in enumerate(keys.T)}
    return Ratings(_sort_rows(pa.table({**rows, "n": pa.array(images.astype(np.int64))})), tuple(labels.column_names))


def _label_patterns(images: IntArray, width: int) -> Patterns:
    """Patterns of two categories from images by (annotators, how many of them gave the label)."""
    occurring = np.flatnonzero(images)
    raters, with_label = occurring // width, occurring % width
    number = np.arange(len(occurring))
    pattern, category = np.concatenate([number, number]), np.repeat([0, 1], len(occurring))
    times = np.concatenate([with_label, raters - with_label])
    some = times > 0
    return Patterns(pattern[some], category[some], times[some], images[occurring], 2)


def _sort_rows(rows: pa.Table) -> pa.Table:
    keys = [(name, "ascending") for name in rows.column_names[:-1]]
    return rows.take(pc.sort_indices(rows, keys)) if rows.num_rows else rows
