"""From blocks of CSV to checked label rows: Arrow's reader for what is in order, a closer look for what is not.

A block is first read as it should be. Only where that fails, its lines are looked at one by one: what is wrong is
rejected with its reason and byte offset, and the rest is kept. Both ways accept just the same rows.
"""

import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv

from pipelines.verdicts.csv_ranges import MOST_LINE_BYTES, Block, Layout
from schemas import hexids, tables
from schemas.csvfile import BOM
from schemas.errors import InputError
from schemas.rejects import Reason

IMAGE, LABEL, CONFIDENCE, SOURCE = "image", "label", "confidence", "source"
COLUMNS = (IMAGE, LABEL, CONFIDENCE, SOURCE)
_PARSE_BYTES = 4 << 20  # rows that Arrow parses at a time: what is then done with them stays in the processor's cache
_NAMES = pa.dictionary(pa.int32(), pa.string())
_TYPES = {IMAGE: pa.binary(hexids.DIGITS), LABEL: _NAMES, CONFIDENCE: pa.float32(), SOURCE: _NAMES}
_FIELD = re.compile(rb'(?:"((?:[^"]++|"")*+)"|(?!"))([^,]*+)')
_NUMBER = re.compile(rb"[ \t]*[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?[ \t]*")
_SOMETHING = re.compile(rb"[^\r\n]")
_NO_SOURCE = pa.array([""])
_SHOWN = 100  # characters of a rejected line that its reject row keeps
_Problem = tuple[int, str, Reason, str]  # of a row: its byte offset, its image's id, what is wrong, the detail


@dataclass(frozen=True)
class LabelRows:
    """Rows that are in order.

    Attributes:
        images: (n,) the numbers of the image ids.
        labels: (n,) int32 index into `label_names`.
        confidences: (n,) float32 in [0, 1].
        sources: (n,) int32 index into `source_names`; all 0 where the file has no such column.
    """

    images: npt.NDArray[np.uint64]
    labels: npt.NDArray[np.int32]
    label_names: pa.Array
    confidences: npt.NDArray[np.float32]
    sources: npt.NDArray[np.int32]
    source_names: pa.Array

    def __len__(self) -> int:
        return len(self.images)

    def take(self, rows: npt.NDArray[np.int64] | npt.NDArray[np.bool_]) -> "LabelRows":
        """Some of the rows."""
        kept = self.images[rows], self.labels[rows], self.confidences[rows], self.sources[rows]
        return LabelRows(kept[0], kept[1], self.label_names, kept[2], kept[3], self.source_names)


def parse(block: Block, layout: Layout, path: str, verdicts: bool = False) -> tuple[list[LabelRows], pa.Table]:
    """The rows of a block, in order and in pieces of bounded size that share their names, and its rejects.

    Args:
        block: whole lines.
        layout: where the columns are, in the order of `COLUMNS`; the source may be left out.
        path: the file, for the rejects.
        verdicts: whether confidences are people's, which are 1 or 0.
    """
    table = _as_it_should_be(block, layout)
    pieces = None if table is None else _pieces(table, verdicts)
    if pieces is not None:
        return pieces, tables.REJECTS.empty_table()
    lines = _Lines(block, layout)
    fields, offsets = lines.fields()
    kept, problems = _checked(fields, offsets, verdicts)
    return _pieces(kept, verdicts) or [], reject_table(path, sorted(lines.problems + problems))


def _as_it_should_be(block: Block, layout: Layout) -> pa.Table | None:
    """The block as a table of typed columns, or None where anything in it is out of order."""
    if block.data.startswith(BOM):  # Arrow would take it for the file's own
        return None
    try:
        table = _read(block.data, block.size, layout, _TYPES)
    except pa.ArrowInvalid:
        return None
    if block.data.find(b'"', 0, block.size) >= 0 and _is_quote_left_open(block.lines, table.num_rows):
        return None
    return None if any(column.null_count for column in table.columns) else table


def _is_quote_left_open(lines: bytes, rows: int) -> bool:
    """Whether a quote has swallowed lines, so that there are fewer rows, or is still open in the last of them."""
    starts, ends = _line_bounds(lines)
    return rows != len(starts) or (rows > 0 and _split(lines[starts[-1] : ends[-1]]) is None)


def _split(line: bytes) -> list[bytes] | None:
    """The fields of a line, as Arrow finds them; None where a quote is left open."""
    fields, begin = [], 0
    while begin <= len(line):
        found = _FIELD.match(line, begin)
        if found is None:
            return None
        fields.append((found[1] or b"").replace(b'""', b'"') + found[2])
        begin = found.end() + 1
    return fields


def _read(data: bytes | bytearray, size: int, layout: Layout, types: dict[str, pa.DataType]) -> pa.Table:
    """The wanted columns of the lines in the first `size` bytes; one that the file has not is left out."""
    found = {name: number for name, number in zip(COLUMNS, layout.columns, strict=False) if number >= 0}
    names = [f"field {number}" for number in range(layout.fields)]
    for name, number in found.items():
        names[number] = name
    if not _SOMETHING.search(data, 0, size):
        return pa.table({name: pa.array([], types[name]) for name in found})
    return arrow_csv.read_csv(
        pa.BufferReader(pa.py_buffer(data).slice(0, size)),
        read_options=arrow_csv.ReadOptions(use_threads=False, column_names=names, block_size=_PARSE_BYTES),
        convert_options=arrow_csv.ConvertOptions(
            column_types=types, include_columns=list(found), strings_can_be_null=False
        ),
    )


def _pieces(table: pa.Table, verdicts: bool) -> list[LabelRows] | None:
    """The rows of a typed table, or None where an id, a label or a confidence is none."""
    table = table.unify_dictionaries()
    names = {
        name: table[name].chunk(0).dictionary for name in (LABEL, SOURCE) if len(table) and name in table.column_names
    }
    if names and pc.any(pc.equal(names[LABEL], "")).as_py():
        return None
    pieces = []
    for batch in table.to_batches():
        piece = _piece(batch, names, verdicts)
        if piece is None:
            return None
        pieces.append(piece)
    return pieces


def _piece(batch: pa.RecordBatch, names: dict[str, pa.Array], verdicts: bool) -> LabelRows | None:
    count = batch.num_rows
    ids = batch.column(IMAGE)
    begin = ids.offset * hexids.DIGITS
    text = np.frombuffer(ids.buffers()[1], np.uint8)[begin : begin + count * hexids.DIGITS]
    images, right = hexids.parse(text)
    confidences = batch.column(CONFIDENCE).to_numpy(zero_copy_only=False)
    inside = _is_verdict(confidences) if verdicts else (confidences >= 0) & (confidences <= 1)
    if not (right.all() and inside.all()):
        return None
    sources = np.zeros(count, np.int32)
    if SOURCE in names:
        sources = batch.column(SOURCE).indices.to_numpy(zero_copy_only=False)
    labels = batch.column(LABEL).indices.to_numpy(zero_copy_only=False)
    return LabelRows(images, labels, names[LABEL], confidences, sources, names.get(SOURCE, _NO_SOURCE))


def _line_bounds(data: bytes) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Where each line that is not empty begins and ends."""
    text = np.frombuffer(data, np.uint8)
    ends = np.append(np.flatnonzero((text == ord("\n")) | (text == ord("\r"))), len(text))
    starts = np.append(0, ends[:-1] + 1)
    some = ends > starts
    return starts[some], ends[some]


class _Lines:
    """The lines of a block, one by one: those with just the right commas together, the others singly."""

    def __init__(self, block: Block, layout: Layout) -> None:
        self.data, self.offset, self.layout = block.lines, block.offset, layout
        self.starts, self.ends = _line_bounds(self.data)
        self.problems: list[_Problem] = []

    def fields(self) -> tuple[pa.Table, npt.NDArray[np.int64]]:
        """The wanted fields of each line that has them, as bytes, in order; and where in the file each line begins."""
        text = np.frombuffer(self.data, np.uint8)
        commas = self._count(np.flatnonzero(text == ord(",")))
        quotes = self._count(np.flatnonzero(text == ord('"')))
        plain = (commas == self.layout.fields - 1) & (quotes == 0) & (self.ends - self.starts < MOST_LINE_BYTES)
        found = [name for name, number in zip(COLUMNS, self.layout.columns, strict=False) if number >= 0]
        together, singly = np.flatnonzero(plain), np.flatnonzero(~plain)
        lines = b"\n".join(self.data[self.starts[line] : self.ends[line]] for line in together.tolist())
        read = _read(b"\n" + lines, len(lines) + 1, self.layout, dict.fromkeys(found, pa.binary()))
        others = {line: row for line in singly.tolist() if (row := self._one(line)) is not None}
        more = pa.table({name: pa.array([row[name] for row in others.values()], pa.binary()) for name in found})
        numbers = np.append(together, np.array(list(others), dtype=np.int64))
        order = np.argsort(numbers, kind="stable")
        return pa.concat_tables([read, more]).take(order), self.starts[numbers[order]] + self.offset

    def _count(self, places: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """How many of some places lie in each line."""
        return np.searchsorted(places, self.ends) - np.searchsorted(places, self.starts)

    def _one(self, line: int) -> dict[str, bytes] | None:
        """The wanted fields of one line with quotes or with other than the right commas, or None if it has them not."""
        text = self.data[self.starts[line] : self.ends[line]]
        fields = _split(text)
        if fields is None or len(fields) != self.layout.fields:
            found = (
                "a quote is left open" if fields is None else f"{len(fields)} fields instead of {self.layout.fields}"
            )
            begin = int(self.starts[line]) + self.offset
            self.problems.append((begin, "", Reason.ROW_MALFORMED, f"{found}: {_shown(text)}"))
            return None
        wanted = zip(COLUMNS, self.layout.columns, strict=False)
        return {name: fields[number] for name, number in wanted if number >= 0}


def _is_verdict(confidences: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    verdicts: npt.NDArray[np.bool_] = (confidences == 0) | (confidences == 1)
    return verdicts


def _checked(fields: pa.Table, offsets: npt.NDArray[np.int64], verdicts: bool) -> tuple[pa.Table, list[_Problem]]:
    """The rows whose fields are what they should be, typed; and what is wrong with the others."""
    ids, labels, confidences = (fields[name].combine_chunks() for name in (IMAGE, LABEL, CONFIDENCE))
    count = len(fields)
    numbers, known = _numbers(confidences)
    with np.errstate(invalid="ignore"):
        inside = (numbers >= 0) & (numbers <= 1)
    utf8 = _is_utf8(labels)
    if SOURCE in fields.column_names:
        utf8 &= _is_utf8(fields[SOURCE].combine_chunks())
    tests = [
        (_is_id(ids), Reason.IMAGE_ID_NOT_HEX, "ImageID", ids),
        (utf8, Reason.ROW_NOT_UTF8, "LabelName", labels),
        (pc.binary_length(labels).to_numpy(zero_copy_only=False) > 0, Reason.LABEL_MISSING, "LabelName", labels),
        (known, Reason.CONFIDENCE_NOT_A_NUMBER, "Confidence", confidences),
        (inside, Reason.CONFIDENCE_OUTSIDE, "Confidence", confidences),
        (_is_verdict(numbers) | (not verdicts), Reason.VERDICT_NOT_CLEAR, "Confidence", confidences),
    ]
    good = np.ones(count, dtype=bool)
    problems: list[_Problem] = []
    for passed, reason, column, values in tests:
        for row in np.flatnonzero(good & ~passed).tolist():
            image_id = ids[row].as_py()[:_SHOWN].decode("utf-8", "backslashreplace")
            problems.append((int(offsets[row]), image_id, reason, f"{column} is {_shown(values[row].as_py())}"))
        good &= passed
    kept = {name: fields[name].filter(good) for name in fields.column_names if name != CONFIDENCE}
    typed = {name: column.combine_chunks().cast(_through(name)).cast(_TYPES[name]) for name, column in kept.items()}
    typed[CONFIDENCE] = pa.array(numbers[good], pa.float32())
    return pa.table(typed), problems


def _through(name: str) -> pa.DataType:
    """The type by way of which Arrow can turn bytes into a column's own."""
    return _TYPES[IMAGE] if name == IMAGE else pa.string()


def _is_id(ids: pa.Array) -> npt.NDArray[np.bool_]:
    right: npt.NDArray[np.bool_] = pc.binary_length(ids).to_numpy(zero_copy_only=False) == hexids.DIGITS
    long_enough = b"".join(ids.filter(pa.array(right)).to_pylist())
    right[right] = hexids.parse(np.frombuffer(long_enough, np.uint8))[1]
    return right


def _is_utf8(values: pa.Array) -> npt.NDArray[np.bool_]:
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


def _numbers(values: pa.Array) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """The numbers that some texts are, and which are any; parsed as Arrow's CSV reader parses them."""
    distinct = values.dictionary_encode()
    known = np.array([_NUMBER.fullmatch(text) is not None for text in distinct.dictionary.to_pylist()], dtype=bool)
    digits = [text.strip(b" \t").decode() for text in distinct.dictionary.filter(pa.array(known)).to_pylist()]
    numbers = np.full(len(known), np.nan, dtype=np.float32)
    numbers[known] = pa.array(digits, pa.string()).cast(pa.float32()).to_numpy(zero_copy_only=False)
    rows = distinct.indices.to_numpy(zero_copy_only=False)
    return numbers[rows], known[rows]


def listed_ids(block: Block, layout: Layout, path: str) -> npt.NDArray[np.uint64]:
    """The images that a block of a list names in its first wanted column.

    Raises:
        InputError: a line names none.
    """
    lines = _Lines(block, layout)
    fields, offsets = lines.fields()
    ids = fields[IMAGE].combine_chunks()
    right = _is_id(ids)
    wrong = sorted([problem[0] for problem in lines.problems] + offsets[~right].tolist())
    if wrong:
        raise InputError(f"{path}, byte {wrong[0]}: no ImageID of 16 hexadecimal digits; mend that line of the list")
    return hexids.parse(np.frombuffer(b"".join(ids.to_pylist()), np.uint8))[0]


def _shown(text: bytes) -> str:
    """A text that came from outside, fit to be shown: cut short, nothing unprintable."""
    return ascii(text[:_SHOWN].decode("utf-8", "backslashreplace")) + ("..." if len(text) > _SHOWN else "")


def reject_table(path: str, problems: list[_Problem]) -> pa.Table:
    """Reject rows of one file: `byte N` tells where a line begins."""
    columns = {
        "image_id": pa.array([image_id for _, image_id, _, _ in problems], pa.string()),
        "source": pa.array([path] * len(problems), pa.string()),
        "position": pa.array([f"byte {offset}" for offset, _, _, _ in problems], pa.string()),
        "reason": pa.array([str(reason) for _, _, reason, _ in problems], pa.string()),
        "detail": pa.array([detail for _, _, _, detail in problems], pa.string()),
    }
    return pa.table(columns, schema=tables.REJECTS)
