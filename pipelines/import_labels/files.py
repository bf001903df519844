"""Files of anybody's labels: CSV, gzipped or not, or Parquet, cut into parts that are read side by side."""

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.import_labels.rows import CsvPart, Part, RowGroup, is_text
from schemas.errors import InputError, one_line
from storage import stores
from storage.formats import csv_ranges
from storage.parquet_limits import READ_ERRORS

_PARQUET, _GZIP = b"PAR1", b"\x1f\x8b"
_ROW_BYTES = 36  # of a row of CSV with an id of 16 characters
_PACKED_ROW_BYTES = 9  # gzipped, or of Parquet
_REMEDY = (
    "Name its columns with --columns image_id=...,label=...,confidence=... (a CSV file has to have a header; "
    "the confidence may be left out)"
)


def plan(files: Sequence[str], columns: Sequence[str], with_confidence: bool) -> tuple[tuple[Part, ...], int | None]:
    """The parts of some files, in order; and how many rows they have, where that is known: of Parquet.

    Args:
        files: the files; a row's order counts them.
        columns: what they call image_id, label and confidence.
        with_confidence: whether they have to have the confidence.

    Raises:
        InputError: a file is neither, is damaged, or lacks a column.
    """
    parts: list[Part] = []
    rows: int | None = 0
    for number, path in enumerate(files):
        if _magic(path).startswith(_PARQUET):
            groups, count = _row_groups(path, number, columns, with_confidence)
            parts += groups
            rows = None if rows is None else rows + count
        else:
            required, optional = (columns, ()) if with_confidence else (columns[:2], columns[2:])
            parts += [
                CsvPart(number, part) for part in csv_ranges.plan_ranges([path], required, optional, hint=_REMEDY)
            ]
            rows = None
    return tuple(parts), rows


def likely_rows(path: str) -> float:
    """About how many rows a file has, by its size."""
    status, magic = stores.stat(path), _magic(path)
    each = _PACKED_ROW_BYTES if magic.startswith((_PARQUET, _GZIP)) else _ROW_BYTES
    return (status.size if status else 0) / each


def _magic(path: str) -> bytes:
    with stores.explain_errors("read", path), stores.open_input(path) as file:
        return bytes(file.read(4))


def _row_groups(path: str, number: int, columns: Sequence[str], with_confidence: bool) -> tuple[list[RowGroup], int]:
    with stores.explain_errors("read", path), stores.open_input(path) as file:
        try:
            parquet = pq.ParquetFile(file)
            schema = parquet.schema_arrow
        except READ_ERRORS as error:
            raise InputError(f"{path} is a damaged Parquet file ({one_line(error)}); copy it again") from error
        present = columns if with_confidence or columns[2] in schema.names else columns[:2]
        _check_columns(path, schema, present)
        groups, first = [], 0
        for group in range(parquet.num_row_groups):
            about = parquet.metadata.row_group(group)
            groups.append(RowGroup(path, number, group, first, tuple(present), about.total_byte_size))
            first += about.num_rows
    return groups, first


def _check_columns(path: str, schema: pa.Schema, columns: Sequence[str]) -> None:
    for place, name in enumerate(columns):
        names = ", ".join(ascii(one[:40])[1:-1] for one in schema.names[:12])
        if schema.names.count(name) != 1:
            trouble = "has no column" if name not in schema.names else "has more than once the column"
            raise InputError(f"{path} {trouble} {name}; its columns are: {names}. {_REMEDY}")
        kind = schema.field(name).type
        if not _fits(kind, place):
            needed = ("texts or whole numbers", "texts or numbers", "numbers")[place]
            raise InputError(f"{path}: column {name} must hold {needed}, but it is of type {kind}: write it anew")


def _fits(kind: pa.DataType, place: int) -> bool:
    """Whether a column of ids (0), labels (1) or confidences (2) can be of a type."""
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    if is_text(kind) or pa.types.is_integer(kind) or pa.types.is_null(kind):
        return True
    number = pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    return (place > 0 and number) or (place == 1 and pa.types.is_boolean(kind))
