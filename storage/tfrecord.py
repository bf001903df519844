"""TFRecord shards of `tf.train.Example`, without TensorFlow: framed in memory, and read at known offsets.

The format is TensorFlow's (https://www.tensorflow.org/tutorials/load_data/tfrecord): for each record its length
(uint64, little-endian), the length's masked CRC-32C, the payload, the payload's masked CRC-32C.
"""

import functools
import struct
from collections.abc import Sequence
from typing import IO, Any

import google_crc32c
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from schemas.errors import InputError, one_line

HEADER_BYTES = 12
FOOTER_BYTES = 4
_MASK = 0xA282EAD8
_PREFIX = struct.Struct("<QI")
_CRC = struct.Struct("<I")


def masked_crc(data: bytes) -> int:
    """The CRC-32C of the data, rotated and offset as TFRecord requires."""
    crc = int(google_crc32c.value(data))
    return (((crc >> 15) | (crc << 17)) + _MASK) & 0xFFFFFFFF


def frame_record(payload: bytes) -> bytes:
    """A payload as one TFRecord record."""
    return b"".join((_header(len(payload)), payload, _CRC.pack(masked_crc(payload))))


@functools.lru_cache(maxsize=65_536)
def _header(length: int) -> bytes:
    return _PREFIX.pack(length, masked_crc(struct.pack("<Q", length)))


def read_payload(file: IO[bytes], offset: int, length: int) -> bytes | None:
    """`payload_at` of a shard's file, of which nothing else is read."""
    if not 0 <= length <= file.seek(0, 2) or offset < HEADER_BYTES:
        return None
    file.seek(offset - HEADER_BYTES)
    return payload_at(file.read(HEADER_BYTES + length + FOOTER_BYTES), HEADER_BYTES, length)


def payload_at(shard: bytes, offset: int, length: int) -> bytes | None:
    """The payload that begins at `offset` in a shard, or None if its length or one of its checksums is wrong."""
    payload = shard[offset : offset + length]
    begin, end = offset - HEADER_BYTES, offset + length
    if begin < 0 or length < 0 or len(shard) < end + FOOTER_BYTES:
        return None
    if shard[begin:offset] != _header(length) or _CRC.unpack_from(shard, end)[0] != masked_crc(payload):
        return None
    return payload


def header_fits(shard: bytes, offset: int, length: int) -> bool:
    """Whether the header before the payload that begins at `offset` states this length, with its checksum."""
    return offset >= HEADER_BYTES and shard[offset - HEADER_BYTES : offset] == _header(length)


# --- Examples ------------------------------------------------------------------------------------

_FIELD = descriptor_pb2.FieldDescriptorProto
_LISTS = {"BytesList": _FIELD.TYPE_BYTES, "FloatList": _FIELD.TYPE_FLOAT, "Int64List": _FIELD.TYPE_INT64}
_BYTES, _INTEGERS = 1, 3  # the numbers of the fields `bytes_list` and `int64_list` of a feature


@functools.cache
def example_class() -> Any:
    """The message class of `tf.train.Example`."""
    file = descriptor_pb2.FileDescriptorProto(name="concord/example.proto", package="concord", syntax="proto3")
    for name, kind in _LISTS.items():
        _add_field(file.message_type.add(name=name), "value", 1, kind=kind, repeated=True)
    feature = file.message_type.add(name="Feature")
    feature.oneof_decl.add(name="kind")
    for number, name in enumerate(("bytes_list", "float_list", "int64_list"), start=1):
        type_name = ".concord." + "".join(part.capitalize() for part in name.split("_"))
        _add_field(feature, name, number, type_name=type_name).oneof_index = 0
    features = file.message_type.add(name="Features")
    entry = features.nested_type.add(name="FeatureEntry")
    entry.options.map_entry = True
    _add_field(entry, "key", 1, kind=_FIELD.TYPE_STRING)
    _add_field(entry, "value", 2, type_name=".concord.Feature")
    _add_field(features, "feature", 1, type_name=".concord.Features.FeatureEntry", repeated=True)
    _add_field(file.message_type.add(name="Example"), "features", 1, type_name=".concord.Features")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("concord.Example"))


def _add_field(
    message: Any, name: str, number: int, *, kind: int = 0, type_name: str = "", repeated: bool = False
) -> Any:
    field = message.field.add(name=name, number=number)
    field.label = _FIELD.LABEL_REPEATED if repeated else _FIELD.LABEL_OPTIONAL
    field.type = kind or _FIELD.TYPE_MESSAGE
    if type_name:
        field.type_name = type_name
    return field


def encode_example(image: bytes, image_id: str, label: int | str | Sequence[int]) -> bytes:
    """One labelled image as a serialised `tf.train.Example`: `image`, `image/id`, and `label`, or `labels` for several.

    A label is the number of a class, or a text, such as the digits of a house number. The bytes are those of protobuf's
    deterministic serialisation, composed here: a message per image takes several times as long, under Python's lock.
    """
    name = image_id.encode()
    if isinstance(label, str):
        key, kind, content = b"label", _BYTES, label.encode()
    elif isinstance(label, int):
        key, kind, content = b"label", _INTEGERS, _number(label)
    else:
        key, kind, content = b"labels", _INTEGERS, b"".join(map(_number, label))
    before_name, before_image, before_content = _around(len(name), len(image), len(content), key, kind)
    return b"".join((before_name, name, before_image, image, before_content, content))


@functools.lru_cache(maxsize=65_536)
def _around(name_bytes: int, image_bytes: int, content_bytes: int, key: bytes, kind: int) -> tuple[bytes, bytes, bytes]:
    """The bytes before id, image and label, which follow from their lengths."""
    before_name, name_entry = _entry(b"image/id", _BYTES, name_bytes)
    before_image, image_entry = _entry(b"image", _BYTES, image_bytes)
    before_content, label_entry = _entry(key, kind, content_bytes)
    return _tag(1, name_entry + image_entry + label_entry) + before_name, before_image, before_content


def _entry(key: bytes, kind: int, value_bytes: int) -> tuple[bytes, int]:
    """An entry of the map of features up to its value, and its whole length; `kind` is the list's field number."""
    value = _tag(1, value_bytes) if value_bytes or kind != _INTEGERS else b""  # a list of no numbers has no field
    values = _tag(kind, len(value) + value_bytes) + value
    feature = _tag(1, len(key)) + key + _tag(2, len(values) + value_bytes) + values
    start = _tag(1, len(feature) + value_bytes) + feature
    return start, len(start) + value_bytes


def _tag(field: int, length: int) -> bytes:
    """The beginning of a length-delimited field (https://protobuf.dev/programming-guides/encoding/)."""
    return bytes([field << 3 | 2]) + _varint(length)


def _number(value: int) -> bytes:
    return _varint(value & (1 << 64) - 1)  # a negative number as its two's complement


@functools.lru_cache(maxsize=4096)
def _varint(value: int) -> bytes:
    digits = bytearray()
    while value > 0x7F:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    digits.append(value)
    return bytes(digits)


def decode_example(payload: bytes) -> tuple[bytes, str]:
    """Encoded image and image id of a serialised example; InputError if it is no example, or lacks one of them."""
    try:
        feature = example_class().FromString(payload).features.feature
        return feature["image"].bytes_list.value[0], feature["image/id"].bytes_list.value[0].decode()
    except (DecodeError, IndexError, UnicodeDecodeError) as error:
        raise InputError(
            f"a record of {len(payload):,} bytes is no example with image and id ({one_line(error)}): "
            "rebuild its shard with concord convert --force"
        ) from error
