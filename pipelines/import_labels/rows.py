"""Rows of anybody's labels, a batch at a time: read from CSV or Parquet, and checked, each column as a whole.

A row's order is where it lies: the number of its file, then its first byte (CSV, unzipped) or its number (Parquet).
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from schemas.errors import InputError, Reason, one_line
from schemas.manifests import PLACES, SEQUENCE
from storage import stores
from storage.formats import csv_lines
from storage.formats.csv_lines import CONFIDENCE, IMAGE, LABEL, MAX_SHOWN, Problem
from storage.formats.csv_ranges import Block, Range, read_blocks
from storage.parquet_limits import READ_ERRORS
from storage.parquet_limits import check_limits as check_parquet

ROWS = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("label", pa.dictionary(pa.int32(), pa.string()), nullable=False),
        pa.field("confidence", pa.float32(), nullable=False),
        pa.field("order", pa.uint64(), nullable=False),
    ]
)
REFUSED = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("order", pa.uint64(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("detail", pa.string(), nullable=False),
    ]
)
PLACE_BITS = 44  # of a row's order: files of up to 17 TB, and a million of them
BATCH_ROWS = 1 << 18
_TEXTS = {IMAGE: pa.binary(), LABEL: pa.binary(), CONFIDENCE: pa.binary()}
_TYPED = {**_TEXTS, CONFIDENCE: pa.float32()}
_NUMBER = re.compile(f"[0-9]{{1,{PLACES}}}")
_Bools = npt.NDArray[np.bool_]
_Orders = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class CsvPart:
    """A byte range of a CSV file, and the number of the file."""

    file: int
    part: Range

    @property
    def size(self) -> int:
        """Bytes that are read."""
        return self.part.stop - self.part.start


@dataclass(frozen=True)
class RowGroup:
    """A row group of a Parquet file.

    Attributes:
        file: number of the file.
        first: number of its first row in the file.
        columns: what the file calls image_id, label and, if it is there, confidence.
        size: bytes that are read.
    """

    path: str
    file: int
    group: int
    first: int
    columns: tuple[str, ...]
    size: int


Part = CsvPart | RowGroup


@dataclass(frozen=True)
class RawRows:
    """A batch of rows as the file has them, nulls and all.

    Attributes:
        images: (n,) ids, strings or bytes.
        labels: (n,) the same.
        confidences: (n,) numbers, or texts that should be; None where there are none.
        orders: (n,) the order of each row.
    """

    images: pa.Array
    labels: pa.Array
    confidences: pa.Array | None
    orders: _Orders


@dataclass(frozen=True)
class ImportRules:
    """What rows have to be.

    Attributes:
        classes: labels that there are; None for any.
        columns: what the files call image_id, label and confidence, for messages.
    """

    task: str
    classes: frozenset[str] | None
    columns: tuple[str, ...]


def read(part: Part) -> Iterator[tuple[RawRows, pa.Table]]:
    """The rows of a part, in order and in batches, each with those that are none: malformed lines.

    Raises:
        InputError: the file is damaged.
    """
    if isinstance(part, RowGroup):
        yield from ((rows, REFUSED.empty_table()) for rows in _of_group(part))
        return
    for block in read_blocks(part.part):
        yield _of_block(block, part)


def _of_block(block: Block, part: CsvPart) -> tuple[RawRows, pa.Table]:
    layout, first = part.part.layout, part.file << PLACE_BITS
    for types in (_TYPED, _TEXTS):
        table = csv_lines.parse_block(block, layout, types)
        starts = csv_lines.line_bounds(block.lines)[0] if table is not None else ()
        if table is not None and len(table) == len(starts):
            return _raw_rows(table, np.asarray(starts) + block.offset + first), REFUSED.empty_table()
    pieces, places, refused = [], [], [REFUSED.empty_table()]
    for piece in csv_lines.split_block(block):
        lines = csv_lines.Lines(piece, layout)
        table, offsets = lines.fields()
        pieces.append(table)
        places.append(offsets + first)
        refused.append(_malformed(lines.problems, first))
    return _raw_rows(pa.concat_tables(pieces), np.concatenate(places)), pa.concat_tables(refused)


def _raw_rows(table: pa.Table, orders: npt.NDArray[np.int64]) -> RawRows:
    table = table.combine_chunks()
    image, label = (_whole(table[name]) for name in (IMAGE, LABEL))
    confidence = _whole(table[CONFIDENCE]) if CONFIDENCE in table.column_names else None
    return RawRows(image, label, confidence, orders.astype(np.uint64))


def _whole(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays([pa.array([], column.type), *column.chunks])


def _malformed(problems: Sequence[Problem], first: int) -> pa.Table:
    columns = {
        "image_id": pa.array(["" for _ in problems], pa.string()),
        "order": pa.array([first + place for place, _, _, _ in problems], pa.uint64()),
        "reason": pa.array([str(reason) for _, _, reason, _ in problems], pa.string()),
        "detail": pa.array([detail for _, _, _, detail in problems], pa.string()),
    }
    return pa.table(columns, schema=REFUSED)


def _of_group(part: RowGroup) -> Iterator[RawRows]:
    order = (part.file << PLACE_BITS) + part.first
    with stores.explain_errors("read", part.path), stores.open_input(part.path) as file:
        try:
            check_parquet(part.path, file, part.columns)
            file.seek(0)
            for batch in pq.ParquetFile(file).iter_batches(
                BATCH_ROWS, [part.group], list(part.columns), use_threads=False
            ):
                image, label = as_texts(batch.column(part.columns[0])), as_texts(batch.column(part.columns[1]))
                confidence = _plain(batch.column(part.columns[2])) if len(part.columns) > 2 else None
                yield RawRows(image, label, confidence, np.arange(order, order + len(batch), dtype=np.uint64))
                order += len(batch)
        except READ_ERRORS as error:
            raise InputError(f"{part.path} is a damaged Parquet file ({one_line(error)}); copy it again") from error


def is_text(kind: pa.DataType) -> bool:
    """Whether a type is one of text or bytes."""
    tests = ("string", "large_string", "string_view", "binary", "large_binary", "binary_view", "fixed_size_binary")
    return any(getattr(pa.types, f"is_{name}")(kind) for name in tests)


def _plain(column: pa.Array) -> pa.Array:
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def as_texts(column: pa.Array) -> pa.Array:
    """A column of texts, of whatever kind, as bytes, or of numbers as strings; what is no number is null."""
    column = _plain(column)
    if is_text(column.type):
        binary = "binary" in str(column.type)
        return (column if binary else column.cast(pa.string())).cast(pa.binary())  # Parquet's strings may be any bytes
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_nan(column), None, column)
    return column.cast(pa.string())


def check(rows: RawRows, rules: ImportRules) -> tuple[pa.Table, pa.Table]:
    """The rows that are what they have to be, of schema `ROWS`, and those that are not, of schema `REFUSED`."""
    images, image_right = _decoded(rows.images)
    encoded = rows.labels.dictionary_encode()
    names, name_right = _decoded(encoded.dictionary)
    codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    label_faults = np.append(_label_faults(names, name_right, rules), _FAULTS.index(Reason.LABEL_MISSING))
    numbers, faults = _confidences(rows)
    faults = np.where(label_faults[codes] > 0, label_faults[codes], faults)
    empty = pc.equal(pc.binary_length(images), 0).to_numpy(zero_copy_only=False)
    faults[empty] = _FAULTS.index(Reason.IMAGE_ID_MISSING)
    faults[~image_right] = _FAULTS.index(Reason.ROW_NOT_UTF8)
    if not faults.any():
        labels = pa.DictionaryArray.from_arrays(pa.array(codes), names)
        kept = [images, labels, pa.array(numbers), pa.array(rows.orders)]
        return pa.table(kept, schema=ROWS), REFUSED.empty_table()
    good = np.flatnonzero(faults == 0)
    labels = pa.DictionaryArray.from_arrays(pa.array(codes[good]), names)
    kept = [images.take(pa.array(good)), labels, pa.array(numbers[good]), pa.array(rows.orders[good])]
    return pa.table(kept, schema=ROWS), _refused(rows, images, faults, rules)


_FAULTS = (
    "",
    Reason.ROW_NOT_UTF8,
    Reason.IMAGE_ID_MISSING,
    Reason.LABEL_MISSING,
    Reason.LABEL_OUTSIDE_CLASSES,
    Reason.LABEL_NOT_DIGITS,
    Reason.CONFIDENCE_NOT_A_NUMBER,
    Reason.CONFIDENCE_OUTSIDE,
)


def _decoded(values: pa.Array) -> tuple[pa.Array, _Bools]:
    """Texts as strings, empty where there is none, and which of them are UTF-8."""
    right = np.ones(len(values), dtype=bool)
    try:
        return values.fill_null(b"" if pa.types.is_binary(values.type) else "").cast(pa.string()), right
    except pa.ArrowInvalid:
        filled = values.fill_null(b"")
        right = csv_lines.is_utf8(filled)
        return pc.if_else(pa.array(right), filled, b"?").cast(pa.string()), right


def _label_faults(names: pa.Array, right: _Bools, rules: ImportRules) -> npt.NDArray[np.int8]:
    """What is wrong with each of some labels, as a number in `_FAULTS`; 0 for nothing."""

    def fault(name: str) -> str:
        if not name:
            return Reason.LABEL_MISSING
        if rules.task == SEQUENCE:
            return "" if _NUMBER.fullmatch(name) else Reason.LABEL_NOT_DIGITS
        return "" if rules.classes is None or name in rules.classes else Reason.LABEL_OUTSIDE_CLASSES

    faults = np.array([_FAULTS.index(fault(name)) for name in names.to_pylist()], dtype=np.int8)
    faults[~right] = _FAULTS.index(Reason.ROW_NOT_UTF8)
    return faults


def _confidences(rows: RawRows) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int8]]:
    """The confidences, and what is wrong with each."""
    count = len(rows.orders)
    if rows.confidences is None:
        return np.ones(count, np.float32), np.zeros(count, np.int8)
    if is_text(rows.confidences.type):
        texts = as_texts(rows.confidences).cast(pa.binary()).fill_null(b"")
        numbers, known = csv_lines.parse_numbers(texts)
    else:
        numbers = rows.confidences.cast(pa.float32(), safe=False).to_numpy(zero_copy_only=False)
        known = np.isfinite(numbers)
    with np.errstate(invalid="ignore"):
        inside = (numbers >= 0) & (numbers <= 1)
    outside = np.where(inside, 0, _FAULTS.index(Reason.CONFIDENCE_OUTSIDE))
    faults = np.where(known, outside, _FAULTS.index(Reason.CONFIDENCE_NOT_A_NUMBER)).astype(np.int8)
    return numbers, faults


def _refused(raw: RawRows, images: pa.Array, faults: npt.NDArray[np.int8], rules: ImportRules) -> pa.Table:
    """What is wrong with rows, with the offending value."""
    parts = [REFUSED.empty_table()]
    for number in np.unique(faults[faults > 0]).tolist():
        reason = _FAULTS[number]
        rows = pa.array(np.flatnonzero(faults == number))
        shown = partial(_shown, rows=rows)
        if reason in (Reason.CONFIDENCE_NOT_A_NUMBER, Reason.CONFIDENCE_OUTSIDE):
            detail = shown(rules.columns[2], raw.confidences)
        elif reason in (Reason.ROW_NOT_UTF8, Reason.IMAGE_ID_MISSING):
            both = [shown(rules.columns[0], raw.images), shown(rules.columns[1], raw.labels)]
            detail = pc.binary_join_element_wise(*both, ", ")
        else:
            detail = shown(rules.columns[1], raw.labels)
        ids = pc.utf8_slice_codeunits(images.take(rows), 0, MAX_SHOWN)
        reasons = pa.array([str(reason)]).take(pa.array(np.zeros(len(rows), np.int8)))
        orders = pa.array(raw.orders).take(rows)
        parts.append(pa.table([ids, orders, reasons, detail], schema=REFUSED))
    return pa.concat_tables(parts)


def _shown(column: str, values: pa.Array, rows: pa.Array) -> pa.Array:
    """Some values of a column, as messages show them."""
    distinct = values.take(rows).dictionary_encode("encode")
    texts = [_readable(column, value) for value in distinct.dictionary.to_pylist()]
    return pa.array(texts, pa.string()).take(distinct.indices)


def _readable(column: str, value: str | bytes | float | None) -> str:
    if value is None:
        return f"{column} is none"
    if isinstance(value, bytes | str):
        return f"{column} is {csv_lines.escape_text(value if isinstance(value, bytes) else value.encode())}"
    return f"{column} is {value}"
