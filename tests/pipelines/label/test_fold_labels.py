"""A model of folds labels and explains each image by the one that did not see it, and other splits by all of them."""

import io
import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow.parquet as pq
import pytest
import xxhash
from PIL import Image
from scipy import optimize, special

from analysis import label_errors
from models import saved_models, trainer
from models.gradcam import GradCam
from models.scoring import FoldScorer, Scored
from models.tensorflow_setup import keras
from models.tensorflow_setup import tensorflow as tf
from models.training_job import TrainJob
from pipelines.explain import heat_maps
from pipelines.train import driver, ensembles
from pipelines.train.driver import plan_training
from schemas import layout
from schemas.errors import InputError
from schemas.settings.explain import ExplainSettings
from schemas.settings.label import LabelSettings
from schemas.settings.label_errors import LabelErrorSettings
from schemas.settings.train import TrainSettings
from schemas.stage import Context
from storage import model_cards, stores
from storage.tfrecord import decode_example
from tests.support.manifests import model_card
from tests.support.stages import explain as explain_stage
from tests.support.stages import label, train

FOLDS = 2
SETTINGS = TrainSettings(
    dataset="drawn", network="cnn1", name="folded", folds=FOLDS, epochs=1, batch_size=8, accelerator=""
)
Array = npt.NDArray[Any]


@pytest.fixture(scope="module")
def folded(converted: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A root with a model of two folds, and its labels of all splits. Read it only."""
    root = str(shutil.copytree(converted, tmp_path_factory.mktemp("folded") / "root"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(driver, "_fit_all", here)
        train([SETTINGS], Context(root))
    labelled = LabelSettings(dataset="drawn", models=("folded",), splits=("train", "test"), scores=True, accelerator="")
    results = label(labelled, Context(root))
    assert [one.counts["out"] for one in results] == [400, 160]
    return root


def here(jobs: list[TrainJob], _: Context) -> dict[str, int]:
    """Train in this process, which has TensorFlow loaded already."""
    for job in jobs:
        trainer.train(job, lambda _: None)
    return {}


def stored(root: str, split: str) -> tuple[list[str], Array]:
    """Ids and pixels of a split, by TensorFlow alone."""
    ids, pixels = [], []
    for path in sorted(Path(layout.images(root, "drawn", "1.0.0")).glob(f"drawn-{split}.tfrecord-*")):
        for payload in tf.data.TFRecordDataset(str(path)):
            encoded, image_id = decode_example(payload.numpy())
            ids.append(image_id)
            pixels.append(tf.io.decode_png(encoded).numpy())
    return ids, np.stack(pixels)


def networks(root: str) -> list[keras.Model]:
    """The network of each fold, loaded by Keras alone."""
    folder = Path(layout.model(root, "drawn", "folded"))
    return [keras.saving.load_model(folder / "fold" / str(fold) / "model.keras") for fold in range(FOLDS)]


def shown(content: bytes) -> Array:
    return np.asarray(Image.open(io.BytesIO(content))).astype(int)


def unseen_by(ids: list[str]) -> Array:
    """The fold of each image, which did not see it: XXH64 with seed 3."""
    return np.array([xxhash.xxh64_intdigest(image_id.encode(), seed=3) % FOLDS for image_id in ids])


def rows_of(folder: str) -> pd.DataFrame:
    parts = [pq.read_table(path).to_pandas() for path in sorted(Path(folder).glob("*.parquet"))]
    found: pd.DataFrame = pd.concat(parts, ignore_index=True)
    return found


def test_each_image_is_labelled_by_the_model_that_did_not_see_it(folded: str) -> None:
    ids, pixels = stored(folded, "train")
    scores = np.stack([model.predict(pixels, verbose=0) for model in networks(folded)])
    expected = scores[unseen_by(ids), np.arange(len(ids))]
    found = rows_of(layout.labels(folded, "drawn", "folded", "train"))
    assert found.image_id.tolist() == ids
    np.testing.assert_allclose(np.stack(found.scores.tolist()), expected, atol=1e-5)
    assert found.label.tolist() == [str(best) for best in expected.argmax(axis=1)]
    seen = scores[1 - unseen_by(ids), np.arange(len(ids))]
    assert np.abs(seen - expected).max(axis=1).min() > 1e-4, "a wrong choice would not show"
    assert 120 < unseen_by(ids).sum() < 280


def test_only_the_divided_split_has_scores_out_of_fold(folded: str) -> None:
    """Its people's labels can be judged by them, and the label set says so; another split's cannot."""
    made = label_errors.plan_label_errors(LabelErrorSettings(dataset="drawn", annotator="folded"), folded)
    counts = label_errors.write_label_errors(made)
    assert (counts["in"], counts["out"]) == (400, 400)
    found = pq.read_table(made.path).to_pandas().set_index("image_id")
    stored_rows = rows_of(layout.labels(folded, "drawn", "folded", "train")).set_index("image_id")
    given = rows_of(layout.labels(folded, "drawn", "human", "train")).set_index("image_id")["label"]
    own = [row[int(label)] for row, label in zip(stored_rows["scores"], given.loc[stored_rows.index], strict=True)]
    np.testing.assert_allclose(found.loc[stored_rows.index, "label_quality"], own, atol=1e-6)
    with pytest.raises(
        InputError, match="divided split 'train' into folds, and has no fold of 'test'; run concord tra"
    ):
        label_errors.plan_label_errors(LabelErrorSettings(dataset="drawn", annotator="folded", split="test"), folded)


def test_images_of_another_split_get_the_mean(folded: str) -> None:
    ids, pixels = stored(folded, "test")
    expected = np.mean([model.predict(pixels, verbose=0) for model in networks(folded)], axis=0)
    found = rows_of(layout.labels(folded, "drawn", "folded", "test"))
    assert found.image_id.tolist() == ids
    np.testing.assert_allclose(np.stack(found.scores.tolist()), expected, atol=1e-5)
    np.testing.assert_allclose(found.confidence, expected.max(axis=1), atol=1e-5)


def test_each_fold_learnt_from_the_others_alone(folded: str) -> None:
    ids, _ = stored(folded, "train")
    for fold in range(FOLDS):
        card = model_cards.require_card(stores.join(layout.model(folded, "drawn", "folded"), "fold", str(fold)))
        unseen = int((unseen_by(ids) == fold).sum())
        assert card.metrics["train_images"] == 400 - unseen
        assert card.evaluation["unseen_fold"]["images"] == unseen


def degree_by_scipy(scores: Array, right: Array) -> float:
    """The temperature of the least NLL."""

    def loss(log: float) -> float:
        scaled = special.log_softmax(np.log(scores.astype(np.float64)) / np.exp(log), axis=1)
        return float(-scaled[np.arange(len(right)), right].mean())

    return float(np.exp(optimize.minimize_scalar(loss, bounds=(-3, 3), method="bounded").x))


def test_each_image_is_calibrated_as_what_labels_it(folded: str) -> None:
    """By the temperature of the fold that did not see it; of other splits, by that of the mean of folds."""
    ids, pixels = stored(folded, "validation")
    truth = rows_of(layout.labels(folded, "drawn", "human", "validation")).set_index("image_id").label[ids]
    said = np.stack([model.predict(pixels, verbose=0) for model in networks(folded)])
    right = truth.astype(int).to_numpy()
    own = [min(degree_by_scipy(scores, right), 20) for scores in said]
    together = min(degree_by_scipy(said.mean(axis=0), right), 20)
    card = model_cards.require_card(layout.model(folded, "drawn", "folded")).calibration
    assert card is not None and card.temperatures is not None
    assert card.temperatures["label"] == pytest.approx(together, rel=0.02)
    assert [fold.temperatures["label"] for fold in card.folds if fold.temperatures] == pytest.approx(own, rel=0.02)
    assert np.ptp([*own, together]) > 0.1, "a wrong choice would not show"
    for split in ("train", "test"):
        found = rows_of(layout.labels(folded, "drawn", "folded", split))
        folds = unseen_by(found.image_id.tolist())
        degrees = np.array(own)[folds] if split == "train" else np.full(len(found), together)
        logits = np.log(np.stack(found.scores.tolist()).astype(np.float64)) / degrees[:, None]
        np.testing.assert_allclose(found.confidence_calibrated, special.softmax(logits, axis=1).max(axis=1), rtol=0.01)


def test_the_card_sums_up_the_folds(folded: str) -> None:
    found = rows_of(layout.labels(folded, "drawn", "folded", "train")).set_index("image_id")
    truth = rows_of(layout.labels(folded, "drawn", "human", "train")).set_index("image_id")
    right = float((found.label == truth.label[found.index]).mean())
    card = model_cards.require_card(layout.model(folded, "drawn", "folded"))
    assert card.evaluation["unseen_fold"]["images"] == 400
    assert card.evaluation["unseen_fold"]["accuracy"] == pytest.approx(right, abs=1e-6)
    assert list(card.members) == ["fold/0", "fold/1"]


def test_nothing_is_trained_or_labelled_twice(folded: str) -> None:
    assert [one.built for one in train([SETTINGS], Context(folded))] == [False]
    settings = LabelSettings(dataset="drawn", models=("folded",), splits=("train", "test"), scores=True, accelerator="")
    assert [one.built for one in label(settings, Context(folded))] == [False, False]


def test_a_fold_that_is_gone_is_trained_again_alone(
    folded: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = str(shutil.copytree(folded, tmp_path / "root"))
    whole = layout.model(root, "drawn", "folded")
    before = Path(whole, "model.json").read_bytes()
    Path(whole, "model.json").unlink()
    Path(whole, "fold", "1", "model.json").rename(tmp_path / "kept.json")
    asked: list[str] = []

    def kept(jobs: Any, _: Context) -> dict[str, int]:
        asked.extend(job.member for job in jobs)
        shutil.copy(tmp_path / "kept.json", Path(whole, "fold", "1", "model.json"))
        return {}

    monkeypatch.setattr(driver, "_fit_all", kept)
    train([SETTINGS], Context(root))
    assert asked == ["fold/1"]
    assert Path(whole, "model.json").read_bytes() == before


@pytest.mark.parametrize("split", ["train", "test"])
def test_where_folds_looked(folded: str, tmp_path: Path, split: str, caplog: pytest.LogCaptureFixture) -> None:
    """Each image of the divided split is shown to the fold that did not see it; others to all."""
    root = str(shutil.copytree(folded, tmp_path / "root"))
    ids, pixels = stored(root, split)
    chosen = {image_id: pixels[row] for row, image_id in enumerate(ids[:6])}
    assert len(set(unseen_by(list(chosen)).tolist())) == FOLDS
    settings = ExplainSettings(dataset="drawn", models=("folded",), split=split, images=tuple(chosen), accelerator="")
    with caplog.at_level(logging.INFO, "concord"):
        explain_stage(settings, Context(root))
    said = " ".join(record.getMessage() for record in caplog.records)
    assert ("did not see it in training" in said, "mean heat maps of its 2 folds" in said) == (
        split == "train",
        split == "test",
    )
    folder = layout.model(root, "drawn", "folded")
    networks = [GradCam(saved_models.load(f"{folder}/fold/{fold}"), "multiclass", 10) for fold in range(FOLDS)]
    labels = rows_of(layout.labels(root, "drawn", "folded", split)).set_index("image_id")
    for row in rows_of(layout.explanations(root, "drawn", "folded", split)).to_dict("records"):
        image_id = row["image_id"]
        assert row["label"] == labels.label[image_id]
        assert row["confidence"] == pytest.approx(labels.confidence[image_id], abs=1e-5)
        image = chosen[image_id]
        if split == "train":
            heat = networks[int(unseen_by([image_id])[0])].explain(image[None])[0][0]
        else:
            wanted = np.eye(10, dtype=np.float32)[[int(row["label"])]]
            heat = np.mean([network.explain(image[None], wanted)[0][0] for network in networks], axis=0)
            heat = (heat / heat.max()).astype(np.float32)
        np.testing.assert_allclose(shown(row["heat_map"]), shown(heat_maps.overlay_heat(image, heat)), atol=3)
        assert np.ptp(heat) > 0.5


def test_a_fold_scorer_without_images_of_a_fold() -> None:
    """All images of a shard may belong to one fold."""

    class Constant:
        classes = 2

        def __init__(self, value: float) -> None:
            self.value = value

        def ids(self, payloads: list[bytes]) -> list[str]:
            return [payload.decode() for payload in payloads]

        def score(self, payloads: list[bytes], split: str = "") -> Scored:
            return Scored(np.full((len(payloads), 2), self.value, np.float32), {})

    names = [name for name in map(str, range(40)) if unseen_by([name])[0] == 1]
    scorer = FoldScorer([Constant(0.25), Constant(0.75)], "train")  # type: ignore[list-item]
    payloads = [name.encode() for name in names]
    assert (scorer.score(payloads, "train").scores == 0.75).all()
    assert (scorer.score(payloads, "test").scores == 0.5).all()
    assert scorer.score([], "train").scores.shape == (0, 2)


def test_members_have_fingerprints_of_their_own(converted: str) -> None:
    wanted = plan_training(SETTINGS, converted)
    assert len({job.fingerprint for job in wanted.jobs} | {wanted.fingerprint}) == FOLDS + 1
    assert [(job.member, job.fold) for job in wanted.jobs] == [("fold/0", 0), ("fold/1", 1)]
    assert ensembles.validation_metric(model_card(metrics={"val_accuracy": 0.5})) == 0.5
