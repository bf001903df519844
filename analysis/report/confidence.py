"""Whether confidence can be trusted: calibration of each annotator, and the joint confidence of each pair."""

import math
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from analysis.report.formatting import count, decile_range, decimal, percent, plural
from analysis.report.plots import FIRST, INK, SECOND, Tooltips, add_grid, add_legend, plot
from analysis.tables import Pair, Row, Sources
from schemas.tables import ALL, BIN, CALIBRATED, JOINT_CONFIDENCE, RAW

TITLE, ORDER = "Calibration and joint confidence", 40
CONFIDENT = 0.9

_SIZE = (3.4, 3.2)  # inches
_KINDS = (("", "raw", FIRST, "s", "--"), ("_calibrated", "calibrated", SECOND, "o", "-"))  # not by colour alone
_MAP_SIZE = (3.4, 3.7)
_MOST_MAPS = 6  # pairs of a split that have heat maps
_FAINTEST = 0.15  # opacity of a cell of one image


def build_section(sources: Sources) -> Row | None:
    """Both parts, where there is something of either."""
    calibration, joint = build_calibration(sources.pairs), build_joint_confidence(sources.pairs)
    return {"calibration": calibration, "joint": joint} if calibration or joint else None


def build_calibration(pairs: Sequence[Pair]) -> list[Row]:
    """For each split: for every annotator that is compared on it a plot, and its figures."""
    entries = []
    for split in dict.fromkeys(pair.split for pair in pairs):
        of_split = [pair for pair in pairs if pair.split == split]
        names = dict.fromkeys(name for pair in of_split for name in (pair.a, pair.b))
        tables = {name: rows for name in names if (rows := of_split[0].rows_of("calibration", (name,)))}
        overall = {name: next(row for row in rows if row["scope"] == ALL) for name, rows in tables.items()}
        known = {name: row for name, row in overall.items() if row["n"]}
        if known:
            plots = [_plot_reliability(name, split, tables[name], row) for name, row in known.items()]
            entries.append({"split": split, "plots": plots, "rows": list(known.values())})
    return entries


def _plot_reliability(name: str, split: str, rows: Sequence[Row], overall: Row) -> Markup:
    """Accuracy by confidence: on the diagonal an annotator is perfectly calibrated."""
    bins = [row for row in rows if row["scope"] == BIN]

    def paint(figure: Any, tooltips: Tooltips) -> None:
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], ":", color=INK, linewidth=1)
        for suffix, kind, colour, marker, line in _KINDS:
            known = [row for row in bins if row[f"n{suffix}"]]
            if known:
                mean, accuracy = ([row[f"{what}{suffix}"] for row in known] for what in ("mean_confidence", "accuracy"))
                axes.plot(mean, accuracy, line, color=colour, linewidth=1.4, label=kind)
                for row, x, y in zip(known, mean, accuracy, strict=True):
                    [point] = axes.plot([x], [y], marker, color=colour, markersize=4)
                    images = plural(row[f"n{suffix}"], "image")
                    tooltips.put(point, f"{kind}: accuracy {decimal(y)} at mean confidence {decimal(x)}, {images}")
        axes.set(xlabel="mean confidence", ylabel="accuracy", title=name, xlim=(0, 1.02), ylim=(0, 1.02))
        add_grid(axes)
        add_legend(figure)

    errors = [
        f"{kind} confidence is off by {decimal(overall[f'ece{suffix}'])} on average (ECE)"
        for suffix, kind, *_ in _KINDS
        if overall[f"n{suffix}"]
    ]
    return plot(f"calibration-{name}-{split}", _SIZE, paint, f"{name}: accuracy by confidence", "; ".join(errors) + ".")


def build_joint_confidence(pairs: Sequence[Pair]) -> list[Row]:
    """For each split: a line for each pair of annotators, and heat maps of the first few.

    A pair is excluded where the confidence of one is always in the same tenth, as that of humans is, and where data is
    multilabel: there both are confident of a label only where both give it.
    """
    entries = []
    pairs = [pair for pair in pairs if not pair.is_multilabel]
    for split in dict.fromkeys(pair.split for pair in pairs):
        tables = [(pair, read_joint_confidence(pair)) for pair in pairs if pair.split == split]
        varied = [(pair, rows) for pair, rows in tables if _varies(rows)]
        if varied:
            maps = [_plot_heat_maps(pair, rows) for pair, rows in varied[:_MOST_MAPS]]
            lines = [{"pair": pair, **_summarize_joint(rows)} for pair, rows in varied]
            entries.append({"split": split, "maps": maps, "rows": lines, "confident": CONFIDENT})
    return entries


def read_joint_confidence(pair: Pair) -> list[Row]:
    """The joint confidence of a comparison, calibrated where it is; empty where it has none."""
    rows = pair.optional_rows("joint_confidence", JOINT_CONFIDENCE)
    kind = CALIBRATED if any(row["confidence"] == CALIBRATED for row in rows) else RAW
    return [row for row in rows if row["confidence"] == kind]


def _varies(rows: Sequence[Row]) -> bool:
    """Whether the confidence of both annotators falls into more than one bin."""
    bins = [row for row in rows if row["scope"] == BIN and row["n"]]
    return all(len({row[f"bin_{side}"] for row in bins}) > 1 for side in "ab")


def _summarize_joint(rows: Sequence[Row]) -> Row:
    """The means of a pair, and how often both are confident, and then agree."""
    overall = next(row for row in rows if row["scope"] == ALL)
    confident = [
        row for row in rows if row["scope"] == BIN and min(row["bin_a"], row["bin_b"]) >= round(10 * CONFIDENT)
    ]
    n, agree = (sum(row[name] for row in confident) for name in ("n", "n_agree"))
    return {**overall, "both_confident": n / overall["n"], "agree_where_confident": agree / n if n else None}


def _plot_heat_maps(pair: Pair, rows: Sequence[Row]) -> list[Markup]:
    """Two heat maps of one scale: of the images on which they agree, and of those on which they differ."""
    bins = [row for row in rows if row["scope"] == BIN and row["n"]]
    most = max(row["n"] for row in bins)
    agree = [(row["bin_a"], row["bin_b"], row["n_agree"]) for row in bins]
    differ = [(row["bin_a"], row["bin_b"], row["n"] - row["n_agree"]) for row in bins]
    kind = rows[0]["confidence"]
    return [_plot_heat_map(pair, kind, name, cells, most) for name, cells in (("agree", agree), ("differ", differ))]


def _plot_heat_map(pair: Pair, kind: str, name: str, cells: Sequence[tuple[int, int, int]], most: int) -> Markup:
    total = sum(n for *_, n in cells)

    def paint(figure: Any, tooltips: Tooltips) -> None:
        from matplotlib.patches import Patch, Rectangle

        axes = figure.subplots()
        for a, b, n in cells:
            if n:
                cell = Rectangle((a / 10, b / 10), 0.1, 0.1, facecolor=SECOND, alpha=opacity(n, most), linewidth=0)
                bins = f"{pair.a} {decile_range(a)}, {pair.b} {decile_range(b)}"
                tooltips.put(axes.add_patch(cell), f"{bins}: {plural(n, 'image')}")
        axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", title=f"they {name}: {plural(total, 'image')}")
        axes.set(xlabel=f"{kind} confidence of {pair.a}", ylabel=f"{kind} confidence of {pair.b}")
        add_grid(axes)
        steps = [10**power for power in range(math.floor(math.log10(most)) + 1)]
        keys = [Patch(facecolor=SECOND, alpha=opacity(step, most), label=count(step)) for step in steps]
        style = {"handlelength": 1.0, "columnspacing": 1.0, "handletextpad": 0.4, "frameon": False, "labelcolor": INK}
        figure.legend(handles=keys, loc="outside upper center", ncols=len(keys), **style)

    a, b, n = max(cells, key=lambda cell: cell[2])
    title = f"Joint confidence of {pair.a} and {pair.b} where they {name}, {pair.split} images"
    description = (
        f"{percent(n / total if total else None)} of {plural(total, 'image')} where the confidence of {pair.a} is "
        f"{decile_range(a)} and that of {pair.b} {decile_range(b)}, more than anywhere else."
    )
    return plot(f"joint-{pair.a}-{pair.b}-{pair.split}-{name}", _MAP_SIZE, paint, title, description)


def opacity(n: int, most: int) -> float:
    """How dark the cell of so many images is, where the fullest has `most`: in steps of their logarithm."""
    return 1.0 if n >= most else _FAINTEST + (1 - _FAINTEST) * math.log(n) / math.log(most)
