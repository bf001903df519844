"""TFRecord framing: byte for byte TensorFlow's, and damage noticed."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage import tfrecord

PAYLOADS = [b"", b"\0", b"digit", bytes(range(256)) * 40]


def test_crc_is_the_published_one() -> None:
    """CRC-32C of 32 zero bytes and of 0..31 (RFC 3720, B.4), unmasked by hand."""
    for data, crc in ((bytes(32), 0x8A9136AA), (bytes(range(32)), 0x46DD794E)):
        rotated = (tfrecord.masked_crc(data) - 0xA282EAD8) % 2**32
        assert (rotated << 15 | rotated >> 17) % 2**32 == crc


def test_shard_is_byte_for_byte_tensorflows(tmp_path: Path) -> None:
    import tensorflow as tf

    path = str(tmp_path / "peer.tfrecord")
    with tf.io.TFRecordWriter(path) as writer:
        for payload in PAYLOADS:
            writer.write(payload)
    assert b"".join(map(tfrecord.frame_record, PAYLOADS)) == Path(path).read_bytes()


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=5), st.data())
def test_what_was_framed_comes_back(payloads: list[bytes], data: st.DataObject) -> None:
    number = data.draw(st.integers(0, len(payloads) - 1))
    shard = b"".join(map(tfrecord.frame_record, payloads))
    before = sum(16 + len(payload) for payload in payloads[:number])
    assert tfrecord.payload_at(shard, before + 12, len(payloads[number])) == payloads[number]


@given(st.binary(min_size=1, max_size=200), st.data())
def test_one_damaged_bit_of_payload_or_checksum_is_noticed(payload: bytes, data: st.DataObject) -> None:
    shard = bytearray(tfrecord.frame_record(payload))
    place = data.draw(st.integers(12, len(shard) - 1))
    shard[place] ^= 1 << data.draw(st.integers(0, 7))
    assert tfrecord.payload_at(bytes(shard), 12, len(payload)) is None


@pytest.mark.parametrize("place", range(8))
def test_damaged_length_is_noticed(place: int) -> None:
    shard = bytearray(tfrecord.frame_record(b"payload"))
    shard[place] ^= 1
    assert tfrecord.payload_at(bytes(shard), 12, 7) is None


def test_a_damaged_record_leaves_its_neighbours_readable() -> None:
    shard = bytearray(b"".join(map(tfrecord.frame_record, (b"one", b"two", b"three"))))
    shard[19 + 12 + 1] ^= 0xFF
    found = [tfrecord.payload_at(bytes(shard), offset, length) for offset, length in ((12, 3), (31, 3), (50, 5))]
    assert found == [b"one", None, b"three"]


@pytest.mark.parametrize(
    ("offset", "length"),
    [(12, 6), (12, 8), (11, 7), (13, 7), (0, 7), (-1, 7), (24, 7), (10_000, 7), (12, 10_000)],
)
def test_what_does_not_fit_the_shard_is_none(offset: int, length: int) -> None:
    shard = tfrecord.frame_record(b"payload")
    assert tfrecord.payload_at(shard, 12, 7) == b"payload"
    assert tfrecord.payload_at(shard, offset, length) is None


@pytest.mark.parametrize("kept", [0, 5, 12, 18, 19, 22])
def test_cut_off_shard_is_none(kept: int) -> None:
    assert tfrecord.payload_at(tfrecord.frame_record(b"payload")[:kept], 12, 7) is None
