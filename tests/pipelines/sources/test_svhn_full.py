"""Source `svhn_full`: the boxes of SVHN's full numbers, the crops around them, and the numbers as labels."""

import csv
import io
import math
import os
import pickle
from collections import Counter
from pathlib import Path
from typing import Any

import duckdb
import h5py
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from pipelines import telling
from pipelines.convert import stage as convert_stage
from pipelines.execution import Context, StageResult
from pipelines.formats import digit_boxes
from pipelines.formats.digit_boxes import Entry
from pipelines.sources import svhn_full
from schemas import products, storage
from schemas.errors import IncompleteError, InputError, TooManyRejectsError
from schemas.rejects import UnfitError
from schemas.settings import ConvertSettings
from tests.pipelines.digit_struct import Box, picture, png, row_of_boxes, walk, write_csv, write_mat

ONE = ("--direct_num_workers=1",)
TRAIN: list[tuple[str, list[Box]]] = [
    ("1.png", row_of_boxes("19")),
    ("2.png", row_of_boxes("7")),  # in place
    ("3.png", row_of_boxes("105")),  # 10 is digit 0
    ("4.png", row_of_boxes("0")),
    ("5.png", row_of_boxes("012345", left=-2)),  # six digits, a zero first, a box beyond the picture
    ("6.png", row_of_boxes("88")),  # no such picture
    ("7.png", row_of_boxes("31")),  # a broken one
    ("8.png", row_of_boxes("26", left=500)),  # boxes outside it
    ("9.png", [(11, 3, 3, 5, 9)]),  # no such label
    ("10.png", [(9, 41, 6, 12, 22), (7, 30, 7, 10, 22)]),  # listed from right to left, as 10855.png of train is
]
TEST: list[tuple[str, list[Box]]] = [("1.png", row_of_boxes("5")), ("2.png", row_of_boxes("210"))]
NUMBERS = {
    "train/1.png": "19",
    "train/2.png": "7",
    "train/3.png": "105",
    "train/4.png": "0",
    "train/5.png": "012345",
    "train/10.png": "79",
    "test/1.png": "5",
    "test/2.png": "210",
}
REJECTED = {
    "train/6.png": "image_gone",
    "train/7.png": "image_undecodable",
    "train/8.png": "box_outside",
    "train/9.png": "label_outside_classes",
}


def settings_for(*inputs: Path | str, **more: Any) -> ConvertSettings:
    given = {"dataset": "numbers", "source": "svhn_full", "max_reject_fraction": 1.0, **more}
    return ConvertSettings(input=tuple(map(str, inputs)), **given)


def convert(root: Path, *inputs: Path | str, **more: Any) -> StageResult:
    return convert_stage.convert(settings_for(*inputs, **more), Context(str(root), ONE))


def rows(root: Path, table: str) -> list[dict[str, Any]]:
    """The rows of a table of the dataset, as DuckDB reads them."""
    files = [str(path) for path in root.glob(f"{table}/**/*.parquet")]
    found: list[dict[str, Any]] = duckdb.read_parquet(files, hive_partitioning=False).to_arrow_table().to_pylist()
    return found


def labels(root: Path) -> dict[str, str]:
    found = rows(root, "labels/dataset=numbers/annotator=human")
    assert {row["confidence"] for row in found} <= {1.0}
    assert len({row["image_id"] for row in found}) == len(found)
    return {row["image_id"]: row["label"] for row in found}


def read_back(root: Path, split: str) -> dict[str, tuple[npt.NDArray[np.uint8], str]]:
    """Pixels and number of each image, as tensorflow_datasets reads them."""
    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(str(root / "images/numbers/1.0.0"))
    found = builder.as_dataset(split=split).as_numpy_iterator()
    return {row["image/id"].decode(): (row["image"], row["label"].decode()) for row in found}


def pictures(folder: Path, names: list[str]) -> None:
    """Each its own; `7.png` is broken in its middle."""
    for name in names:
        content = bytearray(png(picture(40, 70, int(name.partition(".")[0]))))
        if name == "7.png":
            content[len(content) // 2] ^= 0xFF
        (folder / name).write_bytes(bytes(content))


@pytest.fixture
def numbers(tmp_path: Path) -> Path:
    """A folder of SVHN's layout, `train` and `test`, with every oddity of the real one."""
    for split, entries in (("train", TRAIN), ("test", TEST)):
        folder = tmp_path / "svhn" / split
        folder.mkdir(parents=True)
        write_mat(folder / "digitStruct.mat", entries)
        pictures(folder, [name for name, _ in entries if (split, name) != ("train", "6.png")])
    return tmp_path / "svhn"


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
    assert (images.manifest["task"], images.classes, images.image_shape) == ("sequence", [*"0123456789"], (54, 48, 3))
    assert images.manifest["splits"]["train"]["lengths"] == {"1": 2, "2": 2, "3": 1, "6": 1}
    assert images.manifest["splits"]["test"]["lengths"] == {"1": 1, "3": 1}
    assert images.manifest["counts"] == result.counts
    assert images.images_in("train") == 6
    told = telling.lengths("train", result.counts["splits"]["train"]["lengths"])
    assert told == "\n  train: 2 of 1 digit, 2 of 2 digits, 1 of 3 digits, 1 of 6 digits"


def test_more_rejects_than_allowed_stop_it_and_name_the_first(numbers: Path, tmp_path: Path) -> None:
    with pytest.raises(TooManyRejectsError, match=r"convert rejected 4 of 12 records .*The first: .*digitStruct"):
        convert(tmp_path / "root", numbers / "train", numbers / "test", max_reject_fraction=0.3)
    assert not (tmp_path / "root/images/numbers/1.0.0/_concord.json").exists()


def test_it_is_done_once_until_a_picture_comes(numbers: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    assert convert(root, numbers / "test").made
    assert not convert(root, numbers / "test").made
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
        storage.write_bytes(f"{s3_place}/test/{path.name}", path.read_bytes())
    settings, context = settings_for(f"{s3_place}/test/"), Context(f"{s3_place}/root", ONE)
    result = convert_stage.convert(settings, context)
    assert (result.counts["in"], result.counts["out"]) == (2, 2)
    assert not convert_stage.convert(settings, context).made
    rows = products.label_set(context.root, "numbers", "human", "test").read(0).to_pylist()
    assert {row["image_id"] for row in rows} <= {"test/1.png", "test/2.png"}


def test_lists_may_lie_in_every_kind_of_place(numbers: Path, tmp_path: Path, place: str) -> None:
    storage.write_bytes(f"{place}/train/digitStruct.mat", (numbers / "train" / "digitStruct.mat").read_bytes())
    found = digit_boxes.read_mat(f"{place}/train/digitStruct.mat", 0, len(TRAIN))
    assert [entry.name for entry in found] == [name for name, _ in TRAIN]
    csv_file = write_csv(tmp_path / "boxes.csv", TRAIN)
    storage.write_bytes(f"{place}/train_digitStruct.csv", csv_file.read_bytes())
    settings, context = settings_for(f"{place}/train_digitStruct.csv"), Context(f"{place}/root", ONE)
    result = convert_stage.convert(settings, context)
    assert (result.counts["in"], result.counts["out"]) == (10, 9)
    assert not convert_stage.convert(settings, context).made


def test_slabs_are_read_by_other_processes(numbers: Path) -> None:
    source = pickle.loads(pickle.dumps(svhn_full.make(settings_for(numbers / "train"))))
    (slab,) = source.plan().slabs
    records = source.read(pickle.loads(pickle.dumps(slab)))
    assert [records.image_ids[row] for row in sorted(records.problems)] == list(REJECTED)


# --- digitStruct.mat ----------------------------------------------------------------------------


def test_a_slab_of_entries_is_what_a_plain_walk_finds(tmp_path: Path) -> None:
    path = write_mat(tmp_path / "digitStruct.mat", TRAIN)
    expected = walk(path)
    assert digit_boxes.count_mat(str(path)) == len(expected) == len(TRAIN)
    found = digit_boxes.read_mat(str(path), 0, 4) + digit_boxes.read_mat(str(path), 4, len(TRAIN))
    assert {entry.name: list(map(tuple, entry.boxes.tolist())) for entry in found} == expected
    assert [entry.position for entry in found[3:5]] == ["digitStruct(4)", "digitStruct(5)"]


def test_entries_whose_fields_differ_in_length_are_named(tmp_path: Path) -> None:
    path = write_mat(tmp_path / "digitStruct.mat", TRAIN[:2])
    with h5py.File(path, "r+") as file:
        group = file[file["digitStruct/bbox"][0, 0]]
        del group["width"]
        group["width"] = np.array([[5.0]])
    with pytest.raises(UnfitError) as raised:
        digit_boxes.read_mat(str(path), 0, 2)[0].number()
    assert raised.value.problem.detail == "its boxes have 2 of label, 2 of left, 2 of top, 1 of width, 2 of height"


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


# --- Numbers and rectangles ---------------------------------------------------------------------


def entry(*boxes: Box) -> Entry:
    return Entry("1.png", "line 2", np.array(boxes, np.float64).reshape(-1, 5))


@pytest.mark.parametrize(
    ("boxes", "number"),
    [
        (row_of_boxes("10203"), "10203"),
        (row_of_boxes("0"), "0"),
        (row_of_boxes("00"), "00"),
        (list(reversed(row_of_boxes("123"))), "123"),
        ([(2, 24, 2, 14, 25), (6, 24, 3, 16, 25), (7, 48, 4, 9, 25), (2, 37, 5, 13, 25)], "2627"),  # 19970.png
    ],
)
def test_digits_are_read_from_left_to_right(boxes: list[Box], number: str) -> None:
    assert entry(*boxes).number() == number


@pytest.mark.parametrize(
    ("boxes", "reason", "detail"),
    [
        ([], "label_missing", "it has no box"),
        ([(0, 1, 1, 2, 2)], "label_outside_classes", "the label is 0, but labels are 1 to 10 (digit 0)"),
        ([(1, 1, 1, 2, 2), (11, 1, 1, 2, 2)], "label_outside_classes", "the label is 11, but labels are 1 to 10"),
        ([(2.5, 1, 1, 2, 2)], "label_outside_classes", "the label is 2.5"),
        ([(float("nan"), 1, 1, 2, 2)], "label_outside_classes", "the label is nan"),
        ([(1, float("nan"), 1, 2, 2)], "box_not_a_number", "a box has left, top, width, height [nan, 1.0, 2.0, 2.0]"),
    ],
)
def test_what_is_no_number_is_named(boxes: list[Box], reason: str, detail: str) -> None:
    with pytest.raises(UnfitError) as raised:
        entry(*boxes).number()
    assert raised.value.problem.reason == reason
    assert raised.value.problem.detail.startswith(detail)


@pytest.mark.parametrize(
    ("boxes", "margin", "expected"),
    [
        ([(1, 20, 10, 10, 20), (2, 30, 12, 10, 20)], 0.0, (10, 32, 20, 40)),
        ([(1, 20, 10, 10, 20), (2, 30, 10, 10, 20)], 0.3, (7, 33, 17, 43)),  # 20 x 20, 3 more on each side
        ([(1, 20, 10, 10, 20), (2, 30, 10, 11, 20)], 0.3, (7, 33, 16, 45)),  # 16.85 to 44.15, outwards
        ([(1, 20, 10, 10, 20), (2, 30, 10, 10, 20)], 1.0, (0, 40, 10, 50)),
        ([(1, -3, -2, 10, 20)], 0.0, (0, 18, 0, 7)),  # what lies outside the picture counts for nothing
        ([(1, -10, -10, 20, 20)], 0.3, (0, 12, 0, 12)),  # 10 x 10 inside: 1.5 more, not 3
        ([(1, 90, 50, 30, 30)], 0.3, (48, 60, 88, 100)),
        ([(1, -30, 10, 10, 20), (2, 30, 10, 10, 20)], 0.0, (10, 30, 30, 40)),  # nor does a box all outside
    ],
)
def test_the_crop_is_the_boxes_with_a_margin_within_the_picture(
    boxes: list[Box], margin: float, expected: tuple[int, int, int, int]
) -> None:
    assert entry(*boxes).rectangle(60, 100, margin) == expected


@pytest.mark.parametrize("box", [(1, -20, 5, 20, 9), (1, 100, 5, 9, 9), (1, 5, 60, 9, 9), (1, 5, 5, 0, 9)])
def test_boxes_outside_the_picture_have_no_crop(box: Box) -> None:
    with pytest.raises(UnfitError) as raised:
        entry(box).rectangle(60, 100, 0.3)
    assert raised.value.problem.reason == "box_outside"
    assert raised.value.problem.detail.endswith("but the picture is 100x60")


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


# --- CSV ----------------------------------------------------------------------------------------


def test_a_csv_without_pictures_gives_labels_alone(tmp_path: Path) -> None:
    paths = [write_csv(tmp_path / f"{split}_digitStruct.csv", one) for split, one in (("train", TRAIN), ("test", TEST))]
    root = tmp_path / "root"
    result = convert(root, *paths)
    expected = {**NUMBERS, "train/6.png": "88", "train/7.png": "31", "train/8.png": "26"}  # nobody looks at pictures
    assert labels(root) == expected
    assert (result.counts["in"], result.counts["out"]) == (12, 11)
    assert result.counts["rejected"] == {"label_outside_classes": 1}
    assert not (root / "images").exists()
    assert not (root / "index").exists()
    manifest = products.find_manifest(str(root / "labels/dataset=numbers/annotator=human"))
    assert manifest is not None
    assert (manifest["task"], manifest["image_shape"], manifest["counts"]) == ("sequence", None, result.counts)
    assert manifest["splits"]["train"]["lengths"] == {"1": 2, "2": 5, "3": 1, "6": 1}
    assert products.label_set(str(root), "numbers", "human", "test").done()[0].records_out >= 0
    assert not convert(root, *paths).made
    with pytest.raises(IncompleteError, match="there is no complete dataset 'numbers'"):
        products.image_set(str(root), "numbers", "1.0.0")


def test_labels_alone_resume_with_what_is_missing(tmp_path: Path) -> None:
    path, root = write_csv(tmp_path / "train_digitStruct.csv", TRAIN), tmp_path / "root"
    convert(root, path, shards=4)
    before = {file: file.read_bytes() for file in root.rglob("*.parquet")}
    os.unlink(root / "labels/dataset=numbers/annotator=human/_concord.json")
    os.unlink(root / "labels/dataset=numbers/annotator=human/split=train/part-00002-of-00004.parquet")
    result = convert(root, path, shards=4)
    assert result.counters["convert.write.elements"] == 1
    assert {file: file.read_bytes() for file in root.rglob("*.parquet")} == before


def test_labels_alone_and_pictures_replace_each_other(numbers: Path, tmp_path: Path) -> None:
    path, root = write_csv(tmp_path / "test_digitStruct.csv", TEST), tmp_path / "root"
    alone = root / "labels/dataset=numbers/annotator=human/_concord.json"
    images = root / "images/numbers/1.0.0/_concord.json"
    for _ in range(2):
        convert(root, path)
        assert alone.exists()
        assert not images.exists()
        assert not list(root.rglob("*.tfrecord-*"))
        assert not list(root.glob("index/**/*.parquet"))
        convert(root, numbers / "test")
        assert images.exists()
        assert not alone.exists()
        assert len(read_back(root, "test")) == 2


def test_a_csv_beside_its_pictures_stands_in_for_the_mat(numbers: Path, tmp_path: Path) -> None:
    convert(tmp_path / "mat", numbers / "train")
    (numbers / "train" / "digitStruct.mat").unlink()
    path = write_csv(numbers / "train" / "boxes.csv", TRAIN)
    result = convert(tmp_path / "csv", path)
    assert result.counts["rejected"] == dict(sorted(Counter(REJECTED.values()).items()))
    assert labels(tmp_path / "csv") == labels(tmp_path / "mat")
    mine, other = (read_back(tmp_path / name, "train") for name in ("csv", "mat"))
    assert mine.keys() == other.keys()
    for image_id, (pixels, _) in mine.items():
        np.testing.assert_array_equal(pixels, other[image_id][0])


def test_a_worker_reads_each_csv_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [write_csv(tmp_path / f"{split}_digitStruct.csv", one) for split, one in (("train", TRAIN), ("test", TEST))]
    read: list[str] = []
    real = digit_boxes.read_csv

    def counted(path: str) -> list[Entry]:
        read.append(path)
        return real(path)

    monkeypatch.setattr(digit_boxes, "read_csv", counted)
    source = svhn_full.make(settings_for(*paths))
    source.inputs("")
    for slab in source.plan().slabs * 2:
        source.read(slab)
    assert read == list(map(str, paths))


def test_lists_with_and_without_pictures_are_not_mixed(numbers: Path, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "extra_digitStruct.csv", TEST)
    with pytest.raises(InputError, match=f"no picture lies beside {path}, but some do beside the others"):
        convert(tmp_path / "root", numbers / "train", path)


def test_a_csv_may_have_its_columns_in_any_order_and_commas(tmp_path: Path) -> None:
    path = tmp_path / "train.csv"
    path.write_bytes(
        "\ufeffLeft,WIDTH,height,top,label,name,note\r\n5,3,9,1,10,1.png,x\r\n1,3,9,2,4,1.png,y\r\n".encode()
    )
    (found,) = digit_boxes.read_csv(str(path))
    assert (found.name, found.position, found.number()) == ("1.png", "line 2", "40")
    assert found.boxes.tolist() == [[10, 5, 1, 3, 9], [4, 1, 2, 3, 9]]


@pytest.mark.parametrize(
    ("rows", "reason", "detail"),
    [
        ("1.png;1;2;3;4;5\n1.png;1;2;3;4\n", "row_malformed", "line 3 has 5 fields, but the header has 6"),
        ("1.png;one;2;3;4;5\n", "box_not_a_number", "line 2: could not convert string to float: 'one'"),
        ("1.png;1;;3;4;5\n", "box_not_a_number", "line 2: could not convert string to float: ''"),
    ],
)
def test_a_bad_row_rejects_its_picture_alone(tmp_path: Path, rows: str, reason: str, detail: str) -> None:
    path = tmp_path / "train_digitStruct.csv"
    path.write_text(f"name;label;top;left;height;width\n{rows}2.png;7;1;1;1;1\n")
    root = tmp_path / "root"
    result = convert(root, path)
    assert (result.counts["in"], result.counts["out"], result.counts["rejected"]) == (2, 1, {reason: 1})
    assert labels(root) == {"train/2.png": "7"}
    files = [str(file) for file in root.glob("rejects/**/*.parquet")]
    assert [row["detail"] for row in duckdb.read_parquet(files).to_arrow_table().to_pylist()] == [detail]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("name;label;left;height;width\n1.png;1;2;3;4\n", "has no column top; it has name, label, left, height, width"),
        ("name;label;top;left;height;width\n", "has no rows below its header"),
        ("name;label;top;left;height;width\n;1;2;3;4;5\n", "line 2: the row names no picture"),
        ("", "is empty"),
    ],
)
def test_what_is_no_csv_of_boxes_is_named(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "train_digitStruct.csv"
    path.write_text(content)
    with pytest.raises(InputError, match=message) as raised:
        convert(tmp_path / "root", path)
    assert str(path) in str(raised.value)


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
        listed = {entry.name: entry.boxes for entry in digit_boxes.read_csv(str(svhn / f"{split}_digitStruct.csv"))}
        found = digit_boxes.read_mat(str(path), 0, digit_boxes.count_mat(str(path)))
        assert {entry.name: list(map(tuple, entry.boxes.tolist())) for entry in found} == walk(path)
        for one in found:
            np.testing.assert_array_equal(one.boxes, listed[one.name])
