"""What tells that a Parquet file is still as it was written, without reading it for that while work goes on.

A file's footer holds a hash of all that stands before it and of the file's name, so that a changed byte, and a shard in
another's place, are seen by the file alone. A manifest keeps a hash of each footer, the file's seal, so that a file
which was written anew is seen by the manifest. Both are XXH3 of 128 bits (https://github.com/Cyan4973/xxHash): they
find faults, and are no proof against forgers.
"""

import io
import struct
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from schemas.errors import IncompleteError, one_line
from storage import parquet_limits, stores

CONTENT = b"concord.content"
_MAGIC = b"PAR1"  # a file ends with its footer, the footer's length and this
_LENGTH = struct.Struct("<I")
_END_BYTES = _LENGTH.size + len(_MAGIC)
_AT_ONCE = 64 << 10  # read from the end of a file: most footers lie in it
_READERS = 16  # footers read at once: they are small, and object stores answer slowly


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


def encode(table: pa.Table, name: str, **options: Any) -> list[bytes]:
    """A table as a Parquet file of this name, in parts, its footer with the hash of its content.

    Args:
        table: the rows.
        name: of the file, without its folder.
        options: of pyarrow's ParquetWriter.
    """
    sink = _HashingSink()
    with pq.ParquetWriter(sink, table.schema, **options) as writer:
        writer.write_table(table)
        sink.digest.update(name.encode())  # all but the footer is written
        writer.add_key_value_metadata({CONTENT: sink.digest.hexdigest().encode()})
    return sink.parts


def content_hashes(file: memoryview, names: Iterable[str]) -> dict[str, str]:
    """The hash of a whole Parquet file's content, as its footer should hold it if it had each of these names."""
    digest = xxhash.xxh3_128(file[: len(file) - len(_footer(file)) - _END_BYTES])
    found = {}
    for name in names:
        one = digest.copy()
        one.update(name.encode())
        found[name] = one.hexdigest()
    return found


def footer_hash(file: memoryview) -> str:
    """The seal of a whole Parquet file; ValueError where it has no footer."""
    return str(xxhash.xxh3_128_hexdigest(_footer(file)))


def _footer(end: memoryview) -> memoryview:
    """The footer of a Parquet file, by the end of it."""
    if len(end) < _END_BYTES or end[-len(_MAGIC) :] != _MAGIC:
        raise ValueError("it ends before its footer does")
    length = _LENGTH.unpack(end[-_END_BYTES : -len(_MAGIC)])[0]
    if length > len(end) - _END_BYTES:
        raise ValueError(f"its footer is said to have {length} bytes, and it has fewer")
    return end[len(end) - _END_BYTES - length : len(end) - _END_BYTES]


def footer_hashes(paths: Sequence[str]) -> dict[str, str]:
    """The seal of each Parquet file, by its name without its folder.

    Raises:
        IncompleteError: a file has no footer.
    """
    with ThreadPoolExecutor(_READERS) as pool:
        return {
            path.rsplit("/", 1)[-1]: found for path, found in zip(paths, pool.map(_footer_hash_of, paths), strict=True)
        }


def _footer_hash_of(path: str) -> str:
    with stores.open_input(path) as file:
        try:
            end = _read_end(file, _AT_ONCE)
            wanted = _LENGTH.unpack(end[-_END_BYTES : -len(_MAGIC)])[0] + _END_BYTES if len(end) >= _END_BYTES else 0
            return footer_hash(memoryview(end if wanted <= len(end) else _read_end(file, wanted)))
        except ValueError as error:
            raise IncompleteError(f"{path} is damaged ({error}): remove it, and run the same command again") from error


def _read_end(file: IO[bytes], most: int) -> bytes:
    """The last bytes of a file, all of them where it has fewer."""
    size = file.seek(0, io.SEEK_END)
    file.seek(max(size - most, 0))
    return file.read(min(most, size))  # a damaged footer may say that it has gigabytes


# Arrow batches on their way between workers.


def to_ipc(batch: pa.RecordBatch, compression: str | None = None) -> bytes:
    """A batch as Arrow IPC, perhaps compressed: a slice sent any other way would drag its whole parent along."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as writer:
        writer.write_batch(batch)
    return bytes(sink.getvalue().to_pybytes())


def from_ipc(content: bytes) -> pa.Table:
    """The batch that `to_ipc` wrote, as a table."""
    return pa.ipc.open_stream(content).read_all()


def only_used(codes: npt.NDArray[np.int32], names: pa.Array) -> pa.Array:
    """Labels with a dictionary of just those that occur."""
    used = np.bincount(codes, minlength=len(names)) > 0
    numbers = np.cumsum(used, dtype=np.int32) - np.int32(1)
    return pa.DictionaryArray.from_arrays(pa.array(numbers[codes]), names.filter(pa.array(used)))


FINGERPRINT = b"concord.fingerprint"


REPORT = b"concord.report"


_UNIQUE = ("image_id", "sha256")  # a dictionary of values that hardly repeat costs time and space


def _is_real(kind: pa.DataType) -> bool:
    return bool(pa.types.is_floating(kind) or pa.types.is_list(kind))


def write(path: str, table: pa.Table, fingerprint: str, report: str = "{}") -> None:
    """Write one Parquet file, whole or not at all, carrying the fingerprint of what it was made from.

    Args:
        path: where to, local, `gs://` or `s3://`.
        table: the rows.
        fingerprint: of the inputs, settings and code that made them.
        report: JSON object of counts, kept in the file's metadata beside the fingerprint.
    """
    tagged = table.replace_schema_metadata({FINGERPRINT: fingerprint.encode(), REPORT: report.encode()})
    repeating = [field.name for field in table.schema if field.name not in _UNIQUE and not _is_real(field.type)]
    name = path.rsplit("/", 1)[-1]
    how = {"compression": "zstd", "use_dictionary": repeating or False, "write_page_checksum": True}
    stores.write_parts(path, encode(tagged, name, **how))


def read(
    path: str,
    fingerprint: str | None = None,
    schema: pa.Schema | None = None,
    columns: Sequence[str] | None = None,
) -> pa.Table:
    """Read one Parquet file.

    Args:
        path: where from.
        fingerprint: the one that the file has to carry; None takes any.
        schema: the columns that the file has to have; None takes any.
        columns: which to read; None reads all.

    Raises:
        IncompleteError: the file was made from something else, is damaged, or has other columns.
    """
    content = stores.read_bytes(path)
    with _whole(path):
        parquet_limits.check_limits(path, io.BytesIO(content), columns)
        file = pq.ParquetFile(pa.BufferReader(content), page_checksum_verification=True)
        table = file.read(columns=list(columns) if columns else None, use_threads=False)
        table.validate(full=True)
    if "image_id" in table.column_names and (table["image_id"].type != pa.string() or table["image_id"].null_count):
        raise _unfit(path, "has rows without an image_id")
    if fingerprint is not None:
        _check_fingerprint(path, table.schema, fingerprint)
    if schema is not None:
        check_schema(path, table.schema, schema)
    return table


def read_schema(path: str) -> pa.Schema:
    """The columns of a Parquet file, from its footer; IncompleteError where it is damaged."""
    with stores.open_input(path) as file, _whole(path):
        return pq.read_schema(file)


@contextmanager
def _whole(path: str) -> Iterator[None]:
    """Turn what Arrow says of a damaged file into an error that says what to do."""
    try:
        yield
    except parquet_limits.TROUBLES as error:
        if getattr(error, "errno", None) is not None:  # the file could not even be read
            raise
        raise IncompleteError(
            f"{path} is damaged ({one_line(error)}): remove it, and run the stage that writes it again with --force"
        ) from error


def check_schema(path: str, found: pa.Schema, stated: pa.Schema, others: bool = False) -> None:
    """Check the columns of a file, in any order, against those that its table has.

    Args:
        path: of the file.
        found: its columns.
        stated: the columns of the table.
        others: whether the file may have more columns than these.

    Raises:
        IncompleteError: a column is missing, unknown or of another type; the message names file and column.
    """
    for field in stated:
        if field.name not in found.names:
            raise _unfit(path, f"has no column {field.name!r}")
        if found.field(field.name).type != field.type:
            raise _unfit(path, f"has column {field.name!r} as {found.field(field.name).type} instead of {field.type}")
    unknown = [name for name in found.names if name not in stated.names]
    if unknown and not others:
        raise _unfit(path, f"has a column {unknown[0]!r} that its table does not know")


def _unfit(path: str, what: str) -> IncompleteError:
    return IncompleteError(
        f"{path} {what}: another version of Concord wrote it, or something else; "
        "move it away, or run the stage that writes it again with --force"
    )


def read_tags(path: str) -> tuple[str, str]:
    """Fingerprint and JSON report of a Parquet file, from its footer; two empty strings where it has none."""
    with stores.open_input(path) as file:
        try:
            with _whole(path):
                metadata = pq.read_schema(file).metadata or {}
        except IncompleteError:  # cut off, or no Parquet at all: nobody's shard
            metadata = {}
    tags = (metadata.get(key, b"").decode(errors="replace") for key in (FINGERPRINT, REPORT))
    return next(tags), next(tags)


def row_count(path: str) -> int:
    """How many rows a Parquet file has, from its footer; IncompleteError where it is damaged."""
    with stores.open_input(path) as file, _whole(path):
        return int(pq.read_metadata(file).num_rows)


def _check_fingerprint(path: str, schema: pa.Schema, fingerprint: str) -> None:
    found = (schema.metadata or {}).get(FINGERPRINT, b"").decode(errors="replace")
    if found != fingerprint:
        raise IncompleteError(
            f"{path} has fingerprint {found or 'none'}, but its product is {fingerprint}: "
            "it was made from other inputs or settings; run the stage that writes it again"
        )
