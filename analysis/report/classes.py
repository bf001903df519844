"""Labels class by class: how often each annotator gave each, confusion matrices, and accuracy by class."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from markupsafe import Markup

from analysis.report.formatting import percent
from analysis.report.plots import FAINT, FIRST, INK, REST, SECOND, Tooltips, add_legend, plot, set_class_axis
from analysis.tables import Comparison, Pair, Row, Sources, count_against_reference
from metrics import classification
from schemas.tables import CLASS

TITLE, ORDER = "Confusion matrices and accuracy by class", 70
_SIZE = (4.4, 0.25)  # inches: width of the plot, and height of a label's line
_MARKS = ((SECOND, "o"), (FIRST, "s"), (INK, "^"), (FAINT, "D"))  # not by colour alone; then hollow
_MOST = 2 * len(_MARKS)  # annotators that a plot can distinguish
Counts = dict[str, Counter[str]]


def build_section(sources: Sources) -> Row | None:
    """Label counts, a confusion matrix per pair, and with a reference the figures of each class."""
    comparisons, classes = sources.comparisons, sources.classes
    if not comparisons:
        return None
    accuracy = [
        {
            "split": split,
            "annotator": annotator,
            "reference": reference,
            "matrix": classification.matrix(counts, reference, annotator, classes),
            "scores": classification.classification(counts, classes),
        }
        for (split, annotator), (reference, counts) in sorted(count_against_reference(comparisons).items())
    ]
    return {
        "labels": build_label_counts(comparisons, classes),
        "confusion": [_build_confusion(entry, classes) for entry in comparisons],
        "accuracy": accuracy,
        "multilabel": _build_label_scores([entry.pair for entry in comparisons]),
    }


def _build_confusion(entry: Comparison, classes: Sequence[str]) -> Row:
    """How often one annotator gave one label and the other another; for multilabel data who gave which alone."""
    pair = entry.pair
    if pair.is_multilabel:
        return {"pair": pair, "rows": _count_one_sided(entry.confusion, classes), "matrix": None}
    counts = Counter({(row["label_a"], row["label_b"]): row["n"] for row in entry.confusion})
    return {"pair": pair, "matrix": classification.matrix(counts, pair.a, pair.b, classes)}


def _count_one_sided(confusion: Iterable[Row], classes: Sequence[str]) -> list[tuple[str, list[int]]]:
    """Each label with how many images got it from both, from `a` alone, and from `b` alone; in the order of classes."""
    counts: dict[str, list[int]] = {}
    for row in confusion:
        a, b = row["label_a"], row["label_b"]
        column = 0 if a == b else 1 if b is None else 2
        counts.setdefault(a if a is not None else b, [0, 0, 0])[column] += row["n"]
    return [(label, counts[label]) for label in classification.ordered(counts, classes)]


def _build_label_scores(pairs: Iterable[Pair]) -> list[Row]:
    """Precision, recall and F1 of each label, per annotator and split, by its comparison with most reference labels."""
    best: dict[tuple[str, str], Row] = {}
    for pair in pairs:
        if not pair.is_multilabel:
            continue
        by_label: dict[str, Row] = {}
        for row in pair.measures(CLASS):
            by_label.setdefault(row["label"], {})[row["measure"]] = row["value"]
        classes = {label: figures for label, figures in by_label.items() if figures["n_reference"]}
        known = sum(figures["n_reference"] for figures in classes.values())
        for side, annotator in (("a", pair.a), ("b", pair.b)):
            rows = [
                {
                    "label": label,
                    "images": int(figures["n_reference"]),
                    **{name: figures[f"{name}_{side}"] for name in ("precision", "recall", "f1")},
                }
                for label, figures in classes.items()
            ]
            key = pair.split, annotator
            if rows and (key not in best or known > best[key]["known"]):
                entry = {"split": pair.split, "annotator": annotator, "reference": pair.reference}
                best[key] = {**entry, "rows": rows, "known": known}
    return [best[key] for key in sorted(best)]


def build_label_counts(comparisons: Sequence[Comparison], classes: Sequence[str]) -> list[Row]:
    """For each split: the counts of each label, those of the reference first, and a plot of their shares.

    Each annotator is counted in its comparison with most images. Of very many labels the most frequent are shown.

    Args:
        comparisons: of any splits.
        classes: of the dataset, in their order.
    """
    entries = []
    for split in dict.fromkeys(entry.pair.split for entry in comparisons):
        reference, counts = _count_labels([entry for entry in comparisons if entry.pair.split == split])
        every = classification.ordered({label for one in counts.values() for label in one} | set(classes), classes)
        labels = every
        if len(every) > classification.LARGEST_MATRIX:
            total = sum(counts.values(), Counter())
            labels = sorted(every, key=lambda label: (-total[label], label))[: classification.LARGEST_MATRIX]
        if counts and labels:
            entries.append(
                {
                    "split": split,
                    "names": list(counts),
                    "images": [one.total() for one in counts.values()],
                    "rows": [(label, [one[label] for one in counts.values()]) for label in labels],
                    "of": len(every),
                    "plot": _plot_shares(split, reference, counts, labels)
                    if len(counts) <= _MOST + bool(reference)
                    else None,
                }
            )
    return entries


def _count_labels(comparisons: Sequence[Comparison]) -> tuple[str, Counts]:
    """Name of the reference, empty without one, and how often it, the first, and each other gave each label."""
    best: dict[str, tuple[int, Counter[str]]] = {}
    reference, known = "", Counter[str]()
    for entry in comparisons:
        for side, name in (("a", entry.pair.a), ("b", entry.pair.b)):
            if name not in best or entry.summary["n"] > best[name][0]:
                best[name] = entry.summary["n"], _count_column(entry.confusion, f"label_{side}")
        counts = _count_column(entry.digest.cells, "reference")
        if counts.total() > known.total():
            reference, known = entry.pair.reference, counts
    first = {reference: known} if reference and reference not in best else {}
    return reference, {**first, **{name: counts for name, (_, counts) in best.items()}}


def _count_column(rows: Iterable[Row], column: str) -> Counter[str]:
    counts = Counter[str]()
    for row in rows:
        if row[column] is not None:
            counts[row[column]] += row["n"]
    return counts


def _plot_shares(split: str, reference: str, counts: Counts, labels: Sequence[str]) -> Markup:
    """The share of each label among those of the reference (a bar) and of each annotator (a mark)."""
    shares = {name: {label: one[label] / max(one.total(), 1) for label in labels} for name, one in counts.items()}
    texts = [
        f"{label}: " + ", ".join(f"{name} {percent(one[label])}" for name, one in shares.items()) for label in labels
    ]

    def paint(figure: Any, tooltips: Tooltips) -> None:
        from matplotlib.ticker import MaxNLocator, PercentFormatter

        axes = figure.subplots()
        lines = list(range(len(labels)))
        if reference in shares:
            axes.barh(lines, [shares[reference][label] for label in labels], 0.72, color=REST, label=reference)
        for number, name in enumerate(name for name in shares if name != reference):
            colour, mark = _MARKS[number % len(_MARKS)]
            style = {"markerfacecolor": "none" if number >= len(_MARKS) else colour, "markeredgewidth": 0.7}
            values = [shares[name][label] for label in labels]
            axes.plot(values, lines, mark, markersize=5, markeredgecolor=INK, label=name, **style)
        set_class_axis(axes, labels, texts, tooltips)
        axes.set_xlim(0, None)
        axes.set_xlabel("share of the labels")
        axes.xaxis.set_major_locator(MaxNLocator(nbins=5))
        axes.xaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
        add_legend(figure)

    size = _SIZE[0], 1.0 + _SIZE[1] * len(labels)
    return plot(f"labels-{split}", size, paint, f"Label distribution, {split} images", "; ".join(texts) + ".")
