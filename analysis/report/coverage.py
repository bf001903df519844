"""What can be accepted without human review: where two machines agree confidently, and how accurate they are there."""

from collections.abc import Iterable, Sequence
from typing import Any

from markupsafe import Markup

from analysis.report.formatting import decimal, markdown_table, percent, plain_interval, threshold
from analysis.report.plots import FAINT, FIRST, INK, SECOND, Tooltips, add_grid, add_legend, plot
from analysis.tables import Pair, Row, Sources
from schemas.tables import AGREE_AND_CONFIDENT, COVERAGE, ONE

TITLE, ORDER, LEAD = "What can be accepted without review", 20, True
TARGET = 0.98
_SIZE = (4.4, 3.4)  # inches
_LINES = ((SECOND, "-"), (FIRST, "--"), (FAINT, "-."))  # never distinguished by colour alone


def build_section(sources: Sources) -> Row | None:
    """The two machines that save most human labels, split by split, at each target accuracy."""
    entries = build_entries(sources.pairs)
    return {"entries": entries} if entries else None


def list_headlines(sources: Sources) -> list[str]:
    """The most that two machines save humans at the target accuracy."""
    return headline(sources.pairs)


def write_markdown(sources: Sources) -> str:
    """The thresholds and what they reach, a table per split."""
    names = ("accepted where", "target accuracy", "accepted", "accuracy", "95 % interval")
    return "\n\n".join(
        f"On the {entry['split']} images, with thresholds chosen on {entry['chosen_on']}:\n\n"
        + markdown_table(names, [_markdown_row(row) for row in entry["rows"]])
        for entry in build_entries(sources.pairs)
    )


def _markdown_row(row: Row) -> tuple[str, ...]:
    if row["threshold"] is None:
        return row["accepts"], str(row["target"]), percent(0.0), "", ""
    accuracy = decimal(row["accuracy"]), plain_interval(row["accuracy_low"], row["accuracy_high"])
    return row["accepts"], str(row["target"]), percent(row["coverage"]), *accuracy


def headline(pairs: Iterable[Pair], target: float = TARGET) -> list[str]:
    """The most that two machines save humans at an accuracy, in a line; none without thresholds.

    Args:
        pairs: the comparisons to choose from; thresholds are chosen on another split than the one reported.
        target: the accuracy to be reached.
    """
    rows = [row for one in _between_machines(pairs) for row in read(one)]
    rows = [row for row in rows if row["rule"] == AGREE_AND_CONFIDENT and row["target"] == target]
    if not rows:
        return []
    reached = [row for row in rows if row["threshold"] is not None and row["n"]]
    if not reached:
        return [f"No threshold reaches {100 * target:g} %: every image needs human review"]
    row = max(reached, key=_savings)
    accuracy = "their accuracy is not known"
    if row["accuracy"] is not None:
        ends = plain_interval(row["accuracy_low"], row["accuracy_high"])
        accuracy = f"accuracy {decimal(row['accuracy'])} (95 % interval {ends})"
    a, b, at_least = row["annotator_a"], row["annotator_b"], threshold(row["threshold"])
    return [
        f"{percent(row['coverage'])} of the {row['split']} images can be accepted without human review: {a} and {b} "
        f"agree there, both with {row['confidence']} confidence of at least {at_least} "
        f"(chosen on {row['threshold_split']}); {accuracy}"
    ]


def _between_machines(pairs: Iterable[Pair]) -> list[Pair]:
    return [pair for pair in pairs if pair.reference not in (pair.a, pair.b)]  # humans do not save their own labels


def _savings(row: Row) -> tuple[float, float]:
    return row["coverage"] or 0.0, row["accuracy"] or 0.0


def read(pair: Pair) -> list[Row]:
    """The coverage of a comparison; empty where it has none, or one of an earlier state."""
    return pair.optional_rows("coverage", COVERAGE)


def find_best(pairs: Sequence[Pair]) -> list[tuple[Pair, str]]:
    """For each split with thresholds the two machines that save most, and by which kind of confidence."""
    best: dict[str, tuple[tuple[float, float], Pair, str]] = {}
    for pair in _between_machines(pairs):
        for row in read(pair):
            if row["rule"] == AGREE_AND_CONFIDENT and row["target"] == TARGET:
                entry = (_savings(row), pair, row["confidence"])
                if pair.split not in best or entry[0] > best[pair.split][0]:
                    best[pair.split] = entry
    return [(pair, kind) for _, pair, kind in best.values()]


def build_entries(pairs: Sequence[Pair]) -> list[dict[str, Any]]:
    """What to show of the two machines that save most, split by split."""
    entries = []
    for pair, kind in find_best(pairs):
        rules = [(pair.a, pair.b), (pair.a,), (pair.b,)]
        rows = [row for names in rules for row in pair.rows_of("coverage", names) if row["confidence"] == kind]
        chosen = [{**row, "accepts": _describe_rule(row)} for row in rows if row["target"] is not None]
        entry = {"split": pair.split, "headline": headline([pair]), "confidence": kind, "rows": chosen}
        entries.append({**entry, "chosen_on": chosen[0]["threshold_split"], "plot": _plot_curves(pair, kind, rules)})
    return entries


def _describe_rule(row: Row) -> str:
    a, b = row["annotator_a"], row["annotator_b"]
    return f"{a} alone" if row["rule"] == ONE else f"{a} and {b} agree confidently"


def _plot_curves(pair: Pair, kind: str, rules: Sequence[Sequence[str]]) -> Markup:
    """The accuracy of accepted images by how many are accepted, as the threshold falls."""
    curves = []
    for names in rules:
        rows = [row for row in pair.rows_of("coverage_curve", names) if row["confidence"] == kind]
        curves.append(
            [row for row in rows if row["accuracy"] is not None and row["rule"] in (ONE, AGREE_AND_CONFIDENT)]
        )

    def paint(figure: Any, tooltips: Tooltips) -> None:
        axes = figure.subplots()
        for (colour, line), rows in zip(_LINES, curves, strict=True):
            if rows:
                shares, accuracies, low, high = (
                    [row[name] for row in rows] for name in ("coverage", "accuracy", "accuracy_low", "accuracy_high")
                )
                axes.fill_between(shares, low, high, color=colour, alpha=0.15, linewidth=0)
                axes.plot(shares, accuracies, line, color=colour, linewidth=1.6, label=_describe_rule(rows[0]))
        axes.axhline(TARGET, color=INK, linestyle=":", linewidth=1, label=f"accuracy {TARGET:g}")
        axes.set(xlabel="share of images accepted without review", ylabel="accuracy on them")
        add_grid(axes)
        add_legend(figure)

    title = f"Accuracy of {pair.a} and {pair.b} on the images accepted without review"
    ends = [
        f"{_describe_rule(rows[-1])}: {decimal(rows[-1]['accuracy'])} on all that it accepts" for rows in curves if rows
    ]
    return plot(f"coverage-{pair.split}", _SIZE, paint, title, f"{'; '.join(ends)}. The shades are 95 % intervals.")
