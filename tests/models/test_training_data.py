"""What one training reads: which parts of which splits, and features in the place of images."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from models import inputs, training_data
from models.inputs import Batches
from models.tasks import Objective
from models.tensorflow_setup import keras
from schemas.errors import IncompleteError, InputError
from schemas.manifests import ScoresManifest
from storage import products
from storage.products import ImageSet, ShardFolder, ShardReport
from tests.support import small_dataset, training

FOUR = Objective("multiclass", 4)
SHAPE = (12, 12, 1)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> ImageSet:
    root = tmp_path_factory.mktemp("data")
    return small_dataset.write_learnable(root, sizes={"train": 80, "validation": 20, "test": 30})


def planned(images: ImageSet, **changed: Any) -> training_data.Data:
    return training_data.plan_data(training.job(images.root, **changed), images)


def sizes(found: training_data.Data) -> dict[str, int]:
    return {"train": len(found.train), "validation": len(found.validation)} | {
        name: len(part) for name, part in found.evaluation.items()
    }


def test_a_split_that_is_there_decides(images: ImageSet) -> None:
    found = planned(images, evaluate=("test", "validation"))
    assert sizes(found) == {"train": 80, "validation": 20, "test": 30}
    assert found.splits == ["train", "validation", "test"]


def test_without_a_validation_split_a_share_is_held_out(images: ImageSet) -> None:
    found = planned(images, validation="none", validation_fraction=0.25)
    assert len(found.train) + len(found.validation) == 80
    assert 8 < len(found.validation) < 32
    assert found.validation.split == "train" and found.splits == ["train"]
    assert not any(
        (one.known & two.known).any() for one, two in zip(found.train.targets, found.validation.targets, strict=True)
    )
    assert len(planned(images, validation="none", validation_fraction=0.0).validation) == 0


def test_a_fold_is_not_seen_but_judged(images: ImageSet) -> None:
    folds = [planned(images, fold=fold, folds=4) for fold in range(4)]
    assert sum(len(found.evaluation["unseen_fold"]) for found in folds) == 80
    assert all(len(found.train) + len(found.evaluation["unseen_fold"]) == 80 for found in folds)
    assert all(len(found.validation) == 20 for found in folds)
    held = planned(images, fold=1, folds=4, validation="none", validation_fraction=0.25)
    parts = [held.train, held.validation, held.evaluation["unseen_fold"]]
    assert sum(map(len, parts)) == 80
    assert len(held.evaluation["unseen_fold"]) == len(folds[1].evaluation["unseen_fold"])


def test_it_is_judged_by_another_annotator_if_asked_for(images: ImageSet) -> None:
    rows = [{"image_id": f"test-{number:04d}", "label": "se"} for number in range(7)]
    small_dataset.write_labels(images, "test", rows, annotator="expert")
    found = planned(images, evaluate=("test",), reference="expert")
    assert sizes(found) == {"train": 80, "validation": 20, "test": 7}
    values = (
        found.evaluation["test"]
        .open(training_data.Source({"test": inputs.read_records(())}, lambda payloads: payloads))
        .values()
    )
    assert values.tolist() == [[3]] * 7


@pytest.mark.parametrize(
    ("changed", "kind", "message"),
    [
        ({"split": "night"}, InputError, "no split 'night'"),
        ({"evaluate": ("night",)}, InputError, "no split 'night'"),
        ({"labels": "nobody"}, IncompleteError, "no complete label set of 'nobody'"),
        (
            {"reference": "nobody", "evaluate": ("test",)},
            IncompleteError,
            "no complete label set of 'nobody' for split 'test'",
        ),
        (
            {"min_confidence": 1.0, "labels": "unsure"},
            InputError,
            "'unsure' labels no image of split 'train' of 'small'",
        ),
    ],
)
def test_what_is_not_there_is_named(
    images: ImageSet, changed: dict[str, Any], kind: type[Exception], message: str
) -> None:
    for split in ("train", "validation"):
        rows = [{"image_id": f"{split}-0001", "label": "nw", "confidence": 0.5}]
        small_dataset.write_labels(images, split, rows, annotator="unsure")
    with pytest.raises(kind, match=message):
        planned(images, **changed)


def test_scores_stand_beside_their_targets(images: ImageSet) -> None:
    found = planned(images, evaluate=("test",))
    model = keras.Sequential([keras.Input(SHAPE), keras.layers.Flatten(), keras.layers.Dense(4, activation="softmax")])
    with training_data.open_images(images, found.splits, SHAPE) as source:
        values, scores = training_data.score_part(model, found.evaluation["test"], source, FOUR)
        none = training_data.Part(
            "test", tuple(dataclasses.replace(one, known=one.known & False) for one in found.evaluation["test"].targets)
        )
        assert [one.shape for one in training_data.score_part(model, none, source, FOUR)] == [(0, 1), (0, 4)]
        [(pixels, classes)] = list(
            inputs.validation_batches(found.evaluation["test"].open(source), Batches(source.decode, FOUR, 99))
        )
    assert values[:, 0].tolist() == classes.numpy().tolist()
    np.testing.assert_allclose(scores, np.asarray(model(pixels)), atol=1e-6)


def feature_of(image_id: str) -> list[float]:
    return [float(image_id[-4:]), -1.5, float(len(image_id))]


def features(images: ImageSet, folder: Path, split: str, dropped: set[str]) -> ShardFolder:
    """Features of the images of a split, without some, and in another order than the index."""
    written = ShardFolder(str(folder / split), images.shards, "features-eeeeeeeeeeeeeeee")
    kind = pa.list_(pa.float32(), 3)
    for shard in range(images.shards):
        ids = [one for one in images.index(split).read(shard)["image_id"].to_pylist()[::-1] if one not in dropped]
        table = pa.table({"image_id": pa.array(ids, pa.string()), "features": pa.array(map(feature_of, ids), kind)})
        written.write(shard, table, ShardReport())
    facts: dict[str, Any] = {"name": "f", "split": split, "images": images.fingerprint, "shards": 8, "rows": 0}
    manifest = ScoresManifest(stage="features", product="f", fingerprint=written.fingerprint, **facts)
    products.write_manifest(written.folder, manifest)
    return products.shard_folder(written.folder)


def test_features_stand_beside_the_targets_of_their_images(images: ImageSet, tmp_path: Path) -> None:
    dropped = {f"{split}-{number:04d}" for split in ("train", "validation") for number in range(5)}
    found = planned(images)
    folders = {split: features(images, tmp_path, split, dropped) for split in found.splits}
    kept = training_data.keep_with_features(found, images, folders)
    assert sizes(kept) == {"train": 75, "validation": 15}
    source = training_data.open_features(images, folders, width=3)
    for part, split in ((kept.train, "train"), (kept.validation, "validation")):
        [(vectors, classes)] = list(inputs.validation_batches(part.open(source), Batches(source.decode, FOUR, 99)))
        ids = [one for shard in range(8) for one in images.index(split).read(shard)["image_id"].to_pylist()]
        left = [one for one in ids if one not in dropped]
        assert vectors.numpy().tolist() == [feature_of(one) for one in left]
        truth = {row["image_id"]: row["label"] for row in human(images, split)}
        assert [images.classes[index] for index in classes.numpy()] == [truth[one] for one in left]
    stream = inputs.training_batches(kept.train.open(source), Batches(source.decode, FOUR, 99), 1, 1).take(1)
    [(vectors, _)] = list(stream)
    assert sorted(vectors.numpy().tolist()) == sorted(feature_of(f"train-{number:04d}") for number in range(5, 80))


def human(images: ImageSet, split: str) -> list[dict[str, Any]]:
    labels = products.label_set(images.root, "small", "human", split)
    return [row for shard in range(8) for row in labels.read(shard).to_pylist()]


@pytest.mark.parametrize("chunks", ["ba", "b,,a", "", "xc,b"])
def test_features_are_put_in_the_order_of_the_images(chunks: str) -> None:
    tables = [
        pa.table(
            {
                "image_id": pa.array(list(ids), pa.string()),
                "features": pa.array([[float(ord(one)), 0.5] for one in ids], pa.list_(pa.float32(), 2)),
            }
        )
        for ids in chunks.split(",")
    ]
    expected = [np.array([ord(one), 0.5], np.float32).tobytes() if one in chunks else b"" for one in "acb"]
    assert training_data.align_features(pa.concat_tables(tables), list("acb")) == expected


def test_a_folder_of_features_that_is_not_whole_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IncompleteError, match="no complete product"):
        products.shard_folder(str(tmp_path))
