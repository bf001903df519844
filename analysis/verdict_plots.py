"""Plots of what people confirmed: by the machine's confidence, by class, and by image.

Every row below is one of the table of label statistics; classes carry the `name` by which they are called as well.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from markupsafe import Markup

from analysis.confirmation import Row
from analysis.formatting import brief, count, decimal, interval, several, tenth
from analysis.plots import FAINT, FIRST, INK, REST, SECOND, UNSEEN, Paint, Tooltips, class_axis, legend, plot

MOST_LABELS = 25  # an image; those with more stand in the last bar
_SIZE = (4.4, 2.9)
_SMALL = 8  # points
_LINE = 0.21  # inches a class takes
_FIFTHS = (0, 0.2, 0.4, 0.6, 0.8, 1)
_Fate = tuple[str, str, str]  # column, name, colour
_FATES: tuple[_Fate, ...] = (
    ("confirmed", "confirmed", SECOND),
    ("rejected", "rejected", FIRST),
    ("without_verdict", "nobody has looked", REST),
    ("excluded", "left out", FAINT),
)
_WHISKER = {"fmt": "o", "color": SECOND, "ecolor": SECOND, "elinewidth": 1.4, "capsize": 2.5, "markersize": 4}


class Drawn(NamedTuple):
    """A plot, and what stands above it."""

    title: str
    svg: Markup


def told(row: Row) -> str:
    """The counts and the precision of a row, exactly, in words."""
    fates = ", ".join(f"{count(row[key])} {name}" for key, name, _ in _FATES if row[key] or key != "excluded")
    return f"{several(row['machine_rows'], 'machine label')}: {fates}; {told_precision(row)}"


def told_precision(row: Row) -> str:
    """The precision of a row and how sure it is, in words."""
    if not row["verified"]:
        return "precision not known"
    known = interval(row["precision_low"], row["precision_high"])
    return f"precision {decimal(row['precision'])} ({known}) of {several(row['verified'], 'verdict')}"


def precision_by_confidence(deciles: Sequence[Row]) -> Drawn | None:
    """How often the machine is right where it is so sure; None where nobody has looked."""
    rows = [row for row in deciles if row["verified"]]
    if not rows:
        return None

    def paint(figure: Any, tooltips: Tooltips) -> None:
        axes = figure.subplots()
        first, last = _confidence_axis(axes, rows)
        axes.plot([first, last], [first, last], ":", color=INK, alpha=0.6, linewidth=1, label="as right as sure")
        middles = [row["decile"] / 10 + 0.05 for row in rows]
        axes.errorbar(middles, _shares(rows), _whiskers(rows), label="precision, with its 95 % interval", **_WHISKER)
        for middle, row in zip(middles, rows, strict=True):
            over = axes.get_xaxis_transform()
            axes.text(middle, 1.02, brief(row["verified"]), transform=over, ha="center", va="bottom", fontsize=_SMALL)
            shape = axes.axvspan(middle - 0.05, middle + 0.05, facecolor=UNSEEN, edgecolor="none", zorder=9)
            tooltips.put(shape, f"Confidence {tenth(row['decile'])}: {told_precision(row)}")
        axes.set(
            xlabel="the machine's confidence (above: verdicts)", ylabel="precision", ylim=(0, 1.03), yticks=_FIFTHS
        )
        legend(figure)

    seen = [f"{tenth(row['decile'])}: {told_precision(row)}" for row in rows]
    return _drawn("precision", paint, "How often the machine is right, by its confidence", seen)


def confidence_histogram(deciles: Sequence[Row]) -> Drawn | None:
    """How sure the machine was of what people confirmed, rejected and did not look at; None without any row.

    Where people looked at a part only, that part is drawn again beside the whole, in its own scale.
    """
    rows = [row for row in deciles if row["machine_rows"]]
    verified = [row for row in rows if row["verified"]]
    if not rows:
        return None
    parts: list[tuple[Sequence[Row], Sequence[_Fate], str]] = [(rows, _FATES, "machine labels")]
    if verified and any(row["without_verdict"] for row in rows):
        parts.append((rows, _FATES[:2], "of them, with a verdict"))

    def paint(figure: Any, tooltips: Tooltips) -> None:
        for axes, (shown, fates, title) in zip(figure.subplots(1, len(parts), squeeze=False)[0], parts, strict=True):
            _confidence_axis(axes, shown)
            middles = [row["decile"] / 10 + 0.05 for row in shown]
            _stack(axes.bar, "bottom", middles, shown, fates, 0.09)
            for middle, row in zip(middles, shown, strict=True):
                shape = axes.axvspan(middle - 0.05, middle + 0.05, facecolor=UNSEEN, edgecolor="none", zorder=9)
                tooltips.put(shape, f"Confidence {tenth(row['decile'])}: {told(row)}")
            axes.set_title(title, fontsize=9)
            axes.tick_params(axis="x", labelsize=_SMALL)
            _count_axis(axes.yaxis)
        figure.supxlabel("the machine's confidence", fontsize=9)
        legend(figure)

    seen = [f"{tenth(row['decile'])}: {told(row)}" for row in rows]
    return _drawn("confidences", paint, "How sure the machine was, and what people made of it", seen)


def labels_per_image(images: dict[int, int]) -> Drawn | None:
    """How many images have 1, 2, ... confirmed labels.

    Args:
        images: how many images have so many labels, by labels.
    """
    if not images:
        return None
    drawn: dict[int, int] = {}
    for labels, n in images.items():
        drawn[min(labels, MOST_LABELS)] = drawn.get(min(labels, MOST_LABELS), 0) + n
    last = max(drawn)

    def called(labels: int) -> str:
        return f"{labels} or more" if labels == MOST_LABELS else str(labels)

    def paint(figure: Any, tooltips: Tooltips) -> None:
        axes = figure.subplots()
        axes.bar(list(drawn), list(drawn.values()), width=0.85, color=SECOND)
        for labels, n in drawn.items():
            shape = axes.axvspan(labels - 0.5, labels + 0.5, facecolor=UNSEEN, edgecolor="none", zorder=9)
            tooltips.put(shape, f"{called(labels)} confirmed {'label' if labels == 1 else 'labels'}: {_images(n)}")
        axes.set_xlim(0.4, max(last, 4) + 0.6)
        ticks = range(1, max(last, 4) + 1, 1 if last <= 12 else 3)
        axes.set_xticks(list(ticks), [f"{labels}+" if labels == MOST_LABELS else str(labels) for labels in ticks])
        axes.set(xlabel="confirmed labels an image", ylabel="images")
        _count_axis(axes.yaxis)

    seen = [f"{called(labels)}: {_images(n)}" for labels, n in sorted(drawn.items())]
    return _drawn("labels-per-image", paint, "How many confirmed labels an image has", seen)


def label_counts(classes: Sequence[Row]) -> Drawn | None:
    """How often people confirmed and rejected each class; None without a class."""
    if not classes:
        return None

    def paint(figure: Any, tooltips: Tooltips) -> None:
        axes = figure.subplots()
        places = list(range(len(classes)))
        _stack(axes.barh, "left", places, classes, _FATES[:2], 0.78)
        _classes(axes, classes, tooltips)
        axes.set_xlabel("machine labels with a verdict")
        _count_axis(axes.xaxis)
        legend(figure)

    seen = [f"{row['name']}: {count(row['confirmed'])} and {count(row['rejected'])}" for row in classes]
    return _drawn("label-counts", paint, "How often people confirmed and rejected a class", seen, len(classes))


def class_precision(classes: Sequence[Row], overall: float, name: str, title: str) -> Drawn | None:
    """The precision of each class beside that of all; None without a class.

    Args:
        classes: in the order in which they stand, from the top.
        overall: precision over all classes.
        name: of the plot.
        title: of the plot.
    """
    if not classes:
        return None

    def paint(figure: Any, tooltips: Tooltips) -> None:
        axes = figure.subplots()
        axes.axvline(overall, color=INK, linestyle=":", linewidth=1, alpha=0.6, label=f"of all: {decimal(overall)}")
        places = list(range(len(classes)))
        shown = {**_WHISKER, "label": "precision, with its 95 % interval"}
        axes.errorbar(_shares(classes), places, xerr=_whiskers(classes), **shown)
        _classes(axes, classes, tooltips)
        for place, row in enumerate(classes):
            beside = axes.get_yaxis_transform()
            axes.text(1.02, place, brief(row["verified"]), transform=beside, ha="left", va="center", fontsize=_SMALL)
        axes.set(xlabel="precision (on the right: verdicts)", xlim=(0, 1.02), xticks=_FIFTHS)
        legend(figure)

    return _drawn(name, paint, title, [f"{row['name']}: {told_precision(row)}" for row in classes], len(classes))


def _drawn(name: str, paint: Paint, title: str, seen: Sequence[str], lines: int = 0) -> Drawn:
    """A plot that is as high as its lines need, or as all others."""
    size = (_SIZE[0], 0.85 + _LINE * lines if lines else _SIZE[1])
    return Drawn(title, plot(name, size, paint, title, "; ".join(seen) + "."))


def _images(n: int) -> str:
    return several(n, "image")


def _shares(rows: Sequence[Row]) -> list[float]:
    return [row["precision"] for row in rows]


def _whiskers(rows: Sequence[Row]) -> list[list[float]]:
    """How far the intervals reach below and above the precision."""
    low = [max(row["precision"] - row["precision_low"], 0) for row in rows]  # rounding may make it -0.0
    return [low, [max(row["precision_high"] - row["precision"], 0) for row in rows]]


def _stack(
    bars: Callable[..., Any],
    base: str,
    places: Sequence[float],
    rows: Sequence[Row],
    fates: Sequence[_Fate],
    width: float,
) -> None:
    """Bars of what became of the rows, one upon the other; a fate that none met is left out."""
    reached = [0] * len(rows)
    for key, label, colour in fates:
        lengths = [row[key] for row in rows]
        if any(lengths):
            bars(places, lengths, width, **{base: reached}, color=colour, label=label)
            reached = [low + length for low, length in zip(reached, lengths, strict=True)]


def _confidence_axis(axes: Any, rows: Sequence[Row]) -> tuple[float, float]:
    """Tenths from the first to the last that has rows; returns where the axis begins and ends."""
    first, last = min(row["decile"] for row in rows), max(row["decile"] for row in rows) + 1
    axes.set_xlim(first / 10 - 0.01, last / 10 + 0.01)
    axes.set_xticks([tick / 10 for tick in range(first, last + 1)])
    axes.grid(axis="y", color=INK, alpha=0.12, linewidth=0.6)
    axes.set_axisbelow(True)
    return first / 10, last / 10


def _classes(axes: Any, classes: Sequence[Row], tooltips: Tooltips) -> None:
    class_axis(axes, [row["name"] for row in classes], [f"{row['name']}: {told(row)}" for row in classes], tooltips)


def _count_axis(axis: Any) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    axis.set_major_formatter(FuncFormatter(lambda number, _: brief(number)))
