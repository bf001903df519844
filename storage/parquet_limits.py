"""Size limits for Parquet files from outside: whether the content that they state can come from the bytes they have.

A page states how many bytes it unpacks to, a footer how many rows there are, and a value in a dictionary may occur in
any number of rows: a file of a few kilobytes can require terabytes. All of it is added up here before any is read, from
the footer's own bytes (https://parquet.apache.org/docs/file-format/): pyarrow's objects crash on some damaged ones.
"""

import io
from collections.abc import Iterator, Sequence
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from storage.sandbox import ZLIB_RATIO, check_bytes

READ_ERRORS = (pa.ArrowException, OSError, ValueError, TypeError, OverflowError)  # that damaged files raise
FREE_BYTES = 256 << 20  # bytes that a file may unpack to, however small it is
_MAGIC = b"PAR1"
END_BYTES = 4 + len(_MAGIC)  # a file ends with its footer, the footer's length and the magic
_TAIL_BYTES = 64 << 10  # read from the end of a file at once: most footers lie in it
_HEADER_BYTES = 1 << 16  # that a page's header may have
_VALUE_BYTES = 8  # of a number, and of a text's offset
_BATCH_ROWS = 1 << 16
_BYTE_ARRAYS, _DICTIONARY = (6, 7), 2  # types of columns, and of pages


def check_limits(path: str, raw: IO[bytes], columns: Sequence[str] | None = None) -> None:
    """Check the columns of a file, all or those of these names, before they are read.

    Raises:
        InputError: they state more content than can come from the file.
        ValueError: the file is damaged.
    """
    size, content = read_footer(raw)
    footer = Compact(content).structure()
    required, doubtful = _number(footer, 3) * _VALUE_BYTES, set()
    for group in footer.get(4, ()):
        for name, column in _columns(group):
            if columns is not None and name not in columns:
                continue
            values = _number(column, 5)
            unpacked, dictionary = _pages(raw, column, values or _number(group, 3), size)
            required += unpacked + values * _VALUE_BYTES
            if column.get(1) in _BYTE_ARRAYS and values * dictionary > FREE_BYTES:
                doubtful.add(name)
    _check_total(path, required, size)
    for name in sorted(doubtful):
        _check_total(path, _text_bytes(raw, name), size)


def _check_total(path: str, required: int, size: int) -> None:
    check_bytes(path, "it", required, max(size, FREE_BYTES // ZLIB_RATIO))


def read_footer(raw: IO[bytes]) -> tuple[int, bytes]:
    """The size of a file, and its footer; ValueError if it has none."""
    size = raw.seek(0, io.SEEK_END)
    tail = _read_tail(raw, min(size, _TAIL_BYTES))
    length = footer_length(tail, size)
    if length + END_BYTES > len(tail):
        tail = _read_tail(raw, length + END_BYTES)
    return size, tail[len(tail) - END_BYTES - length : len(tail) - END_BYTES]


def _read_tail(raw: IO[bytes], count: int) -> bytes:
    raw.seek(-count, io.SEEK_END)
    return raw.read(count)


def footer_length(tail: bytes | memoryview, size: int) -> int:
    """Bytes of the footer of a file of this size, by the file's last bytes; ValueError if it has none."""
    length = int.from_bytes(tail[-END_BYTES : -len(_MAGIC)], "little")
    if len(tail) < END_BYTES or tail[-len(_MAGIC) :] != _MAGIC or length > size - END_BYTES:
        raise ValueError("it has no footer of Parquet")
    return length


def _columns(group: Any) -> Iterator[tuple[str, dict[int, Any]]]:
    """The name and the ColumnMetaData of each column of a row group."""
    for chunk in group.get(1, ()) if isinstance(group, dict) else ():
        column = chunk.get(3) if isinstance(chunk, dict) else None
        path = column.get(3) if isinstance(column, dict) else None
        if column is None or not isinstance(path, list) or not path or not isinstance(path[0], bytes):
            raise ValueError("a column has no name")
        yield path[0].decode(), column


def _number(fields: dict[int, Any], field: int, least: int = 0) -> int:
    value = fields.get(field, least)
    if not isinstance(value, int) or value < least:
        raise ValueError(f"field {field} of the footer is {str(value)[:40]}")
    return value


def _pages(raw: IO[bytes], column: dict[int, Any], rows: int, size: int) -> tuple[int, int]:
    """How many bytes the pages of a column unpack to, and how many of them are its dictionary's."""
    at, dictionary = _number(column, 9), _number(column, 11)
    at = dictionary if 0 < dictionary < at else at
    end, total, kept = at + _number(column, 7), 0, 0
    if at == end or not rows:  # there is nothing to read
        return 0, 0
    if at < len(_MAGIC) or end > size:
        raise ValueError(f"a column lies at bytes {at} to {end} of {size}")
    while at < end:
        raw.seek(at)
        header = Compact(raw.read(min(_HEADER_BYTES, end - at)))
        page = header.structure()
        unpacked, packed = _number(page, 2), _number(page, 3)
        total += unpacked
        kept += unpacked if page.get(1) == _DICTIONARY else 0
        at += header.at + packed
    return total, kept


def _text_bytes(raw: IO[bytes], name: str) -> int:
    """Bytes of a column of texts, each value counted in every row where it occurs."""
    raw.seek(0)
    total = 0
    for batch in pq.ParquetFile(raw, read_dictionary=[name]).iter_batches(
        _BATCH_ROWS, columns=[name], use_threads=False
    ):
        for column in batch.columns:
            if pa.types.is_dictionary(column.type):
                lengths = pc.binary_length(column.dictionary).cast(pa.int64())
                total += pc.sum(lengths.take(column.indices)).as_py() or 0
            else:
                total += column.nbytes
    return total


# --- Thrift's compact protocol, as far as the footers and page headers of Parquet files need it ----

_MAX_DEPTH = 16  # structures in structures
_TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _LIST, _SET, _STRUCT = 1, 2, 3, 7, 8, 9, 10, 12
_INTEGERS = (4, 5, 6)


class Compact:
    """Reads values one after the other; `at` is where the next one begins.

    Every method that reads raises ValueError if the bytes are no such value, or end too early.
    """

    def __init__(self, content: bytes) -> None:
        self.content, self.at = content, 0

    def structure(self, depth: int = 0) -> dict[int, Any]:
        """A structure: each field's value by its number."""
        if depth > _MAX_DEPTH:
            raise ValueError(f"structures within structures, more than {_MAX_DEPTH}")
        fields: dict[int, Any] = {}
        field = 0
        while head := self._byte():
            field = field + (head >> 4) if head >> 4 else self._signed()
            kind = head & 15
            fields[field] = kind == _TRUE if kind in (_TRUE, _FALSE) else self._value(kind, depth)
        return fields

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
