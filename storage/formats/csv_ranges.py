"""CSV files of label rows, cut into byte ranges that are read side by side.

Ranges are cut where lines begin. Lines end with a line feed, a carriage return, or both; label files hold no line
breaks within quotes. A gzip file cannot be cut: it is one range, read block by block.
"""

import csv
import gzip
import re
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import IO

from schemas.errors import InputError
from storage import stores
from storage.formats.csv_tables import BOM

RANGE_BYTES = 64 << 20
BLOCK_BYTES = 8 << 20  # of a range that are in memory at once
MOST_LINE_BYTES = 1 << 20
MOST_RANGES = 4096  # of a file: looking where to cut it takes a read each
_LOOKS = 16  # such reads at once
_LOOK_BYTES = 16 << 10
_LINE_END = re.compile(rb"\n|\r(?!\n)")
_GZIP_MAGIC = b"\x1f\x8b"
_NAMELESS = (
    "If that is a row of data, the file has no header: name its columns with "
    "--columns ImageID,Source,LabelName,Confidence"
)


@dataclass(frozen=True)
class Layout:
    """Where a file keeps each column that is asked for: their numbers, and how many fields a line has."""

    fields: int
    columns: tuple[int, ...]


@dataclass(frozen=True)
class Range:
    """A run of bytes of one file: what one Beam element reads.

    Attributes:
        number: its place among all ranges of all files, in order.
        start: where its first line begins, in bytes (unzipped).
        stop: where the next range's first line begins (zipped: as many bytes on as the file has).
    """

    path: str
    number: int
    start: int
    stop: int
    layout: Layout
    zipped: bool = False


@dataclass(frozen=True)
class Block:
    """Whole lines of a file: the first `size` bytes of `data`, which may go on with the beginning of another line.

    Attributes:
        offset: where they begin in the file (unzipped), in bytes.
    """

    data: bytes | bytearray
    offset: int
    size: int

    @property
    def lines(self) -> bytes:
        """Just the lines; this copies them."""
        return bytes(self.data[: self.size])


def plan(
    paths: Sequence[str],
    wanted: Sequence[str],
    optional: Sequence[str] = (),
    columns: Sequence[str] = (),
    remedy: str = _NAMELESS,
) -> tuple[Range, ...]:
    """The ranges of some files.

    Args:
        paths: the files, in order.
        wanted: names of the columns that each must have.
        optional: names of columns that it may have; their number is -1 where it has not.
        columns: the columns of files whose first line does not name them.
        remedy: what to do about a file that lacks a column.

    Raises:
        InputError: a file is missing, is no text, or lacks a column.
    """
    ranges: list[Range] = []
    for path in paths:
        zipped, layout, start, size = _look(path, wanted, optional, columns, remedy)
        stops = [start + size] if zipped else _cuts(path, start, size)
        for stop in stops:
            if start < stop:
                ranges.append(Range(path, len(ranges), start, stop, layout, zipped))
            start = max(start, stop)
    return tuple(ranges)


def _look(
    path: str, wanted: Sequence[str], optional: Sequence[str], columns: Sequence[str], remedy: str
) -> tuple[bool, Layout, int, int]:
    """Whether a file is zipped, its layout, where its rows begin (unzipped), and its size."""
    status = stores.stat(path)
    if status is None:
        raise InputError(f"no such file: {path}")
    with stores.open_input(path) as file:
        zipped = file.read(2) == _GZIP_MAGIC
        file.seek(0)
        head = _unzipped_head(path, file) if zipped else file.read(MOST_LINE_BYTES)
    text = head.removeprefix(BOM).lstrip(b"\r\n")
    marked = len(head) - len(text)
    line = _first_line(path, text)
    names = _header(path, line)
    if columns and not set(wanted) <= set(names):
        return zipped, _layout(path, list(columns), wanted, optional, remedy), marked, status.size
    return zipped, _layout(path, names, wanted, optional, remedy), marked + len(line), status.size


def _unzipped_head(path: str, file: IO[bytes]) -> bytes:
    try:
        return gzip.GzipFile(fileobj=file).read(MOST_LINE_BYTES)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path} is a damaged gzip file ({error}); copy it again") from error


def _first_line(path: str, head: bytes) -> bytes:
    if not head:
        raise InputError(f"{path} has no header: it is empty; copy it again, or leave it out")
    end = min((place for place in (head.find(b"\n"), head.find(b"\r")) if place >= 0), default=len(head))
    if end == len(head) and len(head) >= MOST_LINE_BYTES - len(BOM):
        raise InputError(f"{path} is no CSV file of labels: its first line has more than {MOST_LINE_BYTES:,} bytes")
    return head[: end + (2 if head[end : end + 2] == b"\r\n" else 1)]


def _header(path: str, line: bytes) -> list[str]:
    try:
        return next(csv.reader([line.decode().strip("\r\n")]), [])
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            f"{path} is no CSV file of labels: its first line is no row of UTF-8 text ({error})"
        ) from error


def _layout(path: str, names: list[str], wanted: Sequence[str], optional: Sequence[str], remedy: str) -> Layout:
    absent = [name for name in wanted if name not in names]
    twice = [name for name in (*wanted, *optional) if names.count(name) > 1]
    if absent or twice:
        found = ", ".join(ascii(name[:40])[1:-1] for name in names[:12]) or "nothing"
        trouble = f"has the column {twice[0]} more than once" if twice else f"has no column {', '.join(absent)}"
        raise InputError(f"{path} {trouble}; its columns are: {found}. {remedy}")
    numbers = [names.index(name) if name in names else -1 for name in (*wanted, *optional)]
    return Layout(len(names), tuple(numbers))


def _cuts(path: str, start: int, size: int) -> list[int]:
    """Where to cut a file: beginnings of lines, about as far apart as a range is long; the last is its end."""
    step = max(RANGE_BYTES, -(-(size - start) // MOST_RANGES))
    with ThreadPoolExecutor(_LOOKS) as pool:
        found = list(pool.map(lambda place: _next_line(path, place), range(start + step, size, step)))
    return [*dict.fromkeys(found), size] if size not in found else list(dict.fromkeys(found))


def _next_line(path: str, place: int) -> int:
    """The first place from `place` on where a line begins, or the end of the file."""
    with stores.open_input(path) as file:
        file.seek(place - 1)
        data, wanted = b"", _LOOK_BYTES
        while len(data) <= MOST_LINE_BYTES:
            more = file.read(wanted)
            data += more
            found = _LINE_END.search(data)
            if found and (found.end() < len(data) or not more):  # else its second half may be still to come
                return place - 1 + found.end()
            if not more:
                return place - 1 + len(data)
    raise InputError(
        f"{path} is no CSV file of labels: there is no line end in {MOST_LINE_BYTES:,} bytes from byte {place}"
    )


def blocks(part: Range) -> Iterator[Block]:
    """The lines of a range, a few megabytes at a time; a block's data are overwritten by the next one's.

    Raises:
        InputError: a gzip file is damaged, a line is too long to be one, or the file has changed.
        StorageError: it cannot be read.
    """
    with stores.explained("read", part.path), stores.open_input(part.path) as file:
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
    buffer = bytearray(min(BLOCK_BYTES, part.stop - part.start))  # memory that is new at every block costs as much
    offset = part.start
    while offset < part.stop:
        wanted = min(len(buffer), part.stop - offset)
        file.seek(offset)
        if file.readinto(memoryview(buffer)[:wanted]) < wanted:  # type: ignore[attr-defined]
            raise InputError(f"{part.path} has become shorter while it was read; start again")
        size = wanted if offset + wanted == part.stop else _end_of_lines(part, buffer)
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
    """Where the last whole line ends; a carriage return at the very end may still get its line feed."""
    size = max(data.rfind(b"\n"), data.rfind(b"\r", 0, len(data) - 1)) + 1
    if size == 0 and len(data) >= BLOCK_BYTES:
        raise InputError(f"{part.path} is no CSV file of labels: no line ends in {len(data):,} bytes")
    return size
