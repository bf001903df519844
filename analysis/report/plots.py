"""Plots as inline SVG: the same numbers give the same bytes, and colours follow the page's light or dark scheme."""

import io
import itertools
import math
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from markupsafe import Markup, escape

# Matplotlib draws in these; the page's style sheet decides what they stand for.
INK, FIRST, SECOND, REST, FAINT, UNSEEN = (f"#0{digit}0{digit}0{digit}" for digit in range(1, 7))
_VARIABLES = {
    INK: "currentColor",
    FIRST: "var(--series-1)",
    SECOND: "var(--series-2)",
    REST: "var(--series-3)",
    FAINT: "var(--series-4)",
    UNSEEN: "transparent",  # unlike a shape without a fill, it is hit by the pointer
}
_SIZE = (4.4, 2.8)  # inches: at the width of a phone letters of 8 points are as large as 9 pixels of the page
_LONGEST_NAME = 30
_MARKED = 40  # epochs; more marks run into each other
_LETTERS, _BESIDE = 13, 6  # letters that stand on an inch, and that the sign beside each entry of a legend takes up
_SETTINGS = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # a class may be called $100
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib: measured the same everywhere
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": INK,
}


class Tooltips:
    """What the page shows of a shape under the pointer."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def put(self, shape: Any, text: str) -> None:
        """Let the page show a text for a shape."""
        shape.set_gid(f"tip-{len(self.texts)}")
        self.texts.append(text)


Paint = Callable[[Any, Tooltips], None]


def plot(name: str, size: tuple[float, float], paint: Paint, title: str, description: str = "") -> Markup:
    """A plot as an SVG element that can stand in a page beside others of other names.

    Args:
        name: what distinguishes its inner names from those of the page's other plots.
        size: width and height in inches, at a font size of 9 points.
        paint: draws into a matplotlib figure, in the colours of this module.
        title: what it shows.
        description: what there is to see, for those who do not see it.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({**_SETTINGS, "svg.hashsalt": f"concord-{name}"}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"Glyph \d+")  # the reader's browser has other fonts
        figure, tooltips = Figure(figsize=size, layout="constrained"), Tooltips()
        paint(figure, tooltips)
        return _inline(figure, tooltips, title, description)


def plot_learning_curve(history: Mapping[str, Sequence[float]], metric: str, best_epoch: int | None) -> Markup:
    """A metric by epoch, in training and in validation, with the best epoch marked.

    Args:
        history: values by epoch, of `metric` and of `val_<metric>`.
        metric: `accuracy` or `loss`.
        best_epoch: the epoch whose weights were kept, counted from 1; None where not known.
    """

    def paint(figure: Any, _: Tooltips) -> None:
        from matplotlib.ticker import MaxNLocator

        axes = figure.subplots()
        styles = {metric: ("training", FIRST, "--", "s"), f"val_{metric}": ("validation", SECOND, "-", "o")}
        for name, (label, colour, line, marker) in styles.items():
            values = history.get(name, [])
            epochs = range(1, len(values) + 1)
            each = {"marker": marker, "markersize": 3} if len(values) <= _MARKED else {}
            axes.plot(epochs, values, line, color=colour, linewidth=1.4, label=label, **each)
        if best_epoch is not None:
            axes.axvline(best_epoch, color=INK, linewidth=1, linestyle=":", label=f"best epoch: {best_epoch}")
        axes.set(xlabel="epoch", ylabel=metric)
        axes.set_ylim(0, 1 if metric == "accuracy" else None)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        add_grid(axes)
        add_legend(figure)

    return plot(metric, _SIZE, paint, describe_curve(history, metric, best_epoch))


def add_legend(figure: Any) -> None:
    """State above a figure what its colours mean, each once, in as few lines as the width allows."""
    entries: dict[str, Any] = {}
    for axes in figure.axes:
        for shape, label in zip(*axes.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, shape)
    figure.legend(
        entries.values(),
        entries.keys(),
        loc="outside upper center",
        ncols=_columns([len(label) for label in entries], figure.get_figwidth()),
        frameon=False,
        labelcolor=INK,
    )


def _columns(lengths: Sequence[int], width: float) -> int:
    """How many columns of entries, of which matplotlib fills the first ones fuller, go into a width in inches."""
    for columns in (3, 2):
        rows, fuller = divmod(len(lengths), columns)
        starts = [rows * column + min(column, fuller) for column in range(columns + 1)]
        longest = [max(lengths[start:end]) for start, end in itertools.pairwise(starts) if end > start]
        if sum(longest) + _BESIDE * len(longest) <= width * _LETTERS:
            return columns
    return 1


def add_grid(axes: Any, direction: str = "both") -> None:
    """Faint lines behind the data."""
    axes.grid(axis=direction, color=INK, alpha=0.12, linewidth=0.6)
    axes.set_axisbelow(True)


def add_error_bars(axes: Any, at: Sequence[float], rows: Sequence[Any], figure: str, **style: Any) -> None:
    """A figure of each row with the whiskers of its interval, along y; with `horizontal=True` along x."""
    values = [row[figure] for row in rows]
    low = [max(row[figure] - row[f"{figure}_low"], 0) for row in rows]  # rounding may make it -0.0
    whiskers = [low, [max(row[f"{figure}_high"] - row[figure], 0) for row in rows]]
    if style.pop("horizontal", False):
        axes.errorbar(values, at, xerr=whiskers, **style)
    else:
        axes.errorbar(at, values, whiskers, **style)


def set_class_axis(axes: Any, names: Sequence[str], texts: Sequence[str], tooltips: Tooltips) -> None:
    """A line for each class, from the top, with a text under the pointer."""
    short = [name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…" for name in names]
    axes.set_yticks(range(len(names)), short)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    add_grid(axes, "x")
    for at, text in enumerate(texts):
        shape = axes.axhspan(at - 0.5, at + 0.5, facecolor=UNSEEN, edgecolor="none", zorder=9)
        tooltips.put(shape, text)


def describe_curve(history: Mapping[str, Sequence[float]], metric: str, best_epoch: int | None) -> str:
    """A learning curve in words, for those who do not see it."""
    parts = []
    for name, label in ((metric, "training"), (f"val_{metric}", "validation")):
        values = history.get(name) or [math.nan]
        parts.append(f"{label} from {values[0]:.3f} to {values[-1]:.3f}")
    best = "" if best_epoch is None else f"; best epoch {best_epoch}"
    return f"{metric.capitalize()} by epoch: {', '.join(parts)}{best}."


def _inline(figure: Any, tooltips: Tooltips, title: str, description: str) -> Markup:
    sink = io.StringIO()
    metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(sink, format="svg", transparent=True, metadata=metadata)
    svg = sink.getvalue()[sink.getvalue().index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' (?:id="[A-Za-z0-9.]+_\d+"|xmlns(?::\w+)?="[^"]*")', "", svg)  # two figures would share those ids
    svg = re.sub(r'<g id="tip-(\d+)">', lambda match: f"<g><title>{escape(tooltips.texts[int(match[1])])}</title>", svg)
    svg = re.sub(r'^<svg [^>]*?viewBox="([^"]*)"[^>]*>', lambda match: _opening(match[1], title, description), svg)
    svg = re.sub(r' style="[^"]*"', lambda match: _with_variables(match[0]), svg)
    return Markup(svg.strip())  # matplotlib escapes what it writes, and so do we


def _with_variables(style: str) -> str:
    for colour, variable in _VARIABLES.items():
        style = style.replace(colour, variable)
    return style


def _opening(view: str, title: str, description: str) -> str:
    label = escape(f"{title} {description}".strip())
    more = f"<desc>{escape(description)}</desc>" if description else ""
    return f'<svg viewBox="{view}" role="img" aria-label="{label}"><title>{escape(title)}</title>{more}'
