"""Our own Parquet files: written whole with a fingerprint and a hash of their content, and checked when they are read.

A file's footer holds the fingerprint of what the file was made from, a report of counts, and a hash of all that
precedes the footer and of the file's name: a changed byte, and a shard in another's place, are noticed in the file
alone. A manifest keeps a hash of each footer: a file that was written again is noticed there, without reading the file.
Both hashes are XXH3 of 128 bits (https://github.com/Cyan4973/xxHash): they find faults, but do not stop forgers.
"""

import io
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from schemas.errors import IncompleteError, one_line
from storage import parquet_limits, stores
from storage.parquet_limits import END_BYTES

CONTENT = b"concord.content"
FINGERPRINT = b"concord.fingerprint"
REPORT = b"concord.report"
_UNIQUE = ("image_id", "sha256")  # a dictionary of values that hardly repeat costs time and space


def write(path: str, table: pa.Table, fingerprint: str, report: str = "{}") -> None:
    """Write one Parquet file, whole or not at all.

    Args:
        path: local, `gs://` or `s3://`.
        table: the rows.
        fingerprint: of the inputs, settings and code that the rows were made from.
        report: JSON object of counts, kept in the file's metadata beside the fingerprint.
    """
    tagged = table.replace_schema_metadata({FINGERPRINT: fingerprint.encode(), REPORT: report.encode()})
    repeating = [field.name for field in table.schema if field.name not in _UNIQUE and not _is_real(field.type)]
    name = path.rsplit("/", 1)[-1]
    options = {"compression": "zstd", "use_dictionary": repeating or False, "write_page_checksum": True}
    stores.write_parts(path, encode(tagged, name, **options))


def _is_real(kind: pa.DataType) -> bool:
    return bool(pa.types.is_floating(kind) or pa.types.is_list(kind))


def encode(table: pa.Table, name: str, **options: Any) -> list[bytes]:
    """A table as a Parquet file, in parts, its footer with the hash of its content; `options` of pyarrow's writer."""
    sink = _HashingSink()
    with pq.ParquetWriter(sink, table.schema, **options) as writer:
        writer.write_table(table)
        sink.digest.update(name.encode())  # all but the footer is written
        writer.add_key_value_metadata({CONTENT: sink.digest.hexdigest().encode()})
    return sink.parts


class _HashingSink(io.RawIOBase):
    """Keeps what is written to it, and a hash of it."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.digest = xxhash.xxh3_128()
        self._size = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._size

    def write(self, data: Any) -> int:
        part = bytes(data)
        self.parts.append(part)
        self.digest.update(part)
        self._size += len(part)
        return len(part)


def read(
    path: str, fingerprint: str | None = None, schema: pa.Schema | None = None, columns: Sequence[str] | None = None
) -> pa.Table:
    """Read one Parquet file.

    Args:
        path: local, `gs://` or `s3://`.
        fingerprint: the one that the file has to carry; None accepts any.
        schema: the columns that the file has to have; None accepts any.
        columns: which to read; None reads all.

    Raises:
        IncompleteError: the file was made from something else, is damaged, or has other columns.
    """
    content = stores.read_bytes(path)
    with _explain_damage(path):
        parquet_limits.check_limits(path, io.BytesIO(content), columns)
        file = pq.ParquetFile(pa.BufferReader(content), page_checksum_verification=True)
        table = file.read(columns=list(columns) if columns else None, use_threads=False)
        table.validate(full=True)
    if "image_id" in table.column_names and (table["image_id"].type != pa.string() or table["image_id"].null_count):
        raise _schema_error(path, "has rows without an image_id")
    actual = (table.schema.metadata or {}).get(FINGERPRINT, b"").decode(errors="replace")
    if fingerprint not in (None, actual):
        raise IncompleteError(
            f"{path} has fingerprint {actual or 'none'}, but its product is {fingerprint}: "
            "it was made from other inputs or settings; run the stage that writes it again"
        )
    if schema is not None:
        check_schema(path, table.schema, schema)
    return table


def read_schema(path: str) -> pa.Schema:
    """The columns of a Parquet file, from its footer; IncompleteError if it is damaged."""
    with stores.open_input(path) as file, _explain_damage(path):
        return pq.read_schema(file)


def read_tags(path: str) -> tuple[str, str]:
    """Fingerprint and JSON report of a Parquet file, from its footer; two empty strings if it has none."""
    try:
        metadata = read_schema(path).metadata or {}
    except IncompleteError:  # truncated, or no Parquet at all: nobody's shard
        metadata = {}
    tags = (metadata.get(key, b"").decode(errors="replace") for key in (FINGERPRINT, REPORT))
    return next(tags), next(tags)


def row_count(path: str) -> int:
    """Number of rows of a Parquet file, from its footer; IncompleteError if it is damaged."""
    with stores.open_input(path) as file, _explain_damage(path):
        return int(pq.read_metadata(file).num_rows)


@contextmanager
def _explain_damage(path: str) -> Iterator[None]:
    """Turn Arrow's error on a damaged file into one that states what to do."""
    try:
        yield
    except parquet_limits.READ_ERRORS as error:
        if getattr(error, "errno", None) is not None:  # the file could not even be read
            raise
        raise IncompleteError(
            f"{path} is damaged ({one_line(error)}): remove it, and run the stage that writes it again with --force"
        ) from error


def check_schema(path: str, actual: pa.Schema, expected: pa.Schema, others: bool = False) -> None:
    """Check the columns of a file, in any order, against those of its table; `others` allows more columns.

    Raises:
        IncompleteError: a column is missing, unknown or of another type; the message names file and column.
    """
    for field in expected:
        if field.name not in actual.names:
            raise _schema_error(path, f"has no column {field.name!r}")
        kind = actual.field(field.name).type
        if kind != field.type:
            raise _schema_error(path, f"has column {field.name!r} as {kind} instead of {field.type}")
    unknown = [name for name in actual.names if name not in expected.names]
    if unknown and not others:
        raise _schema_error(path, f"has a column {unknown[0]!r} that its table does not know")


def _schema_error(path: str, problem: str) -> IncompleteError:
    return IncompleteError(
        f"{path} {problem}: another version of Concord wrote it, or something else; "
        "move it away, or run the stage that writes it again with --force"
    )


# --- Hashes of contents and footers --------------------------------------------------------------


def content_hashes(file: memoryview, names: Iterable[str]) -> dict[str, str]:
    """The hash of a whole Parquet file's content as its footer should state it, for each name the file might have."""
    digest = xxhash.xxh3_128(file[: len(file) - len(_footer(file)) - END_BYTES])
    hashes = {}
    for name in names:
        copy = digest.copy()
        copy.update(name.encode())
        hashes[name] = copy.hexdigest()
    return hashes


def footer_hash(file: memoryview) -> str:
    """The hash of a whole Parquet file's footer; ValueError if it has none."""
    return str(xxhash.xxh3_128_hexdigest(_footer(file)))


def _footer(file: memoryview) -> memoryview:
    start = len(file) - END_BYTES - parquet_limits.footer_length(file, len(file))
    return file[start : len(file) - END_BYTES]


def footer_hashes(paths: Sequence[str]) -> dict[str, str]:
    """The hash of each Parquet file's footer, by file name without the folder; IncompleteError if one has none."""
    hashes = stores.map_threads(_read_footer_hash, paths)
    return {path.rsplit("/", 1)[-1]: value for path, value in zip(paths, hashes, strict=True)}


def _read_footer_hash(path: str) -> str:
    with stores.open_input(path) as file:
        try:
            return str(xxhash.xxh3_128_hexdigest(parquet_limits.read_footer(file)[1]))
        except ValueError as error:
            raise IncompleteError(f"{path} is damaged ({error}): remove it, and run the same command again") from error


# --- Arrow batches between workers ---------------------------------------------------------------


def to_ipc(batch: pa.RecordBatch, compression: str | None = None) -> bytes:
    """A batch as Arrow IPC, perhaps compressed: pickled, a slice would drag its whole parent along."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as writer:
        writer.write_batch(batch)
    return bytes(sink.getvalue().to_pybytes())


def from_ipc(content: bytes) -> pa.Table:
    """The batch that `to_ipc` encoded, as a table."""
    return pa.ipc.open_stream(content).read_all()


def drop_unused_labels(codes: npt.NDArray[np.int32], names: pa.Array) -> pa.Array:
    """Labels by their codes, with a dictionary of only the names that occur."""
    used = np.bincount(codes, minlength=len(names)) > 0
    numbers = np.cumsum(used, dtype=np.int32) - np.int32(1)
    return pa.DictionaryArray.from_arrays(pa.array(numbers[codes]), names.filter(pa.array(used)))
