"""The lines of a block of CSV: Arrow's reader for what is in order, a closer look for what is not.

Arrow's reader fails as a whole where one row is out of order. `Lines` then looks at the lines one by one, and gives the
fields of those that have them, as the same reader finds them.
"""

import re
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import csv as arrow_csv

from schemas import tables
from schemas.rejects import Reason
from storage.formats.csv_ranges import MOST_LINE_BYTES, Block, Layout
from storage.formats.csv_tables import BOM

IMAGE, LABEL, CONFIDENCE, SOURCE = "image", "label", "confidence", "source"
COLUMNS = (IMAGE, LABEL, CONFIDENCE, SOURCE)
PARSE_BYTES = 4 << 20  # rows that Arrow parses at a time: what is then done with them stays in the processor's cache
PART_BYTES = 1 << 20  # of lines that are looked at one by one
SHOWN = 100  # characters of a rejected line that its reject row keeps
_FIELD = re.compile(rb'(?:"((?:[^"]++|"")*+)"|(?!"))([^,]*+)')
_NUMBER = re.compile(rb"[ \t]*[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?[ \t]*")
_SOMETHING = re.compile(rb"[^\r\n]")
Problem = tuple[int, str, Reason, str]  # of a row: its byte offset, its image's id, what is wrong, the detail


def read(data: bytes | bytearray, size: int, layout: Layout, types: dict[str, pa.DataType]) -> pa.Table:
    """The wanted columns of the lines in the first `size` bytes; one that the file has not is left out."""
    found = {name: number for name, number in zip(COLUMNS, layout.columns, strict=False) if number >= 0}
    names = [f"field {number}" for number in range(layout.fields)]
    for name, number in found.items():
        names[number] = name
    if not _SOMETHING.search(data, 0, size):
        return pa.table({name: pa.array([], types[name]) for name in found})
    return arrow_csv.read_csv(
        pa.BufferReader(pa.py_buffer(data).slice(0, size)),
        read_options=arrow_csv.ReadOptions(use_threads=False, column_names=names, block_size=PARSE_BYTES),
        convert_options=arrow_csv.ConvertOptions(
            column_types=types, include_columns=list(found), strings_can_be_null=False
        ),
    )


def typed(block: Block, layout: Layout, types: dict[str, pa.DataType]) -> pa.Table | None:
    """The wanted columns of a block, or None where a line or a value in it is out of order.

    Values that Arrow takes for none (an empty number, `NaN`) are null.
    """
    if block.data.startswith(BOM):  # Arrow would take it for the file's own
        return None
    try:
        table = read(block.data, block.size, layout, types)
    except pa.ArrowInvalid:
        return None
    if block.data.find(b'"', 0, block.size) >= 0 and is_quote_left_open(block.lines, table.num_rows):
        return None
    return table


def is_quote_left_open(lines: bytes, rows: int) -> bool:
    """Whether a quote has swallowed lines, so that there are fewer rows, or is still open in the last of them."""
    starts, ends = line_bounds(lines)
    return rows != len(starts) or (rows > 0 and split(lines[starts[-1] : ends[-1]]) is None)


def split(line: bytes) -> list[bytes] | None:
    """The fields of a line, as Arrow finds them; None where a quote is left open."""
    fields, begin = [], 0
    while begin <= len(line):
        found = _FIELD.match(line, begin)
        if found is None:
            return None
        fields.append((found[1] or b"").replace(b'""', b'"') + found[2])
        begin = found.end() + 1
    return fields


def line_bounds(data: bytes) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Where each line that is not empty begins and ends."""
    text = np.frombuffer(data, np.uint8)
    ends = np.append(np.flatnonzero((text == ord("\n")) | (text == ord("\r"))), len(text))
    starts = np.append(0, ends[:-1] + 1)
    some = ends > starts
    return starts[some], ends[some]


def parts(block: Block) -> Iterator[Block]:
    """A block's lines a megabyte at a time: what is told of lines that are none takes a hundred times as much."""
    start, stop = 0, -1
    while stop < block.size:
        ends = [block.data.find(end, start + PART_BYTES, block.size) for end in (b"\n", b"\r")]
        stop = min((end + 1 for end in ends if end >= 0), default=block.size)
        yield Block(bytes(block.data[start:stop]), block.offset + start, stop - start)
        start = stop


class Lines:
    """The lines of a block, one by one: those with just the right commas together, the others singly."""

    def __init__(self, block: Block, layout: Layout) -> None:
        self.data, self.offset, self.layout = block.lines, block.offset, layout
        self.starts, self.ends = line_bounds(self.data)
        self.problems: list[Problem] = []

    def fields(self) -> tuple[pa.Table, npt.NDArray[np.int64]]:
        """The wanted fields of each line that has them, as bytes, in order; and where in the file each line begins."""
        text = np.frombuffer(self.data, np.uint8)
        commas = self._count(np.flatnonzero(text == ord(",")))
        quotes = self._count(np.flatnonzero(text == ord('"')))
        plain = (commas == self.layout.fields - 1) & (quotes == 0) & (self.ends - self.starts < MOST_LINE_BYTES)
        found = [name for name, number in zip(COLUMNS, self.layout.columns, strict=False) if number >= 0]
        together, singly = np.flatnonzero(plain), np.flatnonzero(~plain)
        lines = b"\n".join(self.data[self.starts[line] : self.ends[line]] for line in together.tolist())
        whole = read(b"\n" + lines, len(lines) + 1, self.layout, dict.fromkeys(found, pa.binary()))
        others = {line: row for line in singly.tolist() if (row := self._one(line)) is not None}
        more = pa.table({name: pa.array([row[name] for row in others.values()], pa.binary()) for name in found})
        numbers = np.append(together, np.array(list(others), dtype=np.int64))
        order = np.argsort(numbers, kind="stable")
        return pa.concat_tables([whole, more]).take(order), self.starts[numbers[order]] + self.offset

    def _count(self, places: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """How many of some places lie in each line."""
        return np.searchsorted(places, self.ends) - np.searchsorted(places, self.starts)

    def _one(self, line: int) -> dict[str, bytes] | None:
        """The wanted fields of one line with quotes or with other than the right commas, or None if it has them not."""
        text = self.data[self.starts[line] : self.ends[line]]
        fields = split(text)
        if fields is None or len(fields) != self.layout.fields:
            found = (
                "a quote is left open" if fields is None else f"{len(fields)} fields instead of {self.layout.fields}"
            )
            begin = int(self.starts[line]) + self.offset
            self.problems.append((begin, "", Reason.ROW_MALFORMED, f"{found}: {shown(text)}"))
            return None
        wanted = zip(COLUMNS, self.layout.columns, strict=False)
        return {name: fields[number] for name, number in wanted if number >= 0}


def is_utf8(values: pa.Array) -> npt.NDArray[np.bool_]:
    """Which of some texts are UTF-8."""
    distinct = values.dictionary_encode()
    right = np.array([_decodes(value) for value in distinct.dictionary.to_pylist()], dtype=bool)
    rows: npt.NDArray[np.bool_] = right[distinct.indices.to_numpy(zero_copy_only=False)]
    return rows


def _decodes(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def numbers(values: pa.Array) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """The numbers that some texts are, and which are any; parsed as Arrow's CSV reader parses them."""
    distinct = values.dictionary_encode()
    known = np.array([_NUMBER.fullmatch(text) is not None for text in distinct.dictionary.to_pylist()], dtype=bool)
    digits = [text.strip(b" \t").decode() for text in distinct.dictionary.filter(pa.array(known)).to_pylist()]
    parsed = np.full(len(known), np.nan, dtype=np.float32)
    parsed[known] = pa.array(digits, pa.string()).cast(pa.float32()).to_numpy(zero_copy_only=False)
    rows = distinct.indices.to_numpy(zero_copy_only=False)
    return parsed[rows], known[rows]


def shown(text: bytes) -> str:
    """A text that came from outside, fit to be shown: cut short, nothing unprintable."""
    return ascii(text[:SHOWN].decode("utf-8", "backslashreplace")) + ("..." if len(text) > SHOWN else "")


def reject_table(path: str, problems: list[Problem]) -> pa.Table:
    """Reject rows of one file: `byte N` tells where a line begins."""
    columns = {
        "image_id": pa.array([image_id for _, image_id, _, _ in problems], pa.string()),
        "source": pa.array([path] * len(problems), pa.string()),
        "position": pa.array([f"byte {offset}" for offset, _, _, _ in problems], pa.string()),
        "reason": pa.array([str(reason) for _, _, reason, _ in problems], pa.string()),
        "detail": pa.array([detail for _, _, _, detail in problems], pa.string()),
    }
    return pa.table(columns, schema=tables.REJECTS)
