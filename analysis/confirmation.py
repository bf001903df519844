"""What people's verdicts tell of a machine's labels: the tables that `concord confirm` leaves."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from analysis.formatting import count, decimal, several
from schemas import layout, tables
from schemas.errors import IncompleteError
from storage import parquet, products, stores

Row = dict[str, Any]

SIDES = ("machine", "human")
_AGAIN = "run concord confirm with --force"


@dataclass(frozen=True)
class Confirmation:
    """A finished confirmation of a dataset's machine labels; its tables are read when they are asked for."""

    root: str
    dataset: str
    manifest: Row

    @property
    def fingerprint(self) -> str:
        """Of the files and settings it was made from; all of its tables carry the same."""
        return str(self.manifest["fingerprint"])

    @property
    def counts(self) -> Row:
        """Where every row went."""
        found: Row = self.manifest["counts"]
        return found

    @cached_property
    def labels(self) -> pa.Table:
        """Counts and precision of the machine, of every scope."""
        return self._table("machine_precision")

    @property
    def overall(self) -> Row:
        """Counts and precision over all classes and confidences."""
        return self.figures("all")[0]

    def figures(self, scope: str, labels: Sequence[str] | None = None) -> list[Row]:
        """Counts and precision of one scope: all, decile, class, class_decile; of some labels, or of all."""
        chosen = self.labels.filter(pc.equal(self.labels["scope"], scope))
        if labels is not None:
            chosen = chosen.filter(pc.is_in(chosen["label"], value_set=pa.array(labels, pa.string())))
        rows: list[Row] = chosen.to_pylist()
        return rows

    def labels_per_image(self) -> list[Row]:
        """How many images have so many labels, of each annotator."""
        rows: list[Row] = self._table("labels_per_image").to_pylist()
        return rows

    def sources(self) -> list[Row]:
        """What each source of people's verdicts says."""
        rows: list[Row] = self._table("verdict_sources").to_pylist()
        return rows

    def rejects(self, side: str) -> pa.Table:
        """The malformed rows of a side.

        Raises:
            IncompleteError: there are not as many as were counted.
        """
        folder = layout.confirm_rejects(self.root, self.dataset, side)
        paths = [stores.join(folder, name) for name in sorted(stores.list_files(folder)) if name.endswith(".parquet")]
        rows = [parquet.read(path, self.fingerprint) for path in paths]
        found = pa.concat_tables(
            [tables.REJECTS.empty_table(), *(table.select(tables.REJECTS.names) for table in rows)]
        )
        expected = sum(self.counts[side]["malformed"].values())
        if found.num_rows != expected:
            raise IncompleteError(f"{folder} holds {found.num_rows} rejected rows instead of {expected}: {_AGAIN}")
        return found

    def headline(self) -> str:
        """What people made of the machine's labels, in a line."""
        overall = self.overall
        if not overall["verified"]:
            return f"people looked at none of the {several(overall['machine_rows'], 'machine label')}"
        low, high = (decimal(overall[f"precision_{end}"]) for end in ("low", "high"))
        return (
            f"people confirmed {count(overall['confirmed'])} of the {several(overall['verified'], 'machine label')} "
            f"they looked at (precision {decimal(overall['precision'])}, 95 % interval {low}-{high}): "
            f"{several(self.counts['images'], 'image')}, {several(self.counts['classes'], 'class', 'classes')}"
        )

    def _table(self, name: str) -> pa.Table:
        path = layout.statistics_table(self.root, name, self.dataset)
        if stores.stat(path) is None:
            raise IncompleteError(f"there is no {name} table of dataset {self.dataset!r} in {path}: {_AGAIN}")
        return parquet.read(path, self.fingerprint)


def find_confirmation(root: str, dataset: str) -> Confirmation | None:
    """The finished confirmation of a dataset, if there is one."""
    manifest = products.find_manifest(layout.confirmation(root, dataset))
    return None if manifest is None else Confirmation(root, dataset, manifest)


def shown_names(rows: list[Row]) -> dict[str, str]:
    """How to call each class: by its name for people, and by its label as well where another has the same name."""
    names = {row["label"]: " ".join((row["display_name"] or row["label"]).split()) for row in rows}
    often: dict[str, int] = {}
    for name in names.values():
        often[name] = often.get(name, 0) + 1
    return {label: name if often[name] == 1 else f"{name} ({label})" for label, name in names.items()}
