"""Where people need not be asked: how many images two machines label alike and surely, and how right they are there."""

from collections.abc import Iterable
from typing import Any

from analysis.tables import Pair
from analysis.texts import decimal, percent
from schemas import confidence_tables, layout, storage, tables
from schemas.confidence_tables import AGREE_AND_SURE

TARGET = 0.98
Row = dict[str, Any]


def headline(pairs: Iterable[Pair], target: float = TARGET) -> list[str]:
    """The most that two machines take off people at an accuracy, in a line; none where no threshold was looked for.

    Args:
        pairs: the comparisons to choose from; thresholds are chosen on another split than the one told of.
        target: the accuracy asked for.
    """
    rows = [row for pair in pairs for row in read(pair) if row["rule"] == AGREE_AND_SURE and row["target"] == target]
    if not rows:
        return []
    found = [row for row in rows if row["threshold"] is not None and row["n"]]
    if not found:
        return [f"no two machines are sure enough to be {percent(target)} right: every image needs a person"]
    row = max(found, key=lambda row: (row["share"], row["accuracy"] or 0))
    right = "how right is not known"
    if row["accuracy"] is not None:
        right = f"accuracy {decimal(row['accuracy'])} ({decimal(row['accuracy_low'])}-{decimal(row['accuracy_high'])})"
    machines, sure = f"{row['a']} and {row['b']}", f"{row['confidence']} confidence {row['threshold']:.4g} or more"
    return [
        f"{percent(row['share'])} of the {row['split']} images need no person: {machines} agree there, and both are "
        f"sure ({sure}, chosen on {row['chosen_on']}); {right}"
    ]


def read(pair: Pair) -> list[Row]:
    """The coverage of a comparison; empty where it has none, or one of an earlier state."""
    path = layout.agreement_table(pair.root, "coverage", pair.dataset, (pair.a, pair.b), pair.split)
    if storage.stat(path) is None or tables.read_tags(path)[0] != pair.fingerprint:
        return []
    rows: list[Row] = tables.read(path, pair.fingerprint, confidence_tables.COVERAGE).to_pylist()
    return rows
