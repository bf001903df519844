"""How sure two annotators are of the same images: where they agree, and where they do not."""

import math
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from analysis.formatting import count, percent, several, tenth
from analysis.plots import INK, SECOND, Tooltips, plot
from analysis.tables import Pair
from schemas import layout, tables
from schemas.tables import ALL, BIN, CALIBRATED, RAW
from storage import parquet, stores

Row = dict[str, Any]
SURE = 0.9
_MOST_PLOTS = 6  # pairs of a split that are drawn
_SIZE = (3.4, 3.7)  # inches
_FAINTEST = 0.15  # opacity of a cell of one image


def of_pairs(pairs: Sequence[Pair]) -> list[dict[str, Any]]:
    """What to show of each split: a line for each pair of annotators, and heat maps of the first few.

    One whose confidence is always in the same tenth, as people's is, is left out; and those of several labels an image,
    who are both sure of a label only where both give it.
    """
    shown = []
    pairs = [pair for pair in pairs if not pair.several]
    for split in dict.fromkeys(pair.split for pair in pairs):
        found = [(pair, rows) for pair in pairs if pair.split == split and (rows := _told(read(pair)))]
        if found:
            drawn = [_drawn(pair, rows) for pair, rows in found[:_MOST_PLOTS]]
            lines = [{"pair": pair, **_line(rows)} for pair, rows in found]
            shown.append({"split": split, "drawn": drawn, "rows": lines, "sure": SURE})
    return shown


def read(pair: Pair) -> list[Row]:
    """The joint confidence of a comparison, calibrated where it is; empty where it has none, or of an earlier state."""
    path = layout.agreement_table(pair.root, "joint_confidence", pair.dataset, (pair.a, pair.b), pair.split)
    if stores.stat(path) is None or parquet.read_tags(path)[0] != pair.fingerprint:
        return []
    rows: list[Row] = parquet.read(path, pair.fingerprint, tables.JOINT_CONFIDENCE).to_pylist()
    kind = CALIBRATED if any(row["confidence"] == CALIBRATED for row in rows) else RAW
    return [row for row in rows if row["confidence"] == kind]


def _told(rows: list[Row]) -> list[Row]:
    """The rows, if both annotators are now more sure, now less."""
    bins = [row for row in rows if row["scope"] == BIN and row["n"]]
    return rows if all(len({row[f"bin_{side}"] for row in bins}) > 1 for side in "ab") else []


def _line(rows: Sequence[Row]) -> Row:
    """The means of a pair, and how often both are sure, and then agree."""
    whole = next(row for row in rows if row["scope"] == ALL)
    sure = [row for row in rows if row["scope"] == BIN and min(row["bin_a"], row["bin_b"]) >= round(10 * SURE)]
    n, agree = (sum(row[name] for row in sure) for name in ("n", "n_agree"))
    return {**whole, "both_sure": n / whole["n"], "sure_and_agree": agree / n if n else None}


def _drawn(pair: Pair, rows: Sequence[Row]) -> list[Markup]:
    """Two heat maps of one scale: of the images on which they agree, and of those on which they differ."""
    bins = [row for row in rows if row["scope"] == BIN and row["n"]]
    most = max(row["n"] for row in bins)
    agree = [(row["bin_a"], row["bin_b"], row["n_agree"]) for row in bins]
    differ = [(row["bin_a"], row["bin_b"], row["n"] - row["n_agree"]) for row in bins]
    kind = rows[0]["confidence"]
    return [_heat_map(pair, kind, name, cells, most) for name, cells in (("agree", agree), ("differ", differ))]


def _heat_map(pair: Pair, kind: str, name: str, cells: Sequence[tuple[int, int, int]], most: int) -> Markup:
    total = sum(n for *_, n in cells)

    def paint(figure: Any, tooltips: Tooltips) -> None:
        from matplotlib.patches import Patch, Rectangle

        axes = figure.subplots()
        for a, b, n in cells:
            if n:
                cell = Rectangle((a / 10, b / 10), 0.1, 0.1, facecolor=SECOND, alpha=opacity(n, most), linewidth=0)
                tooltips.put(axes.add_patch(cell), f"{pair.a} {tenth(a)}, {pair.b} {tenth(b)}: {several(n, 'image')}")
        axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", title=f"they {name}: {several(total, 'image')}")
        axes.set(xlabel=f"{kind} confidence of {pair.a}", ylabel=f"{kind} confidence of {pair.b}")
        axes.grid(color=INK, alpha=0.12, linewidth=0.6)
        steps = [10**power for power in range(math.floor(math.log10(most)) + 1)]
        keys = [Patch(facecolor=SECOND, alpha=opacity(step, most), label=count(step)) for step in steps]
        ways = {"handlelength": 1.0, "columnspacing": 1.0, "handletextpad": 0.4, "frameon": False, "labelcolor": INK}
        figure.legend(handles=keys, loc="outside upper center", ncols=len(keys), **ways)

    corner = max(cells, key=lambda cell: cell[2])
    title = f"How sure {pair.a} and {pair.b} are where they {name}, {pair.split} images"
    seen = f"{percent(corner[2] / total if total else None)} of {several(total, 'image')} where {pair.a} is "
    seen += f"{tenth(corner[0])} sure and {pair.b} {tenth(corner[1])}, more than anywhere else."
    return plot(f"joint-{pair.a}-{pair.b}-{pair.split}-{name}", _SIZE, paint, title, seen)


def opacity(n: int, most: int) -> float:
    """How dark the cell of so many images is, where the fullest has `most`: in steps of their logarithm."""
    return 1.0 if n >= most else _FAINTEST + (1 - _FAINTEST) * math.log(n) / math.log(most)
