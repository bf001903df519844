"""Labelling: the labels of TensorFlow's own reading, shard by shard, and every image accounted for."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy import special

from models import saved_models
from models.networks import cnn1
from models.tasks import Head
from models.tensorflow_setup import keras
from models.tensorflow_setup import tensorflow as tf
from pipelines import runner, scoring
from schemas import layout, tables
from schemas.errors import IncompleteError, InputError, TooManyRejectsError
from schemas.settings.base import GPU_HINT
from schemas.settings.label import LabelSettings
from schemas.stage import Context
from storage import model_cards, parquet, products
from storage.products import ShardReport
from tests.support.manifests import model_card
from tests.support.stages import label as label_stage

CLASSES = list("0123456789")
WANTED = {"image": tf.io.FixedLenFeature([], tf.string), "image/id": tf.io.FixedLenFeature([], tf.string)}
DIGITS = Head("multiclass", 10)
ONE_WORKER = ("--direct_num_workers=1",)


def settings(*models: str, **changed: Any) -> LabelSettings:
    return LabelSettings(dataset="drawn", models=models or ("cnn1",), **changed)


def run(root: str, *models: str, flags: tuple[str, ...] = (), **changed: Any) -> list[Any]:
    return label_stage(settings(*models, **changed), Context(root, flags))


def tfrecord(root: str, shard: int, split: str = "test") -> Path:
    return Path(layout.images(root, "drawn", "1.0.0"), f"drawn-{split}.tfrecord-{shard:05d}-of-00008")


def records(root: str, shard: int, split: str = "test") -> list[tuple[str, bytes]]:
    """Id and encoded image of each record of a shard, read by TensorFlow."""
    payloads = tf.data.TFRecordDataset(str(tfrecord(root, shard, split)))
    parsed = [tf.io.parse_single_example(payload, WANTED) for payload in payloads]
    return [(one["image/id"].numpy().decode(), one["image"].numpy()) for one in parsed]


def oracle(root: str, model: str, split: str = "test") -> tuple[list[str], npt.NDArray[np.uint8], Any]:
    """Ids, pixels and scores of a whole split, by TensorFlow and Keras alone."""
    everything = [record for shard in range(8) for record in records(root, shard, split)]
    pixels = np.stack([tf.io.decode_png(image).numpy() for _, image in everything])
    network = keras.saving.load_model(Path(layout.model(root, "drawn", model), "model.keras"))
    return [image_id for image_id, _ in everything], pixels, network.predict(pixels, verbose=0)


def rows_of(folder: str) -> pd.DataFrame:
    parts = [pq.read_table(file).to_pandas() for file in sorted(Path(folder).glob("*.parquet"))]
    whole: pd.DataFrame = pd.concat(parts, ignore_index=True)
    return whole


def labels(root: str, model: str = "cnn1", split: str = "test") -> pd.DataFrame:
    return rows_of(layout.labels(root, "drawn", model, split))


def rejects(root: str, model: str = "cnn1") -> pd.DataFrame:
    return rows_of(layout.label_rejects(root, "drawn", model, "test"))


def times(root: str, model: str = "cnn1") -> dict[int, int]:
    """When each shard of a label set was written."""
    folder = Path(layout.labels(root, "drawn", model, "test"))
    return {int(path.name[5:10]): path.stat().st_mtime_ns for path in folder.glob("*.parquet")}


def rewrite(root: str, shard: int, images: dict[int, bytes]) -> list[str]:
    """Put other images into some records of a shard, framed by TensorFlow, and its index right; return their ids."""
    index = products.image_set(root, "drawn", "1.0.0").index("test")
    rows, position = index.read(shard).to_pylist(), 0
    kept = records(root, shard)
    with tf.io.TFRecordWriter(str(tfrecord(root, shard))) as writer:
        for row, (image_id, image) in enumerate(kept):
            values = {"image": images.get(row, image), "image/id": image_id.encode()}
            feature = {key: tf.train.Feature(bytes_list={"value": [value]}) for key, value in values.items()}
            payload = tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()
            writer.write(payload)
            rows[row] |= {"offset": position + 12, "length": len(payload)}
            position += len(payload) + 16
    index.write(shard, pa.Table.from_pylist(rows, schema=tables.INDEX), ShardReport(len(rows), len(rows)))
    return [kept[row][0] for row in images]


@pytest.fixture(scope="module")
def labelled(trained: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, list[Any]]:
    """A root with both models' label sets of the test split, and what the stage said of them."""
    root = str(shutil.copytree(trained, tmp_path_factory.mktemp("labelled") / "root"))
    return root, run(root, "cnn1", "cnn2", batch_size=7)  # shards of about 20: two batches and a rest


@pytest.mark.parametrize("model", ["cnn1", "cnn2"])
def test_labels_are_those_of_the_network(labelled: tuple[str, list[Any]], model: str) -> None:
    root, _ = labelled
    ids, _, scores = oracle(root, model)
    found = labels(root, model)
    assert found["image_id"].tolist() == ids
    assert len(ids) == len(set(ids)) == 160
    assert found["label"].tolist() == [CLASSES[best] for best in scores.argmax(axis=1)]
    np.testing.assert_allclose(found["confidence"], scores.max(axis=1), atol=1e-6)
    assert np.ptp(scores, axis=0).max() > 0.005, "every image has the same scores: a wrong order would not show"
    assert model == "cnn2" or found["label"].nunique() > 2, "one class only: a mistake in the names would not show"
    assert found[["scores", "verdict"]].isna().all(axis=None)
    fitted = model_cards.require_card(layout.model(root, "drawn", model)).calibration
    assert fitted is not None and fitted.temperatures is not None
    degree = fitted.temperatures["label"]
    calibrated = special.softmax(np.log(scores.astype(np.float64)) / degree, axis=1).max(axis=1)
    np.testing.assert_allclose(found["confidence_calibrated"], calibrated, atol=1e-5)


def test_rows_lie_in_the_order_of_the_index(labelled: tuple[str, list[Any]]) -> None:
    root, _ = labelled
    for shard in range(8):
        name = layout.parquet_shard(shard, 8)
        index = pq.read_table(Path(layout.index(root, "drawn", "test"), name))
        found = pq.read_table(Path(layout.labels(root, "drawn", "cnn1", "test"), name))
        assert found["image_id"].to_pylist() == index["image_id"].to_pylist()
        assert found.schema.remove_metadata().equals(tables.LABELS, check_metadata=False)


def test_an_element_is_a_shard_and_counts_are_kept(labelled: tuple[str, list[Any]]) -> None:
    root, results = labelled
    assert [result.product for result in results] == ["drawn/cnn1/test", "drawn/cnn2/test"]
    assert [result.counts for result in results] == [{"in": 160, "out": 160, "rejected": {}}] * 2
    counters = results[0].counters
    assert counters["label.elements"] == 2 * 8
    assert counters["label.out"] == 2 * 160
    largest = max(tfrecord(root, shard).stat().st_size for shard in range(8))
    assert counters["label.element_bytes.max"] == largest < 256_000_000
    manifest = json.loads(Path(layout.labels(root, "drawn", "cnn1", "test"), "_concord.json").read_text())
    assert (manifest["rows"], manifest["annotator"], manifest["shards"]) == (160, "cnn1", 8)


def test_scores_are_kept_if_asked_for(root: str) -> None:
    run(root, scores=True, splits=("validation",))
    ids, _, scores = oracle(root, "cnn1", "validation")
    found = labels(root, split="validation")
    assert found["image_id"].tolist() == ids
    np.testing.assert_allclose(np.stack(found["scores"].tolist()), scores, atol=1e-6)


@pytest.mark.parametrize("accelerator", ["", GPU_HINT])  # a runner fuses only steps that ask for the same
def test_a_failed_run_keeps_the_shards_it_finished(
    root: str, monkeypatch: pytest.MonkeyPatch, accelerator: str
) -> None:
    done: list[int] = []
    whole = scoring.score_shard

    def failing(source: Any, *rest: Any) -> Any:
        if len(done) == 5:
            raise InputError(f"shard {source.shard} is poisoned")
        done.append(source.shard)
        return whole(source, *rest)

    monkeypatch.setattr(scoring, "score_shard", failing)
    with pytest.raises(InputError, match=r"^shard \d is poisoned$"):
        run(root, flags=ONE_WORKER, accelerator=accelerator)
    kept = times(root)
    assert sorted(kept) == sorted(done), "labelling and writing are not fused"
    assert len(kept) == 5
    assert products.find_manifest(layout.labels(root, "drawn", "cnn1", "test"), products.AnyManifest) is None
    monkeypatch.setattr(scoring, "score_shard", whole)
    (result,) = run(root)
    assert result.counters["label.elements"] == 3
    assert {shard: written for shard, written in times(root).items() if shard in kept} == kept
    assert labels(root)["image_id"].tolist() == oracle(root, "cnn1")[0]


@pytest.mark.parametrize("folder", [layout.labels, layout.label_rejects])
def test_only_a_missing_shard_is_made_again(labelled: tuple[str, list[Any]], tmp_path: Path, folder: Any) -> None:
    root = str(shutil.copytree(labelled[0], tmp_path / "root"))
    before, expected = times(root), labels(root)
    Path(folder(root, "drawn", "cnn1", "test"), layout.parquet_shard(6, 8)).unlink()
    Path(layout.labels(root, "drawn", "cnn1", "test"), "_concord.json").unlink()
    results = run(root, "cnn1", "cnn2", batch_size=7)
    assert [result.built for result in results] == [True, False]
    assert results[0].counters["label.elements"] == 1
    after = times(root)
    assert {shard for shard in before if after[shard] != before[shard]} == {6}
    pd.testing.assert_frame_equal(labels(root), expected)


def test_a_second_call_does_nothing(labelled: tuple[str, list[Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    root, _ = labelled
    before = times(root)

    def no_pipeline(*_: object) -> None:
        raise RuntimeError("a pipeline was run")

    monkeypatch.setattr(runner, "run", no_pipeline)
    results = run(root, "cnn1", "cnn2", batch_size=7)
    assert [(result.built, result.counts["out"]) for result in results] == [(False, 160)] * 2
    assert times(root) == before
    with pytest.raises(RuntimeError, match="a pipeline was run"):
        run(root, "cnn1", batch_size=7, scores=True)  # another setting is another label set


def test_other_weights_of_the_same_recipe_label_again(root: str) -> None:
    [first] = run(root, "cnn1")
    card = model_cards.require_card(layout.model(root, "drawn", "cnn1"))
    model = saved_models.load(layout.model(root, "drawn", "cnn1"))
    saved_models.save(model, layout.model(root, "drawn", "cnn1"), card)
    assert [result.built for result in run(root, "cnn1")] == [False]  # saved at another time, but the same weights
    model.layers[-1].set_weights([-weights for weights in model.layers[-1].get_weights()])
    saved_models.save(model, layout.model(root, "drawn", "cnn1"), card)
    assert [first.built, *(result.built for result in run(root, "cnn1"))] == [True, True]


def damage(root: str, shard: int, record: int) -> str:
    """Flip a bit in the middle of a record; return the id of its image."""
    row = products.image_set(root, "drawn", "1.0.0").index("test").read(shard).to_pylist()[record]
    content = bytearray(tfrecord(root, shard).read_bytes())
    content[row["offset"] + row["length"] // 2] ^= 1
    tfrecord(root, shard).write_bytes(content)
    return str(row["image_id"])


def test_a_damaged_record_is_rejected_by_name(root: str) -> None:
    image_id = damage(root, 2, 4)
    ids, _, scores = oracle_without(root, image_id)
    (result,) = run(root)
    assert result.counts == {"in": 160, "out": 159, "rejected": {"record_damaged": 1}}
    assert result.counters["label.rejected"] == 1
    (reject,) = rejects(root).to_dict("records")
    assert (reject["image_id"], reject["reason"]) == (image_id, "record_damaged")
    assert (reject["position"], reject["source"]) == ("record 4", str(tfrecord(root, 2)))
    assert labels(root)["image_id"].tolist() == ids
    np.testing.assert_allclose(labels(root)["confidence"], scores.max(axis=1), atol=1e-6)


def oracle_without(root: str, image_id: str) -> tuple[list[str], npt.NDArray[np.uint8], Any]:
    """The oracle of the other images: read before or after a record was damaged, by its neighbours' bytes."""
    index = products.image_set(root, "drawn", "1.0.0").index("test")
    ids, pixels = [], []
    for shard in range(8):
        content = tfrecord(root, shard).read_bytes()
        for row in index.read(shard).to_pylist():
            if row["image_id"] != image_id:
                payload = content[row["offset"] : row["offset"] + row["length"]]
                pixels.append(tf.io.decode_png(tf.io.parse_single_example(payload, WANTED)["image"]).numpy())
                ids.append(row["image_id"])
    network = keras.saving.load_model(Path(layout.model(root, "drawn", "cnn1"), "model.keras"))
    return ids, np.stack(pixels), network.predict(np.stack(pixels), verbose=0)


def test_images_that_cannot_be_decoded_are_rejected_by_name(root: str) -> None:
    good = records(root, 5)[0][1]
    ids = [image_id for shard in range(8) for image_id, _ in records(root, shard)]
    small = tf.io.encode_png(np.zeros((16, 32, 1), np.uint8)).numpy()
    [scaled] = rewrite(root, 5, {3: small})
    bad = rewrite(root, 5, {1: b"<html>404 Not Found</html>", 4: good[: len(good) // 2], 6: b""})
    damaged = damage(root, 5, 2)  # the rows that can be read are not those of the index any more
    (result,) = run(root, max_reject_fraction=0.05)
    assert result.counts == {"in": 160, "out": 156, "rejected": {"image_undecodable": 3, "record_damaged": 1}}
    found = rejects(root)
    assert found["image_id"].tolist() == [*bad[:1], damaged, *bad[1:]]
    assert found["reason"].tolist() == ["image_undecodable", "record_damaged", *["image_undecodable"] * 2]
    assert found["position"].tolist() == [f"record {row}" for row in (1, 2, 4, 6)]
    assert labels(root)["image_id"].tolist() == [one for one in ids if one not in (damaged, *bad)]
    assert scaled in set(labels(root)["image_id"])  # of another size: it is scaled
    with pytest.raises(TooManyRejectsError, match=r"label rejected 4 of 160 records \(image_undecodable 3, ") as caught:
        run(root, model_again(root), max_reject_fraction=0.02)
    assert re.search(r"test\.tfrecord-00005-of-00008, record 1: .*Unknown image file format", str(caught.value))
    assert products.find_manifest(layout.labels(root, "drawn", "again", "test"), products.AnyManifest) is None


def model_again(root: str) -> str:
    """A copy of the model `cnn1`, by the name of `again`."""
    shutil.copytree(layout.model(root, "drawn", "cnn1"), layout.model(root, "drawn", "again"))
    return "again"


def save(root: str, name: str, model: keras.Model, classes: list[str], task: str = "multiclass") -> None:
    card = model_card(name, fingerprint=name.ljust(16, "0"), classes=classes, task=task)
    saved_models.save(model, layout.model(root, "drawn", name), card)


def overflowing_above(threshold: float) -> keras.Model:
    """A network whose scores are NaN where the pixels of an image sum up to more than the threshold."""
    model = keras.Sequential(
        [keras.Input((32, 32, 1), dtype="uint8"), keras.layers.Flatten(), keras.layers.Dense(10, activation="softmax")]
    )
    kernel = np.zeros((1024, 10), np.float32)
    kernel[:, 7] = np.finfo(np.float32).max / threshold
    model.layers[-1].set_weights([kernel, np.zeros(10, np.float32)])
    return model


def test_scores_that_are_not_finite_are_rejected_by_name(root: str) -> None:
    ids, pixels, _ = oracle(root, "cnn1")
    sums = pixels.sum(axis=(1, 2, 3), dtype=np.int64)
    threshold = (np.sort(sums)[-10] + np.sort(sums)[-11]) / 2
    save(root, "overflowing", overflowing_above(threshold), CLASSES)
    broken = [rewrite(root, shard, {0: b"no image"})[0] for shard in range(8)]  # so that rows and positions differ
    brightest = [ids[row] for row in np.flatnonzero(sums > threshold) if ids[row] not in broken]
    assert 2 <= len(brightest) <= 10
    (result,) = run(root, "overflowing", max_reject_fraction=0.2)
    out = 160 - 8 - len(brightest)
    assert result.counts["out"] == out
    assert result.counts["rejected"] == {"image_undecodable": 8, "scores_not_finite": len(brightest)}
    found = rejects(root, "overflowing")
    assert found[found["reason"] == "scores_not_finite"]["image_id"].tolist() == brightest
    kept = labels(root, "overflowing")
    assert kept["image_id"].tolist() == [one for one in ids if one not in (*broken, *brightest)]
    assert set(kept["label"]) == {"7"}


def test_a_model_of_nan_labels_nothing(root: str) -> None:
    model = cnn1.build((32, 32, 1), DIGITS)
    model.set_weights([np.full_like(one, np.nan) for one in model.get_weights()])
    save(root, "nan", model, CLASSES)
    with pytest.raises(TooManyRejectsError, match=r"rejected 160 of 160 records \(scores_not_finite 160\).*train it"):
        run(root, "nan")
    (result,) = run(root, "nan", max_reject_fraction=1.0)
    assert result.counts == {"in": 160, "out": 0, "rejected": {"scores_not_finite": 160}}


def test_a_shard_that_its_index_does_not_know_is_refused(root: str) -> None:
    index = products.image_set(root, "drawn", "1.0.0").index("test")
    rows = index.read(3).to_pylist()
    rows[0]["image_id"], rows[1]["image_id"] = rows[1]["image_id"], rows[0]["image_id"]
    index.write(3, pa.Table.from_pylist(rows, schema=tables.INDEX), ShardReport(len(rows), len(rows)))
    with pytest.raises(IncompleteError, match=r"tfrecord-00003-of-00008 holds other images than its index says"):
        run(root)
    assert products.find_manifest(layout.labels(root, "drawn", "cnn1", "test"), products.AnyManifest) is None


def test_an_index_of_another_conversion_is_refused(root: str) -> None:
    index = products.image_set(root, "drawn", "1.0.0").index("test")
    parquet.write(index.path(3), index.read(3), "another" * 2)
    with pytest.raises(IncompleteError, match=r"part-00003-of-00008\.parquet has fingerprint another"):
        run(root)


def test_a_model_for_other_classes_or_another_task_is_refused(root: str) -> None:
    save(root, "mood", cnn1.build((32, 32, 1), Head("multiclass", 2)), ["glad", "sad"])
    save(root, "reordered", cnn1.build((32, 32, 1), DIGITS), CLASSES[::-1])
    save(root, "tags", cnn1.build((32, 32, 1), Head("multilabel", 10)), CLASSES, task="multilabel")
    with pytest.raises(InputError, match=r"'tags' was trained for 10 classes \(multilabel\), but 'drawn' has 10"):
        run(root, "tags")
    with pytest.raises(InputError, match=r"'mood' was trained for 2 classes"):
        run(root, "cnn1", "mood")
    with pytest.raises(InputError, match="'reordered' was trained for"):
        run(root, "reordered")
    assert not Path(layout.labels(root, "drawn", "cnn1", "test")).exists()


def test_what_is_not_there_is_named(trained: str) -> None:
    with pytest.raises(IncompleteError, match=r"no complete model in .*models/drawn/cnn9: run concord train first"):
        run(trained, "cnn9")
    with pytest.raises(InputError, match=r"'drawn' has no split 'night'; its splits are"):
        run(trained, splits=("night",))
