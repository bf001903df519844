"""Features: what a backbone sees, computed once; heads trained on them are those trained on the images themselves."""

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow.parquet as pq
import pytest

from models import building, saved_models, trainer, transfer
from models.tensorflow_setup import keras
from models.tensorflow_setup import tensorflow as tf
from models.training_job import TrainJob
from pipelines import runner, scoring
from pipelines.features import backbone_key, feature_folder, load_backbone
from pipelines.train import driver
from samples.house_numbers import SampleSize, write_sample
from schemas import layout
from schemas.errors import IncompleteError, InputError
from schemas.settings.convert import ConvertSettings
from schemas.settings.features import FeatureSettings
from schemas.settings.train import TrainSettings
from schemas.stage import Context
from storage import model_cards, products
from storage.tfrecord import decode_example
from tests.support import stages
from tests.support.manifests import model_card
from tests.support.stages import convert, features

BACKBONE: dict[str, Any] = {
    "dataset": "few",
    "network": "vgg16",
    "image_size": 32,
    "features_from": "block2_pool",
    "precision": "float32",
}
WANTED = FeatureSettings(**BACKBONE, splits=("train", "validation"), batch_size=7, accelerator="")
TRAINING = TrainSettings(**BACKBONE, epochs=2, batch_size=16, learning_rate=1e-5, evaluate=("test",), accelerator="")
Array = npt.NDArray[Any]


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A root with few images: 72 to train, 24 to validate and 24 to test on. Read it only."""
    folder = tmp_path_factory.mktemp("few")
    write_sample(str(folder / "few.h5"), SampleSize(train=72, test=24, validation=24), seed=5)
    settings = ConvertSettings(dataset="few", source="svhn_h5", input=(str(folder / "few.h5"),), shards=8)
    convert(settings, Context(str(folder / "root")))
    return str(folder / "root")


@pytest.fixture
def own(few: str, tmp_path: Path) -> str:
    """A copy of it, to be written to."""
    return str(shutil.copytree(few, tmp_path / "root"))


@pytest.fixture(scope="module")
def computed(few: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, list[Any]]:
    """The same with features of two splits, and what the stage said of them. Read it only."""
    root = str(shutil.copytree(few, tmp_path_factory.mktemp("computed") / "root"))
    return root, features([WANTED], Context(root))


def rows_of(folder: Path | str) -> pd.DataFrame:
    found: pd.DataFrame = pd.concat(
        [pq.read_table(path).to_pandas() for path in sorted(Path(folder).glob("*.parquet"))]
    )
    return found.reset_index(drop=True)


def stored(root: str, split: str) -> tuple[list[str], Array]:
    """Ids and pixels of a split as a colour network takes them, by TensorFlow alone."""
    ids, pixels = [], []
    for path in sorted(Path(layout.images(root, "few", "1.0.0")).glob(f"few-{split}.tfrecord-*")):
        for payload in tf.data.TFRecordDataset(str(path)):
            encoded, image_id = decode_example(payload.numpy())
            ids.append(image_id)
            pixels.append(tf.io.decode_png(encoded, channels=3).numpy())
    return ids, np.stack(pixels)


@pytest.mark.parametrize("split", ["train", "validation"])
def test_features_are_what_the_backbone_gives(computed: tuple[str, list[Any]], split: str) -> None:
    root, _ = computed
    ids, pixels = stored(root, split)
    found = rows_of(feature_folder(WANTED, root, split))
    assert found.image_id.tolist() == ids
    keras.utils.set_random_seed(WANTED.seed)
    given = keras.Input((32, 32, 3))
    blue_first = keras.layers.Lambda(lambda rgb: rgb[..., ::-1] - np.array([103.939, 116.779, 123.68]))(given)
    vgg = keras.applications.VGG16(include_top=False, weights=None, input_shape=(32, 32, 3))
    plain = keras.Model(vgg.input, vgg.get_layer("block2_pool").output)
    plain.set_weights(building.build_backbone(WANTED).get_weights())
    expected = plain(keras.Model(given, blue_first)(pixels.astype(np.float32))).numpy().reshape(len(ids), -1)
    assert expected.shape == (len(ids), 8 * 8 * 128)
    assert np.ptp(expected, axis=0).max() > 1
    np.testing.assert_allclose(np.stack(found.features.tolist()), expected, rtol=1e-4, atol=1e-3)


def test_a_shard_is_an_element_and_counts_are_kept(computed: tuple[str, list[Any]]) -> None:
    _, results = computed
    key = backbone_key(WANTED)
    assert key.startswith("vgg16_")
    assert [(one.stage, one.product) for one in results] == [
        ("features", f"few/{key}/train"),
        ("features", f"few/{key}/validation"),
    ]
    assert [one.counts["out"] for one in results] == [72, 24]
    assert results[0].counters["features.elements"] == 16


def test_features_are_computed_once(own: str, monkeypatch: pytest.MonkeyPatch) -> None:
    features([WANTED], Context(own))

    def no_pipeline(*_: object) -> None:
        raise RuntimeError("a pipeline was run")

    monkeypatch.setattr(runner, "run", no_pipeline)
    again = features([WANTED, WANTED.changed(batch_size=32)], Context(own))
    assert [one.built for one in again] == [False] * 2
    others: list[dict[str, Any]] = [{"seed": 2}, {"features_from": "block1_pool"}, {"splits": ("test",)}]
    for changed in others:
        with pytest.raises(RuntimeError, match="a pipeline was run"):
            features([WANTED.changed(**changed)], Context(own))


def test_a_killed_run_goes_on_where_it_was(own: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = scoring.score_shard
    done: list[int] = []

    def failing(source: Any, *rest: Any) -> Any:
        if len(done) == 3:
            raise InputError(f"shard {source.shard} is poisoned")
        done.append(source.shard)
        return whole(source, *rest)

    monkeypatch.setattr(scoring, "score_shard", failing)
    wanted = WANTED.changed(splits=("train",))
    folder = Path(feature_folder(wanted, own, "train"))
    with pytest.raises(InputError, match=r"^shard \d is poisoned$"):
        features([wanted], Context(own, ("--direct_num_workers=1",)))
    before = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.parquet")}
    assert len(before) == 3
    monkeypatch.setattr(scoring, "score_shard", whole)
    (result,) = features([wanted], Context(own))
    assert result.counters["features.elements"] == 5
    assert {name: (folder / name).stat().st_mtime_ns for name in before} == before
    assert rows_of(folder).image_id.tolist() == stored(own, "train")[0]


def test_an_image_that_cannot_be_read_is_rejected_and_not_learnt(own: str) -> None:
    index = products.image_set(own, "few", "1.0.0").index("train")
    row = index.read(2).to_pylist()[1]
    path = Path(products.image_set(own, "few", "1.0.0").tfrecord("train", 2))
    content = bytearray(path.read_bytes())
    content[row["offset"] + row["length"] // 2] ^= 1
    path.write_bytes(content)
    wanted = WANTED.changed(max_reject_fraction=0.5)
    assert features([wanted], Context(own))[0].counts == {"in": 72, "out": 71, "rejected": {"record_damaged": 1}}
    rejected = rows_of(layout.feature_rejects(own, "few", backbone_key(WANTED), "train"))
    assert rejected.image_id.tolist() == [row["image_id"]]
    assert trainer.train(job(own, evaluate=()), lambda _: None)["train_images"] == 71


def job(root: str, seen: tuple[str, ...] = ("train", "validation"), **changed: Any) -> TrainJob:
    """A training on features, which are there already, or on the images (`seen` is empty)."""
    settings = TRAINING.changed(**changed)
    asked = FeatureSettings.of(settings, seen or ("train",))
    folders = {split: feature_folder(asked, root, split) for split in seen}
    return TrainJob(root, settings, "a" * 16, features=folders)


@pytest.fixture(scope="module")
def both(few: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, list[dict[str, Any]]]:
    """A root with the model `vgg16`, trained on features, and `seeing`, trained on the images themselves."""
    root = str(shutil.copytree(few, tmp_path_factory.mktemp("both") / "root"))
    every = ("train", "validation", "test")
    features([FeatureSettings.of(TRAINING, every)], Context(root))
    told: list[dict[str, Any]] = []
    figures = [trainer.train(job(root, every), told.append), trainer.train(job(root, (), name="seeing"), told.append)]
    return root, figures


def test_a_head_trained_on_features_is_that_trained_on_images(both: tuple[str, list[dict[str, Any]]]) -> None:
    root, figures = both
    on_features, on_images = (saved_models.load(layout.model(root, "few", name)) for name in ("vgg16", "seeing"))
    for one, other in zip(on_features.get_weights(), on_images.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=2e-4)
    assert figures[0]["loss"] == pytest.approx(figures[1]["loss"], rel=1e-3)
    assert figures[0]["evaluation"]["test"]["images"] == 24
    assert figures[0]["evaluation"]["test"]["accuracy"] == figures[1]["evaluation"]["test"]["accuracy"]


def test_the_whole_network_says_what_its_head_says_of_the_features(both: tuple[str, list[dict[str, Any]]]) -> None:
    root, _ = both
    model = saved_models.load(layout.model(root, "few", "vgg16"))
    ids, pixels = stored(root, "test")
    found = rows_of(feature_folder(FeatureSettings.of(TRAINING, ("test",)), root, "test"))
    assert found.image_id.tolist() == ids
    of_features = transfer.split_head(model).predict(np.stack(found.features.tolist()), verbose=0)
    of_images = model.predict(pixels, verbose=0)
    np.testing.assert_allclose(of_images, of_features, atol=1e-4)
    assert np.ptp(of_images, axis=0).max() > 0.05
    assert (of_images.argmax(axis=1) == of_features.argmax(axis=1)).all()


def test_a_random_backbone_is_the_same_in_features_and_in_training(both: tuple[str, list[dict[str, Any]]]) -> None:
    root, _ = both
    trained = transfer.split_backbone(saved_models.load(layout.model(root, "few", "vgg16"))).get_weights()
    computed = building.build_backbone(FeatureSettings.of(TRAINING, ("train",))).get_weights()
    others = building.build_backbone(FeatureSettings.of(TRAINING.changed(seed=2), ("train",))).get_weights()
    assert len(trained) == 8
    for one, other in zip(trained, computed, strict=True):
        np.testing.assert_array_equal(one, other)
    assert any((one != other).any() for one, other in zip(trained, others, strict=True))


def test_features_of_another_backbone_are_refused(both: tuple[str, list[dict[str, Any]]], tmp_path: Path) -> None:
    root = str(shutil.copytree(both[0], tmp_path / "root"))
    other = FeatureSettings.of(TRAINING.changed(seed=2), ("train", "validation"))
    features([other], Context(root))
    wrong = {split: feature_folder(other, root, split) for split in other.splits}
    stranger = dataclasses.replace(job(root, evaluate=(), name="stranger"), features=wrong)
    with pytest.raises(IncompleteError, match=r"holds features of another backbone: run concord features --force"):
        trainer.train(stranger, lambda _: None)
    assert not Path(layout.model(root, "few", "stranger"), "model.json").exists()


def test_heads_on_one_backbone_share_one_pass(own: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[TrainJob]] = []

    def kept(jobs: list[TrainJob], _: Context) -> dict[str, int]:
        asked.append(jobs)
        for one in jobs:  # learning is not what is looked at here
            model_cards.write_card(one.folder, model_card(fingerprint=one.fingerprint))
        return {}

    passes = counted(monkeypatch)
    monkeypatch.setattr(driver, "_fit_all", kept)
    names: list[dict[str, Any]] = [
        {"name": "one"},
        {"name": "two", "learning_rate": 1e-4},
        {"name": "three", "augment": {"flip": 1.0}},
    ]
    wanted = [TRAINING.changed(**{**changed, "epochs": 1, "evaluate": ()}) for changed in names]
    stages.train(wanted, Context(own))
    (jobs,) = asked
    folders = {
        split: feature_folder(FeatureSettings.of(TRAINING, (split,)), own, split) for split in ("train", "validation")
    }
    assert [one.features for one in jobs] == [folders, folders, {}]  # what changes its images has to see them
    assert passes == [("train", "validation")]
    stages.train([wanted[0].changed(name="later", epochs=2)], Context(own))
    assert passes == [("train", "validation")], "features were computed again"


def test_a_few_heads_are_trained_in_a_process() -> None:
    def of(name: str, **changed: Any) -> TrainJob:
        features = changed.pop("features", {"train": "one"})
        return TrainJob("out", TRAINING.changed(name=name, **changed), "f" * 16, features=features)

    heads = [of(f"head{number}") for number in range(9)]
    apart = [
        of("seeing", features={}),
        of("seeing2", features={}),
        of("elsewhere", features={"train": "two"}),
        of("threads", threads=2),
        of("tuned", fine_tune_from="block2_conv1", fine_tune_epochs=1),
    ]
    groups = driver._group_jobs([*apart[:2], *heads, *apart[2:]])
    assert sorted((len(group) for group in groups), reverse=True) == [3, 3, 3, 1, 1, 1, 1, 1]
    assert [group[0] for group in groups if len(group) == 1] == apart
    assert {one.settings.name for group in groups for one in group} == {one.settings.name for one in [*heads, *apart]}


def test_a_head_is_the_same_alone_and_behind_another(few: str, tmp_path: Path) -> None:
    first = TRAINING.changed(name="first", dropout=0.2, batch_size=12)
    second = TRAINING.changed(name="second", dropout=0.5)
    cards_of = []
    for number, wanted in enumerate(([first, second], [second])):
        root = str(shutil.copytree(few, tmp_path / str(number)))
        results = stages.train(wanted, Context(root, ("--direct_num_workers=1",)))
        assert results[0].counters["train.elements"] == 1
        cards_of.append(model_cards.require_card(layout.model(root, "few", "second")))
    together, alone = cards_of
    assert together.history == alone.history
    assert together.weights_sha256 == alone.weights_sha256
    assert together.files.keys() == alone.files.keys()


def counted(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """The splits of each pass of a backbone."""
    passes: list[tuple[str, ...]] = []
    whole = runner.run

    def run(job_name: str, build: Any, flags: tuple[str, ...]) -> Any:
        passes.append(("train", "validation") if job_name.startswith("concord features") else (job_name,))
        return whole(job_name, build, flags)

    monkeypatch.setattr(runner, "run", run)
    return passes


def test_what_a_backbone_follows_from_is_its_key(tmp_path: Path) -> None:
    weights = str(tmp_path / "cut.weights.h5")
    building.build_backbone(WANTED).save_weights(weights)
    for given in ("", "imagenet", weights):
        training = TRAINING.changed(weights=given)
        by_hand = WANTED.changed(weights=given)  # as concord features makes it
        assert backbone_key(FeatureSettings.of(training, ("train",))) == backbone_key(by_hand)
    others: list[dict[str, Any]] = [{}, {"seed": 2}, {"image_size": 48}, {"weights": weights}]
    assert len({backbone_key(WANTED.changed(**one)) for one in others}) == 4
    same: list[dict[str, Any]] = [
        {"batch_size": 64},
        {"splits": ("test",)},
        {"accelerator": "x"},
        {"dataset": "others"},
    ]
    assert {backbone_key(WANTED.changed(**one)) for one in same} == {backbone_key(WANTED)}
    loaded = load_backbone(WANTED.changed(weights=weights, seed=77))
    assert loaded.image_shape == (32, 32, 3) and loaded.classes == 8 * 8 * 128


def test_networks_without_a_backbone_are_refused(few: str) -> None:
    with pytest.raises(InputError, match=r"network 'cnn1' has no backbone: features are of transfer networks"):
        features([FeatureSettings(dataset="few", network="cnn1", splits=("test",), accelerator="")], Context(few))
    with pytest.raises(InputError, match=r"there is no network 'vgg'; did you mean 'vgg16'\?"):
        features([WANTED.changed(network="vgg")], Context(few))
    with pytest.raises(InputError, match=r"no split 'night'"):
        features([WANTED.changed(splits=("night",))], Context(few))
