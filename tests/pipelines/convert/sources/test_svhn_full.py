"""Source `svhn_full`: the boxes of SVHN's full numbers, the crops around them, and the numbers as labels."""

import csv
import io
import math
import pickle
from collections import Counter
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from PIL import Image

from concord import messages
from pipelines.convert.sources import svhn_full
from schemas.errors import InputError, TooManyRejectsError
from schemas.stage import Context
from storage import products, stores
from storage.formats import digit_struct
from tests.support import stages
from tests.support.digit_struct import walk, write_csv
from tests.support.number_runs import (
    NUMBERS,
    ONE,
    REJECTED,
    TEST,
    TRAIN,
    convert,
    labels,
    pictures,
    read_back,
    rows,
    settings_for,
)

# --- The whole conversion -----------------------------------------------------------------------


def test_every_entry_is_an_example_or_a_named_reject(numbers: Path, tmp_path: Path) -> None:
    result = convert(tmp_path / "root", numbers / "train", numbers / "test")
    assert (result.counts["in"], result.counts["out"]) == (len(TRAIN) + len(TEST), len(NUMBERS))
    assert result.counts["rejected"] == dict(sorted(Counter(REJECTED.values()).items()))
    assert labels(tmp_path / "root") == NUMBERS
    rejects = rows(tmp_path / "root", "rejects/convert/dataset=numbers")
    assert {row["image_id"]: row["reason"] for row in rejects} == REJECTED
    gone = next(row for row in rejects if row["reason"] == "image_gone")
    assert gone["detail"] == f"{numbers}/train/6.png is not there"
    assert (gone["source"], gone["position"]) == (f"{numbers}/train/digitStruct.mat", "digitStruct(6)")


def test_tfds_reads_each_crop_and_its_number(numbers: Path, tmp_path: Path) -> None:
    """Against Pillow, which crops and scales on its own: the boxes, 30 % higher and wider, within the picture."""
    convert(tmp_path / "root", numbers / "train", numbers / "test")
    found = {**read_back(tmp_path / "root", "train"), **read_back(tmp_path / "root", "test")}
    assert {image_id: number for image_id, (_, number) in found.items()} == NUMBERS
    boxes = {f"{split}/{name}": one for split, entries in (("train", TRAIN), ("test", TEST)) for name, one in entries}
    for image_id, (pixels, _) in found.items():
        left = max(0, min(box[1] for box in boxes[image_id]))
        right = min(70, max(box[1] + box[3] for box in boxes[image_id]))
        top, bottom = min(box[2] for box in boxes[image_id]), max(box[2] + box[4] for box in boxes[image_id])
        x, y = 0.15 * (right - left), 0.15 * (bottom - top)
        edges = max(0, math.floor(left - x)), max(0, math.floor(top - y))
        ends = min(70, math.ceil(right + x)), min(40, math.ceil(bottom + y))
        image = Image.open(numbers / image_id).crop((*edges, *ends)).resize((64, 64), Image.Resampling.BILINEAR)
        assert pixels.shape == (64, 64, 3)
        assert np.abs(pixels.astype(int) - np.asarray(image)).mean() < 2, image_id


def test_the_manifest_tells_task_classes_and_lengths(numbers: Path, tmp_path: Path) -> None:
    result = convert(tmp_path / "root", numbers / "train", numbers / "test", image_size=(54, 48))
    images = products.image_set(str(tmp_path / "root"), "numbers", "1.0.0")
    assert (images.manifest.task, images.classes, images.image_shape) == ("sequence", [*"0123456789"], (54, 48, 3))
    assert images.manifest.splits["train"]["lengths"] == {"1": 2, "2": 2, "3": 1, "6": 1}
    assert images.manifest.splits["test"]["lengths"] == {"1": 1, "3": 1}
    assert images.manifest.counts == result.counts
    assert images.images_in("train") == 6
    told = messages.lengths("train", result.counts["splits"]["train"]["lengths"])
    assert told == "\n  train: 2 of 1 digit, 2 of 2 digits, 1 of 3 digits, 1 of 6 digits"


def test_more_rejects_than_allowed_stop_it_and_name_the_first(numbers: Path, tmp_path: Path) -> None:
    with pytest.raises(TooManyRejectsError, match=r"convert rejected 4 of 12 records .*The first: .*digitStruct"):
        convert(tmp_path / "root", numbers / "train", numbers / "test", max_reject_fraction=0.3)
    assert not (tmp_path / "root/images/numbers/1.0.0/_concord.json").exists()


def test_it_is_done_once_until_a_picture_comes(numbers: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    assert convert(root, numbers / "test").built
    assert not convert(root, numbers / "test").built
    (numbers / "test" / "1.png").unlink()
    assert convert(root, numbers / "test").counts["rejected"] == {"image_gone": 1}
    pictures(numbers / "test", ["1.png"])
    assert convert(root, numbers / "test").counts["rejected"] == {}


def test_a_lost_shard_is_made_again(numbers: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    convert(root, numbers / "train", shards=2)
    before = {path: path.read_bytes() for path in root.rglob("*-of-*") if path.is_file()}
    (root / "images/numbers/1.0.0/_concord.json").unlink()
    lost = root / "index/dataset=numbers/split=train/part-00001-of-00002.parquet"
    lost.unlink()
    result = convert(root, numbers / "train", shards=2)
    assert result.counters["convert.write.elements"] == 1
    assert {path: path.read_bytes() for path in before} == before


def test_folders_are_split_as_they_are_named_or_told(numbers: Path, tmp_path: Path) -> None:
    result = convert(tmp_path / "one", numbers / "train", numbers / "test", split="every")
    assert list(result.counts["splits"]) == ["every"]
    assert set(labels(tmp_path / "one")) == set(NUMBERS)
    result = convert(tmp_path / "drawn", numbers / "train", numbers / "test", splits={"a": 0.5, "b": 0.5})
    assert sum(one["in"] for one in result.counts["splits"].values()) == 12
    assert labels(tmp_path / "drawn") == NUMBERS


def test_folders_may_lie_on_s3(numbers: Path, s3_place: str) -> None:
    for path in sorted((numbers / "test").iterdir()):
        stores.write_bytes(f"{s3_place}/test/{path.name}", path.read_bytes())
    settings, context = settings_for(f"{s3_place}/test/"), Context(f"{s3_place}/root", ONE)
    result = stages.convert(settings, context)
    assert (result.counts["in"], result.counts["out"]) == (2, 2)
    assert not stages.convert(settings, context).built
    rows = products.label_set(context.root, "numbers", "human", "test").read(0).to_pylist()
    assert {row["image_id"] for row in rows} <= {"test/1.png", "test/2.png"}


def test_lists_may_lie_in_every_kind_of_place(numbers: Path, tmp_path: Path, place: str) -> None:
    stores.write_bytes(f"{place}/train/digitStruct.mat", (numbers / "train" / "digitStruct.mat").read_bytes())
    found = digit_struct.read_mat(f"{place}/train/digitStruct.mat", 0, len(TRAIN))
    assert [entry.name for entry in found] == [name for name, _ in TRAIN]
    csv_file = write_csv(tmp_path / "boxes.csv", TRAIN)
    stores.write_bytes(f"{place}/train_digitStruct.csv", csv_file.read_bytes())
    settings, context = settings_for(f"{place}/train_digitStruct.csv"), Context(f"{place}/root", ONE)
    result = stages.convert(settings, context)
    assert (result.counts["in"], result.counts["out"]) == (10, 9)
    assert not stages.convert(settings, context).built


def test_slabs_are_read_by_other_processes(numbers: Path) -> None:
    source = pickle.loads(pickle.dumps(svhn_full.make(settings_for(numbers / "train"))))
    (slab,) = source.plan().slabs
    records = source.read(pickle.loads(pickle.dumps(slab)))
    assert [records.image_ids[row] for row in sorted(records.problems)] == list(REJECTED)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "LA"])
def test_pictures_of_other_modes_become_colour(numbers: Path, tmp_path: Path, mode: str) -> None:
    plain = Image.new("L", (70, 40), 90).convert(mode) if mode != "LA" else Image.new("LA", (70, 40), (90, 255))
    sink = io.BytesIO()
    plain.save(sink, "PNG")
    (numbers / "test" / "1.png").write_bytes(sink.getvalue())
    convert(tmp_path / "root", numbers / "test")
    pixels, _ = read_back(tmp_path / "root", "test")["test/1.png"]
    assert pixels.shape == (64, 64, 3)
    assert set(np.unique(pixels)) == {90}


# --- Inputs that cannot be ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"MATLAB", "is not a readable HDF5 file"),
        ({}, "has no list of references digitStruct/name; it is no digitStruct.mat of SVHN"),
        ({"digitStruct/name": np.ones((2, 1)), "digitStruct/bbox": np.ones((2, 1))}, "has no list of references"),
    ],
)
def test_what_is_no_digit_struct_is_named(tmp_path: Path, content: Any, message: str) -> None:
    path = tmp_path / "train" / "digitStruct.mat"
    path.parent.mkdir()
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        with h5py.File(path, "w") as file:
            for key, values in content.items():
                file[key] = values
    with pytest.raises(InputError, match=message) as raised:
        convert(tmp_path / "root", path.parent)
    assert str(path) in str(raised.value)


def test_inputs_that_cannot_be_are_named(numbers: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"no such file: {tmp_path}/digitStruct.mat"):
        convert(tmp_path / "root", tmp_path)
    with pytest.raises(InputError, match="must have different names: train, train"):
        convert(tmp_path / "root", numbers / "train", tmp_path / "other" / "train")
    with pytest.raises(InputError, match="leave out --classes"):
        convert(tmp_path / "root", numbers / "test", classes=("a", "b"))
    with pytest.raises(InputError, match="or name the split with --split"):
        convert(tmp_path / "root", (numbers / "test").rename(numbers / "2 far"))


# --- Real data ----------------------------------------------------------------------------------


@pytest.fixture
def svhn(shared_data: Path) -> Path:
    if not (shared_data / "svhn_full").is_dir():
        pytest.skip("the real data is there, but without svhn_full")
    return shared_data / "svhn_full"


def test_the_official_boxes_give_every_number(svhn: Path, tmp_path: Path) -> None:
    paths = [svhn / f"{split}_digitStruct.csv" for split in ("train", "test")]
    result = convert(tmp_path, *paths)
    assert (result.counts["in"], result.counts["out"], result.counts["rejected"]) == (46_470, 46_470, {})
    assert result.counts["splits"]["train"]["lengths"] == {
        "1": 5137,
        "2": 18_130,
        "3": 8691,
        "4": 1434,
        "5": 9,
        "6": 1,
    }
    assert result.counts["splits"]["test"]["lengths"] == {"1": 2483, "2": 8356, "3": 2081, "4": 146, "5": 2}
    listed: dict[str, str] = {}
    for path in paths:
        with open(path) as file:
            for row in csv.DictReader(file, delimiter=";"):
                image_id = f"{path.name.partition('_')[0]}/{row['name']}"
                listed[image_id] = listed.get(image_id, "") + row["label"].removeprefix("1" * (row["label"] == "10"))
    found = labels(tmp_path)
    assert {image_id for image_id in listed if listed[image_id] != found[image_id]} == {
        *(f"train/{number}.png" for number in (262, 10855, 16278, 18702, 19970)),
        *(f"test/{number}.png" for number in (7314, 10036, 12100)),
    }  # whose boxes are not listed from left to right
    assert found["test/12100.png"] == "64"


def test_the_official_pictures_become_examples(svhn: Path, tmp_path: Path) -> None:
    splits = ("train", "test", "extra")
    result = convert(tmp_path, *(svhn / split for split in splits))
    assert {split: (one["in"], one["out"]) for split, one in result.counts["splits"].items()} == {
        "train": (39, 8),
        "test": (40, 3),
        "extra": (40, 3),
    }
    assert result.counts["rejected"] == {"image_gone": 105}
    there = {f"{split}/{path.name}" for split in splits for path in (svhn / split).glob("*.png")}
    assert set(labels(tmp_path)) == there
    assert {row["image_id"] for row in rows(tmp_path, "rejects/convert/dataset=numbers")} == {
        f"{split}/{name}" for split in splits for name in walk(svhn / split / "digitStruct.mat")
    } - there
    seen = {image_id: number for split in splits for image_id, (_, number) in read_back(tmp_path, split).items()}
    assert seen == labels(tmp_path)
    assert seen["train/1.png"] == "19"
    assert seen["test/2.png"] == "210"


def test_the_official_mat_files_say_what_the_csv_files_say(svhn: Path) -> None:
    for split in ("train", "test"):
        path = svhn / split / "digitStruct.mat"
        listed = {entry.name: entry.boxes for entry in digit_struct.read_csv(str(svhn / f"{split}_digitStruct.csv"))}
        found = digit_struct.read_mat(str(path), 0, digit_struct.count_mat(str(path)))
        assert {entry.name: list(map(tuple, entry.boxes.tolist())) for entry in found} == walk(path)
        for one in found:
            np.testing.assert_array_equal(one.boxes, listed[one.name])
