"""TFRecord shards as bytes: framed in memory, so that they can be put anywhere at once, and read at known offsets.

The format is TensorFlow's (https://www.tensorflow.org/tutorials/load_data/tfrecord): for each record its length
(uint64, little-endian), the length's masked CRC-32C, the payload, the payload's masked CRC-32C.
"""

import functools
import struct
from typing import IO

import google_crc32c

HEADER_BYTES = 12
FOOTER_BYTES = 4
_MASK = 0xA282EAD8
_PREFIX = struct.Struct("<QI")
_CRC = struct.Struct("<I")


def masked_crc(data: bytes) -> int:
    """The CRC-32C of the data, rotated and offset as TFRecord wants it."""
    crc = int(google_crc32c.value(data))
    return (((crc >> 15) | (crc << 17)) + _MASK) & 0xFFFFFFFF


def frame(payload: bytes) -> bytes:
    """A payload as one TFRecord record."""
    return b"".join((_header(len(payload)), payload, _CRC.pack(masked_crc(payload))))


@functools.lru_cache(maxsize=65_536)
def _header(length: int) -> bytes:
    return _PREFIX.pack(length, masked_crc(struct.pack("<Q", length)))


def read_payload(file: IO[bytes], offset: int, length: int) -> bytes | None:
    """The payload that begins at `offset` in a shard's file, of which nothing else is read; None as `payload_at`."""
    if not 0 <= length <= file.seek(0, 2) or offset < HEADER_BYTES:
        return None
    file.seek(offset - HEADER_BYTES)
    return payload_at(file.read(HEADER_BYTES + length + FOOTER_BYTES), HEADER_BYTES, length)


def payload_at(shard: bytes, offset: int, length: int) -> bytes | None:
    """The payload that begins at `offset` in a shard, or None where its length or one of its checksums does not fit."""
    payload = shard[offset : offset + length]
    begin, end = offset - HEADER_BYTES, offset + length
    if begin < 0 or length < 0 or len(shard) < end + FOOTER_BYTES:
        return None
    if shard[begin:offset] != _header(length) or _CRC.unpack_from(shard, end)[0] != masked_crc(payload):
        return None
    return payload


def header_fits(shard: bytes, offset: int, length: int) -> bool:
    """Whether the length, and its checksum, before the payload that begins at `offset` are those of this length."""
    return offset >= HEADER_BYTES and shard[offset - HEADER_BYTES : offset] == _header(length)
