"""Confusion matrices for display, and accuracy by class, from counts of label combinations."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from metrics.counts import Hits
from metrics.measures.accuracy import scores_of

LARGEST_MATRIX = 40  # classes; beyond it nobody reads a matrix
_MOST_FREQUENT = 40  # combinations listed instead


@dataclass(frozen=True)
class Matrix:
    """How often one label met another.

    Attributes:
        labels: of the rows and of the columns; empty where there are too many for a matrix.
        rows: counts, and their share of the row's sum (0 in an empty row).
        frequent: in place of too large a matrix, the most frequent combinations of different labels.
    """

    row_name: str
    column_name: str
    labels: tuple[str, ...]
    rows: tuple[tuple[tuple[int, float], ...], ...]
    frequent: tuple[tuple[str, str, int], ...]
    n: int


@dataclass(frozen=True)
class Scores:
    """Precision, recall and F1 of a class, or their average, over `support` images."""

    label: str
    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True)
class Classification:
    """How accurate an annotator's labels are: by class, averaged, and overall."""

    classes: tuple[Scores, ...]
    averages: tuple[Scores, ...]
    accuracy: float
    support: int


def ordered(labels: Iterable[str], classes: Sequence[str]) -> list[str]:
    """Labels in class order, those that are no class last."""
    position = {name: number for number, name in enumerate(classes)}
    return sorted(set(labels), key=lambda label: (position.get(label, len(position)), label))


def matrix(counts: Counter[tuple[str, str]], row_name: str, column_name: str, classes: Sequence[str]) -> Matrix:
    """The matrix of counts of (row label, column label)."""
    labels = ordered((label for combination in counts for label in combination), classes)
    n = sum(counts.values())
    if len({*labels, *classes}) > LARGEST_MATRIX and len(labels) > LARGEST_MATRIX:
        different = ((row, column, count) for (row, column), count in counts.items() if row != column)
        frequent = sorted(different, key=lambda entry: (-entry[2], entry[0], entry[1]))[:_MOST_FREQUENT]
        return Matrix(row_name, column_name, (), (), tuple(frequent), n)
    if len({*labels, *classes}) <= LARGEST_MATRIX:  # a class that nobody gave is worth showing, if there is room
        labels = ordered([*labels, *classes], classes)
    rows = []
    for row in labels:
        total = sum(counts[row, column] for column in labels)
        rows.append(tuple((counts[row, column], counts[row, column] / total if total else 0.0) for column in labels))
    return Matrix(row_name, column_name, tuple(labels), tuple(rows), (), n)


def against_reference(cells: Iterable[Mapping[str, Any]], annotator: str) -> Counter[tuple[str, str]]:
    """How often the reference had one label and annotator `a` or `b` gave another; images without one are excluded."""
    counts: Counter[tuple[str, str]] = Counter()
    for cell in cells:
        if cell["reference"] is not None:
            counts[cell["reference"], cell[f"label_{annotator}"]] += cell["n"]
    return counts


def classification(counts: Counter[tuple[str, str]], classes: Sequence[str]) -> Classification:
    """Figures of each class from counts of (reference, label); undefined ones are 0."""
    n, right = counts.total(), sum(images for (true, label), images in counts.items() if true == label)
    actual, predicted = Counter[str](), Counter[str]()
    for (true, label), images in counts.items():
        actual[true] += images
        predicted[label] += images
    by_class = []
    for name in ordered({*actual, *predicted}, classes):
        both = counts[name, name]
        scores = scores_of(Hits(both, predicted[name] - both, actual[name] - both))
        by_class.append(Scores(name, *scores, actual[name]))
    averages = (_average("macro", by_class, [1] * len(by_class), n), _average("weighted", by_class, None, n))
    return Classification(tuple(by_class), averages, right / n, n)


def _average(name: str, by_class: Sequence[Scores], weights: Sequence[int] | None, support: int) -> Scores:
    """The mean over classes; weighted by their support where no weights are set."""
    of = weights or [one.support for one in by_class]
    columns = zip(*((one.precision, one.recall, one.f1) for one in by_class), strict=True)
    precision, recall, f1 = (
        math.fsum(weight * value for weight, value in zip(of, column, strict=True)) / sum(of) for column in columns
    )
    return Scores(name, precision, recall, f1, support)
