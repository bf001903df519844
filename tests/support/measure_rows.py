"""The long table of measures as the tests read it: the figures of all labels, and those of each."""

from typing import Any

import pyarrow as pa

Figures = dict[str, Any]


def by_scope(measures: pa.Table) -> tuple[Figures, dict[str, Figures]]:
    """The figures of scope `all`, and those of scope `class` by label: `name`, `name_low`, `name_high`, `name_why`."""
    whole: Figures = {}
    classes: dict[str, Figures] = {}
    for row in measures.to_pylist():
        assert (row["scope"], row["label"] is None) in (("all", True), ("class", False))
        figures = whole if row["scope"] == "all" else classes.setdefault(row["label"], {})
        name = row["measure"]
        assert name not in figures, f"{name} is there twice"
        figures |= {name: row["value"], f"{name}_low": row["low"], f"{name}_high": row["high"]}
        figures[f"{name}_why"] = row["undefined_because"]
    return whole, classes
