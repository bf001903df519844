"""How good labels are, from counts of label combinations: matrices of who said what, and figures for each class."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

LARGEST_MATRIX = 40  # classes; beyond it nobody reads a matrix
_MOST_FREQUENT = 40  # combinations listed in its stead
_Z = 1.959963984540054  # of a normal distribution, the 97.5 % quantile


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
    """How well an annotator's labels fit the truth: class by class, averaged, and overall."""

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
    if len({*labels, *classes}) <= LARGEST_MATRIX:  # a class that nobody gave is worth seeing, if there is room
        labels = ordered([*labels, *classes], classes)
    rows = []
    for row in labels:
        total = sum(counts[row, column] for column in labels)
        rows.append(tuple((counts[row, column], counts[row, column] / total if total else 0.0) for column in labels))
    return Matrix(row_name, column_name, tuple(labels), tuple(rows), (), n)


def against_truth(cells: Iterable[dict[str, Any]], annotator: str) -> Counter[tuple[str, str]]:
    """How often the truth was one label and annotator `a` or `b` gave another; images without truth are left out."""
    counts: Counter[tuple[str, str]] = Counter()
    for cell in cells:
        if cell["truth"] is not None:
            counts[cell["truth"], cell[f"label_{annotator}"]] += cell["n"]
    return counts


def classification(counts: Counter[tuple[str, str]], classes: Sequence[str]) -> Classification:
    """Figures of each class from counts of (truth, label); a class never given has precision 0."""
    from sklearn.metrics import precision_recall_fscore_support

    truths, labels = zip(*counts, strict=True)
    weights = list(counts.values())
    names = ordered({*truths, *labels}, classes)

    def figures(average: str | None) -> Any:
        return precision_recall_fscore_support(
            truths, labels, labels=names, sample_weight=weights, average=average, zero_division=0.0
        )

    total = sum(weights)
    by_class = zip(names, *(values.tolist() for values in figures(None)), strict=True)
    return Classification(
        tuple(Scores(name, precision, recall, f1, round(support)) for name, precision, recall, f1, support in by_class),
        tuple(Scores(average, *_plain(figures(average)), total) for average in ("macro", "weighted")),
        sum(n for (truth, label), n in counts.items() if truth == label) / total,
        total,
    )


def _plain(averages: tuple[Any, ...]) -> tuple[float, float, float]:
    precision, recall, f1, _ = averages
    return float(precision), float(recall), float(f1)


def kappa(counts: Counter[tuple[str, str]]) -> tuple[float | None, float | None, float | None]:
    """Cohen's kappa of counts of (truth, label), and its 95 % interval; None each where chance agrees on everything.

    The variance is that of J. L. Fleiss, J. Cohen and B. S. Everitt (1969), "Large sample standard errors of kappa and
    weighted kappa", Psychological Bulletin 72:323-327; the interval is normal, cut off at -1 and 1.
    """
    n = counts.total()
    rows, columns = Counter[str](), Counter[str]()
    for (row, column), images in counts.items():
        rows[row] += images
        columns[column] += images
    observed = sum(images for (row, column), images in counts.items() if row == column) / n
    expected = sum(rows[label] * columns[label] for label in rows) / n**2
    if expected == 1:
        return None, None, None
    value, left = (observed - expected) / (1 - expected), 1 - expected
    total = 0.0
    for (row, column), images in counts.items():
        if row == column:
            total += images / n * (left - (rows[row] + columns[row]) / n * (1 - observed)) ** 2
        else:
            total += images / n * ((columns[row] + rows[column]) / n * (1 - observed)) ** 2
    variance = (total - (observed * expected - 2 * expected + observed) ** 2) / (n * left**4)
    half = _Z * math.sqrt(max(variance, 0.0))  # rounding may make it -0.0
    return value, max(value - half, -1.0), min(value + half, 1.0)
