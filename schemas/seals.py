"""What tells that a Parquet file is still as it was written, without reading it for that while work goes on.

A file's footer holds a hash of all that stands before it and of the file's name, so that a changed byte, and a shard in
another's place, are seen by the file alone. A manifest keeps a hash of each footer, the file's seal, so that a file
which was written anew is seen by the manifest. Both are XXH3 of 128 bits (https://github.com/Cyan4973/xxHash): they
find faults, and are no proof against forgers.
"""

import io
import struct
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from schemas import storage
from schemas.errors import IncompleteError

CONTENT = b"concord.content"
_MAGIC = b"PAR1"  # a file ends with its footer, the footer's length and this
_LENGTH = struct.Struct("<I")
_END_BYTES = _LENGTH.size + len(_MAGIC)
_AT_ONCE = 64 << 10  # read from the end of a file: most footers lie in it
_READERS = 16  # footers read at once: they are small, and object stores answer slowly


class _Hashing(io.RawIOBase):
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


def parquet(table: pa.Table, name: str, **options: Any) -> list[bytes]:
    """A table as a Parquet file of this name, in parts, its footer with the hash of its content.

    Args:
        table: the rows.
        name: of the file, without its folder.
        options: of pyarrow's ParquetWriter.
    """
    sink = _Hashing()
    with pq.ParquetWriter(sink, table.schema, **options) as writer:
        writer.write_table(table)
        sink.digest.update(name.encode())  # all but the footer is written
        writer.add_key_value_metadata({CONTENT: sink.digest.hexdigest().encode()})
    return sink.parts


def content(file: memoryview, names: Iterable[str]) -> dict[str, str]:
    """The hash of a whole Parquet file's content, as its footer should hold it if it had each of these names."""
    digest = xxhash.xxh3_128(file[: len(file) - len(_footer(file)) - _END_BYTES])
    found = {}
    for name in names:
        one = digest.copy()
        one.update(name.encode())
        found[name] = one.hexdigest()
    return found


def seal(file: memoryview) -> str:
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


def seals(paths: Sequence[str]) -> dict[str, str]:
    """The seal of each Parquet file, by its name without its folder.

    Raises:
        IncompleteError: a file has no footer.
    """
    with ThreadPoolExecutor(_READERS) as pool:
        return {path.rsplit("/", 1)[-1]: found for path, found in zip(paths, pool.map(_of, paths), strict=True)}


def _of(path: str) -> str:
    with storage.open_input(path) as file:
        try:
            end = _end(file, _AT_ONCE)
            wanted = _LENGTH.unpack(end[-_END_BYTES : -len(_MAGIC)])[0] + _END_BYTES if len(end) >= _END_BYTES else 0
            return seal(memoryview(end if wanted <= len(end) else _end(file, wanted)))
        except ValueError as error:
            raise IncompleteError(f"{path} is damaged ({error}): remove it, and run the same command again") from error


def _end(file: IO[bytes], most: int) -> bytes:
    """The last bytes of a file, all of them where it has fewer."""
    size = file.seek(0, io.SEEK_END)
    file.seek(max(size - most, 0))
    return file.read(min(most, size))  # a damaged footer may say that it has gigabytes
