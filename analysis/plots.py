"""Plots as inline SVG: the same numbers give the same bytes, and colours follow the page's light or dark scheme."""

import io
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup, escape

_SIZE = (4.4, 2.8)  # inches
# Matplotlib draws in these; the page's style sheet decides what they stand for.
_INK, _TRAINING, _VALIDATION = "#010101", "#020202", "#030303"
_VARIABLES = {_INK: "currentColor", _TRAINING: "var(--series-1)", _VALIDATION: "var(--series-2)"}
_SETTINGS = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "text.color": _INK,
}


def learning_curve(history: Mapping[str, Sequence[float]], metric: str, best_epoch: int | None) -> Markup:
    """How a metric went over the epochs, in training and in validation, with the best epoch marked.

    Args:
        history: values by epoch, of `metric` and of `val_<metric>`.
        metric: `accuracy` or `loss`.
        best_epoch: the epoch whose weights were kept, counted from 1; None where not known.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    with mpl.rc_context({**_SETTINGS, "svg.hashsalt": f"concord-{metric}"}):
        figure = Figure(figsize=_SIZE, layout="constrained")
        axes = figure.subplots()
        styles = {metric: ("training", _TRAINING, "--", "s"), f"val_{metric}": ("validation", _VALIDATION, "-", "o")}
        for name, (label, colour, line, marker) in styles.items():
            values = history.get(name, [])
            epochs = range(1, len(values) + 1)
            axes.plot(epochs, values, line, color=colour, marker=marker, markersize=3, linewidth=1.4, label=label)
        if best_epoch is not None:
            axes.axvline(best_epoch, color=_INK, linewidth=1, linestyle=":", label=f"best epoch: {best_epoch}")
        axes.set(xlabel="epoch", ylabel=metric)
        axes.set_ylim(0, 1 if metric == "accuracy" else None)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(color=_INK, alpha=0.12, linewidth=0.6)
        figure.legend(loc="outside upper center", ncols=3, frameon=False, labelcolor=_INK)
        return _inline(figure, describe_curve(history, metric, best_epoch))


def describe_curve(history: Mapping[str, Sequence[float]], metric: str, best_epoch: int | None) -> str:
    """A learning curve in words, for those who do not see it."""
    parts = []
    for name, label in ((metric, "training"), (f"val_{metric}", "validation")):
        values = history.get(name) or [math.nan]
        parts.append(f"{label} from {values[0]:.3f} to {values[-1]:.3f}")
    best = "" if best_epoch is None else f"; best epoch {best_epoch}"
    return f"{metric.capitalize()} by epoch: {', '.join(parts)}{best}."


def _inline(figure: Any, description: str) -> Markup:
    """A figure as an SVG element that can stand in a page beside others."""
    sink = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(sink, format="svg", transparent=True, metadata=nothing)
    svg = sink.getvalue()[sink.getvalue().index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' (?:id="[A-Za-z0-9.]+_\d+"|xmlns(?::\w+)?="[^"]*")', "", svg)  # two figures would share those ids
    svg = re.sub(r'^<svg [^>]*?viewBox="([^"]*)"[^>]*>', _opening(description), svg)
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, variable)
    return Markup(svg.strip())  # drawn here, of fixed words and numbers


def _opening(description: str) -> str:
    words = str(escape(description)).replace("\\", r"\\")
    return rf'<svg viewBox="\1" role="img" aria-label="{words}"><title>{words}</title>'
