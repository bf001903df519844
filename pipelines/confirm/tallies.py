"""Tallies: counts under a key (what, name, number) that add up in any order, in Arrow tables of a row a key."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import apache_beam as beam
import numpy as np
import pyarrow as pa

from schemas import tables
from storage.parquet import from_ipc, to_ipc

SCHEMA = tables.TALLY
_KEYS = ["what", "name", "number"]
_MAX_TABLES = 32  # tables a worker holds before it adds them up
Key = tuple[str, str, int]


def of(counts: Mapping[Key, int]) -> pa.Table:
    """A tally of some counts; zeros are left out."""
    some = {key: n for key, n in counts.items() if n}
    columns = [[key[place] for key in some] for place in range(3)] + [list(some.values())]
    return pa.table(
        [pa.array(column, field.type) for column, field in zip(columns, SCHEMA, strict=True)], schema=SCHEMA
    )


def of_grid(what: str, names: pa.Array, counts: "np.ndarray[tuple[int, int], np.dtype[np.int64]]") -> pa.Table:
    """A tally of counts (names, numbers); zeros are left out."""
    rows, numbers = np.nonzero(counts)
    columns = [
        pa.array([what] * len(rows), pa.string()),
        names.cast(pa.string()).take(pa.array(rows)),
        pa.array(numbers.astype(np.int32)),
        pa.array(counts[rows, numbers].astype(np.int64)),
    ]
    return pa.table(columns, schema=SCHEMA)


def to_bytes(parts: Iterable[pa.Table]) -> bytes:
    """The sum of tallies, as Arrow IPC."""
    summed = add(parts).combine_chunks().to_batches()
    return to_ipc(summed[0] if summed else pa.RecordBatch.from_pylist([], SCHEMA))


def add(parts: Iterable[pa.Table]) -> pa.Table:
    """The sum of tallies, in order of their keys."""
    together = pa.concat_tables([SCHEMA.empty_table(), *parts])
    summed = together.group_by(_KEYS, use_threads=False).aggregate([("n", "sum")])
    summed = summed.sort_by([(key, "ascending") for key in _KEYS])
    return pa.table([*(summed[key] for key in _KEYS), summed["n_sum"]], schema=SCHEMA)


@dataclass(eq=False)
class AddTallies(beam.CombineFn):  # type: ignore[misc]
    """Adds up tallies, as Arrow IPC."""

    def create_accumulator(self) -> list[bytes]:
        """None yet."""
        return []

    def add_input(self, accumulator: list[bytes], element: bytes) -> list[bytes]:
        """Keep one; add up when they are many."""
        accumulator.append(element)
        return self.compact(accumulator) if len(accumulator) > _MAX_TABLES else accumulator

    def merge_accumulators(self, accumulators: Iterable[list[bytes]]) -> list[bytes]:
        """All of them."""
        return [element for accumulator in accumulators for element in accumulator]

    def compact(self, accumulator: list[bytes]) -> list[bytes]:
        """Add up, before it is sent on."""
        return [self.extract_output(accumulator)]

    def extract_output(self, accumulator: list[bytes]) -> bytes:
        """The sum."""
        return to_bytes(from_ipc(element) for element in accumulator)
