"""Human verdicts on a machine's labels: what humans confirmed and rejected, by confidence, by class and by image.

Every row below is one of the table of label statistics; classes carry the `name` by which they are called as well.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from markupsafe import Markup

from analysis.report.formatting import brief, count, decile_range, decimal, interval, plain_interval, plural
from analysis.report.plots import (
    FAINT,
    FIRST,
    INK,
    REST,
    SECOND,
    UNSEEN,
    Paint,
    Tooltips,
    add_error_bars,
    add_grid,
    add_legend,
    plot,
    set_class_axis,
)
from analysis.tables import SIDES, Confirmation, Row, Sources, display_names

TITLE, ORDER = "Human verdicts on machine labels", 50
MOST_FREQUENT = 20  # classes shown
ENOUGH = 30  # verdicts, from which on a class's precision is worth ranking
ENOUGH_FOR_A_CELL = 10  # and on the precision of a class at a confidence
EXTREMES = 10  # classes at either end of the ranking
MOST_LABELS = 25  # per image; those with more stand in the last bar

_SIZE = (4.4, 2.9)
_SMALL = 8  # points
_LINE = 0.21  # inches per class
_FIFTHS = (0, 0.2, 0.4, 0.6, 0.8, 1)
_Outcome = tuple[str, str, str]  # column, name, colour
_OUTCOMES: tuple[_Outcome, ...] = (
    ("confirmed", "confirmed", SECOND),
    ("rejected", "rejected", FIRST),
    ("without_verdict", "not reviewed", REST),
    ("excluded", "excluded", FAINT),
)
_WHISKER = {"fmt": "o", "color": SECOND, "ecolor": SECOND, "elinewidth": 1.4, "capsize": 2.5, "markersize": 4}


class TitledPlot(NamedTuple):
    """A plot, and what stands above it."""

    title: str
    svg: Markup


def build_section(sources: Sources) -> Row | None:
    """All that the section shows; None where no human verdicts were joined."""
    confirmation = sources.confirmation
    if confirmation is None:
        return None
    overall, deciles, classes = confirmation.overall, confirmation.figures("decile"), name_classes(confirmation)
    frequent, best, worst = find_frequent(classes), *find_extremes(classes)
    shown = {row["label"]: row for row in (*frequent, *best, *worst)}
    per_image = confirmation.labels_per_image()
    images = {row["labels"]: row["images"] for row in per_image if row["annotator"] == "confirmed"}
    return {
        "dataset": confirmation.dataset,
        "counts": confirmation.counts,
        "settings": confirmation.manifest.settings,
        "overall": overall,
        "deciles": sum_above(deciles),
        "outcomes": list_outcomes(confirmation.counts),
        "verdicts": list_verdicts(confirmation.counts),
        "sources": confirmation.sources(),
        "classes": sort_by_frequency(list(shown.values())),
        "n_classes": len(classes),
        "enough": {"least": ENOUGH, "classes": len(_ranked(classes))},
        "grid": build_grid(frequent, confirmation.figures("class_decile", [row["label"] for row in frequent])),
        "per_image": _count_per_image(per_image),
        "mean_labels": sum(n * labels for labels, n in images.items()) / sum(images.values()) if images else None,
        "confidence_plots": _present(plot_precision(deciles), plot_confidences(deciles)),
        "class_plots": [_present(plot_label_counts(frequent)), _present(*_plot_extremes(best, worst, overall))],
        "image_plots": _present(plot_labels_per_image(images)),
    }


def list_headlines(sources: Sources) -> list[str]:
    """What humans made of the machine's labels."""
    return [] if sources.confirmation is None else [headline(sources.confirmation)]


def headline(confirmation: Confirmation) -> str:
    """What humans made of the machine's labels, in a line."""
    overall, counts = confirmation.overall, confirmation.counts
    if not overall["verified"]:
        return f"humans reviewed none of the {plural(overall['machine_rows'], 'machine label')}"
    return (
        f"humans confirmed {count(overall['confirmed'])} of the {plural(overall['verified'], 'machine label')} "
        f"that they reviewed (precision {decimal(overall['precision'])}, 95 % interval "
        f"{plain_interval(overall['precision_low'], overall['precision_high'])}): "
        f"{plural(counts['images'], 'image')}, {plural(counts['classes'], 'class', 'classes')}"
    )


def _present(*plots: TitledPlot | None) -> list[TitledPlot]:
    return [one for one in plots if one is not None]


def _plot_extremes(best: Sequence[Row], worst: Sequence[Row], overall: Row) -> list[TitledPlot | None]:
    if not worst:
        title = "Precision of each class"
        return [plot_class_precision(best, overall["precision"], "classes", title)]
    return [
        plot_class_precision(best, overall["precision"], "best", "Classes of reliably high precision"),
        plot_class_precision(worst, overall["precision"], "worst", "Classes of reliably low precision"),
    ]


def name_classes(confirmation: Confirmation) -> list[Row]:
    """Counts and precision of each class, with the `name` by which to call it."""
    rows = confirmation.figures("class")
    names = display_names(rows)
    return [{**row, "name": names[row["label"]]} for row in rows]


def sort_by_frequency(classes: Sequence[Row]) -> list[Row]:
    """Classes, the most often confirmed first."""
    return sorted(classes, key=lambda row: (-row["confirmed"], -row["verified"], row["label"]))


def find_frequent(classes: Sequence[Row]) -> list[Row]:
    """The classes that humans confirmed most often, of those that they reviewed."""
    return sort_by_frequency([row for row in classes if row["verified"]])[:MOST_FREQUENT]


def _ranked(classes: Sequence[Row]) -> list[Row]:
    """The classes with enough verdicts to be ranked."""
    return [row for row in classes if row["verified"] >= ENOUGH]


def find_extremes(classes: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """The classes of reliably high and of reliably low precision, among those with enough verdicts.

    Reliably high is a high lower end of the interval, reliably low a low upper end: with few verdicts it is neither.
    Few enough classes are all in the first list, by their precision, and the second is empty.
    """
    rows = _ranked(classes)
    if len(rows) <= 2 * EXTREMES:
        return sorted(rows, key=lambda row: (-row["precision"], -row["verified"], row["label"])), []
    high = sorted(rows, key=lambda row: (-row["precision_low"], row["label"]))[:EXTREMES]
    return high, sorted(rows, key=lambda row: (row["precision_high"], row["label"]))[:EXTREMES]


def sum_above(deciles: Sequence[Row]) -> list[Row]:
    """Tenths of confidence, each with the machine rows and the precision of this tenth and all above."""
    rows = []
    for row in deciles:
        above = [other for other in deciles if other["decile"] >= row["decile"]]
        summed = {key: sum(other[key] for other in above) for key in ("machine_rows", "confirmed", "verified")}
        precision = summed["confirmed"] / summed["verified"] if summed["verified"] else None
        rows.append({**row, "up_rows": summed["machine_rows"], "up_precision": precision})
    return rows


def build_grid(classes: Sequence[Row], cells: Sequence[Row]) -> Row:
    """The cells of each class, one per tenth of confidence in which any has a verdict; None where it has none."""
    by_cell = {(row["label"], row["decile"]): row for row in cells if row["verified"]}
    deciles = sorted({decile for _, decile in by_cell})
    rows = [(row, [by_cell.get((row["label"], decile)) for decile in deciles]) for row in classes]
    return {"deciles": deciles, "rows": rows, "least": ENOUGH_FOR_A_CELL}


def _count_per_image(rows: Sequence[Row]) -> Row:
    """How many images have so many labels: one row per number of labels, one column per annotator."""
    images = {(row["labels"], row["annotator"]): row["images"] for row in rows}
    annotators = sorted({annotator for _, annotator in images})
    numbers = sorted({labels for labels, _ in images})
    return {
        "annotators": annotators,
        "rows": [(labels, [images.get((labels, annotator), 0) for annotator in annotators]) for labels in numbers],
    }


def list_outcomes(counts: Row) -> list[Row]:
    """Where the rows of both sides went, one row per outcome; they sum up to the rows read.

    Returns:
        rows of `name`, `why`, `numbers` of machine and human, and `parts`: (name, numbers) of what it is made of.
    """

    def outcome(key: str, name: str, why: str) -> Row:
        sides = [counts[side][key] for side in SIDES]
        parts = []
        if key in ("malformed", "narrowed"):
            kinds = sorted({kind for side in sides for kind in side})
            parts = [(kind.replace("_", " "), [side.get(kind, 0) for side in sides]) for kind in kinds]
            sides = [sum(side.values()) for side in sides]
        return {"name": name, "why": why, "numbers": sides, "parts": parts}

    return [
        outcome("malformed", "malformed", "no image, label and confidence can be read from it"),
        outcome("narrowed", "filtered out", "not among the selected classes, images or confidences"),
        outcome("unmatched", "unmatched", "the other side has no row of this image and label"),
        outcome("duplicate", "duplicate", "repeats a matched image and label"),
        outcome("matched", "matched", "an image and label that both sides have"),
    ]


def list_verdicts(counts: Row) -> list[tuple[str, str, int]]:
    """What became of the matched images and labels: name, explanation and number; they sum up to the matched."""
    verdicts = [
        ("confirmed", "humans see it too", counts["confirmed"]),
        ("rejected", "humans do not", counts["rejected"]),
        ("dropped", "humans differ, and --on-conflict=drop leaves it open", counts["dropped"]),
    ]
    return [entry for entry in verdicts if entry[2] or entry[0] != "dropped"]


def describe_row(row: Row) -> str:
    """The counts and the precision of a row, exactly, in words."""
    outcomes = ", ".join(f"{count(row[key])} {name}" for key, name, _ in _OUTCOMES if row[key] or key != "excluded")
    return f"{plural(row['machine_rows'], 'machine label')}: {outcomes}; {describe_precision(row)}"


def describe_precision(row: Row) -> str:
    """The precision of a row and its interval, in words."""
    if not row["verified"]:
        return "precision not known"
    ends = interval(row["precision_low"], row["precision_high"])
    return f"precision {decimal(row['precision'])} ({ends}) of {plural(row['verified'], 'verdict')}"


def plot_precision(deciles: Sequence[Row]) -> TitledPlot | None:
    """The precision of the machine by its confidence; None where no label was reviewed."""
    rows = [row for row in deciles if row["verified"]]
    if not rows:
        return None

    def paint(figure: Any, tooltips: Tooltips) -> None:
        axes = figure.subplots()
        first, last = _set_confidence_axis(axes, rows)
        axes.plot([first, last], [first, last], ":", color=INK, alpha=0.6, linewidth=1, label="perfectly calibrated")
        middles = [row["decile"] / 10 + 0.05 for row in rows]
        add_error_bars(axes, middles, rows, "precision", label="precision, with its 95 % interval", **_WHISKER)
        for middle, row in zip(middles, rows, strict=True):
            over = axes.get_xaxis_transform()
            axes.text(middle, 1.02, brief(row["verified"]), transform=over, ha="center", va="bottom", fontsize=_SMALL)
            shape = axes.axvspan(middle - 0.05, middle + 0.05, facecolor=UNSEEN, edgecolor="none", zorder=9)
            tooltips.put(shape, f"Confidence {decile_range(row['decile'])}: {describe_precision(row)}")
        axes.set(
            xlabel="the machine's confidence (above: verdicts)", ylabel="precision", ylim=(0, 1.03), yticks=_FIFTHS
        )
        add_legend(figure)

    texts = [f"{decile_range(row['decile'])}: {describe_precision(row)}" for row in rows]
    return _titled("precision", paint, "Precision of the machine by its confidence", texts)


def plot_confidences(deciles: Sequence[Row]) -> TitledPlot | None:
    """The machine's confidence in what humans confirmed, rejected and did not review; None without any row.

    Where humans reviewed a part only, that part stands again beside the whole, in its own scale.
    """
    rows = [row for row in deciles if row["machine_rows"]]
    verified = [row for row in rows if row["verified"]]
    if not rows:
        return None
    parts: list[tuple[Sequence[Row], Sequence[_Outcome], str]] = [(rows, _OUTCOMES, "machine labels")]
    if verified and any(row["without_verdict"] for row in rows):
        parts.append((rows, _OUTCOMES[:2], "of them, reviewed"))

    def paint(figure: Any, tooltips: Tooltips) -> None:
        for axes, (shown, outcomes, title) in zip(figure.subplots(1, len(parts), squeeze=False)[0], parts, strict=True):
            _set_confidence_axis(axes, shown)
            middles = [row["decile"] / 10 + 0.05 for row in shown]
            _draw_stack(axes.bar, "bottom", middles, shown, outcomes, 0.09)
            for middle, row in zip(middles, shown, strict=True):
                shape = axes.axvspan(middle - 0.05, middle + 0.05, facecolor=UNSEEN, edgecolor="none", zorder=9)
                tooltips.put(shape, f"Confidence {decile_range(row['decile'])}: {describe_row(row)}")
            axes.set_title(title, fontsize=9)
            axes.tick_params(axis="x", labelsize=_SMALL)
            _set_count_axis(axes.yaxis)
        figure.supxlabel("the machine's confidence", fontsize=9)
        add_legend(figure)

    texts = [f"{decile_range(row['decile'])}: {describe_row(row)}" for row in rows]
    return _titled("confidences", paint, "Machine labels by confidence and human verdict", texts)


def plot_labels_per_image(images: dict[int, int]) -> TitledPlot | None:
    """How many images have 1, 2, ... confirmed labels.

    Args:
        images: how many images have so many labels, by labels.
    """
    if not images:
        return None
    bars: dict[int, int] = {}
    for labels, n in images.items():
        bars[min(labels, MOST_LABELS)] = bars.get(min(labels, MOST_LABELS), 0) + n
    last = max(bars)

    def label_text(labels: int) -> str:
        return f"{labels} or more" if labels == MOST_LABELS else str(labels)

    def paint(figure: Any, tooltips: Tooltips) -> None:
        axes = figure.subplots()
        axes.bar(list(bars), list(bars.values()), width=0.85, color=SECOND)
        for labels, n in bars.items():
            shape = axes.axvspan(labels - 0.5, labels + 0.5, facecolor=UNSEEN, edgecolor="none", zorder=9)
            tooltips.put(
                shape, f"{label_text(labels)} confirmed {'label' if labels == 1 else 'labels'}: {plural(n, 'image')}"
            )
        axes.set_xlim(0.4, max(last, 4) + 0.6)
        ticks = range(1, max(last, 4) + 1, 1 if last <= 12 else 3)
        axes.set_xticks(list(ticks), [f"{labels}+" if labels == MOST_LABELS else str(labels) for labels in ticks])
        axes.set(xlabel="confirmed labels per image", ylabel="images")
        _set_count_axis(axes.yaxis)

    texts = [f"{label_text(labels)}: {plural(n, 'image')}" for labels, n in sorted(bars.items())]
    return _titled("labels-per-image", paint, "Confirmed labels per image", texts)


def plot_label_counts(classes: Sequence[Row]) -> TitledPlot | None:
    """How often humans confirmed and rejected each class; None without a class."""
    if not classes:
        return None

    def paint(figure: Any, tooltips: Tooltips) -> None:
        axes = figure.subplots()
        at = list(range(len(classes)))
        _draw_stack(axes.barh, "left", at, classes, _OUTCOMES[:2], 0.78)
        _set_classes(axes, classes, tooltips)
        axes.set_xlabel("machine labels with a verdict")
        _set_count_axis(axes.xaxis)
        add_legend(figure)

    texts = [f"{row['name']}: {count(row['confirmed'])} and {count(row['rejected'])}" for row in classes]
    return _titled("label-counts", paint, "Confirmed and rejected labels by class", texts, len(classes))


def plot_class_precision(classes: Sequence[Row], overall: float, name: str, title: str) -> TitledPlot | None:
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
        axes.axvline(overall, color=INK, linestyle=":", linewidth=1, alpha=0.6, label=f"overall: {decimal(overall)}")
        at = list(range(len(classes)))
        style = {**_WHISKER, "label": "precision, with its 95 % interval", "horizontal": True}
        add_error_bars(axes, at, classes, "precision", **style)
        _set_classes(axes, classes, tooltips)
        for y, row in enumerate(classes):
            beside = axes.get_yaxis_transform()
            axes.text(1.02, y, brief(row["verified"]), transform=beside, ha="left", va="center", fontsize=_SMALL)
        axes.set(xlabel="precision (on the right: verdicts)", xlim=(0, 1.02), xticks=_FIFTHS)
        add_legend(figure)

    return _titled(name, paint, title, [f"{row['name']}: {describe_precision(row)}" for row in classes], len(classes))


def _titled(name: str, paint: Paint, title: str, texts: Sequence[str], lines: int = 0) -> TitledPlot:
    """A plot that is as high as its lines need, or as all others."""
    size = (_SIZE[0], 0.85 + _LINE * lines if lines else _SIZE[1])
    return TitledPlot(title, plot(name, size, paint, title, "; ".join(texts) + "."))


def _draw_stack(
    bars: Callable[..., Any],
    base: str,
    at: Sequence[float],
    rows: Sequence[Row],
    outcomes: Sequence[_Outcome],
    width: float,
) -> None:
    """Bars of what became of the rows, one upon the other; an outcome without rows is skipped."""
    reached = [0] * len(rows)
    for key, label, colour in outcomes:
        lengths = [row[key] for row in rows]
        if any(lengths):
            bars(at, lengths, width, **{base: reached}, color=colour, label=label)
            reached = [low + length for low, length in zip(reached, lengths, strict=True)]


def _set_confidence_axis(axes: Any, rows: Sequence[Row]) -> tuple[float, float]:
    """Tenths from the first to the last that has rows; returns where the axis begins and ends."""
    first, last = min(row["decile"] for row in rows), max(row["decile"] for row in rows) + 1
    axes.set_xlim(first / 10 - 0.01, last / 10 + 0.01)
    axes.set_xticks([tick / 10 for tick in range(first, last + 1)])
    add_grid(axes, "y")
    return first / 10, last / 10


def _set_classes(axes: Any, classes: Sequence[Row], tooltips: Tooltips) -> None:
    set_class_axis(
        axes, [row["name"] for row in classes], [f"{row['name']}: {describe_row(row)}" for row in classes], tooltips
    )


def _set_count_axis(axis: Any) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    axis.set_major_formatter(FuncFormatter(lambda number, _: brief(number)))
