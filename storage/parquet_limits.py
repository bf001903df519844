"""Parquet files that came from outside: whether what they say that they hold can have come from what is stored.

A page says how many bytes it unpacks to, a footer how many rows there are, and a value in a dictionary may stand in any
number of rows: a file of a few kilobytes can ask for terabytes. Everything is counted here before any of it is read,
from the footer's own bytes (https://parquet.apache.org/docs/file-format/): on some damaged ones, the process does not
survive pyarrow's objects of them.
"""

from collections.abc import Iterator, Sequence
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from storage.sandbox import PACKED, check_bytes

TROUBLES = (pa.ArrowException, OSError, ValueError, TypeError, OverflowError)  # what damaged files raise
FREE = 256 << 20  # bytes that a file may unpack to, however small it is
_MAGIC = b"PAR1"
_HEADER = 1 << 16  # bytes that a page's header may have
_VALUE = 8  # bytes of a number, and of a text's place
_ROWS = 1 << 16  # that are looked at at a time
_BYTE_ARRAYS, _DICTIONARY = (6, 7), 2  # types of columns, and of pages


def check_limits(path: str, raw: IO[bytes], columns: Sequence[str] | None = None) -> None:
    """Check the columns of a file, all or those of these names, before they are read.

    Raises:
        InputError: they hold more than can have come from the file.
        ValueError: it is damaged.
    """
    size, footer = _footer(raw)
    asked, doubtful = _number(footer, 3) * _VALUE, set()
    for group in footer.get(4, ()):
        for name, column in _columns(group):
            if columns is not None and name not in columns:
                continue
            values = _number(column, 5)
            unpacked, dictionary = _pages(raw, column, values or _number(group, 3), size)
            asked += unpacked + values * _VALUE
            if column.get(1) in _BYTE_ARRAYS and values * dictionary > FREE:
                doubtful.add(name)
    _check(path, asked, size)
    for name in sorted(doubtful):
        _check(path, _texts(raw, name), size)


def _check(path: str, asked: int, size: int) -> None:
    check_bytes(path, "it", asked, max(size, FREE // PACKED))


def _footer(raw: IO[bytes]) -> tuple[int, dict[int, Any]]:
    """The size of a file, and its FileMetaData."""
    size = raw.seek(0, 2)
    raw.seek(max(size - 8, 0))
    end = raw.read(8)
    length = int.from_bytes(end[:4], "little")
    if size < 12 or end[4:] != _MAGIC or length > size - 12:
        raise ValueError("it has no footer of Parquet")
    raw.seek(size - 8 - length)
    return size, Compact(raw.read(length)).structure()


def _columns(group: Any) -> Iterator[tuple[str, dict[int, Any]]]:
    """The name and the ColumnMetaData of each column of a row group."""
    for chunk in group.get(1, ()) if isinstance(group, dict) else ():
        column = chunk.get(3) if isinstance(chunk, dict) else None
        path = column.get(3) if isinstance(column, dict) else None
        if column is None or not isinstance(path, list) or not path or not isinstance(path[0], bytes):
            raise ValueError("a column has no name")
        yield path[0].decode(), column


def _number(found: dict[int, Any], field: int, least: int = 0) -> int:
    value = found.get(field, least)
    if not isinstance(value, int) or value < least:
        raise ValueError(f"field {field} of the footer is {str(value)[:40]}")
    return value


def _pages(raw: IO[bytes], column: dict[int, Any], rows: int, size: int) -> tuple[int, int]:
    """How many bytes the pages of a column unpack to, and how many of them are those of its dictionary."""
    at, dictionary = _number(column, 9), _number(column, 11)
    at = dictionary if 0 < dictionary < at else at
    end, total, kept = at + _number(column, 7), 0, 0
    if at == end or not rows:  # there is nothing to read
        return 0, 0
    if at < len(_MAGIC) or end > size:
        raise ValueError(f"a column lies at bytes {at} to {end} of {size}")
    while at < end:
        raw.seek(at)
        header = Compact(raw.read(min(_HEADER, end - at)))
        page = header.structure()
        unpacked, packed = _number(page, 2), _number(page, 3)
        total += unpacked
        kept += unpacked if page.get(1) == _DICTIONARY else 0
        at += header.at + packed
    return total, kept


def _texts(raw: IO[bytes], name: str) -> int:
    """How many bytes a column of texts has, each value counted where it stands."""
    raw.seek(0)
    total = 0
    for batch in pq.ParquetFile(raw, read_dictionary=[name]).iter_batches(_ROWS, columns=[name], use_threads=False):
        for column in batch.columns:
            if pa.types.is_dictionary(column.type):
                lengths = pc.binary_length(column.dictionary).cast(pa.int64())
                total += pc.sum(lengths.take(column.indices)).as_py() or 0
            else:
                total += column.nbytes
    return total


# Thrift's compact protocol, as far as the footers and page headers of Parquet files need it.

_DEEPEST = 16  # structures in structures
_TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _LIST, _SET, _STRUCT = 1, 2, 3, 7, 8, 9, 10, 12
_INTEGERS = (4, 5, 6)


class Compact:
    """Reads values one after the other; `at` is where the next one begins.

    Every reading method raises ValueError where the bytes are none such, or end too early.
    """

    def __init__(self, content: bytes) -> None:
        self.content, self.at = content, 0

    def structure(self, depth: int = 0) -> dict[int, Any]:
        """A structure: each field's value by its number."""
        if depth > _DEEPEST:
            raise ValueError(f"structures within structures, more than {_DEEPEST}")
        found: dict[int, Any] = {}
        field = 0
        while head := self._byte():
            field = field + (head >> 4) if head >> 4 else self._signed()
            kind = head & 15
            found[field] = kind == _TRUE if kind in (_TRUE, _FALSE) else self._value(kind, depth)
        return found

    def _value(self, kind: int, depth: int) -> Any:
        if kind in _INTEGERS:
            return self._signed()
        if kind == _BINARY:
            return self._bytes(self._varint())
        if kind in (_LIST, _SET):
            head = self._byte()
            count = self._varint() if head >> 4 == 15 else head >> 4
            if count > len(self.content) - self.at:  # each takes a byte at least
                raise ValueError(f"a list of {count} values in {len(self.content) - self.at} bytes")
            inner = _BYTE if head & 15 in (_TRUE, _FALSE) else head & 15
            return [self._value(inner, depth + 1) for _ in range(count)]
        if kind == _STRUCT:
            return self.structure(depth + 1)
        if kind in (_BYTE, _DOUBLE):
            return self._bytes(1 if kind == _BYTE else 8)
        raise ValueError(f"a value of type {kind}")

    def _byte(self) -> int:
        return self._bytes(1)[0]

    def _bytes(self, count: int) -> bytes:
        start, self.at = self.at, self.at + count
        if self.at > len(self.content):
            raise ValueError(f"it ends too early, after {len(self.content)} bytes")
        return self.content[start : self.at]

    def _varint(self) -> int:
        value = shift = 0
        while (digit := self._byte()) & 0x80:
            value |= (digit & 0x7F) << shift
            shift += 7
            if shift > 63:
                raise ValueError("a number of more than 64 bits")
        return value | digit << shift

    def _signed(self) -> int:
        value = self._varint()
        return value >> 1 ^ -(value & 1)
