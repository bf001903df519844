"""Source `svhn_full` from CSV files of boxes: labels alone, and in the place of `digitStruct.mat`."""

import os
from collections import Counter
from pathlib import Path

import duckdb
import numpy as np
import pytest

from pipelines.convert.sources import svhn_full
from schemas.errors import IncompleteError, InputError
from schemas.manifests import ImagesManifest
from storage import products
from storage.formats import digit_struct
from storage.formats.digit_struct import Entry
from tests.support.digit_struct import write_csv
from tests.support.number_runs import NUMBERS, REJECTED, TEST, TRAIN, convert, labels, read_back, settings_for


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
    manifest = products.find_manifest(str(root / "labels/dataset=numbers/annotator=human"), ImagesManifest)
    assert manifest is not None
    assert (manifest.task, manifest.image_shape, manifest.counts) == ("sequence", None, result.counts)
    assert manifest.splits["train"]["lengths"] == {"1": 2, "2": 5, "3": 1, "6": 1}
    assert products.label_set(str(root), "numbers", "human", "test").done()[0].records_out >= 0
    assert not convert(root, *paths).built
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
    real = digit_struct.read_csv

    def counted(path: str) -> list[Entry]:
        read.append(path)
        return real(path)

    monkeypatch.setattr(digit_struct, "read_csv", counted)
    source = svhn_full.make(settings_for(*paths))
    source.inputs("")
    for slab in source.plan().slabs * 2:
        source.read(slab)
    assert read == list(map(str, paths))


def test_lists_with_and_without_pictures_are_not_mixed(numbers: Path, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "extra_digitStruct.csv", TEST)
    with pytest.raises(InputError, match=f"no image lies beside {path}, but some do beside the others"):
        convert(tmp_path / "root", numbers / "train", path)


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
        ("name;label;top;left;height;width\n;1;2;3;4;5\n", "line 2: the row names no image"),
        ("", "is empty"),
    ],
)
def test_what_is_no_csv_of_boxes_is_named(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "train_digitStruct.csv"
    path.write_text(content)
    with pytest.raises(InputError, match=message) as raised:
        convert(tmp_path / "root", path)
    assert str(path) in str(raised.value)
