"""Products: what is finished, what is swept away, and what is refused."""

import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from schemas import layout, tables
from schemas.errors import IncompleteError, InputError
from schemas.manifests import LabelsManifest, Manifest
from storage import products, stores
from storage.hashing import image_hashes as hash_of
from storage.hashing import shard_of
from storage.products import MANIFEST, ShardFolder, ShardReport
from tests.support.manifests import images_manifest

REPORT = ShardReport(5, 3, {"label_missing": 2}, 700)


def rows(count: int = 3) -> pa.Table:
    return pa.Table.from_pylist(
        [{"image_id": f"i{row}", "label": "0", "confidence": 1.0} for row in range(count)], schema=tables.LABELS
    )


# --- Fingerprints and identities ----------------------------------------------------------------


def test_fingerprint_follows_every_part(monkeypatch: pytest.MonkeyPatch) -> None:
    settings: dict[str, Any] = {"classes": ("0", "1"), "shards": 8}
    made = [
        products.fingerprint("convert", settings=settings),
        products.fingerprint("label", settings=settings),
        products.fingerprint("convert", settings={**settings, "shards": 16}),
        products.fingerprint("convert", settings={**settings, "classes": ("1", "0")}),
        products.fingerprint("convert", settings=settings, inputs=[]),
    ]
    monkeypatch.setattr("schemas.__version__", "9.9.9")
    made.append(products.fingerprint("convert", settings=settings))
    assert len(set(made)) == len(made)


def test_fingerprint_does_not_follow_the_order_of_keys() -> None:
    one = products.fingerprint("convert", settings={"a": 1, "b": 2}, inputs=["x"])
    assert one == products.fingerprint("convert", inputs=["x"], settings={"b": 2, "a": 1})


def test_input_identity_tells_states_apart(place: str) -> None:
    path = stores.join(place, "input.h5")
    stores.write_bytes(path, b"1234")
    found = products.input_identity(path)
    assert (found["name"], found["size"]) == ("input.h5", 4)
    stores.write_bytes(path, b"12345")
    assert products.input_identity(path) != found


def test_touched_input_is_another(tmp_path: Path) -> None:
    path = tmp_path / "input.h5"
    path.write_bytes(b"1234")
    found = products.input_identity(str(path))
    assert products.input_identity(str(path)) == found
    os.utime(path, ns=(0, found["modified"] + 1))
    assert products.input_identity(str(path)) != found


def test_input_may_move(tmp_path: Path) -> None:
    path = tmp_path / "input.h5"
    path.write_bytes(b"1234")
    found = products.input_identity(str(path))
    (tmp_path / "elsewhere").mkdir()
    assert products.input_identity(str(path.rename(tmp_path / "elsewhere" / "input.h5"))) == found
    assert products.input_identity(str(tmp_path.joinpath("elsewhere/input.h5").rename(tmp_path / "b.h5"))) != found


def test_input_must_be_there_and_not_empty(place: str) -> None:
    with pytest.raises(InputError, match=f"no such file: {place}/absent"):
        products.input_identity(stores.join(place, "absent"))
    stores.write_bytes(stores.join(place, "empty.h5"), b"")
    with pytest.raises(InputError, match=rf"{place}/empty.h5 is empty \(0 bytes\)"):
        products.input_identity(stores.join(place, "empty.h5"))


# --- Counts -------------------------------------------------------------------------------------


def test_report_survives_json() -> None:
    assert ShardReport.from_json(REPORT.to_json()) == REPORT
    assert ShardReport.from_json(ShardReport().to_json()) == ShardReport()


def test_reports_add_up() -> None:
    other = ShardReport(10, 8, {"pixels_not_finite": 1, "label_missing": 1}, 1)
    expected = ShardReport(15, 11, {"label_missing": 3, "pixels_not_finite": 1}, 701)
    assert products.total([REPORT, other]) == expected
    assert products.total([other, REPORT]) == expected
    assert list(products.total([other, REPORT]).rejected) == ["label_missing", "pixels_not_finite"]
    assert products.total([]) == ShardReport()


def test_shapes_are_kept_up_to_two_which_say_that_they_differ() -> None:
    one, other, third = (32, 32, 1), (32, 32, 3), (8, 9, 3)
    reports = [ShardReport(1, 1, shapes=(one,)), ShardReport(), ShardReport(2, 2, shapes=(one,))]
    assert products.total(reports).shapes == (one,)
    assert products.total([*reports, ShardReport(1, 1, shapes=(other,))]).shapes == (one, other)
    assert len(products.total([ShardReport(3, 3, shapes=(one, other)), ShardReport(1, 1, shapes=(third,))]).shapes) == 2
    assert products.total([]).shapes == ()
    for report in (ShardReport(2, 2, shapes=(one, third)), ShardReport(1, 1, shapes=(one,)), REPORT):
        assert ShardReport.from_json(report.to_json()) == report
    assert ShardReport.from_json('{"in": 1, "out": 1, "rejected": {}, "bytes": 2}') == ShardReport(1, 1, {}, 2)


# --- Shard folders ------------------------------------------------------------------------------


def test_shards_are_written_and_read(place: str) -> None:
    folder = ShardFolder(place, 8, "now")
    folder.write(3, rows(), REPORT)
    assert stores.list_files(place).keys() == {"part-00003-of-00008.parquet"}
    assert folder.read(3).to_pylist() == rows().to_pylist()
    assert folder.done() == {3: REPORT}
    assert folder.committed() == 1


def test_a_mixture_of_fingerprints_is_refused(tmp_path: Path) -> None:
    ShardFolder(str(tmp_path), 8, "before").write(0, rows(), REPORT)
    with pytest.raises(IncompleteError, match=r"part-00000-of-00008.parquet has fingerprint before"):
        ShardFolder(str(tmp_path), 8, "now").read(0)


def complete(folder: ShardFolder) -> Manifest:
    manifest = Manifest(stage="draw", product="x", fingerprint=folder.fingerprint)
    products.write_manifest(folder.folder, manifest)
    return manifest


def test_prepare_keeps_just_what_is_finished(tmp_path: Path) -> None:
    now = ShardFolder(str(tmp_path), 8, "now")
    for shard in (0, 7):
        now.write(shard, rows(), REPORT)
    os.utime(now.path(0), ns=(1, 1))
    ShardFolder(str(tmp_path), 8, "before").write(1, rows(), REPORT)
    ShardFolder(str(tmp_path), 4, "now").write(2, rows(), REPORT)
    (tmp_path / ".part-00005-of-00008.parquet.1f.partial").write_bytes(b"half")
    complete(now)
    assert now.prepare() == {0: REPORT, 7: REPORT}
    assert sorted(os.listdir(tmp_path)) == ["part-00000-of-00008.parquet", "part-00007-of-00008.parquet"]
    assert os.stat(now.path(0)).st_mtime_ns == 1


def test_prepare_removes_the_manifest_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed midway, it must not leave a product that says it is complete but is not."""
    folder = ShardFolder(str(tmp_path), 8, "now")
    ShardFolder(str(tmp_path), 8, "before").write(0, rows(), REPORT)
    complete(folder)
    removed: list[str] = []
    monkeypatch.setattr(stores, "remove", lambda path: removed.append(path.rpartition("/")[2]))
    folder.prepare()
    assert removed[0] == MANIFEST
    assert "part-00000-of-00008.parquet" in removed


def test_prepare_of_nothing(place: str) -> None:
    assert ShardFolder(stores.join(place, "absent"), 8, "now").prepare() == {}


def test_complete_declares_the_product(place: str) -> None:
    folder = ShardFolder(place, 8, "now")
    assert products.find_manifest(place, Manifest) is None
    assert not products.is_current(place, "now")
    written = complete(folder)
    assert products.find_manifest(place, Manifest) == written
    assert products.is_current(place, "now")
    assert not products.is_current(place, "before")
    assert folder.committed() == 0  # a manifest is no shard


# --- Parts of shards ----------------------------------------------------------------------------


@pytest.mark.parametrize("coarse", [1, 2, 8])
@pytest.mark.parametrize("images", [0, 1, 300])
def test_finer_shards_are_parts_of_a_coarse_one(tmp_path: Path, coarse: int, images: int) -> None:
    """Nothing is lost, nothing is there twice, and the order stays."""
    ids = sorted((f"{number * 7919:016x}" for number in range(images)), key=lambda name: hash_of([name])[0])
    twice = [(image_id, label) for image_id in ids for label in "ab"]
    folder = ShardFolder(str(tmp_path), coarse, "now")
    places = shard_of(hash_of([name for name, _ in twice]), coarse).tolist()
    for shard in range(coarse):
        mine = [pair for pair, place in zip(twice, places, strict=True) if place == shard]
        table = [{"image_id": name, "label": label, "confidence": 1.0} for name, label in mine]
        folder.write(shard, pa.Table.from_pylist(table, schema=tables.LABELS), REPORT)
    for fine in (coarse, 2 * coarse, 16 * coarse):
        parts = [folder.read_part(shard, fine) for shard in range(fine)]
        found = [(row["image_id"], row["label"]) for part in parts for row in part.to_pylist()]
        assert found == twice
        for shard, part in enumerate(parts):
            assert part.schema.equals(tables.LABELS)
            assert {int(value) >> 64 - fine.bit_length() + 1 for value in hash_of(part["image_id"].to_pylist())} <= {
                shard
            }


def test_a_part_cannot_be_coarser(tmp_path: Path) -> None:
    folder = ShardFolder(str(tmp_path), 8, "now")
    with pytest.raises(InputError, match=f"{tmp_path} has 8 shards and cannot be read as 4"):
        folder.read_part(0, 4)


# --- What a reader demands ----------------------------------------------------------------------


def test_a_product_that_is_not_there_names_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(IncompleteError, match=f"no complete model in {tmp_path}: train it"):
        products.require_manifest(str(tmp_path), Manifest, "model", "train it")
    with pytest.raises(IncompleteError, match=r"no complete dataset 'svhn' in .*/svhn/1.0.0: run concord convert"):
        products.image_set(str(tmp_path), "svhn", "1.0.0")
    with pytest.raises(IncompleteError, match="no complete label set of 'cnn2' for split 'test' of 'svhn'"):
        products.label_set(str(tmp_path), "svhn", "cnn2", "test")


def test_a_label_set_knows_its_shards(place: str) -> None:
    folder = ShardFolder(layout.labels(place, "svhn", "human", "test"), 16, "now")
    folder.write(9, rows(), REPORT)
    facts: dict[str, Any] = {
        "stage": "convert",
        "product": "svhn/human/test",
        "annotator": "human",
        "split": "test",
        "images": "i",
    }
    products.write_manifest(folder.folder, LabelsManifest(fingerprint="now", shards=16, rows=3, **facts))
    found = products.label_set(place, "svhn", "human", "test")
    assert (found.shards, found.fingerprint) == (16, "now")
    assert found.read(9).num_rows == 3


def test_an_image_set_speaks_from_its_manifest(place: str) -> None:
    splits = {"train": {"in": 9, "out": 7}, "test": {"in": 1, "out": 1}}
    manifest = images_manifest("svhn", "now", classes=["a", "b"], image_shape=(32, 16, 3), splits=splits)
    products.write_manifest(layout.images(place, "svhn", "1.0.0"), manifest)
    images = products.image_set(place, "svhn", "1.0.0")
    assert (images.fingerprint, images.shards, images.classes) == ("now", 8, ["a", "b"])
    assert images.image_shape == (32, 16, 3)
    assert images.images_in("train") == 7
    assert images.tfrecord("train", 3) == f"{place}/images/svhn/1.0.0/svhn-train.tfrecord-00003-of-00008"
    assert images.index("test").path(7) == f"{place}/index/dataset=svhn/split=test/part-00007-of-00008.parquet"
    with pytest.raises(InputError, match="dataset 'svhn' has no split 'val'; its splits are test, train"):
        images.images_in("val")
