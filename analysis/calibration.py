"""How far confidence can be trusted: how often each annotator is right when it is how sure."""

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from analysis.formatting import count, decimal
from analysis.plots import FIRST, INK, SECOND, Tooltips, legend, plot
from analysis.tables import Pair
from schemas import layout
from schemas.tables import ALL, BIN
from storage import parquet, stores

Row = dict[str, Any]
_SIZE = (3.4, 3.2)  # inches
_KINDS = (("", "raw", FIRST, "s", "--"), ("_calibrated", "calibrated", SECOND, "o", "-"))  # never by colour alone


def of_pairs(pairs: Sequence[Pair]) -> list[dict[str, Any]]:
    """What to show of each split: for every annotator that is compared on it a plot, and its figures."""
    shown = []
    for split in dict.fromkeys(pair.split for pair in pairs):
        of_split = [pair for pair in pairs if pair.split == split]
        names = dict.fromkeys(name for pair in of_split for name in (pair.a, pair.b))
        found = {name: rows for name in names if (rows := read(of_split[0], name))}
        whole = {name: next(row for row in rows if row["scope"] == ALL) for name, rows in found.items()}
        known = {name: found[name] for name, row in whole.items() if row["n"]}
        if known:
            plots = [_reliability(name, split, rows) for name, rows in known.items()]
            shown.append({"split": split, "plots": plots, "rows": [whole[name] for name in known]})
    return shown


def read(pair: Pair, name: str) -> list[Row]:
    """The calibration of an annotator on the split of a comparison; empty where it has none."""
    path = layout.agreement_table(pair.root, "calibration", pair.dataset, (name,), pair.split)
    rows: list[Row] = [] if stores.stat(path) is None else parquet.read(path).to_pylist()
    return rows


def _reliability(name: str, split: str, rows: Sequence[Row]) -> Markup:
    """How often an annotator is right, by how sure it is: on the diagonal its confidence says just that."""
    bins = [row for row in rows if row["scope"] == BIN]

    def paint(figure: Any, tooltips: Tooltips) -> None:
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], ":", color=INK, linewidth=1)
        for suffix, kind, colour, marker, line in _KINDS:
            known = [row for row in bins if row[f"n{suffix}"]]
            if known:
                sure, right = ([row[f"{what}{suffix}"] for row in known] for what in ("mean_confidence", "accuracy"))
                axes.plot(sure, right, line, color=colour, linewidth=1.4, label=kind)
                for row, x, y in zip(known, sure, right, strict=True):
                    [point] = axes.plot([x], [y], marker, color=colour, markersize=4)
                    images = f"{count(row[f'n{suffix}'])} images"
                    tooltips.put(point, f"{kind}: {decimal(y)} right when {decimal(x)} sure, {images}")
        axes.set(xlabel="mean confidence", ylabel="share that is right", title=name, xlim=(0, 1.02), ylim=(0, 1.02))
        axes.grid(color=INK, alpha=0.12, linewidth=0.6)
        legend(figure)

    whole = next(row for row in rows if row["scope"] == ALL)
    told = [
        f"{kind} confidence is off by {decimal(whole[f'ece{suffix}'])} on average (ECE)"
        for suffix, kind, *_ in _KINDS
        if whole[f"n{suffix}"]
    ]
    title = f"{name}: how often it is right when it is how sure"
    return plot(f"calibration-{name}-{split}", _SIZE, paint, title, "; ".join(told) + ".")
