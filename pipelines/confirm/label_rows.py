"""From blocks of CSV to checked label rows: Arrow's reader for what is in order, a closer look for what is not.

A block is first read as it should be. Only where that fails, its lines are looked at one by one: what is wrong is
rejected with its reason and byte offset, and the rest is kept. Both ways accept just the same rows.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from schemas import tables
from schemas.errors import InputError
from schemas.rejects import Reason
from storage import hashing
from storage.formats.csv_lines import (
    CONFIDENCE,
    IMAGE,
    LABEL,
    MAX_SHOWN,
    SOURCE,
    Lines,
    Problem,
    escape_text,
    is_utf8,
    parse_block,
    parse_numbers,
    reject_table,
    split_block,
)
from storage.formats.csv_ranges import Block, Layout

_NAMES = pa.dictionary(pa.int32(), pa.string())
_TYPES = {IMAGE: pa.binary(hashing.DIGITS), LABEL: _NAMES, CONFIDENCE: pa.float32(), SOURCE: _NAMES}
_NO_SOURCE = pa.array([""])


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
        verdicts: whether confidences are human verdicts, which are 1 or 0.
    """
    table = _as_it_should_be(block, layout)
    pieces = None if table is None else _pieces(table, verdicts)
    if pieces is not None:
        return pieces, tables.REJECTS.empty_table()
    pieces, rejects = [], [tables.REJECTS.empty_table()]
    for part in split_block(block):
        lines = Lines(part, layout)
        kept, problems = _checked(*lines.fields(), verdicts)
        pieces.append(kept)
        rejects.append(reject_table(path, sorted(lines.problems + problems)))
    return _pieces(pa.concat_tables(pieces), verdicts) or [], pa.concat_tables(rejects)


def _as_it_should_be(block: Block, layout: Layout) -> pa.Table | None:
    """The block as a table of typed columns, or None where anything in it is out of order."""
    table = parse_block(block, layout, _TYPES)
    return None if table is None or any(column.null_count for column in table.columns) else table


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
    begin = ids.offset * hashing.DIGITS
    text = np.frombuffer(ids.buffers()[1], np.uint8)[begin : begin + count * hashing.DIGITS]
    images, right = hashing.parse_hex_ids(text)
    confidences = batch.column(CONFIDENCE).to_numpy(zero_copy_only=False)
    inside = _is_verdict(confidences) if verdicts else (confidences >= 0) & (confidences <= 1)
    if not (right.all() and inside.all()):
        return None
    sources = np.zeros(count, np.int32)
    if SOURCE in names:
        sources = batch.column(SOURCE).indices.to_numpy(zero_copy_only=False)
    labels = batch.column(LABEL).indices.to_numpy(zero_copy_only=False)
    return LabelRows(images, labels, names[LABEL], confidences, sources, names.get(SOURCE, _NO_SOURCE))


def _is_verdict(confidences: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    verdicts: npt.NDArray[np.bool_] = (confidences == 0) | (confidences == 1)
    return verdicts


def _checked(fields: pa.Table, offsets: npt.NDArray[np.int64], verdicts: bool) -> tuple[pa.Table, list[Problem]]:
    """The rows whose fields are what they should be, typed; and what is wrong with the others."""
    ids, labels, confidences = (fields[name].combine_chunks() for name in (IMAGE, LABEL, CONFIDENCE))
    count = len(fields)
    values, known = parse_numbers(confidences)
    with np.errstate(invalid="ignore"):
        inside = (values >= 0) & (values <= 1)
    utf8 = is_utf8(labels)
    if SOURCE in fields.column_names:
        utf8 &= is_utf8(fields[SOURCE].combine_chunks())
    tests = [
        (_is_id(ids), Reason.IMAGE_ID_NOT_HEX, "ImageID", ids),
        (utf8, Reason.ROW_NOT_UTF8, "LabelName", labels),
        (pc.binary_length(labels).to_numpy(zero_copy_only=False) > 0, Reason.LABEL_MISSING, "LabelName", labels),
        (known, Reason.CONFIDENCE_NOT_A_NUMBER, "Confidence", confidences),
        (inside, Reason.CONFIDENCE_OUTSIDE, "Confidence", confidences),
        (_is_verdict(values) | (not verdicts), Reason.VERDICT_NOT_CLEAR, "Confidence", confidences),
    ]
    good = np.ones(count, dtype=bool)
    problems: list[Problem] = []
    for passed, reason, column, cells in tests:
        for row in np.flatnonzero(good & ~passed).tolist():
            image_id = ids[row].as_py()[:MAX_SHOWN].decode("utf-8", "backslashreplace")
            problems.append((int(offsets[row]), image_id, reason, f"{column} is {escape_text(cells[row].as_py())}"))
        good &= passed
    kept = {name: fields[name].filter(good) for name in fields.column_names if name != CONFIDENCE}
    columns = {name: column.combine_chunks().cast(_through(name)).cast(_TYPES[name]) for name, column in kept.items()}
    columns[CONFIDENCE] = pa.array(values[good], pa.float32())
    return pa.table(columns), problems


def _through(name: str) -> pa.DataType:
    """The type by way of which Arrow can turn bytes into a column's own."""
    return _TYPES[IMAGE] if name == IMAGE else pa.string()


def _is_id(ids: pa.Array) -> npt.NDArray[np.bool_]:
    right: npt.NDArray[np.bool_] = pc.binary_length(ids).to_numpy(zero_copy_only=False) == hashing.DIGITS
    long_enough = b"".join(ids.filter(pa.array(right)).to_pylist())
    right[right] = hashing.parse_hex_ids(np.frombuffer(long_enough, np.uint8))[1]
    return right


def listed_ids(block: Block, layout: Layout, path: str) -> npt.NDArray[np.uint64]:
    """The images that a block of a list names in its first required column.

    Raises:
        InputError: a line names none.
    """
    lines = Lines(block, layout)
    fields, offsets = lines.fields()
    ids = fields[IMAGE].combine_chunks()
    right = _is_id(ids)
    wrong = sorted([problem[0] for problem in lines.problems] + offsets[~right].tolist())
    if wrong:
        raise InputError(f"{path}, byte {wrong[0]}: no ImageID of 16 hexadecimal digits; mend that line of the list")
    return hashing.parse_hex_ids(np.frombuffer(b"".join(ids.to_pylist()), np.uint8))[0]
