"""Convert on bad input: each a clear error or a counted reject, and never half a product."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import h5py
import numpy as np
import numpy.typing as npt
import pytest
import scipy.io

from schemas.errors import REJECT_HINTS, InputError, Reason, StorageError, TooManyRejectsError
from storage import products
from tests.support.course_files import convert, course, declared, halves

COURSE = ("X_train", "y_train", "X_val", "y_val", "X_test", "y_test")


def assert_works_afterwards(path: Path, root: Path, **more: Any) -> None:
    """A good file in the same place is converted as if nothing had happened."""
    assert declared(root) == []
    course(path)
    result = convert(path, root, **more)
    assert (result.built, result.counts["in"], result.counts["out"]) == (True, 100, 100)
    assert len(declared(root)) == 1 + 3
    assert halves(root) == []


# --- Files that are not what they should be -----------------------------------------------------


def cut_in_half(path: Path) -> None:
    course(path)
    os.truncate(path, path.stat().st_size // 2)


def numbers(count: int) -> npt.NDArray[np.uint8]:
    return np.zeros(count, dtype=np.uint8)


BAD_H5: dict[str, tuple[Callable[[Path], Any], list[str]]] = {
    "truncated": (cut_in_half, ["is not a readable HDF5 file", "truncated", "copy it again"]),
    "no HDF5": (lambda path: path.write_bytes(b"\x89PNG\r\n" + bytes(5000)), ["is not a readable HDF5 file"]),
    "empty": (lambda path: path.touch(), ["is empty (0 bytes): copy it again"]),
    "missing": (lambda path: None, ["no such file"]),
    "a folder": (lambda path: path.mkdir(), ["no such file"]),
    "no such key": (lambda path: course(path, X_train=None), ["no dataset 'X_train'", ", ".join(sorted(COURSE[1:]))]),
    "empty HDF5": (lambda path: h5py.File(path, "w").close(), ["no dataset 'X_train'", "it has: none", "--keys"]),
    "short labels": (lambda path: course(path, y_val=numbers(19)), ["X_val holds 20 images but y_val holds 19 labels"]),
    "labels twice": (lambda path: course(path, y_test=numbers(20)[:, None]), ["y_test has shape (20, 1)"]),
    "text labels": (lambda path: course(path, y_test=np.array([b"7"] * 20)), ["y_test holds values of type |S1"]),
    "no images": (lambda path: course(path, X_train=np.zeros((0, 8, 8)), y_train=numbers(0)), ["shape (0, 8, 8)"]),
    "one number": (lambda path: course(path, X_val=np.array(7.0)), ["X_val holds values of type float64 in shape ()"]),
    "0-1 floats": (
        lambda path: course(path, X_train=np.linspace(0, 1, 60 * 64).reshape(60, 8, 8)),
        ["no pixel of X_train is above 1; give --value-range 0,1"],
    ),
    "flat": (
        lambda path: course(path, X_train=np.full((60, 256), 9.5)),
        ["has shape (256,); give its height,width", "256 values) with --image-shape"],
    ),
    "four channels": (lambda path: course(path, X_train=np.full((60, 8, 8, 4), 9.5)), ["shape (8, 8, 4)", "1 or 3"]),
    "two shapes": (lambda path: course(path, X_val=np.full((20, 9, 9), 9.5)), ["[(8, 8, 1), (9, 9, 1)]"]),
}


@pytest.mark.parametrize("case", BAD_H5)
def test_a_bad_h5_is_named_and_leaves_nothing(tmp_path: Path, case: str) -> None:
    make, parts = BAD_H5[case]
    path, root = tmp_path / "input.h5", tmp_path / "root"
    make(path)
    with pytest.raises(InputError) as raised:
        convert(path, root)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)
    for part in parts:
        assert part in str(raised.value)
    assert not root.exists()


def test_after_a_truncated_file_a_whole_one_works(tmp_path: Path) -> None:
    cut_in_half(tmp_path / "input.h5")
    with pytest.raises(InputError):
        convert(tmp_path / "input.h5", tmp_path / "root")
    assert_works_afterwards(tmp_path / "input.h5", tmp_path / "root")


@pytest.mark.parametrize("kind", ["u1", "f4"])
def test_a_chunk_that_cannot_be_read_is_named(tmp_path: Path, kind: str) -> None:
    """The file opens, and its damage shows only while workers read it, or (floats) a sample is looked at."""
    path = tmp_path / "input.h5"
    with h5py.File(path, "w") as file:
        pixels = np.random.default_rng(0).integers(0, 255, (300, 8, 8)).astype(kind)
        stored = file.create_dataset("X", data=pixels, chunks=(300, 8, 8), compression="gzip", fletcher32=True)
        file["y"] = numbers(300)
        place = stored.id.get_chunk_info(0).byte_offset
    with open(path, "r+b") as raw:
        raw.seek(place + 1000)
        raw.write(b"\xff" * 64)
    with pytest.raises(InputError, match=rf"^{path}: cannot read X\[0:300\] \(.*\); copy the file again$"):
        convert(path, tmp_path / "root", keys={"train": "X:y"})
    assert declared(tmp_path / "root") == []
    assert list((tmp_path / "root").rglob("*.parquet")) == []


def save_mat(path: Path, **content: Any) -> None:
    good = {"X": np.ones((4, 4, 3, 30), dtype=np.uint8), "y": np.ones((30, 1), dtype=np.uint8)}
    kept = {key: value for key, value in {**good, **content}.items() if value is not None}
    scipy.io.savemat(path, kept, do_compression=True)


def truncated_mat(path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3, 30), dtype=np.uint8)
    save_mat(path, X=noise)
    os.truncate(path, path.stat().st_size // 2)


BAD_MAT: dict[str, tuple[Callable[[Path], Any], list[str]]] = {
    "truncated": (truncated_mat, ["is not a readable MATLAB file", "copy it again"]),
    "cut in the header": (lambda path: path.write_bytes(b"MATLAB 5.0"), ["is not a readable MATLAB file"]),
    "no MATLAB": (lambda path: path.write_bytes(b"\x89PNG\r\n" + bytes(5000)), ["is not a readable MATLAB file"]),
    "empty": (lambda path: path.touch(), ["is empty (0 bytes): copy it again"]),
    "missing": (lambda path: None, ["no such file"]),
    "no X": (lambda path: save_mat(path, X=None, crops=1), ["no variable 'X'; it has: ", "y", "crops"]),
    "no y": (lambda path: save_mat(path, y=None), ["no variable 'y'; it has: X"]),
    "short labels": (lambda path: save_mat(path, y=np.ones((29, 1))), ["X holds 30 images but y holds 29 labels"]),
    "one image": (lambda path: save_mat(path, X=np.ones((4, 4, 3))), ["X has shape (4, 4, 3), but must be"]),
    "text labels": (
        lambda path: save_mat(path, y=np.array(["a"] * 30)),
        ["y holds text, but must hold an array of numbers"],
    ),
    "no images": (lambda path: save_mat(path, X=np.ones((4, 4, 3, 0)), y=np.ones((0, 1))), ["shape (0, 4, 4, 3)"]),
}


@pytest.mark.parametrize("case", BAD_MAT)
def test_a_bad_mat_is_named_and_leaves_nothing(tmp_path: Path, case: str) -> None:
    make, parts = BAD_MAT[case]
    path, root = tmp_path / "train_32x32.mat", tmp_path / "root"
    make(path)
    with pytest.raises(InputError) as raised:
        convert(path, root, source="svhn_mat")
    assert str(path) in str(raised.value)
    for part in parts:
        assert part in str(raised.value)
    assert not root.exists()


def test_a_mat_of_version_7_3_is_told_apart(tmp_path: Path) -> None:
    """MATLAB's own: 512 bytes of header before the HDF5 file."""
    path = tmp_path / "train_32x32.mat"
    with h5py.File(path, "w", userblock_size=512) as file:
        file["X"] = np.ones((30, 3, 4, 4), dtype=np.uint8)
        file["y"] = np.ones((1, 30))
    with open(path, "r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")
    with pytest.raises(InputError, match=rf"{path} is a MATLAB v7.3 \(HDF5\) file; save it with -v7"):
        convert(path, tmp_path / "root", source="svhn_mat")


def test_the_sources_settings_are_checked(tmp_path: Path) -> None:
    path = course(tmp_path / "input.h5")
    with pytest.raises(InputError, match="there is no source 'svhn_hf'; did you mean 'svhn_h5'"):
        convert(path, tmp_path / "root", source="svhn_hf")
    with pytest.raises(InputError, match="keys must be SPLIT=IMAGES:LABELS, got 'X_train'"):
        convert(path, tmp_path / "root", keys={"train": "X_train"})
    assert not (tmp_path / "root").exists()


def test_a_good_product_outlives_a_bad_input(tmp_path: Path) -> None:
    """Nothing of what is there goes before the new input is known to be readable."""
    path, root = course(tmp_path / "input.h5"), tmp_path / "root"
    convert(path, root)
    cut_in_half(path)
    with pytest.raises(InputError):
        convert(path, root)
    assert len(declared(root)) == 4
    assert products.image_set(str(root), "d", "1.0.0").images_in("train") == 60


# --- Records that are turned away ---------------------------------------------------------------


def with_pixel(value: float) -> Callable[[Path], Any]:
    def make(path: Path) -> None:
        pixels = np.full((60, 8, 8), 100, dtype=np.float32)
        pixels[7, 2, 3] = pixels[41, 0, 0] = value
        course(path, X_train=pixels)

    return make


def with_label(value: float) -> Callable[[Path], Any]:
    def make(path: Path) -> None:
        labels = np.arange(60, dtype=np.float32) % 10
        labels[[7, 41]] = value
        course(path, y_train=labels)

    return make


REJECTED = {
    "nan": (Reason.PIXELS_NOT_FINITE, with_pixel(np.nan), "1 pixels are NaN or infinite"),
    "inf": (Reason.PIXELS_NOT_FINITE, with_pixel(-np.inf), "1 pixels are NaN or infinite"),
    "bright": (Reason.PIXELS_OUT_OF_RANGE, with_pixel(256), "pixels from 100 to 256, but the value range is 0 to 255"),
    "dark": (Reason.PIXELS_OUT_OF_RANGE, with_pixel(-1), "pixels from -1 to 100, but the value range is 0 to 255"),
    "no label": (Reason.LABEL_MISSING, with_label(np.nan), "the label is NaN"),
    "ten": (Reason.LABEL_OUTSIDE_CLASSES, with_label(10), "the label is 10.0, but there are 10 classes"),
    "negative": (Reason.LABEL_OUTSIDE_CLASSES, with_label(-1), "the label is -1.0, but there are 10 classes"),
    "half": (Reason.LABEL_OUTSIDE_CLASSES, with_label(2.5), "the label is 2.5, but there are 10 classes"),
}


def reject_rows(root: Path) -> list[dict[str, Any]]:
    relation = duckdb.sql(
        "select image_id, source, position, reason, detail, split "
        f"from read_parquet('{root}/rejects/convert/**/*.parquet', hive_partitioning=true) order by image_id"
    )
    rows: list[dict[str, Any]] = relation.to_arrow_table().to_pylist()
    return rows


def test_every_reason_of_convert_has_a_case() -> None:
    labels = {Reason.LABEL_MISSING, Reason.LABEL_OUTSIDE_CLASSES}
    pixels = {Reason.PIXELS_NOT_FINITE, Reason.PIXELS_OUT_OF_RANGE}
    assert {reason for reason, _, _ in REJECTED.values()} == labels | pixels


@pytest.mark.parametrize("case", REJECTED)
def test_a_reject_is_named_and_counted(tmp_path: Path, case: str) -> None:
    reason, make, detail = REJECTED[case]
    path, root = tmp_path / "input.h5", tmp_path / "root"
    make(path)
    result = convert(path, root, max_reject_fraction=0.02)
    assert result.counts["rejected"] == {reason.value: 2}
    assert (result.counts["in"], result.counts["out"]) == (100, 98)
    assert result.counts["splits"]["train"] == {"in": 60, "out": 58, "rejected": {reason.value: 2}}
    assert result.counts["splits"]["test"] == {"in": 20, "out": 20, "rejected": {}}
    counted = {
        name: n for name, n in result.counters.items() if name.startswith(("convert.in", "convert.out", "convert.rej"))
    }
    assert counted == {
        "convert.in": 100, "convert.out": 98, "convert.rejected": 2, f"convert.rejected.{reason.value}": 2
    }  # fmt: skip
    common = {"source": str(path), "reason": reason.value, "detail": detail, "split": "train"}
    assert reject_rows(root) == [
        {"image_id": f"train-{row:07d}", "position": f"X_train[{row}]", **common} for row in (7, 41)
    ]
    ids = set(duckdb.sql(f"select image_id from '{root}/index/dataset=d/split=train/*.parquet'").fetchall())
    assert ids == {(f"train-{row:07d}",) for row in range(60) if row not in (7, 41)}
    assert len(declared(root)) == 4


def test_too_many_rejects_stop_the_stage_and_show_the_first(tmp_path: Path) -> None:
    path, root = tmp_path / "input.h5", tmp_path / "root"
    with_pixel(np.nan)(path)
    with pytest.raises(TooManyRejectsError) as raised:
        convert(path, root, max_reject_fraction=0.019)
    message = str(raised.value)
    assert "convert rejected 2 of 100 records (pixels_not_finite 2), more than --max-reject-fraction 0.019" in message
    first = [f"The first: {path}, X_train[{row}]: 1 pixels are NaN or infinite" for row in (7, 41)]
    assert first[0] in message or first[1] in message
    assert REJECT_HINTS[Reason.PIXELS_NOT_FINITE] in message
    assert f"{root}/rejects/convert/dataset=d/split=train" in message
    assert [row["position"] for row in reject_rows(root)] == ["X_train[7]", "X_train[41]"]
    assert declared(root) == []


def test_allowing_more_rejects_afterwards_completes_without_work(tmp_path: Path) -> None:
    path, root = tmp_path / "input.h5", tmp_path / "root"
    with_pixel(np.nan)(path)
    with pytest.raises(TooManyRejectsError):
        convert(path, root, max_reject_fraction=0.0)
    result = convert(path, root, max_reject_fraction=0.02)
    assert (result.built, result.counters, result.counts["out"]) == (True, {}, 98)
    assert len(declared(root)) == 4


def test_a_mended_file_has_no_rejects_left(tmp_path: Path) -> None:
    path, root = tmp_path / "input.h5", tmp_path / "root"
    with_label(np.nan)(path)
    with pytest.raises(TooManyRejectsError):
        convert(path, root)
    assert_works_afterwards(path, root)
    assert reject_rows(root) == []


def test_every_record_rejected_still_adds_up(tmp_path: Path) -> None:
    nothing = {f"X_{split}": np.full((n, 8, 8), np.nan) for split, n in (("train", 60), ("val", 20), ("test", 20))}
    path, root = course(tmp_path / "input.h5", **nothing), tmp_path / "root"
    result = convert(path, root, max_reject_fraction=1.0)
    assert (result.counts["in"], result.counts["out"]) == (100, 0)
    assert result.counts["rejected"] == {"pixels_not_finite": 100}


def test_mat_labels_that_are_no_digit_are_rejected(tmp_path: Path) -> None:
    """In format 2 a literal 0 is no label: 10 means the digit 0."""
    labels = np.array([10, 1, 0, 9, 11, 5])[:, None]
    path = tmp_path / "train_32x32.mat"
    save_mat(path, X=np.ones((4, 4, 3, 6), dtype=np.uint8), y=labels)
    result = convert(path, tmp_path / "root", source="svhn_mat", max_reject_fraction=0.5)
    assert result.counts["rejected"] == {"label_outside_classes": 2}
    rows = reject_rows(tmp_path / "root")
    assert [row["position"] for row in rows] == ["X[..., 2]", "X[..., 4]"]
    assert rows[1]["detail"] == "the label is 11, but there are 10 classes"
    kept = duckdb.sql(f"select image_id, label from '{tmp_path}/root/labels/**/*.parquet' order by 1").fetchall()
    assert [label for _, label in kept] == ["0", "1", "9", "5"]


def test_a_root_that_is_a_file(tmp_path: Path) -> None:
    path = course(tmp_path / "input.h5")
    (tmp_path / "root").write_bytes(b"a file")
    with pytest.raises(StorageError, match=rf"cannot \w+ {tmp_path}/root/.*there is a file where a folder is needed"):
        convert(path, tmp_path / "root")
    (tmp_path / "root").unlink()
    convert(path, tmp_path / "root")
    shutil.rmtree(tmp_path / "root")
