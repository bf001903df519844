"""The rows of a block of CSV: by Arrow's reader if all lines are valid, otherwise line by line.

Arrow's reader fails as a whole on one malformed row. `Lines` then parses the lines one by one, and returns the fields
of the valid ones as Arrow's reader would.
"""

import re
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import csv as arrow_csv

from schemas import tables
from schemas.errors import Reason
from storage.formats.csv_ranges import MAX_LINE_BYTES, Block, Layout
from storage.formats.csv_tables import BOM

IMAGE, LABEL, CONFIDENCE, SOURCE = "image", "label", "confidence", "source"
COLUMNS = (IMAGE, LABEL, CONFIDENCE, SOURCE)
PARSE_BYTES = 4 << 20  # that Arrow parses at a time, so that later steps find them in the processor's cache
PART_BYTES = 1 << 20  # of lines that are parsed one by one
MAX_SHOWN = 100  # characters of a rejected line that its reject row keeps
_FIELD = re.compile(rb'(?:"((?:[^"]++|"")*+)"|(?!"))([^,]*+)')
_NUMBER = re.compile(rb"[ \t]*[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?[ \t]*")
_SOMETHING = re.compile(rb"[^\r\n]")
Problem = tuple[int, str, Reason, str]  # of a row: its byte offset, image id, reason and detail


def parse_lines(data: bytes | bytearray, size: int, layout: Layout, types: dict[str, pa.DataType]) -> pa.Table:
    """The columns of the lines in the first `size` bytes, without those that the file lacks."""
    columns = layout.named(COLUMNS)
    names = [f"field {number}" for number in range(layout.fields)]
    for name, number in columns.items():
        names[number] = name
    if not _SOMETHING.search(data, 0, size):
        return pa.table({name: pa.array([], types[name]) for name in columns})
    return arrow_csv.read_csv(
        pa.BufferReader(pa.py_buffer(data).slice(0, size)),
        read_options=arrow_csv.ReadOptions(use_threads=False, column_names=names, block_size=PARSE_BYTES),
        convert_options=arrow_csv.ConvertOptions(
            column_types=types, include_columns=list(columns), strings_can_be_null=False
        ),
    )


def parse_block(block: Block, layout: Layout, types: dict[str, pa.DataType]) -> pa.Table | None:
    """The columns of a block, or None if a line or a value in it is invalid.

    Values that Arrow considers missing (an empty number, `NaN`) are null.
    """
    if block.data.startswith(BOM):  # Arrow would take it for the one of the file
        return None
    try:
        table = parse_lines(block.data, block.size, layout, types)
    except pa.ArrowInvalid:
        return None
    if block.data.find(b'"', 0, block.size) >= 0 and is_quote_left_open(block.lines, table.num_rows):
        return None
    return table


def is_quote_left_open(lines: bytes, rows: int) -> bool:
    """Whether an open quote joins lines, so that there are fewer rows, or is still open in the last one."""
    starts, ends = line_bounds(lines)
    return rows != len(starts) or (rows > 0 and split_fields(lines[starts[-1] : ends[-1]]) is None)


def split_fields(line: bytes) -> list[bytes] | None:
    """The fields of a line, as Arrow splits them; None if a quote is left open."""
    fields, begin = [], 0
    while begin <= len(line):
        match = _FIELD.match(line, begin)
        if match is None:
            return None
        fields.append((match[1] or b"").replace(b'""', b'"') + match[2])
        begin = match.end() + 1
    return fields


def line_bounds(data: bytes) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Where each line that is not empty begins and ends."""
    text = np.frombuffer(data, np.uint8)
    ends = np.append(np.flatnonzero((text == ord("\n")) | (text == ord("\r"))), len(text))
    starts = np.append(0, ends[:-1] + 1)
    some = ends > starts
    return starts[some], ends[some]


def split_block(block: Block) -> Iterator[Block]:
    """A block's lines a megabyte at a time: reports on malformed lines take a hundred times their size."""
    start, stop = 0, -1
    while stop < block.size:
        ends = [block.data.find(end, start + PART_BYTES, block.size) for end in (b"\n", b"\r")]
        stop = min((end + 1 for end in ends if end >= 0), default=block.size)
        yield Block(bytes(block.data[start:stop]), block.offset + start, stop - start)
        start = stop


class Lines:
    """The lines of a block: those with the right number of commas are parsed together, the others one by one."""

    def __init__(self, block: Block, layout: Layout) -> None:
        self.data, self.offset, self.layout = block.lines, block.offset, layout
        self.starts, self.ends = line_bounds(self.data)
        self.problems: list[Problem] = []

    def fields(self) -> tuple[pa.Table, npt.NDArray[np.int64]]:
        """The columns of all valid lines, as bytes, in order; and the offset in the file of each of these lines."""
        text = np.frombuffer(self.data, np.uint8)
        commas = self._count(np.flatnonzero(text == ord(",")))
        quotes = self._count(np.flatnonzero(text == ord('"')))
        plain = (commas == self.layout.fields - 1) & (quotes == 0) & (self.ends - self.starts < MAX_LINE_BYTES)
        columns = list(self.layout.named(COLUMNS))
        together, singly = np.flatnonzero(plain), np.flatnonzero(~plain)
        lines = b"\n".join(self.data[self.starts[line] : self.ends[line]] for line in together.tolist())
        parsed = parse_lines(b"\n" + lines, len(lines) + 1, self.layout, dict.fromkeys(columns, pa.binary()))
        others = {line: row for line in singly.tolist() if (row := self._parse_one(line)) is not None}
        more = pa.table({name: pa.array([row[name] for row in others.values()], pa.binary()) for name in columns})
        numbers = np.append(together, np.array(list(others), dtype=np.int64))
        order = np.argsort(numbers, kind="stable")
        return pa.concat_tables([parsed, more]).take(order), self.starts[numbers[order]] + self.offset

    def _count(self, offsets: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """How many of these offsets lie in each line."""
        return np.searchsorted(offsets, self.ends) - np.searchsorted(offsets, self.starts)

    def _parse_one(self, line: int) -> dict[str, bytes] | None:
        """The columns of one line; None, and a problem, if it has an open quote or a wrong number of fields."""
        text = self.data[self.starts[line] : self.ends[line]]
        fields, expected = split_fields(text), self.layout.fields
        if fields is None or len(fields) != expected:
            detail = "a quote is left open" if fields is None else f"{len(fields)} fields instead of {expected}"
            offset = int(self.starts[line]) + self.offset
            self.problems.append((offset, "", Reason.ROW_MALFORMED, f"{detail}: {escape_text(text)}"))
            return None
        return {name: fields[number] for name, number in self.layout.named(COLUMNS).items()}


def is_utf8(values: pa.Array) -> npt.NDArray[np.bool_]:
    """Which texts are UTF-8."""
    distinct = values.dictionary_encode()
    valid = np.array([_decodes(value) for value in distinct.dictionary.to_pylist()], dtype=bool)
    rows: npt.NDArray[np.bool_] = valid[distinct.indices.to_numpy(zero_copy_only=False)]
    return rows


def _decodes(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def parse_numbers(values: pa.Array) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Texts as numbers, and which texts are numbers, by the rules of Arrow's CSV reader."""
    distinct = values.dictionary_encode()
    known = np.array([_NUMBER.fullmatch(text) is not None for text in distinct.dictionary.to_pylist()], dtype=bool)
    digits = [text.strip(b" \t").decode() for text in distinct.dictionary.filter(pa.array(known)).to_pylist()]
    parsed = np.full(len(known), np.nan, dtype=np.float32)
    parsed[known] = pa.array(digits, pa.string()).cast(pa.float32()).to_numpy(zero_copy_only=False)
    rows = distinct.indices.to_numpy(zero_copy_only=False)
    return parsed[rows], known[rows]


def escape_text(text: bytes) -> str:
    """A text from outside for a message: truncated, with everything unprintable escaped."""
    return ascii(text[:MAX_SHOWN].decode("utf-8", "backslashreplace")) + ("..." if len(text) > MAX_SHOWN else "")


def reject_table(path: str, problems: list[Problem]) -> pa.Table:
    """The rejects of one file, whose position is the offset of their line (`byte N`)."""
    columns = {
        "image_id": [image_id for _, image_id, _, _ in problems],
        "source": [path] * len(problems),
        "position": [f"byte {offset}" for offset, _, _, _ in problems],
        "reason": [str(reason) for _, _, reason, _ in problems],
        "detail": [detail for _, _, _, detail in problems],
    }
    return pa.table(columns, schema=tables.REJECTS)
