"""Where people need not be asked: how many images two machines label alike and surely, and how right they are there."""

from collections.abc import Iterable, Sequence
from typing import Any

from markupsafe import Markup

from analysis.formatting import decimal, percent, threshold
from analysis.plots import FAINT, FIRST, INK, SECOND, Tooltips, legend, plot
from analysis.tables import Pair
from schemas import layout, tables
from schemas.tables import AGREE_AND_CONFIDENT, ONE
from storage import parquet, stores

TARGET = 0.98
Row = dict[str, Any]
_SIZE = (4.4, 3.4)  # inches
_LINES = ((SECOND, "-"), (FIRST, "--"), (FAINT, "-."))  # never told by colour alone


def headline(pairs: Iterable[Pair], target: float = TARGET) -> list[str]:
    """The most that two machines take off people at an accuracy, in a line; none where no threshold was looked for.

    Args:
        pairs: the comparisons to choose from; thresholds are chosen on another split than the one told of.
        target: the accuracy asked for.
    """
    machines = [pair for pair in pairs if pair.truth not in (pair.a, pair.b)]
    rows = [
        row for one in machines for row in read(one) if row["rule"] == AGREE_AND_CONFIDENT and row["target"] == target
    ]
    if not rows:
        return []
    found = [row for row in rows if row["threshold"] is not None and row["n"]]
    if not found:
        return [f"no two machines are sure enough to be {percent(target)} right: every image needs a person"]
    row = max(found, key=_taken_off)
    right = "how right is not known"
    if row["accuracy"] is not None:
        right = f"accuracy {decimal(row['accuracy'])} ({decimal(row['accuracy_low'])}-{decimal(row['accuracy_high'])})"
    two = f"{row['annotator_a']} and {row['annotator_b']}"
    sure = f"{row['confidence']} confidence {threshold(row['threshold'])} or more"
    return [
        f"{percent(row['coverage'])} of the {row['split']} images need no person: {two} agree there, and both are "
        f"sure ({sure}, chosen on {row['threshold_split']}); {right}"
    ]


def _taken_off(row: Row) -> tuple[float, float]:
    return row["coverage"] or 0.0, row["accuracy"] or 0.0


def read(pair: Pair) -> list[Row]:
    """The coverage of a comparison; empty where it has none, or one of an earlier state."""
    path = layout.agreement_table(pair.root, "coverage", pair.dataset, (pair.a, pair.b), pair.split)
    if stores.stat(path) is None or parquet.read_tags(path)[0] != pair.fingerprint:
        return []
    rows: list[Row] = parquet.read(path, pair.fingerprint, tables.COVERAGE).to_pylist()
    return rows


def best(pairs: Sequence[Pair]) -> list[tuple[Pair, str]]:
    """For each split with thresholds the two machines that take most off people, and by which kind of confidence."""
    found: dict[str, tuple[tuple[float, float], Pair, str]] = {}
    for pair in pairs:
        for row in read(pair) if pair.truth not in (pair.a, pair.b) else []:  # people do not spare themselves
            if row["rule"] == AGREE_AND_CONFIDENT and row["target"] == TARGET:
                entry = (_taken_off(row), pair, row["confidence"])
                if pair.split not in found or entry[0] > found[pair.split][0]:
                    found[pair.split] = entry
    return [(pair, kind) for _, pair, kind in found.values()]


def of_pairs(pairs: Sequence[Pair]) -> list[dict[str, Any]]:
    """What to show of the two machines that take most off people, split by split."""
    shown = []
    for pair, kind in best(pairs):
        ways = [(pair.a, pair.b), (pair.a,), (pair.b,)]
        rows = [row for way in ways for row in _rows(pair, "coverage", way) if row["confidence"] == kind]
        chosen = [row for row in rows if row["target"] is not None]
        shown.append(
            {
                "split": pair.split,
                "headline": headline([pair]),
                "plot": _curve(pair, kind, ways),
                "confidence": kind,
                "chosen_on": chosen[0]["threshold_split"],
                "rows": [{**row, "called": _called(row)} for row in chosen],
            }
        )
    return shown


def _called(row: Row) -> str:
    a, b = row["annotator_a"], row["annotator_b"]
    return f"{a} alone" if row["rule"] == ONE else f"{a} and {b} agree and are sure"


def _rows(pair: Pair, table: str, names: Sequence[str]) -> list[Row]:
    path = layout.agreement_table(pair.root, table, pair.dataset, names, pair.split)
    rows: list[Row] = [] if stores.stat(path) is None else parquet.read(path).to_pylist()
    return rows


def _curve(pair: Pair, kind: str, ways: Sequence[Sequence[str]]) -> Markup:
    """How right accepted images are, by how many are accepted, as the threshold falls."""
    curves = []
    for way in ways:
        rows = [row for row in _rows(pair, "coverage_curve", way) if row["confidence"] == kind]
        curves.append(
            [row for row in rows if row["accuracy"] is not None and row["rule"] in (ONE, AGREE_AND_CONFIDENT)]
        )

    def paint(figure: Any, tooltips: Tooltips) -> None:
        axes = figure.subplots()
        for (colour, line), rows in zip(_LINES, curves, strict=True):
            if rows:
                shares, accuracies = ([row[name] for row in rows] for name in ("coverage", "accuracy"))
                axes.fill_between(
                    shares,
                    [row["accuracy_low"] for row in rows],
                    [row["accuracy_high"] for row in rows],
                    color=colour,
                    alpha=0.15,
                    linewidth=0,
                )
                axes.plot(shares, accuracies, line, color=colour, linewidth=1.6, label=_called(rows[0]))
        axes.axhline(TARGET, color=INK, linestyle=":", linewidth=1, label=f"accuracy {TARGET:g}")
        axes.set(xlabel="share of the images that need no person", ylabel="accuracy on them")
        axes.grid(color=INK, alpha=0.12, linewidth=0.6)
        legend(figure)

    title = f"How right {pair.a} and {pair.b} are on the images that they accept"
    told = "; ".join(
        f"{_called(rows[-1])}: {decimal(rows[-1]['accuracy'])} on all that it takes" for rows in curves if rows
    )
    return plot(f"coverage-{pair.split}", _SIZE, paint, title, f"{told}. The shades are 95 % intervals.")
