"""Measures of agreement: a file per kind, found by its name; counts in, figures out.

Each module has `FIELDS`, the columns that it adds to the summary table, and `figures(counts)`, their values. Counts are
integers and fixed-point sums, so that they merge exactly, at any scale and in any order; formulas come last.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas import tables

CONFIDENCE_UNIT = 2**32  # a confidence of 1, in the fixed-point sums: exact up to 2**31 images
CELLS = pa.schema(
    [
        ("label_a", pa.string()),
        ("label_b", pa.string()),
        ("truth", pa.string()),
        ("n", pa.int64()),
        ("confidence_a", pa.int64()),
        ("confidence_b", pa.int64()),
    ]
)
_KEYS, _SUMS = CELLS.names[:3], CELLS.names[3:]


def field(name: str, kind: pa.DataType, description: str, unit: str = "") -> pa.Field:
    """A column of the summary table; null where the figure is not defined.

    Its unit, if none is given, is images for whole numbers, and 1 for all others.
    """
    return tables.described(name, kind, description, unit=unit or ("images" if pa.types.is_integer(kind) else "1"))


@dataclass(frozen=True)
class Counts:
    """How often two annotators gave which labels: a row a combination that occurs, of schema `CELLS`."""

    cells: pa.Table

    @property
    def n(self) -> int:
        """Images that both labelled."""
        return int(pc.sum(self.cells["n"]).as_py() or 0)

    @property
    def n_agree(self) -> int:
        """Images that both gave the same label."""
        same = self.cells.filter(pc.equal(self.cells["label_a"], self.cells["label_b"]))
        return int(pc.sum(same["n"]).as_py() or 0)

    def marginal(self, annotator: str) -> Counter[str]:
        """How often an annotator (`a` or `b`) gave each label."""
        counted: Counter[str] = Counter()
        for label, n in zip(self.cells[f"label_{annotator}"].to_pylist(), self.cells["n"].to_pylist(), strict=True):
            counted[label] += n
        return counted

    def correct(self, annotator: str) -> tuple[int, int]:
        """Of the images whose truth is known: how many an annotator labelled so, and how many there are."""
        known = self.cells.filter(pc.is_valid(self.cells["truth"]))
        right = known.filter(pc.equal(known[f"label_{annotator}"], known["truth"]))
        return int(pc.sum(right["n"]).as_py() or 0), int(pc.sum(known["n"]).as_py() or 0)


def count(pairs: pa.Table) -> Counts:
    """The counts of a table of pairs."""
    fixed = {
        name: pa.array(np.rint(pairs[name].to_numpy().astype(np.float64) * CONFIDENCE_UNIT).astype(np.int64))
        for name in ("confidence_a", "confidence_b")
    }
    ones = pa.array(np.ones(pairs.num_rows, dtype=np.int64))
    columns = {name: pairs[name] for name in _KEYS}
    return _summed(pa.table({**columns, "n": ones, **fixed}, schema=CELLS))


def merge(parts: Iterable[Counts]) -> Counts:
    """The sum of counts."""
    return _summed(pa.concat_tables([CELLS.empty_table(), *(part.cells for part in parts)]))


def _summed(cells: pa.Table) -> Counts:
    grouped = cells.group_by(_KEYS).aggregate([(name, "sum") for name in _SUMS])
    renamed = grouped.rename_columns({f"{name}_sum": name for name in _SUMS})
    return Counts(renamed.select(CELLS.names).cast(CELLS).sort_by([(key, "ascending") for key in _KEYS]))


def ratio(numerator: int, denominator: int) -> float | None:
    """A quotient of whole numbers, rounded once; None where the denominator is 0."""
    return numerator / denominator if denominator else None


Figures = dict[str, Any]
