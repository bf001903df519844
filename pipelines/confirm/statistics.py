"""What human verdicts state about the machine: the reconciliation of all rows, its precision by class and decile.

Everything follows from one tally of counts, so it is the same on every runner.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from metrics.intervals import wilson_intervals
from pipelines.confirm.join import DROPPED
from schemas import tables
from schemas.errors import IncompleteError
from schemas.layout import HUMAN, MACHINE
from schemas.tables import CONFIRMED, REJECTED

SIDES = (MACHINE, HUMAN)
_CELLS = {"machine_rows": "machine_rows", "confirmed": CONFIRMED, "rejected": REJECTED}
_LEFT_OUT = (DROPPED, "duplicate_rows")

Tallies = dict[tuple[str, str, int], int]


def counts_of(tally: pa.Table) -> Tallies:
    """A tally as a mapping."""
    return {(row["what"], row["name"], row["number"]): row["n"] for row in tally.to_pylist()}


def reconcile(counts: Tallies) -> dict[str, Any]:
    """Where every row went, on each side: read = malformed + narrowed + unmatched + duplicate + matched.

    Raises:
        IncompleteError: the sums do not close.
    """
    verdicts = {what: _sum(counts, what) for what in (CONFIRMED, REJECTED, DROPPED)}
    matched = sum(verdicts.values())
    sides = {side: _side(counts, side, matched) for side in SIDES}
    malformed: Counter[str] = Counter()
    for side in sides.values():
        malformed.update(side["malformed"])
    return {
        **sides,
        "matched": matched,
        **verdicts,
        "conflicts": counts.get(("conflict", "human", 0), 0),
        "other_labels": _sum(counts, "other_labels"),
        "images": _sum(counts, "images"),
        "classes": len({name for (what, name, _), n in counts.items() if what == CONFIRMED and n}),
        "label_sets": {
            name: {"rows": n, "repeated": counts.get(("set_repeated", name, 0), 0)}
            for (what, name, _), n in sorted(counts.items())
            if what == "set_rows"
        },
        "in": sum(side["read"] for side in sides.values()),
        "malformed": dict(sorted(malformed.items())),
    }


def _sum(counts: Tallies, what: str) -> int:
    return sum(n for key, n in counts.items() if key[0] == what)


def _named(counts: Tallies, what: str, side: str) -> dict[str, int]:
    """Counts whose name is `SIDE:NAME`, by name."""
    start = f"{side}:"
    return {
        key[1].removeprefix(start): n
        for key, n in sorted(counts.items())
        if key[0] == what and key[1].startswith(start)
    }


def _side(counts: Tallies, side: str, matched: int) -> dict[str, Any]:
    malformed, narrowed = _named(counts, "malformed", side), _named(counts, "narrowed", side)
    duplicate = counts.get(("duplicate", side, 0), 0)
    read = counts.get(("read", side, 0), 0)
    of_interest = _sum(counts, f"{side}_rows")
    if read != of_interest + sum(malformed.values()) + sum(narrowed.values()) or of_interest < matched + duplicate:
        raise IncompleteError(
            f"{read} rows of {side} were read, but {of_interest} counted, {malformed} malformed, {narrowed} narrowed "
            f"away and {matched} + {duplicate} matched; run with --force"
        )
    return {
        "read": read,
        "malformed": malformed,
        "narrowed": narrowed,
        "unmatched": of_interest - matched - duplicate,
        "duplicate": duplicate,
        "matched": matched,
    }


def label_table(counts: Tallies, dataset: str, display_names: Mapping[str, str]) -> pa.Table:
    """The machine's rows and their verdicts: of all, of each class, each decile of confidence, and each of both."""
    cells = sorted({key[1:] for key in counts if key[0] in _CELLS.values()})
    grain = [_row(counts, "class_decile", [cell], cell[0], cell[1]) for cell in cells]
    labels, numbers = sorted({cell[0] for cell in cells}), sorted({cell[1] for cell in cells})
    rows = [
        _row(counts, "all", cells),
        *(_row(counts, "decile", [cell for cell in cells if cell[1] == number], None, number) for number in numbers),
        *_by_class(counts, labels, cells),
        *grain,
    ]
    for row in rows:
        row |= {"dataset": dataset, "display_name": display_names.get(row["label"])}
    return with_precision(pa.Table.from_pylist(rows, schema=tables.MACHINE_PRECISION))


def _by_class(counts: Tallies, labels: Sequence[str], cells: Sequence[tuple[str, int]]) -> list[dict[str, Any]]:
    of_label: dict[str, list[tuple[str, int]]] = {label: [] for label in labels}
    for cell in cells:
        of_label[cell[0]].append(cell)
    return [_row(counts, "class", of_label[label], label) for label in labels]


def _row(
    counts: Tallies, scope: str, cells: Sequence[tuple[str, int]], label: str | None = None, decile: int | None = None
) -> dict[str, Any]:
    row = {name: sum(counts.get((what, *cell), 0) for cell in cells) for name, what in _CELLS.items()}
    verified = row["confirmed"] + row["rejected"]
    excluded = sum(counts.get((what, *cell), 0) for what in _LEFT_OUT for cell in cells)
    return {
        "scope": scope,
        "label": label,
        "decile": decile,
        **row,
        "verified": verified,
        "excluded": excluded,
        "without_verdict": row["machine_rows"] - verified - excluded,
    }


def with_precision(table: pa.Table) -> pa.Table:
    """The table with the share of verified rows that humans confirmed, and its 95 % interval (Wilson 1927)."""
    confirmed, verified = (table[name].to_numpy().astype(np.float64) for name in ("confirmed", "verified"))
    figures = dict(
        zip(("precision", "precision_low", "precision_high"), wilson_intervals(confirmed, verified), strict=True)
    )
    for name, values in figures.items():
        place = table.schema.get_field_index(name)
        table = table.set_column(place, table.schema.field(place), pa.array(values, from_pandas=True))
    return table


def per_image_table(counts: Tallies, dataset: str) -> pa.Table:
    """How many images have 1, 2, ... labels of each annotator."""
    rows = [
        {"dataset": dataset, "annotator": name, "labels": number, "images": n}
        for (what, name, number), n in sorted(counts.items())
        if what == "labels_per_image"
    ]
    return pa.Table.from_pylist(rows, schema=tables.LABELS_PER_IMAGE)


def source_table(counts: Tallies, dataset: str) -> pa.Table:
    """How many rows each source of human verdicts has, by verdict."""
    names = sorted({name for (what, name, _) in counts if what == "human_rows"})
    rows = [
        {
            "dataset": dataset,
            "source": name,
            "confirmed": counts.get(("human_rows", name, 1), 0),
            "rejected": counts.get(("human_rows", name, 0), 0),
        }
        for name in names
    ]
    return pa.Table.from_pylist(rows, schema=tables.VERDICT_SOURCES)
