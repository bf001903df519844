"""All annotators of a split together: how far they agree, as the table `annotators` tells, and how that is known."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from schemas import layout
from storage import parquet, stores

Row = dict[str, Any]
_METHOD = re.compile(r"of its 95 % interval \((.+)\)$")


@dataclass(frozen=True)
class Together:
    """Three annotators and more of one split.

    Attributes:
        figures: their row of the table, of all labels.
        methods: how the interval of each figure was made.
        fingerprint: of the label sets.
    """

    split: str
    annotators: tuple[str, ...]
    figures: Row
    methods: Mapping[str, str]
    fingerprint: str


def methods(schema: pa.Schema) -> dict[str, str]:
    """How the 95 % interval of each figure of a table was made, as its columns say."""
    found = {}
    for field in schema:
        said = _METHOD.search((field.metadata or {}).get(b"description", b"").decode())
        if said and field.name.endswith("_low"):
            found[field.name.removesuffix("_low")] = said[1]
    return found


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
    folder = stores.parent(layout.agreement_table(root, "annotators", dataset, (), ""))
    for file in sorted(stores.list_files(folder)):
        if file.startswith(f"{dataset}-") and file.endswith(".parquet"):
            one, labels = _read(stores.join(folder, file))
            most = found.get(one.split)
            if _current(one, labels, pairs) and (most is None or len(most.annotators) < len(one.annotators)):
                found[one.split] = one
    return tuple(found.values())


def _read(path: str) -> tuple[Together, dict[str, str]]:
    """A table, and the fingerprint of each label set that it was made from, where it tells."""
    table, (fingerprint, report) = parquet.read(path), parquet.read_tags(path)
    row = next(row for row in table.to_pylist() if row["scope"] == "all")
    names = tuple(row["annotators"].split(","))
    return Together(row["split"], names, row, methods(table.schema), fingerprint), json.loads(report or "{}")


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
