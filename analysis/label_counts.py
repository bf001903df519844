"""How often each annotator of a split gave each label, beside the truth."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from analysis.compared import Comparison
from analysis.formatting import percent
from analysis.plots import FAINT, FIRST, INK, REST, SECOND, Tooltips, class_axis, legend, plot
from metrics import classification

_SIZE = (4.4, 0.25)  # inches: width of the plot, and height of a label's line
_MARKS = ((SECOND, "o"), (FIRST, "s"), (INK, "^"), (FAINT, "D"))  # never told by colour alone; then hollow
_MOST = 2 * len(_MARKS)  # annotators that a plot can tell apart
Counts = dict[str, Counter[str]]


def of_comparisons(comparisons: Sequence[Comparison], classes: Sequence[str]) -> list[dict[str, Any]]:
    """What to show of each split: the counts of each label, the truth first, and a plot of their shares.

    Each annotator is counted in its comparison with most images. Of very many labels the most frequent are shown.

    Args:
        comparisons: of any splits.
        classes: of the dataset, in their order.
    """
    shown = []
    for split in dict.fromkeys(entry.pair.split for entry in comparisons):
        truth, counts = _counts([entry for entry in comparisons if entry.pair.split == split])
        every = classification.ordered({label for found in counts.values() for label in found} | set(classes), classes)
        labels = every
        if len(every) > classification.LARGEST_MATRIX:
            total = sum(counts.values(), Counter())
            labels = sorted(every, key=lambda label: (-total[label], label))[: classification.LARGEST_MATRIX]
        if counts and labels:
            shown.append(
                {
                    "split": split,
                    "names": list(counts),
                    "images": [found.total() for found in counts.values()],
                    "rows": [(label, [found[label] for found in counts.values()]) for label in labels],
                    "of": len(every),
                    "plot": _shares(split, truth, counts, labels) if len(counts) <= _MOST + bool(truth) else None,
                }
            )
    return shown


def _counts(comparisons: Sequence[Comparison]) -> tuple[str, Counts]:
    """Name of the truth, empty where it is not known, and how often it, the first, and each other gave each label."""
    best: dict[str, tuple[int, Counter[str]]] = {}
    truth, known = "", Counter[str]()
    for entry in comparisons:
        for side, name in (("a", entry.pair.a), ("b", entry.pair.b)):
            if name not in best or entry.summary["n"] > best[name][0]:
                found = Counter[str]()
                for row in entry.confusion:
                    if row[f"label_{side}"] is not None:
                        found[row[f"label_{side}"]] += row["n"]
                best[name] = entry.summary["n"], found
        true = Counter[str]()
        for cell in entry.digest.cells:
            if cell["reference"] is not None:
                true[cell["reference"]] += cell["n"]
        if true.total() > known.total():
            truth, known = entry.pair.truth, true
    first = {truth: known} if truth and truth not in best else {}
    return truth, {**first, **{name: found for name, (_, found) in best.items()}}


def _shares(split: str, truth: str, counts: Counts, labels: Sequence[str]) -> Markup:
    """The share of each label among those that the truth (a bar) and each annotator (a mark) gave."""
    shares = {name: {label: found[label] / max(found.total(), 1) for label in labels} for name, found in counts.items()}
    seen = {label: ", ".join(f"{name} {percent(of[label])}" for name, of in shares.items()) for label in labels}

    def paint(figure: Any, tooltips: Tooltips) -> None:
        from matplotlib.ticker import MaxNLocator, PercentFormatter

        axes = figure.subplots()
        places = list(range(len(labels)))
        if truth in shares:
            axes.barh(places, [shares[truth][label] for label in labels], 0.72, color=REST, label=truth)
        for number, name in enumerate(name for name in shares if name != truth):
            colour, mark = _MARKS[number % len(_MARKS)]
            ways = {"markerfacecolor": "none" if number >= len(_MARKS) else colour, "markeredgewidth": 0.7}
            values = [shares[name][label] for label in labels]
            axes.plot(values, places, mark, markersize=5, markeredgecolor=INK, label=name, **ways)
        class_axis(axes, labels, [f"{label}: {told}" for label, told in seen.items()], tooltips)
        axes.set_xlim(0, None)
        axes.set_xlabel("share of the labels given")
        axes.xaxis.set_major_locator(MaxNLocator(nbins=5))
        axes.xaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
        legend(figure)

    size = _SIZE[0], 1.0 + _SIZE[1] * len(labels)
    told = "; ".join(f"{label}: {said}" for label, said in seen.items())
    return plot(f"labels-{split}", size, paint, f"How often each label was given, {split} images", f"{told}.")
