"""CSV files of label rows, divided into byte ranges that are read in parallel.

Ranges begin where lines begin. Lines end with a line feed, a carriage return, or both; label files have no line breaks
within quotes. A gzip file cannot be divided: it is one range, read block by block.
"""

import csv
import gzip
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO

from schemas.errors import InputError
from storage import stores
from storage.formats.csv_tables import BOM

RANGE_BYTES = 64 << 20
BLOCK_BYTES = 8 << 20  # of a range that are in memory at once
MAX_LINE_BYTES = 1 << 20
MAX_RANGES = 4096  # of a file: finding the beginning of each takes a read
_READ_BYTES = 16 << 10  # of such a read
_LINE_END = re.compile(rb"\n|\r(?!\n)")
_GZIP_MAGIC = b"\x1f\x8b"
_NO_HEADER = (
    "If that is a row of data, the file has no header: name its columns with "
    "--columns ImageID,Source,LabelName,Confidence"
)


@dataclass(frozen=True)
class Layout:
    """The number of fields in a file's lines, and the number of each requested column, -1 if the file lacks it."""

    fields: int
    columns: tuple[int, ...]

    def named(self, names: Sequence[str]) -> dict[str, int]:
        """The number of each column that the file has, by these names for the requested ones."""
        return {name: number for name, number in zip(names, self.columns, strict=False) if number >= 0}


@dataclass(frozen=True)
class Range:
    """A run of bytes of one file: what one Beam element reads.

    Attributes:
        number: its position among all ranges of all files.
        start: offset of its first line, in bytes (unzipped).
        stop: offset of the next range's first line (of a zipped file: start plus the file's size).
    """

    path: str
    number: int
    start: int
    stop: int
    layout: Layout
    zipped: bool = False


@dataclass(frozen=True)
class Block:
    """Whole lines of a file: the first `size` bytes of `data`, which may end with a part of another line.

    Attributes:
        offset: of the first line in the file (unzipped), in bytes.
    """

    data: bytes | bytearray
    offset: int
    size: int

    @property
    def lines(self) -> bytes:
        """A copy of the lines alone."""
        return bytes(self.data[: self.size])


def plan_ranges(
    paths: Sequence[str],
    required: Sequence[str],
    optional: Sequence[str] = (),
    columns: Sequence[str] = (),
    hint: str = _NO_HEADER,
) -> tuple[Range, ...]:
    """The ranges of some files.

    Args:
        paths: the files, in order.
        required: names of the columns that each file must have.
        optional: names of the columns that it may have.
        columns: the columns of files whose first line does not name them.
        hint: what to do about a file that lacks a column.

    Raises:
        InputError: a file is missing, is no text, or lacks a column.
    """
    ranges: list[Range] = []
    for path in paths:
        zipped, layout, start, size = _inspect(path, required, optional, columns, hint)
        stops = [start + size] if zipped else _cuts(path, start, size)
        for stop in stops:
            if start < stop:
                ranges.append(Range(path, len(ranges), start, stop, layout, zipped))
            start = max(start, stop)
    return tuple(ranges)


def _inspect(
    path: str, required: Sequence[str], optional: Sequence[str], columns: Sequence[str], hint: str
) -> tuple[bool, Layout, int, int]:
    """Whether a file is zipped, its layout, the offset of its first row (unzipped), and its size."""
    status = stores.stat(path)
    if status is None:
        raise InputError(f"no such file: {path}")
    with stores.open_input(path) as file:
        zipped = file.read(2) == _GZIP_MAGIC
        file.seek(0)
        head = _unzipped_head(path, file) if zipped else file.read(MAX_LINE_BYTES)
    text = head.removeprefix(BOM).lstrip(b"\r\n")
    marked = len(head) - len(text)
    line = _first_line(path, text)
    names = _header(path, line)
    if columns and not set(required) <= set(names):
        return zipped, _layout(path, list(columns), required, optional, hint), marked, status.size
    return zipped, _layout(path, names, required, optional, hint), marked + len(line), status.size


def _unzipped_head(path: str, file: IO[bytes]) -> bytes:
    try:
        return gzip.GzipFile(fileobj=file).read(MAX_LINE_BYTES)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path} is a damaged gzip file ({error}); copy it again") from error


def _first_line(path: str, head: bytes) -> bytes:
    if not head:
        raise InputError(f"{path} has no header: it is empty; copy it again, or exclude it")
    end = min((at for at in (head.find(b"\n"), head.find(b"\r")) if at >= 0), default=len(head))
    if end == len(head) and len(head) >= MAX_LINE_BYTES - len(BOM):
        raise InputError(f"{path} is no CSV file of labels: its first line has more than {MAX_LINE_BYTES:,} bytes")
    return head[: end + (2 if head[end : end + 2] == b"\r\n" else 1)]


def _header(path: str, line: bytes) -> list[str]:
    try:
        return next(csv.reader([line.decode().strip("\r\n")]), [])
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            f"{path} is no CSV file of labels: its first line is no row of UTF-8 text ({error})"
        ) from error


def _layout(path: str, names: list[str], required: Sequence[str], optional: Sequence[str], hint: str) -> Layout:
    absent = [name for name in required if name not in names]
    repeated = [name for name in (*required, *optional) if names.count(name) > 1]
    if absent or repeated:
        known = ", ".join(ascii(name[:40])[1:-1] for name in names[:12]) or "nothing"
        problem = f"has the column {repeated[0]} more than once" if repeated else f"has no column {', '.join(absent)}"
        raise InputError(f"{path} {problem}; its columns are: {known}. {hint}")
    numbers = [names.index(name) if name in names else -1 for name in (*required, *optional)]
    return Layout(len(names), tuple(numbers))


def _cuts(path: str, start: int, size: int) -> list[int]:
    """The offsets at which ranges end: beginnings of lines, about a range apart, and the end of the file."""
    step = max(RANGE_BYTES, -(-(size - start) // MAX_RANGES))
    cuts = stores.map_threads(lambda offset: _next_line(path, offset), range(start + step, size, step))
    return list(dict.fromkeys([*cuts, size]))


def _next_line(path: str, offset: int) -> int:
    """The first offset from this one on at which a line begins, or the end of the file."""
    with stores.open_input(path) as file:
        file.seek(offset - 1)
        data, more = b"", b"\n"
        while more and len(data) <= MAX_LINE_BYTES:
            more = file.read(_READ_BYTES)
            data += more
            match = _LINE_END.search(data)
            if match and (match.end() < len(data) or not more):  # otherwise its line feed may still follow
                return offset - 1 + match.end()
        if not more:
            return offset - 1 + len(data)
    raise InputError(
        f"{path} is no CSV file of labels: there is no line end in {MAX_LINE_BYTES:,} bytes from byte {offset}"
    )


def read_blocks(part: Range) -> Iterator[Block]:
    """The lines of a range, a few megabytes at a time; a block's data are overwritten by the next one's.

    Raises:
        InputError: a gzip file is damaged, a line is too long, or the file has changed.
        StorageError: it cannot be read.
    """
    with stores.explain_errors("read", part.path), stores.open_input(part.path) as file:
        if not part.zipped:
            yield from _plain(part, file)
            return
        try:
            with gzip.GzipFile(fileobj=file) as unzipped:
                unzipped.read(part.start)
                yield from _unzipped(part, unzipped)
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise InputError(f"{part.path} is a damaged gzip file ({error}); copy it again") from error


def _plain(part: Range, file: IO[bytes]) -> Iterator[Block]:
    buffer = bytearray(min(BLOCK_BYTES, part.stop - part.start))  # new memory per block would cost as much as reading
    offset = part.start
    while offset < part.stop:
        count = min(len(buffer), part.stop - offset)
        file.seek(offset)
        if file.readinto(memoryview(buffer)[:count]) < count:  # type: ignore[attr-defined]
            raise InputError(f"{part.path} has become shorter while it was read; start again")
        size = count if offset + count == part.stop else _end_of_lines(part, buffer)
        yield Block(buffer, offset, size)
        offset += size


def _unzipped(part: Range, file: gzip.GzipFile) -> Iterator[Block]:
    offset, rest = part.start, b""
    while more := file.read(BLOCK_BYTES):
        data = rest + more
        size = _end_of_lines(part, data)
        if size:
            yield Block(data, offset, size)
        offset, rest = offset + size, data[size:]
    if rest:
        yield Block(rest, offset, len(rest))


def _end_of_lines(part: Range, data: bytes | bytearray) -> int:
    """Where the last whole line ends; a line feed may still follow a carriage return at the very end."""
    size = max(data.rfind(b"\n"), data.rfind(b"\r", 0, len(data) - 1)) + 1
    if size == 0 and len(data) >= BLOCK_BYTES:
        raise InputError(f"{part.path} is no CSV file of labels: no line ends in {len(data):,} bytes")
    return size
