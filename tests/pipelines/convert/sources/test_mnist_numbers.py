"""Source `mnist_numbers`: idx files, numbers drawn from their digits, and the conversion of them."""

import gzip
import math
import pickle
import struct
from collections import Counter
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.convert.sources import mnist_numbers
from pipelines.convert.sources.mnist_numbers import BLOCK, draw_block, paint, place, set_line
from schemas.errors import InputError
from schemas.settings.convert import ConvertSettings
from schemas.stage import Context, StageResult
from storage import products
from storage.formats import idx
from tests.support import stages
from tests.support.idx_files import digits, write_digits
from tests.support.idx_files import idx as idx_bytes

ONE = ("--direct_num_workers=1",)


def settings_for(inputs: tuple[str, ...], **more: Any) -> Any:
    given = {"dataset": "numbers", "source": "mnist_numbers", "numbers": {"train": 600, "test": 300}, **more}
    return ConvertSettings(input=inputs, **given)


def convert(root: Path, inputs: tuple[str, ...], **more: Any) -> StageResult:
    return stages.convert(settings_for(inputs, **more), Context(str(root), ONE))


def read_back(root: Path, split: str) -> dict[str, tuple[Any, str]]:
    import tensorflow_datasets as tfds

    found = tfds.builder_from_directory(str(root / "images/numbers/1.0.0")).as_dataset(split=split)
    return {row["image/id"].decode(): (row["image"], row["label"].decode()) for row in found.as_numpy_iterator()}


def labels(root: Path) -> dict[str, str]:
    files = [str(path) for path in root.glob("labels/**/*.parquet")]
    found = duckdb.read_parquet(files, hive_partitioning=False).to_arrow_table().to_pylist()
    return {row["image_id"]: row["label"] for row in found}


# --- idx files ----------------------------------------------------------------------------------


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("turned", [True, False])
def test_idx_files_are_read_packed_or_not_in_either_order(tmp_path: Path, packed: bool, turned: bool) -> None:
    paths = write_digits(tmp_path, 30, packed)
    found = idx.read_digits(paths[::-1] if turned else paths)
    pixels, labels = digits(30)
    np.testing.assert_array_equal(found.pixels, pixels)
    np.testing.assert_array_equal(found.labels, labels)


GOOD = idx_bytes(digits(30)[0])
BAD_IMAGES = {
    "magic": (struct.pack(">I", 0x0D03) + GOOD[4:], "is no idx file: it begins with 00000d03, not 00000803 for images"),
    "png": (b"\x89PNG\r\n\x1a\n", "is no idx file: it begins with 89504e47"),
    "nothing": (b"", "is no idx file: it begins with nothing"),
    "cut": (GOOD[:-1], r"holds 23,535 bytes, but must hold 23,536 for images \(idx3-ubyte\) of shape \(30, 28, 28\)"),
    "longer": (GOOD + b"\0", r"holds 23,537 bytes, but must hold 23,536"),
    "header": (GOOD[:10], "holds 10 bytes, but must hold at least 16"),
    "half packed": (gzip.compress(GOOD)[:-20], "is no whole gzip file"),
    "packed badly": (gzip.compress(GOOD)[:40] + bytes(60), "is no whole gzip file"),
    "fewer": (idx_bytes(digits(29)[0]), r"holds 29 images but .*labels-idx1-ubyte holds 30 labels"),
    "labels": (idx_bytes(digits(30)[1]), "one file of images and one of labels are needed, got"),
    "none": (struct.pack(">4I", 0x0803, 30, 0, 0), "holds 30 images of 0x0"),
}


@pytest.mark.parametrize("case", BAD_IMAGES)
def test_bad_images_are_named(tmp_path: Path, case: str) -> None:
    paths = write_digits(tmp_path, 30)
    content, message = BAD_IMAGES[case]
    Path(paths[0]).write_bytes(content)
    with pytest.raises(InputError, match=message) as raised:
        idx.read_digits(paths)
    assert paths[0] in str(raised.value)


def test_a_label_that_is_no_digit_is_named(tmp_path: Path) -> None:
    paths = write_digits(tmp_path, 30)
    values = digits(30)[1]
    values[7] = 10
    Path(paths[1]).write_bytes(idx_bytes(values))
    with pytest.raises(InputError, match="label 10 at row 7 is no digit 0 to 9"):
        idx.read_digits(paths)


# --- Drawing ------------------------------------------------------------------------------------


def some_digits(count: int = 50) -> idx.Digits:
    return idx.Digits(*digits(count))


def squares(values: list[int], side: int = 28) -> Any:
    """Digits that are all ink, each of its own value."""
    return np.array(values, np.uint8)[:, None, None] * np.ones((1, side, side), np.uint8)


def test_digits_stand_in_their_order_at_their_distances() -> None:
    line = set_line(squares([200, 150, 100]), np.array([1.0, 0.5, 1.0]), np.array([8, 3, -4]), 0)
    runs = [(value, len(list(np.flatnonzero(line[14] == value)))) for value in (200, 0, 150, 100)]
    assert runs == [(200, 28), (0, 3), (150, 14), (100, 24)]  # the last begins 4 pixels before the other ends
    assert line.shape == (28, 28 + 3 + 14 - 4 + 28)
    assert (line[:, 32] > 0).sum() == 14  # the small one stands in the middle of its height
    assert (line[7, 32], line[6, 32]) == (150, 0)


@pytest.mark.parametrize("slope", [-1.0, -0.3, 0.3, 1.0])
def test_a_line_may_slope_and_loses_no_digit(slope: float) -> None:
    line = set_line(squares([200] * 5), np.ones(5), np.full(5, 8), slope)
    tops = [int(np.argmax(line[:, 36 * place + 3] > 0)) for place in range(5)]
    assert np.sign(np.diff(tops)).tolist() == [np.sign(slope)] * 4
    assert (line > 0).sum() == 5 * 28 * 28


views = st.lists(st.floats(0, 1, exclude_max=True), min_size=5, max_size=5)


@given(views, st.integers(1, 5), st.sampled_from([(64, 64), (54, 54), (32, 96), (200, 50), (8, 8)]))
def test_all_ink_lies_in_the_middle_of_the_picture(view: list[float], count: int, size: tuple[int, int]) -> None:
    line = set_line(squares([255] * count), np.ones(count), np.full(count, 8), 0.5)
    picture = place(line, size, view)
    assert picture.shape == size
    rows, columns = np.nonzero(picture)
    for places, side in ((rows, size[0]), (columns, size[1])):
        edge = math.floor(side * 5 / 64)
        assert edge <= places.min() <= places.max() < side - edge
    assert picture.max() > 100


def test_numbers_take_up_much_of_the_picture_and_lie_anywhere() -> None:
    drawn = [
        place(set_line(squares([255] * 3), np.ones(3), np.zeros(3, int), 0), (64, 64), [0.5, *rest])
        for rest in np.random.default_rng(0).random((300, 4)).tolist()
    ]
    widths = [np.ptp(np.nonzero(one)[1]) + 1 for one in drawn]
    assert 36 <= min(widths) < 42
    assert 50 < max(widths) <= 54
    tops = [int(np.nonzero(one)[0].min()) for one in drawn]
    assert min(tops) == 5
    assert max(tops) > 30


def test_digits_are_stretched_within_bounds() -> None:
    line = set_line(squares([255]), np.ones(1), np.zeros(1, int), 0)
    rng = np.random.default_rng(1)
    drawn = [place(line, size, [0.5, *rng.random(4)]) for size in ((64, 64), (24, 96), (96, 24)) for _ in range(100)]
    stretches = [(np.ptp(np.nonzero(one)[0]) + 1) / (np.ptp(np.nonzero(one)[1]) + 1) for one in drawn]
    assert 0.7 < min(stretches) < 0.9
    assert 1.8 < max(stretches) < 2.2


def test_ink_is_darker_as_often_as_lighter_and_always_told_from_the_wall() -> None:
    masks = np.zeros((BLOCK * 4, 64, 64), np.uint8)
    masks[:, 20:44, 20:44] = 255
    pictures = paint(np.random.default_rng(0), masks).astype(float)
    inside, around = pictures[:, 20:44, 20:44].mean(axis=(1, 2)), pictures[:, 14:50, 14:50].copy()
    around[:, 6:30, 6:30] = np.nan
    outside = np.nanmean(around, axis=(1, 2))
    assert 0.4 < (inside > outside).mean() < 0.6
    assert np.quantile(np.abs(inside - outside), 0.01) > 30
    assert pictures.std(axis=(1, 2)).min() > 5


def test_a_block_is_drawn_from_its_seed_alone() -> None:
    first, again, other = (draw_block(some_digits(), (64, 64), seed) for seed in ((7, 1, 0), (7, 1, 0), (7, 1, 1)))
    np.testing.assert_array_equal(first.pixels, again.pixels)
    assert first.numbers == again.numbers != other.numbers
    assert first.pixels.shape == (BLOCK, 64, 64)
    assert not np.array_equal(first.pixels, other.pixels)


def test_the_number_is_that_of_the_digits_in_the_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bars tell each digit; the digits that were set are counted by hand."""
    seen = []
    real = mnist_numbers.set_line

    def watched(pixels: Any, *rest: Any) -> Any:
        seen.append("".join(str(int((one[:, 14] > 0).sum()) - 1) for one in pixels))
        return real(pixels, *rest)

    monkeypatch.setattr(mnist_numbers, "set_line", watched)
    drawn = draw_block(some_digits(), (64, 64), (1, 2, 3))
    assert drawn.numbers == seen
    lengths = Counter(map(len, drawn.numbers))
    assert set(lengths) == {1, 2, 3, 4, 5}
    assert min(lengths.values()) > 25
    assert any(number.startswith("0") and len(number) > 1 for number in drawn.numbers)


# --- The source ---------------------------------------------------------------------------------


def test_a_picture_follows_from_seed_split_and_place(tmp_path: Path) -> None:
    """However many there are, and however they are cut into slabs."""
    inputs = write_digits(tmp_path)
    few = mnist_numbers.make(settings_for(inputs, numbers={"train": 300}))
    many = mnist_numbers.make(settings_for(inputs, numbers={"test": 10, "train": 2000}))
    one = few.read(few.plan().slabs[0])
    other = many.read(next(slab for slab in many.plan().slabs if slab.split == "train"))
    np.testing.assert_array_equal(one.pixels, other.pixels[:300])
    assert one.labels.tolist() == other.labels.tolist()[:300]
    assert [slab.start for slab in many.plan().slabs if slab.split == "train"] == [0, 1024]
    second = many.read(many.plan().slabs[-1])
    assert len(second.pixels) == 976
    assert not np.array_equal(second.pixels[:300], one.pixels)
    reseeded = mnist_numbers.make(settings_for(inputs, numbers={"train": 300}, seed=8))
    assert reseeded.read(reseeded.plan().slabs[0]).labels.tolist() != one.labels.tolist()
    validation = mnist_numbers.make(settings_for(inputs, numbers={"validation": 300}))
    assert validation.read(validation.plan().slabs[0]).labels.tolist() != one.labels.tolist()


def test_splits_use_the_digits_that_they_may(tmp_path: Path) -> None:
    inputs = write_digits(tmp_path, 50)
    ten = {"train": 10, "validation": 10, "test": 10}
    source = mnist_numbers.make(settings_for(inputs, numbers=ten))
    assert source.plan().facts == {"digits": {"train": [0, 40], "validation": [0, 40], "test": [40, 50]}}
    chosen = {"train": "0:3", "test": "48:50"}
    source = mnist_numbers.make(settings_for(inputs, numbers=ten, digits=chosen))
    assert source.plan().facts["digits"] == {"train": [0, 3], "validation": [0, 40], "test": [48, 50]}
    for slab in source.plan().slabs:
        used = set("".join(source.read(slab).labels.tolist()))
        assert used <= {"train": set("012"), "validation": set("0123456789"), "test": set("89")}[slab.split]


@pytest.mark.parametrize("text", ["5", "5:", ":5", "5:5", "6:5", "0:51", "-1:5", "a:b", "0:5:9"])
def test_ranges_that_are_none_are_named(tmp_path: Path, text: str) -> None:
    source = mnist_numbers.make(settings_for(write_digits(tmp_path, 50), digits={"train": text}))
    with pytest.raises(InputError, match=rf"with 0 <= START < STOP <= 50, .* got train={text}$"):
        source.plan()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"input": ("a",)}, "mnist_numbers reads two files, of images and of labels, got 1: a"),
        ({"split": "train"}, "leave out --split"),
        ({"splits": {"train": 1.0}}, "leave out --split"),
        ({"numbers": {}}, "numbers must give each split 1 image or more"),
        ({"numbers": {"train": 0}}, "numbers must give each split 1 image or more"),
        ({"digits": {"validaton": "0:5"}}, "digits name no other split"),
    ],
)
def test_settings_that_cannot_be_are_named(given: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        mnist_numbers.make(
            mnist_numbers.SourceSettings(**{"dataset": "d", "source": "mnist_numbers", "input": ("a", "b"), **given})
        )


def test_slabs_are_read_by_other_processes(tmp_path: Path) -> None:
    source = mnist_numbers.make(settings_for(write_digits(tmp_path)))
    slab = source.plan().slabs[0]
    again = pickle.loads(pickle.dumps(source)).read(pickle.loads(pickle.dumps(slab)))
    np.testing.assert_array_equal(again.pixels, source.read(slab).pixels)


# --- The whole conversion -----------------------------------------------------------------------


def test_tfds_reads_what_was_drawn(tmp_path: Path) -> None:
    inputs = write_digits(tmp_path)
    root = tmp_path / "root"
    result = convert(root, inputs, image_size=(48, 56))
    assert (result.counts["in"], result.counts["out"], result.counts["rejected"]) == (900, 900, {})
    images = products.image_set(str(root), "numbers", "1.0.0")
    assert (images.manifest.task, images.image_shape, images.classes) == ("sequence", (48, 56, 1), [*"0123456789"])
    assert images.manifest.source_facts["digits"] == {"train": [0, 40], "test": [40, 50]}
    source = mnist_numbers.make(settings_for(inputs, image_size=(48, 56)))
    found = {**read_back(root, "train"), **read_back(root, "test")}
    assert len(found) == 900
    for slab in source.plan().slabs:
        records = source.read(slab)
        for image_id, pixels, number in zip(records.image_ids, records.pixels, records.labels.tolist(), strict=True):
            np.testing.assert_array_equal(found[image_id][0], pixels)
            assert found[image_id][1] == number
    assert labels(root) == {image_id: number for image_id, (_, number) in found.items()}
    lengths = Counter(str(len(number)) for image_id, (_, number) in found.items() if image_id.startswith("train"))
    assert images.manifest.splits["train"]["lengths"] == dict(sorted(lengths.items()))
    assert not convert(root, inputs, image_size=(48, 56)).built
    assert convert(root, inputs, image_size=(48, 56), seed=1).built


def test_the_digits_of_mnist(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "mnist"
    if not folder.is_dir():
        pytest.skip("the real data is there, but without mnist")
    paths = tuple(str(folder / name) for name in ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"))
    found = idx.read_digits(paths)
    assert np.bincount(found.labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]  # published
    assert (found.pixels.shape, found.labels[:5].tolist()) == ((10_000, 28, 28), [7, 2, 1, 0, 4])
    result = convert(tmp_path, paths, numbers={"train": 300, "validation": 20, "test": 20})
    assert result.counts["out"] == 340
    manifest = products.image_set(str(tmp_path), "numbers", "1.0.0").manifest
    assert manifest.source_facts["digits"] == {"train": [0, 8000], "validation": [0, 8000], "test": [8000, 10_000]}
    assert manifest.image_shape == (64, 64, 1)
