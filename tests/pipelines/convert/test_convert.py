"""Convert, end to end on the drawn sample: what tensorflow_datasets, tf.data and DuckDB find, and what a rerun does."""

import hashlib
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

from pipelines.convert import driver
from pipelines.convert.sources import Slab, SourcePlan
from schemas.settings.convert import ConvertSettings
from schemas.stage import Context, StageResult
from storage import hashing, products, stores
from tests.support import stages

KEYS = {"train": "train", "validation": "val", "test": "test"}
COUNTS = {"train": 400, "validation": 80, "test": 160}


def settings_for(path: str, **more: Any) -> Any:
    return ConvertSettings(**{"dataset": "drawn", "source": "svhn_h5", "input": (path,), "shards": 8, **more})


def convert(settings: ConvertSettings, root: Path | str, force: bool = False) -> StageResult:
    return stages.convert(settings, Context(str(root), force=force))


def state(root: Path) -> dict[str, tuple[int, str]]:
    """Every file under a root: modification time and content."""
    return {
        str(path.relative_to(root)): (path.stat().st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest())
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def contents(found: dict[str, tuple[int, str]]) -> dict[str, str]:
    return {name: digest for name, (_, digest) in found.items()}


def read_split(images: Path, split: str) -> dict[str, tuple[npt.NDArray[np.uint8], int]]:
    """Pixels and label of each image, as tensorflow_datasets reads them."""
    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(str(images))
    rows = list(builder.as_dataset(split=split, shuffle_files=False).as_numpy_iterator())
    found = {row["image/id"].decode(): (row["image"], int(row["label"])) for row in rows}
    assert len(found) == len(rows) == builder.info.splits[split].num_examples
    return found


def table(root: Path | str, kind: str, split: str) -> list[dict[str, Any]]:
    """The rows of a split, shard after shard, as DuckDB reads them, with the file that each lies in."""
    files = sorted(Path(root).glob(f"{kind}/split={split}/*.parquet"))
    relation = duckdb.read_parquet([str(file) for file in files], filename=True, hive_partitioning=False)
    rows: list[dict[str, Any]] = relation.to_arrow_table().to_pylist()
    return rows


INDEX, LABELS = "index/dataset=drawn", "labels/dataset=drawn/annotator=human"
REJECTS = "rejects/convert/dataset=drawn"


@pytest.fixture
def own(converted: str, tmp_path: Path) -> Path:
    """A copy of the converted root, to write on."""
    return Path(shutil.copytree(converted, tmp_path / "root", copy_function=shutil.copy2))


# --- What was written ---------------------------------------------------------------------------


@pytest.mark.parametrize("split", KEYS)
def test_tfds_finds_every_pixel_and_label_of_the_h5(converted: str, sample_h5: str, split: str) -> None:
    found = read_split(Path(converted, "images/drawn/1.0.0"), split)
    with h5py.File(sample_h5) as file:
        pixels, labels = file[f"X_{KEYS[split]}"][:], file[f"y_{KEYS[split]}"][:]
    assert len(found) == COUNTS[split] == len(labels)
    rows = [found[f"{split}-{row:07d}"] for row in range(len(labels))]
    read = np.stack([image for image, _ in rows])
    assert (str(read.dtype), read.shape[1:]) == ("uint8", (32, 32, 1))
    assert np.abs(read[..., 0] - pixels).max() <= 0.5
    assert [label for _, label in rows] == labels.tolist()


def test_tfds_knows_the_classes_and_may_slice(converted: str) -> None:
    import tensorflow_datasets as tfds

    data, info = tfds.load("drawn", data_dir=f"{converted}/images", split="train[:50%]", with_info=True)
    assert len(data) == 200
    assert info.features["label"].names == list("0123456789")
    assert {name: split.num_examples for name, split in info.splits.items()} == COUNTS


@pytest.mark.parametrize("split", KEYS)
def test_index_says_where_each_record_lies(converted: str, split: str) -> None:
    """Against tf.data, which knows nothing of the index."""
    import tensorflow as tf

    rows = table(converted, INDEX, split)
    for shard in range(8):
        path = Path(converted, f"images/drawn/1.0.0/drawn-{split}.tfrecord-{shard:05d}-of-00008")
        payloads = list(tf.data.TFRecordDataset(str(path)).as_numpy_iterator())
        mine = [row for row in rows if row["shard"] == shard]
        assert len(mine) == len(payloads) > 0
        data = path.read_bytes()
        for row, payload in zip(mine, payloads, strict=True):
            assert data[row["offset"] : row["offset"] + row["length"]] == payload
            feature = tf.train.Example.FromString(payload).features.feature
            png = feature["image"].bytes_list.value[0]
            assert feature["image/id"].bytes_list.value[0].decode() == row["image_id"]
            assert hashlib.sha256(png).hexdigest() == row["sha256"]
            assert tf.io.decode_png(png).shape[:2] == (row["height"], row["width"]) == (32, 32)


@pytest.mark.parametrize("split", KEYS)
def test_shard_k_holds_the_ids_whose_top_bits_are_k_in_hash_order(converted: str, split: str) -> None:
    index, labels = table(converted, INDEX, split), table(converted, LABELS, split)
    ids = [row["image_id"] for row in index]
    hashes = hashing.image_hashes(ids).tolist()
    assert sorted(ids) == [f"{split}-{row:07d}" for row in range(COUNTS[split])]
    assert hashes == sorted(hashes)
    assert [row["shard"] for row in index] == [value >> 61 for value in hashes]
    for rows in (index, labels):
        assert [row["filename"].rpartition("/")[2] for row in rows] == [
            f"part-{value >> 61:05d}-of-00008.parquet" for value in hashes
        ]
    assert [row["image_id"] for row in labels] == ids


@pytest.mark.parametrize("split", KEYS)
def test_people_are_sure_of_every_label(converted: str, sample_h5: str, split: str) -> None:
    rows = table(converted, LABELS, split)
    with h5py.File(sample_h5) as file:
        labels = file[f"y_{KEYS[split]}"][:].tolist()
    assert {row["image_id"]: row["label"] for row in rows} == {
        f"{split}-{row:07d}": str(label) for row, label in enumerate(labels)
    }
    assert {row["confidence"] for row in rows} == {1.0}
    assert {row[name] for row in rows for name in ("confidence_calibrated", "verdict", "scores")} == {None}


def test_the_manifests_declare_what_is_there(converted: str) -> None:
    images = products.image_set(converted, "drawn", "1.0.0")
    assert (images.shards, images.image_shape, images.classes) == (8, (32, 32, 1), list("0123456789"))
    assert images.manifest.counts["in"] == images.manifest.counts["out"] == 640
    for split, count in COUNTS.items():
        assert images.images_in(split) == count
        assert images.index(split).done().keys() == set(range(8))
        labels = products.label_set(converted, "drawn", "human", split)
        assert labels.fingerprint == images.fingerprint
        assert labels.done().keys() == set(range(8))
        assert table(converted, REJECTS, split) == []


# --- How it ran ---------------------------------------------------------------------------------


def test_the_work_is_cut_into_elements_that_are_neither_rows_nor_everything(tmp_path: Path) -> None:
    path = str(tmp_path / "big.h5")
    with h5py.File(path, "w") as file:
        pixels = np.zeros((4096, 4, 4), dtype=np.float32)
        pixels[:, 0, 0] = 255
        file.create_dataset("X", data=pixels, chunks=(64, 4, 4))
        file["y"] = np.zeros(4096, dtype=np.uint8)
    result = convert(settings_for(path, keys={"train": "X:y"}, shards=0), tmp_path / "root")
    counters = result.counters
    assert (result.built, result.counts["in"], counters["convert.out"]) == (True, 4096, 4096)
    assert 8 <= counters["convert.read.elements"] < 4096 / 64
    assert counters["convert.write.elements"] == 8
    assert counters["convert.read.element_bytes.max"] == 256 * 64  # one slab: 256 rows of 4x4 floats
    assert 0 < counters["convert.write.element_bytes.max"] < 256 << 20
    assert "convert.rejected" not in counters


@pytest.mark.parametrize(
    ("records", "image_shape", "expected"),
    [(1, (32, 32, 1), 8), (65_536, (32, 32, 1), 8), (65_537, (32, 32, 1), 16), (60_000, (299, 299, 3), 256)],
)
def test_shards_hold_some_thousand_images_and_bounded_bytes(
    records: int, image_shape: tuple[int, int, int], expected: int
) -> None:
    found = SourcePlan(image_shape, (Slab("a", "train", "X", "y", 0, records, 1), Slab("a", "test", "X", "y", 0, 1, 1)))
    assert driver.shard_count(found) == expected


def test_five_images_in_eight_shards(tmp_path: Path) -> None:
    path = str(tmp_path / "five.h5")
    with h5py.File(path, "w") as file:
        file["X"] = np.arange(5, dtype=np.float32)[:, None, None] * 50 * np.ones((5, 6, 4), dtype=np.float32)
        file["y"] = np.arange(5) + 3
    result = convert(settings_for(path, keys={"train": "X:y"}), tmp_path / "root")
    assert (result.counts["in"], result.counts["out"]) == (5, 5)
    found = read_split(tmp_path / "root/images/drawn/1.0.0", "train")
    assert {image_id: (int(image.max()), label) for image_id, (image, label) in found.items()} == {
        f"train-{row:07d}": (50 * row, row + 3) for row in range(5)
    }
    rows = table(tmp_path / "root", INDEX, "train")
    assert len({row["shard"] for row in rows}) < 8  # or there is no empty shard to speak of
    assert {(row["height"], row["width"]) for row in rows} == {(6, 4)}
    assert products.image_set(str(tmp_path / "root"), "drawn", "1.0.0").index("train").done().keys() == set(range(8))
    assert len(list((tmp_path / "root").rglob("*-of-00008*"))) == 4 * 8


def test_red_stays_red_from_mat_to_tfds(tmp_path: Path) -> None:
    pixels = np.zeros((4, 4, 3, 2), dtype=np.uint8)
    pixels[:, :, 0, 0], pixels[:, :, 2, 1] = 200, 100
    scipy.io.savemat(tmp_path / "test_32x32.mat", {"X": pixels, "y": np.array([[10], [3]])})
    convert(settings_for(str(tmp_path / "test_32x32.mat"), source="svhn_mat"), tmp_path / "root")
    found = read_split(tmp_path / "root/images/drawn/1.0.0", "test")
    assert {image_id: (image[0, 0].tolist(), label) for image_id, (image, label) in found.items()} == {
        "test_32x32-0000000": ([200, 0, 0], 0),
        "test_32x32-0000001": ([0, 0, 100], 3),
    }


# --- Splits drawn by hash -----------------------------------------------------------------------


def test_splits_are_drawn_by_hash(sample_h5: str, tmp_path: Path) -> None:
    fractions = {"train": 0.6, "validation": 0.15, "test": 0.25}
    result = convert(settings_for(sample_h5, splits=fractions), tmp_path)
    ids = [f"{split}-{row:07d}" for split, count in COUNTS.items() for row in range(count)]
    expected = dict(zip(ids, hashing.split_of(ids, fractions).tolist(), strict=True))
    found = {row["image_id"]: split for split in fractions for row in table(tmp_path, INDEX, split)}
    assert found == expected
    for split, share in fractions.items():
        count = result.counts["splits"][split]["out"]
        assert count == sum(one == split for one in expected.values())
        assert abs(count - 640 * share) < 4 * (640 * share * (1 - share)) ** 0.5
    assert result.counts["in"] == result.counts["out"] == sum(one["in"] for one in result.counts["splits"].values())


# --- Running again ------------------------------------------------------------------------------


def test_a_second_run_makes_nothing_and_touches_nothing(own: Path, sample_h5: str) -> None:
    before = state(own)
    result = convert(settings_for(sample_h5), own)
    assert (result.built, result.counts["out"], result.counters) == (False, 640, {})
    assert state(own) == before


def test_how_many_rejects_are_allowed_remakes_nothing(own: Path, sample_h5: str) -> None:
    assert not convert(settings_for(sample_h5, max_reject_fraction=0.5), own).built


def test_force_remakes_the_same_bytes(own: Path, sample_h5: str) -> None:
    before = state(own)
    assert convert(settings_for(sample_h5), own, force=True).built
    after = state(own)
    assert contents(after) == contents(before)
    shards = [name for name in before if "-of-00008" in name]
    assert len(shards) == 3 * 8 * 4
    assert all(after[name][0] > before[name][0] for name in shards)


def test_a_changed_setting_remakes_and_leaves_no_old_file(own: Path, sample_h5: str) -> None:
    before = state(own)
    fingerprint = products.image_set(str(own), "drawn", "1.0.0").fingerprint
    result = convert(settings_for(sample_h5, shards=16, splits={"one": 0.5, "other": 0.5}), own)
    after = state(own)
    assert result.built
    assert [name for name in after if "-of-00008" in name or "split=train" in name or "drawn-train" in name] == []
    folder = "images/drawn/1.0.0"
    kept = {f"{folder}/{name}" for name in ("_concord.json", "dataset_info.json", "features.json", "label.labels.txt")}
    assert after.keys() & before.keys() == kept
    assert len(after) == 2 * 16 * 4 + 2 + len(kept)
    assert products.image_set(str(own), "drawn", "1.0.0").fingerprint != fingerprint
    found = [read_split(own / "images/drawn/1.0.0", split) for split in ("one", "other")]
    assert sum(map(len, found)) == 640


def test_changed_classes_rename_every_label(own: Path, sample_h5: str) -> None:
    names = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
    old = {row["image_id"]: row["label"] for row in table(own, LABELS, "test")}
    assert convert(settings_for(sample_h5, classes=names), own).built
    assert {row["image_id"]: row["label"] for row in table(own, LABELS, "test")} == {
        image_id: names[int(label)] for image_id, label in old.items()
    }


def test_another_dataset_beside_it_is_left_alone(own: Path, sample_h5: str) -> None:
    before = state(own)
    convert(settings_for(sample_h5, dataset="drawn_too"), own)
    after = state(own)
    assert {name: after[name] for name in before} == before
    assert len(after) == 2 * len(before)


LOST = [
    f"{INDEX}/split=train/part-00002-of-00008.parquet",
    "images/drawn/1.0.0/drawn-train.tfrecord-00005-of-00008",
    f"{LABELS}/split=test/part-00000-of-00008.parquet",
    f"{REJECTS}/split=validation/part-00007-of-00008.parquet",
]


def of_shard(name: str) -> set[str]:
    """All files of the shard that a file belongs to."""
    split, shard = next((s, k) for s in KEYS for k in range(8) if s in name and f"-{k:05d}-of-" in name)
    part = f"split={split}/part-{shard:05d}-of-00008.parquet"
    record = f"images/drawn/1.0.0/drawn-{split}.tfrecord-{shard:05d}-of-00008"
    return {record, *(f"{kind}/{part}" for kind in (INDEX, LABELS, REJECTS))}


def rewritten(before: dict[str, tuple[int, str]], after: dict[str, tuple[int, str]]) -> set[str]:
    return {name for name in after if "-of-00008" in name and after[name][0] != before[name][0]}


@pytest.mark.parametrize(
    "lost", [*([one] for one in LOST), LOST, []], ids=["index", "images", "labels", "rejects", "each", "none"]
)
def test_a_killed_run_resumes_with_just_what_is_missing(own: Path, sample_h5: str, lost: list[str]) -> None:
    before = state(own)
    for name in [*lost, "images/drawn/1.0.0/_concord.json"]:
        (own / name).unlink()
    half = own / INDEX / "split=train" / ".part-00002-of-00008.parquet.0a.partial"
    half.write_bytes(b"half")
    result = convert(settings_for(sample_h5), own)
    after = state(own)
    assert result.built
    assert result.counts == products.image_set(str(own), "drawn", "1.0.0").manifest.counts
    assert (result.counts["in"], result.counts["out"]) == (640, 640)
    assert contents(after) == contents(before)
    assert rewritten(before, after) == {file for name in lost for file in of_shard(name)}
    assert result.counters.get("convert.write.elements", 0) == len(lost)


def test_a_cut_off_tfrecord_is_made_again(own: Path, sample_h5: str) -> None:
    before = state(own)
    os.truncate(own / LOST[1], 100)
    (own / "images/drawn/1.0.0/_concord.json").unlink()
    convert(settings_for(sample_h5), own)
    assert contents(state(own)) == contents(before)


def test_a_cut_off_index_is_made_again(own: Path, sample_h5: str) -> None:
    before = state(own)
    os.truncate(own / LOST[0], 500)
    (own / "images/drawn/1.0.0/_concord.json").unlink()
    convert(settings_for(sample_h5), own)
    after = state(own)
    assert contents(after) == contents(before)
    assert rewritten(before, after) == of_shard(LOST[0])


def test_a_shard_made_from_something_else_is_made_again(own: Path, sample_h5: str, tmp_path: Path) -> None:
    before = state(own)
    convert(settings_for(sample_h5, classes=tuple("abcdefghij")), tmp_path / "other")
    shutil.copy(tmp_path / "other" / LOST[0], own / LOST[0])
    (own / "images/drawn/1.0.0/_concord.json").unlink()
    convert(settings_for(sample_h5), own)
    after = state(own)
    assert contents(after) == contents(before)
    assert rewritten(before, after) == of_shard(LOST[0])


def test_a_root_that_was_moved_whole_stays_current(own: Path, sample_h5: str, tmp_path: Path) -> None:
    moved = Path(shutil.copy2(sample_h5, tmp_path / "drawn.h5"))
    settings = settings_for(sample_h5).model_copy(update={"input": (str(moved),)})
    assert not convert(settings, own.rename(tmp_path / "elsewhere")).built
    os.utime(moved, ns=(0, 0))
    assert convert(settings, tmp_path / "elsewhere").built


def test_the_manifest_is_removed_first_and_written_last(
    own: Path, sample_h5: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []

    def noted(verb: str, action: Callable[..., None]) -> Callable[..., None]:
        def act(path: str, *data: bytes) -> None:
            steps.append(f"{verb} {Path(path).relative_to(own)}")
            action(path, *data)

        return act

    monkeypatch.setattr(stores, "write_parts", noted("write", stores.write_parts))
    monkeypatch.setattr(stores, "remove", noted("remove", stores.remove))
    convert(settings_for(sample_h5, classes=tuple("abcdefghij")), own)
    manifest = "images/drawn/1.0.0/_concord.json"
    assert steps[0] == f"remove {manifest}"
    assert steps[-1] == f"write {manifest}"
    assert steps.count(steps[-1]) == 1
    for split in KEYS:
        for shard in range(8):
            written = [f"write {name}" for name in of_shard(f"drawn-{split}.tfrecord-{shard:05d}-of-")]
            last = max(written, key=steps.index)
            assert last == f"write {INDEX}/split={split}/part-{shard:05d}-of-00008.parquet"
