"""All annotators of a split together: how far they agree, as the table `measures` holds it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from schemas import layout
from schemas.tables import ALL
from storage import parquet, stores

Row = dict[str, Any]


@dataclass(frozen=True)
class Together:
    """Three annotators and more of one split.

    Attributes:
        figures: the measures of all labels and the ends of their intervals, by name.
        methods: how the interval of each figure was made.
        fingerprint: of the label sets.
    """

    split: str
    annotators: tuple[str, ...]
    figures: Row
    methods: Mapping[str, str]
    fingerprint: str


def find(root: str, dataset: str, compared: Sequence[Mapping[str, Any]]) -> tuple[Together, ...]:
    """For each split the table of most annotators, all of which are compared two by two.

    A table of another state of the labels is left out.

    Args:
        root: where everything is kept.
        dataset: its name.
        compared: the manifests of the comparisons of two.

    Raises:
        IncompleteError: a table is damaged.
    """
    pairs = {(one["split"], frozenset((one["a"], one["b"]))): one.get("labels", {}) for one in compared}
    found: dict[str, Together] = {}
    folder = stores.parent(layout.agreement_table(root, "measures", dataset, (), ""))
    for file in sorted(stores.list_files(folder)):
        if file.startswith(f"{dataset}-") and file.endswith(".parquet"):
            path = stores.join(folder, file)
            fingerprint, report = parquet.read_tags(path)
            labels = json.loads(report or "{}")
            if fingerprint and not labels:  # those of two annotators
                continue
            one = _read(path, fingerprint)
            most = found.get(one.split)
            if _current(one, labels, pairs) and (
                most is None or len(most.annotators) < len(one.annotators)
            ):
                found[one.split] = one
    return tuple(found.values())


def _read(path: str, fingerprint: str) -> Together:
    """The measures of a table that are of all labels."""
    rows = [row for row in parquet.read(path).to_pylist() if row["scope"] == ALL]
    figures = {row["measure"]: row["value"] for row in rows}
    for end in ("low", "high"):
        figures |= {f"{row['measure']}_{end}": row[end] for row in rows}
    methods = {row["measure"]: row["method"] for row in rows if row["method"] is not None}
    return Together(rows[0]["split"], tuple(rows[0]["annotator_a"].split(",")), figures, methods, fingerprint)


def _current(
    one: Together, labels: Mapping[str, str], pairs: Mapping[tuple[str, frozenset[str]], Mapping[str, str]]
) -> bool:
    """Whether every two of them are compared, from the very labels that the table was made from."""
    for number, a in enumerate(one.annotators):
        for b in one.annotators[number + 1 :]:
            told = pairs.get((one.split, frozenset((a, b))))
            if told is None or any(labels.get(name, told.get(name)) != told.get(name) for name in (a, b)):
                return False
    return True
