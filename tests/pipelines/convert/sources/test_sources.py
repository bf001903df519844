"""Sources: the contract of every file in the folder, and what each of the formats has of its own."""

import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import pytest
import scipy.io
from hypothesis import given
from hypothesis import strategies as st

from pipelines.convert import sources
from pipelines.convert.sources import mnist_numbers, svhn_h5, svhn_mat
from schemas import plugins
from schemas.errors import InputError
from schemas.manifests import SEQUENCE
from schemas.settings.convert import ConvertSettings
from storage import formats
from tests.support.digit_struct import picture, png, row_of_boxes
from tests.support.digit_struct import write_mat as write_mat_of_boxes
from tests.support.idx_files import write_digits


def h5_settings(path: Path, **more: Any) -> Any:
    return ConvertSettings(dataset="d", source="svhn_h5", input=(str(path),), **more)


def mat_settings(*paths: Path, **more: Any) -> Any:
    return ConvertSettings(dataset="d", source="svhn_mat", input=tuple(map(str, paths)), **more)


def write_h5(path: Path, chunks: int | None = None, **arrays: npt.NDArray[Any]) -> Path:
    with h5py.File(path, "w") as file:
        for key, values in arrays.items():
            shape = (chunks, *values.shape[1:]) if chunks else None
            file.create_dataset(key.replace("__", "/"), data=values, chunks=shape)
    return path


def write_mat(path: Path, count: int, first_label: int = 1) -> Path:
    """Format 2: (32, 32, 3, n) uint8, image i of value i in every pixel; labels 1-10 in turn, 10 for 0."""
    pixels = np.broadcast_to(np.arange(count, dtype=np.uint8), (32, 32, 3, count))
    labels = (np.arange(count) + first_label - 1) % 10 + 1
    scipy.io.savemat(path, {"X": pixels, "y": labels[:, None].astype(np.uint8)})
    return path


def grey(count: int) -> npt.NDArray[np.float32]:
    """Images of 8x8, image i of value i."""
    return np.broadcast_to(np.arange(count, dtype=np.float32)[:, None, None] % 256, (count, 8, 8)).copy()


# --- The contract of every source ---------------------------------------------------------------


@pytest.mark.parametrize("name", plugins.names(sources))
def test_every_source_keeps_the_contract(name: str) -> None:
    module = plugins.load(sources, "source", name)
    assert re.search(rf"^    concord convert --source {name} --", module.__doc__ or "", re.MULTILINE)
    unfit = () if name != "open_images" else ("x.csv",)
    with pytest.raises(InputError, match=name):
        module.make(ConvertSettings(dataset="d", source=name, input=unfit))  # none, or too many: it says whose


@pytest.fixture
def inputs(tmp_path: Path) -> dict[str, Any]:
    """A small input for each source; a new source adds its own here."""
    h5 = write_h5(tmp_path / "a.h5", X=grey(30), y=np.arange(30) % 10)
    mat = write_mat(tmp_path / "train_32x32.mat", 30)
    formats = [(f"{row}.png", row_of_boxes(str(row))) for row in range(1, 31)]
    write_mat_of_boxes(tmp_path / "train" / "digitStruct.mat", formats)
    for name, _ in formats:
        (tmp_path / "train" / name).write_bytes(png(picture(30, 50)))
    return {
        "svhn_h5": h5_settings(h5, keys={"train": "X:y"}),
        "svhn_mat": mat_settings(mat),
        "svhn_full": ConvertSettings(dataset="d", source="svhn_full", input=(str(tmp_path / "train"),)),
        "mnist_numbers": mnist_numbers.SourceSettings(
            dataset="d", source="mnist_numbers", input=write_digits(tmp_path), numbers={"train": 30}
        ),
    }


@pytest.mark.parametrize("name", sorted(set(plugins.names(sources)) - {"image_folder", "open_images"}))
def test_every_source_plans_and_reads(name: str, inputs: dict[str, Any]) -> None:
    source = plugins.load(sources, "source", name).make(inputs[name])
    plan = source.plan()
    records = [source.read(slab) for slab in plan.slabs]
    assert plan.records() == {"train": 30}
    assert all(one.pixels.shape[1:] == plan.image_shape for one in records)
    ids = [image_id for one in records for image_id in one.image_ids]
    positions = [position for one in records for position in one.positions]
    assert len(set(ids)) == len(set(positions)) == 30
    for one in records:
        answers = one.labels if one.classes is None else one.classes
        lengths = {len(one.image_ids), len(one.positions), len(one.pixels), len(one.labels), len(answers)}
        assert lengths == {len(one.pixels)}
        assert (one.classes is None) == (plan.task == SEQUENCE)
        assert not one.problems
        assert one.source.startswith(inputs[name].input[0])


# --- Slabs --------------------------------------------------------------------------------------


@given(st.integers(1, 10**7), st.integers(1, 10**8), st.integers(1, 20_000))
def test_slabs_are_whole_chunks_and_bounded(count: int, row_bytes: int, chunk: int) -> None:
    rows = sources.slab_rows(count, row_bytes, chunk)
    assert rows >= 1
    chunk = min(chunk, max(1, sources.MOST_SLAB_BYTES // row_bytes))  # a chunk may be too large for an element
    assert rows % chunk == 0
    assert rows == chunk or (rows <= 4096 and rows * row_bytes <= 16 << 20)


def test_a_file_of_some_thousand_images_gives_sixteen_slabs() -> None:
    assert -(-42_000 // sources.slab_rows(42_000, 4096, 250)) >= 16
    assert -(-4096 // sources.slab_rows(4096, 4096)) == 16
    assert sources.slab_rows(100, 4096) == 256  # not a Beam element for each few images


@pytest.mark.parametrize(("count", "chunks"), [(1000, 100), (999, 70), (600, 600), (700, 1), (257, None)])
def test_h5_slabs_cover_every_row_once_in_whole_chunks(tmp_path: Path, count: int, chunks: int | None) -> None:
    path = write_h5(tmp_path / "a.h5", chunks, X=grey(count), y=np.arange(count) % 10)
    source = svhn_h5.make(h5_settings(path, keys={"train": "X:y"}))
    slabs = source.plan().slabs
    assert [row for slab in slabs for row in range(slab.start, slab.stop)] == list(range(count))
    assert all(slab.start % (chunks or 1) == 0 for slab in slabs)
    assert [slab.payload_bytes for slab in slabs] == [(slab.stop - slab.start) * 256 for slab in slabs]
    read = np.concatenate([source.read(slab).pixels for slab in slabs])
    np.testing.assert_array_equal(read[..., 0], grey(count))


# --- HDF5 ---------------------------------------------------------------------------------------


def test_h5_reads_the_course_files_splits(sample_h5: str) -> None:
    source = svhn_h5.make(h5_settings(Path(sample_h5)))
    plan = source.plan()
    assert plan.records() == {"train": 400, "validation": 80, "test": 160}
    assert plan.image_shape == (32, 32, 1)
    with h5py.File(sample_h5) as file:
        for split, key in (("train", "train"), ("validation", "val"), ("test", "test")):
            records = [source.read(slab) for slab in plan.slabs if slab.split == split]
            np.testing.assert_array_equal(np.concatenate([one.pixels for one in records])[..., 0], file[f"X_{key}"])
            np.testing.assert_array_equal(np.concatenate([one.classes for one in records]), file[f"y_{key}"])
            assert records[0].image_ids[0] == f"{split}-0000000"
            assert records[0].positions[-1] == f"X_{key}[{len(records[0].pixels) - 1}]"


def test_h5_reads_flat_images_under_other_keys(tmp_path: Path) -> None:
    """The layout of usps.h5: groups, 256 values a row, 0-1."""
    flat = np.arange(2 * 256, dtype=np.float32).reshape(2, 256) / 512
    path = write_h5(tmp_path / "usps.h5", train__data=flat, train__target=np.array([6, 0]))
    keys = {"train": "train/data:/train/target"}
    source = svhn_h5.make(h5_settings(path, keys=keys, image_shape=(16, 16), value_range=(0.0, 1.0)))
    plan = source.plan()
    assert plan.image_shape == (16, 16, 1)
    pixels = source.read(plan.slabs[0]).pixels
    np.testing.assert_array_equal(pixels[1, 2, :, 0], flat[1, 32:48])  # row by row


def test_h5_keeps_colour_images(tmp_path: Path) -> None:
    colour = np.arange(2 * 4 * 5 * 3, dtype=np.uint8).reshape(2, 4, 5, 3)
    path = write_h5(tmp_path / "a.h5", X=colour, y=np.array([1, 2]))
    source = svhn_h5.make(h5_settings(path, keys={"train": "X:y"}))
    plan = source.plan()
    assert plan.image_shape == (4, 5, 3)
    np.testing.assert_array_equal(source.read(plan.slabs[0]).pixels, colour)


def test_h5_one_split_can_be_named(tmp_path: Path) -> None:
    path = write_h5(tmp_path / "a.h5", X=grey(3), y=np.arange(3))
    assert svhn_h5.make(h5_settings(path, keys={"train": "X:y"}, split="extra")).plan().records() == {"extra": 3}
    with pytest.raises(InputError, match="--split extra needs one pair of --keys, but there are 3"):
        svhn_h5.make(h5_settings(path, split="extra"))


def test_h5_refuses_splits_of_different_shapes(tmp_path: Path) -> None:
    path = write_h5(tmp_path / "a.h5", X=grey(3), y=np.arange(3), Z=np.ones((3, 4, 4)))
    with pytest.raises(InputError, match=r"different shapes: \[\(4, 4, 1\), \(8, 8, 1\)\]"):
        svhn_h5.make(h5_settings(path, keys={"train": "X:y", "test": "Z:y"})).plan()


@pytest.mark.parametrize("shape", [(-8, -8), (8, 7), (64,), (4, 4, 4), (2, 2, 4, 4)])
def test_h5_refuses_a_stated_shape_that_does_not_fit(tmp_path: Path, shape: tuple[int, ...]) -> None:
    path = write_h5(tmp_path / "a.h5", X=grey(3).reshape(3, 64), y=np.arange(3))
    with pytest.raises(InputError, match=r"has shape \(64,\); give its height,width .* 64 values\) with --image-shape"):
        svhn_h5.make(h5_settings(path, keys={"train": "X:y"}, image_shape=shape)).plan()


# --- MATLAB -------------------------------------------------------------------------------------


def test_mat_label_ten_is_the_digit_zero(tmp_path: Path) -> None:
    source = svhn_mat.make(mat_settings(write_mat(tmp_path / "test_32x32.mat", 12, first_label=9)))
    records = source.read(source.plan().slabs[0])
    assert records.labels.tolist() == [9, 10, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]  # as the file holds them
    assert records.classes is not None
    assert records.classes.tolist() == [9, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0]


def test_mat_label_zero_and_others_are_no_digits() -> None:
    labels = np.array([0, 1, 9, 10, 11, -1])
    assert formats.svhn_digits(labels).tolist() == [-1, 1, 9, 0, 11, -1]
    assert formats.svhn_digits(np.array([10.0, np.nan, 2.5, np.inf])).tolist() == [0, -1, -1, -1]


def test_mat_images_are_rows_with_colours_last(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3, 4), dtype=np.uint8)
    scipy.io.savemat(tmp_path / "a.mat", {"X": pixels, "y": np.ones((4, 1))})
    source = svhn_mat.make(mat_settings(tmp_path / "a.mat"))
    plan = source.plan()
    read = source.read(plan.slabs[0]).pixels
    assert plan.image_shape == (32, 32, 3)
    assert read.flags["C_CONTIGUOUS"]
    for number in range(4):
        np.testing.assert_array_equal(read[number], pixels[:, :, :, number])


def test_mat_files_go_to_the_splits_that_they_are_named_after(tmp_path: Path) -> None:
    counts = {"train_32x32.mat": 300, "test_32x32.mat": 20, "extra_32x32.mat": 7, "crops_32x32.mat": 5}
    paths = [write_mat(tmp_path / name, count % 256) for name, count in counts.items()]
    source = svhn_mat.make(mat_settings(*paths))
    plan = source.plan()
    assert plan.records() == {"train": 300 % 256 + 5, "test": 20, "extra": 7}
    ids = [image_id for slab in plan.slabs for image_id in source.read(slab).image_ids]
    assert len(set(ids)) == len(ids) == 44 + 20 + 7 + 5
    assert {"train_32x32-0000043", "test_32x32-0000019", "crops_32x32-0000004"} < set(ids)


def test_mat_one_split_can_be_named(tmp_path: Path) -> None:
    source = svhn_mat.make(mat_settings(write_mat(tmp_path / "test_32x32.mat", 4), split="extra"))
    assert source.plan().records() == {"extra": 4}


def test_mat_slabs_cover_every_row_once(tmp_path: Path) -> None:
    path = tmp_path / "a.mat"
    pixels = np.broadcast_to((np.arange(700) % 251).astype(np.uint8), (4, 4, 3, 700))
    scipy.io.savemat(path, {"X": pixels, "y": np.ones((700, 1))}, do_compression=True)
    source = svhn_mat.make(mat_settings(path))
    slabs = source.plan().slabs
    assert [(slab.start, slab.stop) for slab in slabs] == [(0, 256), (256, 512), (512, 700)]
    assert all(one.stop == other.start for one, other in pairwise(slabs))
    read = np.concatenate([source.read(slab).pixels[:, 0, 0, 0] for slab in slabs])
    np.testing.assert_array_equal(read, np.arange(700) % 251)


def test_mat_files_of_one_name_would_share_ids(tmp_path: Path) -> None:
    paths = [tmp_path / folder / "train_32x32.mat" for folder in ("a", "b")]
    with pytest.raises(InputError, match="must have different names: train_32x32, train_32x32"):
        svhn_mat.make(mat_settings(*paths))


# --- Labels as class indices --------------------------------------------------------------------


@given(st.lists(st.floats(width=32) | st.integers(0, 12).map(float)))
def test_only_whole_numbers_are_classes(labels: list[float]) -> None:
    expected = [int(label) if label.is_integer() and abs(label) < 2**31 else -1 for label in labels]
    assert formats.class_indices(np.array(labels, dtype=np.float64)).tolist() == expected


@pytest.mark.parametrize("kind", ["u1", "i8", "u4", "f4", "f8"])
def test_class_indices_of_every_number_type(kind: str) -> None:
    found = formats.class_indices(np.array([0, 9, 10], dtype=kind))
    assert (str(found.dtype), found.tolist()) == ("int64", [0, 9, 10])
