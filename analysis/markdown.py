"""The report in short, in Markdown, for a pull request or a chat: the headlines and the figures behind them."""

from collections.abc import Sequence

from analysis import coverage
from analysis.formatting import count, decimal, interval, percent
from analysis.sections import Facts
from analysis.tables import Row

SUMMARY_FILE = "summary.md"
_RIGHT = "---:"


def summary(facts: Facts, headlines: Sequence[str]) -> str:
    """The page in short.

    Args:
        facts: what the page shows.
        headlines: its headlines, a line each.
    """
    parts = [f"# {facts.title}", "\n".join(f"- {line}" for line in headlines)]
    if facts.comparisons:
        parts.append(_compared(facts))
    for entry in coverage.of_pairs([one.pair for one in facts.comparisons]):
        rows = [_accepted(row) for row in entry["rows"]]
        names = ("accepted where", "asked for", "need no person", "accuracy", "95 % interval")
        parts.append(
            f"On the {entry['split']} images, thresholds chosen on {entry['chosen_on']}:\n\n{_table(names, rows)}"
        )
    return "\n\n".join(part for part in parts if part) + "\n"


def _compared(facts: Facts) -> str:
    """How far every two annotators agree."""
    names = ("annotators", "split", "images", "agree", "kappa", "95 % interval", "AC1", "accuracy")
    rows = []
    for entry in facts.comparisons:
        pair, figures = entry.pair, entry.summary
        right = [decimal(figures[f"accuracy_{side}"]) for side in "ab" if figures["n_reference"]]
        around = interval(figures.get("cohen_kappa_low"), figures.get("cohen_kappa_high"), 2)
        agree = (
            percent(figures["observed_agreement"]),
            decimal(figures["cohen_kappa"], 2),
            around,
            decimal(figures.get("gwet_ac1"), 2),
        )
        rows.append((f"{pair.a}, {pair.b}", pair.split, count(figures["n"]), *agree, ", ".join(right)))
    return _table(names, rows)


def _accepted(row: Row) -> tuple[str, ...]:
    if row["threshold"] is None:
        return row["called"], str(row["target"]), percent(0.0), "", ""
    right = decimal(row["accuracy"]), interval(row["accuracy_low"], row["accuracy_high"])
    return row["called"], str(row["target"]), percent(row["coverage"]), *right


def _table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; what comes after the first column is set to the right."""
    lines = [names, ["---", *[_RIGHT] * (len(names) - 1)], *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)
