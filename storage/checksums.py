"""A checksum of the rows of tables that does not depend on their order, nor on how their files divide or encode them.

A cell is 64 bits: XXH64 of a text's UTF-8 or of bytes, a number's own bits, of a list a sum over places. A row is the
sum of its cells, each stirred with the name and the kind of its column, in two lanes of 64 bits; a table is the sum of
its rows, stirred again. Sums are modulo 2^64, so that any order gives the same, as sorting would, and rows that are
there twice count twice (an incremental multiset hash, as in Clarke et al. 2003,
https://doi.org/10.1007/978-3-540-40061-5_12). It finds faults, and is no proof against forgers.

Of floating-point numbers every bit counts, so that 0.0 and -0.0 differ; but all NaN are one. A null counts like a
column that is not there.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from storage import hashing
from storage.hashing import Words, avalanche

_LANES = (0, 1)  # seeds of the names of columns
_MOST = 2**64
_HARDLY_REPEAT = ("image_id", "sha256")  # texts that gain nothing by being hashed once a value


@dataclass(frozen=True)
class RowSum:
    """How many rows there are, and the sum of their hashes in two lanes, modulo 2^64."""

    rows: int = 0
    lanes: tuple[int, int] = (0, 0)

    def __add__(self, other: "RowSum") -> "RowSum":
        """The sum of both's rows."""
        first, second = ((one + two) % _MOST for one, two in zip(self.lanes, other.lanes, strict=True))
        return RowSum(self.rows + other.rows, (first, second))


def row_sum(rows: pa.Table, keys: Mapping[str, str] | None = None) -> RowSum:
    """The sum of rows, and of values of further text columns that are the same for all of them.

    Raises:
        TypeError: a column is of a kind that no table has.
    """
    constants = [_constant(keys or {}, lane) for lane in _LANES]
    total = RowSum()
    for batch in rows.to_batches():
        sums = [np.full(batch.num_rows, constant, np.uint64) for constant in constants]
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            kind, cells = _cells(column, name not in _HARDLY_REPEAT)
            for lane in _LANES:
                sums[lane] += _stirred(column, cells, _tag(name, kind, lane))
        first, second = (int(avalanche(lane).sum(dtype=np.uint64)) for lane in sums)
        total += RowSum(batch.num_rows, (first, second))
    return total


def checksum(tables: Mapping[str, RowSum]) -> str:
    """One checksum of all tables, in hexadecimal; a table without rows counts like one that is not there."""
    lines = [f"{name} {found.rows} {found.lanes}" for name, found in sorted(tables.items()) if found.rows]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:32]


def _tag(name: str, kind: str, lane: int) -> np.uint64:
    return np.uint64(xxhash.xxh64_intdigest(f"{kind} {name}".encode(), lane))


def _constant(keys: Mapping[str, str], lane: int) -> np.uint64:
    """What text columns that are the same for all rows add to each."""
    values = {name: xxhash.xxh64_intdigest(value.encode()) for name, value in keys.items()}
    stirred = [avalanche(np.array([value], np.uint64) ^ _tag(name, "text", lane)) for name, value in values.items()]
    return np.uint64(sum(int(one[0]) for one in stirred) % _MOST)


def _stirred(column: pa.Array, cells: Words, tag: np.uint64) -> Words:
    """The cells of a column, stirred with what it is called; 0 where it is null."""
    there = column.is_valid().to_numpy(zero_copy_only=False)
    return np.where(there, avalanche(cells ^ tag), np.uint64(0))


def _cells(column: pa.Array, repeats: bool) -> tuple[str, Words]:
    """The kind of a column, and 64 bits of each value, anything where it is null."""
    found = next((cells for holds, cells in _KINDS if any(is_one(column.type) for is_one in holds)), None)
    if found is None:
        raise TypeError(f"no table has a column of kind {column.type}")
    if found is _of_texts and repeats:
        return _of_dictionary(column.dictionary_encode())
    return found(column)


def _of_texts(column: pa.Array) -> tuple[str, Words]:
    return "text", hashing.hash_texts(_filled(column, ""), 0)


def _of_binaries(column: pa.Array) -> tuple[str, Words]:
    values = column.to_pylist()  # long and few: pictures
    return "bytes", np.fromiter((xxhash.xxh64_intdigest(value or b"") for value in values), np.uint64, len(values))


def _of_reals(column: pa.Array) -> tuple[str, Words]:
    return str(column.type), _bits(_filled(column, 0.0).to_numpy(zero_copy_only=False))


def _of_integers(column: pa.Array) -> tuple[str, Words]:
    return "integer", _filled(column, 0).to_numpy(zero_copy_only=False).astype(np.int64).view(np.uint64)


def _of_truths(column: pa.Array) -> tuple[str, Words]:
    return "boolean", _filled(column, False).to_numpy(zero_copy_only=False).astype(np.uint64)


def _of_nothing(column: pa.Array) -> tuple[str, Words]:
    return "null", np.zeros(len(column), np.uint64)


def _filled(column: pa.Array, value: object) -> pa.Array:
    return column.fill_null(value) if column.null_count else column


def _of_dictionary(column: pa.DictionaryArray) -> tuple[str, Words]:
    kind, values = _cells(column.dictionary, False)
    places = _filled(column.indices, 0).to_numpy(zero_copy_only=False)
    return kind, values[places] if len(values) else np.zeros(len(column), np.uint64)


def _bits(numbers: npt.NDArray[np.floating]) -> Words:
    """The bits of floating-point numbers; one pattern for all NaN."""
    whole = np.where(np.isnan(numbers), np.array(np.nan, numbers.dtype), numbers)
    return whole.view(f"u{whole.dtype.itemsize}").astype(np.uint64)


def _of_lists(column: pa.ListArray) -> tuple[str, Words]:
    """Of lists: what stands at which place, and how much there is."""
    lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False).astype(np.int64)
    flat = column.flatten()
    kind, values = _cells(flat, False)
    ends = np.cumsum(lengths)
    places = np.arange(len(flat)) - np.repeat(ends - lengths, lengths)
    known = flat.is_valid().to_numpy(zero_copy_only=False)
    of_place = avalanche((2 * places + known + 1).astype(np.uint64))
    stirred = avalanche(np.where(known, values, np.uint64(0)) ^ of_place)
    summed = np.concatenate([np.zeros(1, np.uint64), np.cumsum(stirred, dtype=np.uint64)])
    return f"list of {kind}", avalanche(summed[ends] - summed[ends - lengths] + avalanche(lengths.astype(np.uint64)))


def _of_structs(column: pa.StructArray) -> tuple[str, Words]:
    """Of a struct: the sum of its fields, as a row is of its columns."""
    sums = np.zeros(len(column), np.uint64)
    for entry, part in zip(column.type, column.flatten(), strict=True):
        kind, cells = _cells(part, False)
        sums += _stirred(part, cells, _tag(entry.name, kind, 0))
    return "struct", sums


_KINDS: tuple[tuple[tuple[Callable[[pa.DataType], bool], ...], Callable[[pa.Array], tuple[str, Words]]], ...] = (
    ((pa.types.is_dictionary,), _of_dictionary),
    ((pa.types.is_struct,), _of_structs),
    ((pa.types.is_list, pa.types.is_large_list), _of_lists),
    ((pa.types.is_string, pa.types.is_large_string), _of_texts),
    ((pa.types.is_binary, pa.types.is_large_binary), _of_binaries),
    ((pa.types.is_floating,), _of_reals),
    ((pa.types.is_integer,), _of_integers),
    ((pa.types.is_boolean,), _of_truths),
    ((pa.types.is_null,), _of_nothing),
)
