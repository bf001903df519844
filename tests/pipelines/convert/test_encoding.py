"""Encoding: pixels rounded and checked, colours in order, each reason for a reject; against Pillow and plain loops."""

import hashlib
import io
import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pipelines.convert import encoding
from pipelines.convert.sources import Records
from schemas.errors import Reason
from storage import hashing, tfrecord
from storage.formats import class_indices
from storage.parquet import to_ipc

RANGE = (0.0, 255.0)
DIGITS = tuple("0123456789")


def image_of(value: float, kind: str = "f4") -> npt.NDArray[Any]:
    return np.full((1, 2, 2, 1), value, dtype=kind)


def records_of(pixels: npt.NDArray[Any], labels: npt.NDArray[Any]) -> Records:
    count = len(labels)
    ids, positions = [f"train-{row:07d}" for row in range(count)], [f"X[{row}]" for row in range(count)]
    return Records("a.h5", ids, positions, pixels, labels, class_indices(labels))


def encode(records: Records, rows: list[int], value_range: tuple[float, ...] = RANGE) -> list[dict[str, Any]]:
    hashes = hashing.image_hashes(records.image_ids)
    batch = encoding.encode_records(records, np.array(rows, dtype=np.int64), hashes, DIGITS, value_range)
    assert batch.schema.equals(encoding.ENCODED)
    found: list[dict[str, Any]] = batch.to_pylist()
    return found


def decode(record: bytes) -> npt.NDArray[np.uint8]:
    """The picture in a TFRecord record, read by Pillow."""
    payload = tfrecord.payload_at(record, 12, len(record) - 16)
    assert payload is not None
    return np.asarray(Image.open(io.BytesIO(tfrecord.decode_example(payload)[0])))


# --- Pixels -------------------------------------------------------------------------------------


@given(st.floats(-0.5, 255.5, width=32))
def test_a_pixel_is_rounded_to_the_nearest(value: float) -> None:
    pixels, problems = encoding.to_uint8(image_of(value), RANGE)
    assert problems == {}
    assert abs(int(pixels[0, 0, 0, 0]) - value) <= 0.5


@given(st.floats(0, 1), st.sampled_from([(0.0, 1.0), (-1.0, 1.0), (0.0, 65535.0), (-3.5, 12.25)]))
def test_any_range_is_spread_over_0_to_255(share: float, value_range: tuple[float, float]) -> None:
    black, white = value_range
    pixels, problems = encoding.to_uint8(image_of(black + share * (white - black), "f8"), value_range)
    assert problems == {}
    assert abs(int(pixels[0, 0, 0, 0]) - share * 255) <= 0.5 + 1e-6


@pytest.mark.parametrize("kind", ["u1", "i2", "u2", "i4", "i8", "f2", "f4", "f8"])
def test_every_number_type_keeps_whole_values(kind: str) -> None:
    values = np.arange(256).reshape(1, 16, 16, 1).astype(kind)
    pixels, problems = encoding.to_uint8(values, RANGE)
    assert problems == {}
    np.testing.assert_array_equal(pixels.reshape(-1), np.arange(256))


def test_bytes_in_another_range_are_spread_too() -> None:
    pixels, _ = encoding.to_uint8(np.array([0, 5, 15], dtype=np.uint8).reshape(1, 3, 1, 1), (0.0, 15.0))
    assert pixels.reshape(-1).tolist() == [0, 85, 255]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_one_pixel_that_is_no_number_rejects_its_image_only(value: float) -> None:
    values = np.full((3, 2, 2, 1), 7, dtype=np.float32)
    values[1, 0, 1, 0] = value
    pixels, problems = encoding.to_uint8(values, RANGE)
    assert problems == {1: (Reason.PIXELS_NOT_FINITE, "1 pixels are NaN or infinite")}
    assert pixels[[0, 2]].tolist() == values[[0, 2]].tolist()


@pytest.mark.parametrize(
    ("value", "value_range", "detail"),
    [
        (256, RANGE, "pixels from 7 to 256, but the value range is 0 to 255"),
        (-1, RANGE, "pixels from -1 to 7, but the value range is 0 to 255"),
        (255.6, RANGE, "pixels from 7 to 255.6, but the value range is 0 to 255"),
        (7.25, (0.0, 7.2), "pixels from 7 to 7.25, but the value range is 0 to 7.2"),
    ],
)
def test_a_pixel_out_of_range_rejects_its_image_only(value: float, value_range: tuple[float, ...], detail: str) -> None:
    values = np.full((3, 2, 2, 1), 7, dtype=np.float64)
    values[2, 1, 1, 0] = value
    _, problems = encoding.to_uint8(values, value_range)
    assert problems == {2: (Reason.PIXELS_OUT_OF_RANGE, detail)}


def test_no_rows_are_no_problem() -> None:
    pixels, problems = encoding.to_uint8(np.empty((0, 2, 2, 1), dtype=np.float32), RANGE)
    assert (pixels.shape, problems) == ((0, 2, 2, 1), {})


# --- PNG ----------------------------------------------------------------------------------------


def test_red_is_red_when_pillow_opens_it() -> None:
    red = np.zeros((4, 5, 3), dtype=np.uint8)
    red[..., 0] = 255
    opened = Image.open(io.BytesIO(encoding.encode_png(red)))
    assert (opened.format, opened.mode, opened.size) == ("PNG", "RGB", (5, 4))
    assert opened.getpixel((0, 0)) == (255, 0, 0)


@given(st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 3]), st.integers(0, 2**32 - 1))
def test_png_is_lossless(height: int, width: int, channels: int, seed: int) -> None:
    image = np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)
    opened = np.asarray(Image.open(io.BytesIO(encoding.encode_png(image))))
    np.testing.assert_array_equal(opened.reshape(image.shape), image)


def test_the_same_image_is_the_same_bytes() -> None:
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 1), dtype=np.uint8)
    assert encoding.encode_png(image) == encoding.encode_png(np.ascontiguousarray(image.copy()))


# --- Records ------------------------------------------------------------------------------------


def test_rows_are_encoded_in_the_order_asked_for() -> None:
    pixels = np.arange(6 * 4, dtype=np.uint8).reshape(6, 2, 2, 1)
    rows = encode(records_of(pixels, np.array([3, 1, 4, 1, 5, 9])), [5, 0, 3])
    assert [row["image_id"] for row in rows] == ["train-0000005", "train-0000000", "train-0000003"]
    assert [row["label"] for row in rows] == ["9", "3", "1"]
    assert [row["hash"] for row in rows] == hashing.image_hashes([row["image_id"] for row in rows]).tolist()
    for row, source_row in zip(rows, (5, 0, 3), strict=True):
        np.testing.assert_array_equal(decode(row["record"]), pixels[source_row, :, :, 0])
        payload = row["record"][12:-4]
        image, image_id = tfrecord.decode_example(payload)
        assert row["sha256"] == hashlib.sha256(image).hexdigest()
        assert image_id == row["image_id"]
        assert {row[name] for name in ("source", "position", "reason", "detail")} == {None}


def test_each_reason_reaches_its_own_row() -> None:
    pixels = np.full((6, 2, 2, 1), 9, dtype=np.float32)
    pixels[1, 0, 0, 0], pixels[2, 0, 0, 0] = math.nan, 300
    rows = encode(records_of(pixels, np.array([0, 0, 0, math.nan, 10, 9.0])), [5, 4, 3, 2, 1, 0])
    assert [row["reason"] for row in rows] == [
        None,
        "label_outside_classes",
        "label_missing",
        "pixels_out_of_range",
        "pixels_not_finite",
        None,
    ]
    for row, number in zip(rows[1:5], (4, 3, 2, 1), strict=True):
        assert (row["source"], row["position"], row["image_id"]) == ("a.h5", f"X[{number}]", f"train-000000{number}")
        assert {row[name] for name in ("record", "sha256", "label")} == {None}
    assert rows[1]["detail"] == "the label is 10.0, but there are 10 classes"
    assert rows[2]["detail"] == "the label is NaN"


@pytest.mark.parametrize(
    ("label", "index", "reason"),
    [
        (np.uint8(9), 9, None),
        (np.uint8(0), 0, None),
        (np.int8(-1), -1, Reason.LABEL_OUTSIDE_CLASSES),
        (np.uint8(10), 10, Reason.LABEL_OUTSIDE_CLASSES),
        (np.float32(2.5), -1, Reason.LABEL_OUTSIDE_CLASSES),
        (np.float64(math.inf), -1, Reason.LABEL_OUTSIDE_CLASSES),
        (np.float32(math.nan), -1, Reason.LABEL_MISSING),
    ],
)
def test_what_is_wrong_with_a_label(label: Any, index: int, reason: Reason | None) -> None:
    found = encoding.label_problems(np.array([label.dtype.type(4), label]), np.array([4, index]), 10)
    assert {row: problem[0] for row, problem in found.items()} == ({1: reason} if reason else {})


def test_no_rows_are_an_empty_batch() -> None:
    assert encode(records_of(np.ones((2, 2, 2, 1), dtype=np.uint8), np.array([0, 1])), []) == []


# --- Shuffling ----------------------------------------------------------------------------------


def shuffled_rows(count: int) -> pa.RecordBatch:
    ids = [f"i{row}" for row in range(count)]
    hashes = np.array([7 * row % 5 for row in range(count)], dtype=np.uint64)  # equal hashes among them
    blank = {field.name: [None] * count for field in encoding.ENCODED}
    return pa.RecordBatch.from_pydict({**blank, "image_id": ids, "hash": hashes}, schema=encoding.ENCODED)


@given(st.permutations(range(12)), st.integers(1, 11))
def test_rows_lie_in_hash_order_however_they_arrive(order: list[int], cut: int) -> None:
    batch = shuffled_rows(12).take(pa.array(order))
    arrived = [to_ipc(batch.slice(cut)), b"", to_ipc(batch.slice(0, cut))]
    gathered = encoding.gather(arrived).select(["hash", "image_id"]).to_pylist()
    expected = sorted(shuffled_rows(12).select(["hash", "image_id"]).to_pylist(), key=lambda row: tuple(row.values()))
    assert gathered == expected


def test_a_slice_travels_without_its_parent() -> None:
    batch = shuffled_rows(20_000)
    assert len(to_ipc(batch.slice(5, 1))) < 4096 < batch.nbytes


def test_a_shard_without_rows_is_an_empty_table() -> None:
    table = encoding.gather([b""])
    assert (table.num_rows, table.schema.equals(encoding.ENCODED)) == (0, True)
