"""A checksum of the rows of tables that depends neither on their order nor on how files divide or encode them.

A cell is 64 bits: XXH64 of a text's UTF-8 or of bytes, a number's own bits, for a list a sum over its positions. A row
is the sum of its cells, each mixed with the name and kind of its column, in two lanes of 64 bits; a table is the sum of
its rows, mixed again. Sums are modulo 2^64, so that the order does not matter and duplicate rows count twice (an
incremental multiset hash, as in Clarke et al. 2003, https://doi.org/10.1007/978-3-540-40061-5_12). It finds faults, and
is no proof against forgers.

Every bit of a floating-point number counts, so that 0.0 and -0.0 differ; but all NaN are equal. A null counts like a
missing column.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from storage import hashing
from storage.hashing import Words, avalanche

_LANES = (0, 1)  # seeds of the names of columns
_MODULUS = 2**64
_HARDLY_REPEAT = ("image_id", "sha256")  # texts that gain nothing from being hashed once per value


@dataclass(frozen=True)
class RowSum:
    """Number of rows, and the sum of their hashes in two lanes, modulo 2^64."""

    rows: int = 0
    lanes: tuple[int, int] = (0, 0)

    def __add__(self, other: "RowSum") -> "RowSum":
        """The sum of both's rows."""
        first, second = ((one + two) % _MODULUS for one, two in zip(self.lanes, other.lanes, strict=True))
        return RowSum(self.rows + other.rows, (first, second))


def row_sum(rows: pa.Table, keys: Mapping[str, str] | None = None) -> RowSum:
    """The sum of rows; `keys` are values of further text columns that are the same for all rows."""
    constants = [_constant(keys or {}, lane) for lane in _LANES]
    total = RowSum()
    for batch in rows.to_batches():
        sums = [np.full(batch.num_rows, constant, np.uint64) for constant in constants]
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            kind, cells = _cells(column, name not in _HARDLY_REPEAT)
            for lane in _LANES:
                sums[lane] += _mix_cells(column, cells, _tag(name, kind, lane))
        first, second = (int(avalanche(lane).sum(dtype=np.uint64)) for lane in sums)
        total += RowSum(batch.num_rows, (first, second))
    return total


def checksum(tables: Mapping[str, RowSum]) -> str:
    """One checksum of all tables, in hexadecimal; a table without rows counts like a missing one."""
    lines = [f"{name} {one.rows} {one.lanes}" for name, one in sorted(tables.items()) if one.rows]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:32]


def _tag(name: str, kind: str, lane: int) -> np.uint64:
    return np.uint64(xxhash.xxh64_intdigest(f"{kind} {name}".encode(), lane))


def _constant(keys: Mapping[str, str], lane: int) -> np.uint64:
    """The sum that text columns of constant values add to each row."""
    values = {name: xxhash.xxh64_intdigest(value.encode()) for name, value in keys.items()}
    mixed = [avalanche(np.array([value], np.uint64) ^ _tag(name, "text", lane)) for name, value in values.items()]
    return np.uint64(sum(int(one[0]) for one in mixed) % _MODULUS)


def _mix_cells(column: pa.Array, cells: Words, tag: np.uint64) -> Words:
    """The cells of a column, mixed with the tag of its name and kind; 0 for null."""
    valid = column.is_valid().to_numpy(zero_copy_only=False)
    return np.where(valid, avalanche(cells ^ tag), np.uint64(0))


def _cells(column: pa.Array, repeats: bool) -> tuple[str, Words]:
    """The kind of a column, and 64 bits of each value, anything for null."""
    cells = next((cells for tests, cells in _KINDS if any(is_kind(column.type) for is_kind in tests)), None)
    if cells is None:
        raise TypeError(f"no table has a column of kind {column.type}")
    if cells is _text_cells and repeats:
        return _dictionary_cells(column.dictionary_encode())
    return cells(column)


def _text_cells(column: pa.Array) -> tuple[str, Words]:
    return "text", hashing.hash_texts(_fill_nulls(column, ""), 0)


def _binary_cells(column: pa.Array) -> tuple[str, Words]:
    values = column.to_pylist()  # long and few: images
    return "bytes", np.fromiter((xxhash.xxh64_intdigest(value or b"") for value in values), np.uint64, len(values))


def _float_cells(column: pa.Array) -> tuple[str, Words]:
    """The bits of floating-point numbers; one pattern for all NaN."""
    values = _fill_nulls(column, 0.0).to_numpy(zero_copy_only=False)
    values = np.where(np.isnan(values), np.array(np.nan, values.dtype), values)
    return str(column.type), values.view(f"u{values.dtype.itemsize}").astype(np.uint64)


def _integer_cells(column: pa.Array) -> tuple[str, Words]:
    return "integer", _fill_nulls(column, 0).to_numpy(zero_copy_only=False).astype(np.int64).view(np.uint64)


def _boolean_cells(column: pa.Array) -> tuple[str, Words]:
    return "boolean", _fill_nulls(column, False).to_numpy(zero_copy_only=False).astype(np.uint64)


def _null_cells(column: pa.Array) -> tuple[str, Words]:
    return "null", np.zeros(len(column), np.uint64)


def _fill_nulls(column: pa.Array, value: object) -> pa.Array:
    return column.fill_null(value) if column.null_count else column


def _dictionary_cells(column: pa.DictionaryArray) -> tuple[str, Words]:
    kind, values = _cells(column.dictionary, False)
    indices = _fill_nulls(column.indices, 0).to_numpy(zero_copy_only=False)
    return kind, values[indices] if len(values) else np.zeros(len(column), np.uint64)


def _list_cells(column: pa.ListArray) -> tuple[str, Words]:
    """For lists: which value is at which position, and the length."""
    lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False).astype(np.int64)
    flat = column.flatten()
    kind, values = _cells(flat, False)
    ends = np.cumsum(lengths)
    positions = np.arange(len(flat)) - np.repeat(ends - lengths, lengths)
    known = flat.is_valid().to_numpy(zero_copy_only=False)
    salts = avalanche((2 * positions + known + 1).astype(np.uint64))
    mixed = avalanche(np.where(known, values, np.uint64(0)) ^ salts)
    summed = np.concatenate([np.zeros(1, np.uint64), np.cumsum(mixed, dtype=np.uint64)])
    return f"list of {kind}", avalanche(summed[ends] - summed[ends - lengths] + avalanche(lengths.astype(np.uint64)))


def _struct_cells(column: pa.StructArray) -> tuple[str, Words]:
    """For a struct: the sum of its fields, as a row is the sum of its columns."""
    sums = np.zeros(len(column), np.uint64)
    for entry, part in zip(column.type, column.flatten(), strict=True):
        kind, cells = _cells(part, False)
        sums += _mix_cells(part, cells, _tag(entry.name, kind, 0))
    return "struct", sums


_KINDS: tuple[tuple[tuple[Callable[[pa.DataType], bool], ...], Callable[[pa.Array], tuple[str, Words]]], ...] = (
    ((pa.types.is_dictionary,), _dictionary_cells),
    ((pa.types.is_struct,), _struct_cells),
    ((pa.types.is_list, pa.types.is_large_list), _list_cells),
    ((pa.types.is_string, pa.types.is_large_string), _text_cells),
    ((pa.types.is_binary, pa.types.is_large_binary), _binary_cells),
    ((pa.types.is_floating,), _float_cells),
    ((pa.types.is_integer,), _integer_cells),
    ((pa.types.is_boolean,), _boolean_cells),
    ((pa.types.is_null,), _null_cells),
)
