"""Labelling what is damaged or fails: the one record is named and rejected, and every other one is labelled."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from models import scoring
from models.networks import cnn1
from models.tensorflow_setup import tensorflow as tf
from schemas import layout
from schemas.errors import REJECT_HINTS, IncompleteError, Reason, StorageError, TooManyRejectsError
from schemas.settings.label import LabelSettings
from schemas.stage import Context
from storage import parquet, products, stores, tfrecord
from storage.products import ImageSet
from tests.support import faulty_store, servers, small_models
from tests.support.small_dataset import random_pixels, write_images
from tests.support.stages import label

COUNT, SHARD = 60, 1
PIXELS = dict(zip([f"photo-{number:02d}" for number in range(COUNT)], random_pixels(COUNT, (12, 12, 1)), strict=True))


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A root with 60 images in 4 shards, and a model. Read it only."""
    root = str(tmp_path_factory.mktemp("pristine"))
    write_images(root, {"test": PIXELS}, "multiclass", list("abcd"), dataset="drawn", shards=4)
    small_models.save(root, "cnn1", cnn1.build, scale=9.0)
    return root


@pytest.fixture(scope="module")
def expected(pristine: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The label and confidence of each image, where nothing fails."""
    root = str(shutil.copytree(pristine, tmp_path_factory.mktemp("expected") / "root"))
    run(root)
    assert len(labels(root)) == COUNT
    return labels(root)


@pytest.fixture
def own(pristine: str, tmp_path: Path) -> str:
    """A copy of `pristine`, to be written to."""
    return str(shutil.copytree(pristine, tmp_path / "root"))


def run(root: str, **changed: Any) -> Any:
    asked = {"splits": ("test",), "batch_size": 4, "max_reject_fraction": 0.2, **changed}
    [result] = label(LabelSettings(dataset="drawn", models=("cnn1",), **asked), Context(root))
    return result


def rows(folder: str) -> list[dict[str, Any]]:
    return [row for path in sorted(Path(folder).glob("*.parquet")) for row in pq.read_table(path).to_pylist()]


def labels(root: str) -> dict[str, tuple[str, float]]:
    found = rows(layout.labels(root, "drawn", "cnn1", "test"))
    return {row["image_id"]: (row["label"], row["confidence"]) for row in found}


def rejects(root: str) -> dict[str, dict[str, Any]]:
    return {row["image_id"]: row for row in rows(layout.label_rejects(root, "drawn", "cnn1", "test"))}


def images(root: str) -> ImageSet:
    return products.image_set(root, "drawn", "1.0.0")


def check_close(found: dict[str, Any], expected: dict[str, Any], without: set[str]) -> None:
    assert set(found) == set(expected) - without
    for image_id, (name, confidence) in found.items():
        assert (name, pytest.approx(confidence, abs=1e-6)) == expected[image_id]


# --- Records whose bytes are damaged ------------------------------------------------------------


def flip(content: bytearray, place: int) -> None:
    content[place] ^= 4


def zero(content: bytearray, begin: int, end: int) -> None:
    content[begin:end] = bytes(end - begin)


Damage = Callable[[bytearray, list[dict[str, Any]]], None]
DAMAGES: dict[str, tuple[Damage, list[int]]] = {
    "data": (lambda shard, rows: flip(shard, rows[3]["offset"] + rows[3]["length"] // 2), [3]),
    "checksum of the data": (lambda shard, rows: flip(shard, rows[3]["offset"] + rows[3]["length"] + 1), [3]),
    "length": (lambda shard, rows: flip(shard, rows[3]["offset"] - 12), [3]),
    "checksum of the length": (lambda shard, rows: flip(shard, rows[3]["offset"] - 2), [3]),
    "a block of zeros": (lambda shard, rows: zero(shard, rows[3]["offset"] + 9, rows[5]["offset"] + 9), [3, 4, 5]),
    "the end cut off": (lambda shard, rows: cut(shard, rows[-2]["offset"] + 5), [-2, -1]),
    "the last byte cut off": (lambda shard, rows: cut(shard, len(shard) - 1), [-1]),
}


def cut(content: bytearray, end: int) -> None:
    del content[end:]


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_records_are_named_and_the_others_are_read_at_their_places(
    own: str, expected: dict[str, Any], damage: str
) -> None:
    path = Path(images(own).tfrecord("test", SHARD))
    index = images(own).index("test").read(SHARD).to_pylist()
    assert len(index) > 9
    content = bytearray(path.read_bytes())
    spoil, at = DAMAGES[damage]
    spoil(content, index)
    path.write_bytes(content)
    gone = {index[row]["image_id"]: row % len(index) for row in at}
    result = run(own)
    assert result.counts == {"in": COUNT, "out": COUNT - len(gone), "rejected": {"record_damaged": len(gone)}}
    assert {name: row["position"] for name, row in rejects(own).items()} == {
        name: f"record {row}" for name, row in gone.items()
    }
    assert {(row["source"], row["reason"]) for row in rejects(own).values()} == {(str(path), "record_damaged")}
    check_close(labels(own), expected, set(gone))
    counters = result.counters
    assert counters["label.rejected.record_damaged"] == counters["label.rejected"] == len(gone)
    with pytest.raises(TooManyRejectsError) as caught:
        run(own, max_reject_fraction=0.0, scores=True)
    assert f"{path}, record {min(gone.values())}: the checksum" in str(caught.value)
    assert REJECT_HINTS[Reason.RECORD_DAMAGED] in str(caught.value)


def test_a_shard_that_is_gone_is_named(own: str) -> None:
    path = images(own).tfrecord("test", SHARD)
    Path(path).unlink()
    with pytest.raises(StorageError, match=f"cannot read {path}: no such file"):
        run(own)


def test_a_damaged_index_is_named(own: str) -> None:
    path = Path(images(own).index("test").path(SHARD))
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(IncompleteError, match=rf"{path} is damaged .*: remove it, and run the stage that writes it"):
        run(own)


@pytest.mark.parametrize("folder", [layout.labels, layout.label_rejects])
def test_a_shard_that_does_not_open_is_made_again_and_no_other(own: str, folder: Callable[..., str]) -> None:
    run(own)
    done, shards = labels(own), sorted(Path(layout.labels(own, "drawn", "cnn1", "test")).glob("*.parquet"))
    before = {path: path.stat().st_mtime_ns for path in shards}
    cut_short = Path(folder(own, "drawn", "cnn1", "test"), shards[SHARD].name)
    cut_short.write_bytes(cut_short.read_bytes()[:-20])
    result = run(own)
    assert (result.built, result.counters["label.elements"]) == (True, 1)
    assert {path for path in shards if path.stat().st_mtime_ns != before[path]} == {shards[SHARD]}
    assert labels(own) == done
    assert run(own).built is False


# --- Images that fail the network, and memory that does not do ----------------------------------


def failing(monkeypatch: pytest.MonkeyPatch, error: Exception, fails: Callable[[Any], bool]) -> None:
    """Let a network raise an error when it is to see a batch of pixels (n, 12, 12, 1) for which `fails`."""
    scores = scoring.Scorer._score_part

    def raising(self: Any, pixels: Any, part: range) -> Any:
        if fails(np.asarray(pixels[part.start : part.stop])):
            raise error
        return scores(self, pixels, part)

    monkeypatch.setattr(scoring.Scorer, "_score_part", raising)


@pytest.mark.parametrize("poisoned", [("photo-07",), ("photo-07", "photo-08", "photo-33")], ids=len)
def test_a_poisoned_image_is_found_and_rejected(
    own: str, expected: dict[str, Any], monkeypatch: pytest.MonkeyPatch, poisoned: tuple[str, ...]
) -> None:
    seen = {PIXELS[name].tobytes() for name in poisoned}
    error = tf.errors.InternalError(None, None, "the kernel failed")
    failing(monkeypatch, error, lambda batch: any(image.tobytes() in seen for image in batch))
    result = run(own)
    assert result.counts["rejected"] == {"model_failed": len(poisoned)}
    assert result.counts["out"] == COUNT - len(poisoned)
    found = rejects(own)
    assert {name: (row["reason"], row["detail"]) for name, row in found.items()} == dict.fromkeys(
        poisoned, ("model_failed", "the kernel failed")
    )
    for name, row in found.items():
        shard = int(row["source"].rpartition("-of-")[0][-5:])
        ids = images(own).index("test").read(shard)["image_id"].to_pylist()
        assert row["position"] == f"record {ids.index(name)}"
    check_close(labels(own), expected, set(poisoned))
    monkeypatch.undo()
    assert run(own, max_reject_fraction=1.0).built is False
    [again] = label(
        LabelSettings(dataset="drawn", models=("cnn1",), splits=("test",), batch_size=4), Context(own, force=True)
    )
    assert again.counts["out"] == COUNT, "the remedy does not help"


def test_an_image_that_fails_the_decoder_leaves_its_neighbours_labels_as_they_are(
    own: str, expected: dict[str, Any]
) -> None:
    path, index = Path(images(own).tfrecord("test", SHARD)), images(own).index("test")
    content, found = bytearray(path.read_bytes()), index.read(SHARD).to_pylist()
    begin, length = found[5]["offset"], found[5]["length"]
    payload = bytes(content[begin : begin + length]).replace(b"IHDR", b"IHDX")  # of the same length
    content[begin - 12 : begin + length + 4] = tfrecord.frame_record(payload)
    path.write_bytes(content)
    assert run(own).counts["rejected"] == {"image_undecodable": 1}
    assert list(rejects(own)) == [found[5]["image_id"]]
    assert labels(own) == {name: one for name, one in expected.items() if name != found[5]["image_id"]}


def test_a_batch_that_memory_does_not_hold_is_halved(
    own: str, expected: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    error = tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")
    failing(monkeypatch, error, lambda batch: len(batch) > 1)
    result = run(own)
    assert result.counts == {"in": COUNT, "out": COUNT, "rejected": {}}
    check_close(labels(own), expected, set())
    assert 2 <= result.counters["label.batches_out_of_memory"] <= 4  # 4, then 2; a thread more may have begun
    assert result.counters["label.batch_images.max"] == 1


def test_an_image_that_memory_never_holds_is_rejected(
    own: str, expected: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, error = PIXELS["photo-12"].tobytes(), tf.errors.ResourceExhaustedError(None, None, "OOM")
    failing(monkeypatch, error, lambda batch: any(image.tobytes() == seen for image in batch))
    assert run(own).counts["rejected"] == {"out_of_memory": 1}
    assert list(rejects(own)) == ["photo-12"]
    check_close(labels(own), expected, {"photo-12"})


# --- A store that fails for a while -------------------------------------------------------------


def test_a_store_that_fails_now_and_then_is_no_fault_of_an_image(
    pristine: str,
    expected: dict[str, Any],
    s3_server: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    root = f"s3://{servers.BUCKET}/{tmp_path.name}"
    with faulty_store.before(s3_server["AWS_ENDPOINT_URL"]) as store:
        for name, value in {**s3_server, "AWS_ENDPOINT_URL": store.address}.items():
            monkeypatch.setenv(name, value)
        stores._remote.cache_clear()
        for name in stores.list_tree(pristine):
            stores.write_bytes(f"{root}/{name}", Path(pristine, name).read_bytes())
        before = store.fail("503", 5, after=40)
        result = run(root)
        assert store.requests() - before > 45, "it failed only after the end"
        assert result.counts == {"in": COUNT, "out": COUNT, "rejected": {}}
        folder = layout.labels(root, "drawn", "cnn1", "test")
        tables_of = (parquet.read(stores.join(folder, name)) for name in stores.list_files(folder) if "part" in name)
        found = [row for table in tables_of for row in table.to_pylist()]
    stores._remote.cache_clear()
    check_close({row["image_id"]: (row["label"], row["confidence"]) for row in found}, expected, set())


# --- What is measured ---------------------------------------------------------------------------


def test_counters_tell_of_records_batches_speed_and_loading(own: str) -> None:
    index = images(own).index("test")
    sizes = [index.read(shard).num_rows for shard in range(4)]
    counters = run(own).counters
    assert (counters["label.in"], counters["label.out"], counters.get("label.rejected")) == (COUNT, COUNT, None)
    assert counters["label.batch_images.max"] == 4
    assert counters["label.batch_images.min"] == min(size % 4 or 4 for size in sizes)
    batches = sum(-(-size // 4) for size in sizes)
    assert counters["label.batch_images.mean"] == round(COUNT / batches)
    assert counters["label.images_per_second.max"] >= counters["label.images_per_second.min"] > 0
    assert counters["label.load_milliseconds.max"] > 0
