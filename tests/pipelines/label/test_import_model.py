"""Foreign networks as annotators: their label sets are their own predictions, and each is adopted once."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow.parquet as pq
import pytest

from models import external_models
from models.tensorflow_setup import keras
from models.tensorflow_setup import tensorflow as tf
from pipelines import runner
from pipelines.label import import_model
from schemas import layout
from schemas.errors import IncompleteError, InputError
from schemas.settings.explain import ExplainSettings
from schemas.settings.label import LabelSettings
from schemas.stage import Context, StageResult
from storage import model_cards
from storage.tfrecord import decode_example
from tests.support import small_models
from tests.support.stages import explain, label

DIGITS = list("0123456789")
Array = npt.NDArray[Any]


def run(root: str, path: Any, force: bool = False, **changed: Any) -> list[StageResult]:
    values = {"dataset": "drawn", "model_file": str(path), "annotator": "theirs", "accelerator": ""}
    return label(LabelSettings(**{**values, **changed}), Context(root, force=force))


def network(shape: tuple[int, ...], outputs: int = 10, activation: str | None = "softmax") -> keras.Model:
    """A network with a convolution where it takes images; its answers differ from image to image."""
    keras.utils.set_random_seed(3)
    layers = [keras.layers.Conv2D(3, 5, strides=3, activation="relu")] if len(shape) == 3 else []
    wide = keras.initializers.RandomNormal(stddev=0.3)
    return keras.Sequential(
        [
            keras.Input(shape),
            *layers,
            keras.layers.Flatten(),
            keras.layers.Dense(outputs, activation=activation, kernel_initializer=wide),
        ]
    )


@pytest.fixture
def own(converted: str, tmp_path: Path) -> str:
    """A copy of the dataset, to be written to."""
    return str(shutil.copytree(converted, tmp_path / "root"))


@pytest.fixture(scope="module")
def stored(converted: str) -> tuple[list[str], Array]:
    """Ids and pixels of the test split, by TensorFlow alone."""
    ids, pixels = [], []
    for path in sorted(Path(layout.images(converted, "drawn", "1.0.0")).glob("drawn-test.tfrecord-*")):
        for payload in tf.data.TFRecordDataset(str(path)):
            encoded, image_id = decode_example(payload.numpy())
            ids.append(image_id)
            pixels.append(tf.io.decode_png(encoded).numpy())
    return ids, np.stack(pixels)


def labels(root: str, annotator: str = "theirs") -> pd.DataFrame:
    parts = sorted(Path(layout.labels(root, "drawn", annotator, "test")).glob("*.parquet"))
    found: pd.DataFrame = pd.concat([pq.read_table(path).to_pandas() for path in parts], ignore_index=True)
    return found


def check(root: str, ids: list[str], scores: Array, classes: list[str]) -> None:
    """The label set is what the scores say."""
    found = labels(root)
    assert found.image_id.tolist() == ids
    expected = [classes[best] for best in scores.argmax(axis=1)]
    assert len(set(expected)) > 1, "one label only: a mistake in the names would not show"
    assert found.label.tolist() == expected
    np.testing.assert_allclose(found.confidence, scores.max(axis=1), atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "value_range", "suffix"),
    [((32, 32, 1), (-1.0, 1.0), ".keras"), ((1024,), (0.0, 1.0), ".h5"), ((16, 16, 3), (0.0, 1.0), ".keras")],
)
def test_the_label_set_is_what_the_network_says(
    own: str, stored: Any, tmp_path: Path, shape: tuple[int, ...], value_range: tuple[float, ...], suffix: str
) -> None:
    ids, pixels = stored
    model = network(shape)
    model.save(tmp_path / f"net{suffix}")
    (result,) = run(own, tmp_path / f"net{suffix}", value_range=value_range)
    assert (result.built, result.counts) == (True, {"in": 160, "out": 160, "rejected": {}})
    given = pixels
    if shape[-1] == 3:
        small = tf.saturate_cast(tf.round(tf.image.resize(pixels, shape[:2], antialias=True)), tf.uint8)
        given = np.repeat(small.numpy(), 3, axis=-1)
    low, high = value_range
    told = (low + given.astype(np.float32) / 255 * (high - low)).reshape(-1, *shape)
    check(own, ids, model.predict(told, verbose=0), DIGITS)


def test_classes_in_another_order_and_fewer(own: str, stored: Any, tmp_path: Path) -> None:
    ids, pixels = stored
    known = list("97531")
    model = network((32, 32, 1), outputs=5)
    model.save(tmp_path / "odd.keras")
    run(own, tmp_path / "odd.keras", value_range=(0, 1), classes=tuple(known), scores=True)
    scores = model.predict(pixels / np.float32(255), verbose=0)
    check(own, ids, scores, known)
    kept = np.stack(labels(own).scores.tolist())
    np.testing.assert_allclose(kept[:, [9, 7, 5, 3, 1]], scores, atol=1e-5)
    assert (kept[:, ::2] == 0).all()


def test_logits_are_refused_with_a_remedy(own: str, stored: Any, tmp_path: Path) -> None:
    ids, pixels = stored
    model = network((32, 32, 1), activation=None)
    model.save(tmp_path / "logits.keras")
    with pytest.raises(InputError, match=r"logits\.keras gives scores .*no probabilities: .*--activation softmax"):
        run(own, tmp_path / "logits.keras", value_range=(0, 1))
    assert not Path(layout.model(own, "drawn", "theirs")).exists()
    run(own, tmp_path / "logits.keras", value_range=(0, 1), activation="softmax")
    check(own, ids, tf.nn.softmax(model.predict(pixels / np.float32(255), verbose=0)).numpy(), DIGITS)


def test_an_adopted_network_is_adopted_once(own: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "net.keras"
    network((32, 32, 1)).save(path)
    run(own, path)
    folder = Path(layout.model(own, "drawn", "theirs"))
    before = {file: file.stat().st_mtime_ns for file in folder.rglob("*") if file.is_file()}
    card = model_cards.require_card(str(folder))
    assert card.stage == "label" and card.network == "external"
    assert card.external is not None and card.external.file == "net.keras"

    def never(*_: Any) -> None:
        raise RuntimeError("done again")

    monkeypatch.setattr(import_model, "_write", never)
    monkeypatch.setattr(runner, "run", never)
    (tmp_path / "elsewhere").mkdir()
    shutil.copy(path, tmp_path / "elsewhere")  # the same file, at another place and time
    for again in (path, tmp_path / "elsewhere" / "net.keras"):
        assert [one.built for one in run(own, again)] == [False]
    assert {file: file.stat().st_mtime_ns for file in folder.rglob("*") if file.is_file()} == before
    others: list[dict[str, Any]] = [{"value_range": (0, 1)}, {"classes": tuple(DIGITS[::-1])}, {"force": True}]
    for changed in others:
        with pytest.raises(RuntimeError, match="done again"):
            run(own, path, **changed)


def test_another_file_by_the_same_name_is_adopted(own: str, stored: Any, tmp_path: Path) -> None:
    path = tmp_path / "net.keras"
    network((32, 32, 1)).save(path)
    run(own, path, value_range=(0, 1))
    half = Path(layout.model(own, "drawn", "theirs"), "serving", "variables", ".variables.index.partial")
    half.write_bytes(b"killed")
    model = network((1024,))
    model.save(path)
    run(own, path, value_range=(0, 1))
    assert not half.exists()
    ids, pixels = stored
    check(own, ids, model.predict(pixels.reshape(-1, 1024) / np.float32(255), verbose=0), DIGITS)


def test_an_adopted_network_is_a_model_like_any_other(own: str, tmp_path: Path) -> None:
    path = tmp_path / "net.keras"
    network((32, 32, 1)).save(path)
    run(own, path, value_range=(0, 1))
    asked = labels(own).image_id.tolist()[:3]
    settings = ExplainSettings(dataset="drawn", models=("theirs",), images=tuple(asked), accelerator="")
    (result,) = explain(settings, Context(own))
    assert result.counts["out"] == 3
    (again,) = label(LabelSettings(dataset="drawn", models=("theirs",), accelerator="", trust_model=True), Context(own))
    assert not again.built  # its label set is there already, whoever asks


@pytest.fixture
def exported(tmp_path: Path) -> tuple[keras.Model, Path]:
    """A network and its SavedModel's folder."""
    model = network((32, 32, 1))
    model.export(str(tmp_path / "exported"), verbose=False)
    return model, tmp_path / "exported"


def test_a_trusted_saved_model_says_the_same(own: str, stored: Any, exported: tuple[keras.Model, Path]) -> None:
    model, path = exported
    ids, pixels = stored
    with pytest.raises(InputError, match=r"exported is a SavedModel, which can run code of its own: .*--trust-model"):
        run(own, path, value_range=(0, 1))
    assert not Path(layout.model(own, "drawn", "theirs")).exists()
    run(own, path, value_range=(0, 1), trust_model=True)
    check(own, ids, model.predict(pixels / np.float32(255), verbose=0), DIGITS)
    shutil.rmtree(path)
    shutil.rmtree(layout.labels(own, "drawn", "theirs", "test"))
    again = LabelSettings(dataset="drawn", models=("theirs",), accelerator="")
    with pytest.raises(InputError, match=r"theirs keeps a SavedModel, which can run code of its own: .*--trust-model"):
        label(again, Context(own))
    label(again.changed(trust_model=True), Context(own))
    check(own, ids, model.predict(pixels / np.float32(255), verbose=0), DIGITS)  # it was kept whole


def test_a_changed_file_of_a_saved_model_is_refused(own: str, exported: tuple[keras.Model, Path]) -> None:
    run(own, exported[1], value_range=(0, 1), trust_model=True)
    kept = Path(layout.model(own, "drawn", "theirs"), external_models.FOLDER)
    (data,) = kept.glob("variables/variables.data*")
    content = bytearray(data.read_bytes())
    content[len(content) // 2] ^= 1
    data.write_bytes(content)
    shutil.rmtree(layout.labels(own, "drawn", "theirs", "test"))
    with pytest.raises(IncompleteError, match=r"variables\.data\S* is not the file that was imported: import it again"):
        label(LabelSettings(dataset="drawn", models=("theirs",), accelerator="", trust_model=True), Context(own))


def test_a_file_that_joins_a_saved_model_is_not_loaded(own: str, exported: tuple[keras.Model, Path]) -> None:
    run(own, exported[1], value_range=(0, 1), trust_model=True)
    folder = Path(layout.model(own, "drawn", "theirs"))
    (folder / external_models.FOLDER / "assets").mkdir(exist_ok=True)
    (folder / external_models.FOLDER / "assets" / "stranger.txt").write_text("not there when it was adopted")
    assert "external/assets/stranger.txt" not in json.loads((folder / "model.json").read_text())["files"]
    shutil.rmtree(layout.labels(own, "drawn", "theirs", "test"))
    again = LabelSettings(dataset="drawn", models=("theirs",), trust_model=True)
    assert [one.built for one in label(again, Context(own))] == [True]


def test_names_that_are_taken_are_refused(own: str, tmp_path: Path) -> None:
    small_models.save(own, "theirs", network_of_ours)
    path = tmp_path / "net.keras"
    network((32, 32, 1)).save(path)
    before = Path(layout.model(own, "drawn", "theirs"), "model.json").read_bytes()
    with pytest.raises(InputError, match=r"'theirs' is a model that was trained here: give the annotator another name"):
        run(own, path)
    assert Path(layout.model(own, "drawn", "theirs"), "model.json").read_bytes() == before
    for taken in ("human", "machine", "confirmed"):
        with pytest.raises(InputError, match=rf"annotator '{taken}' is taken: give the network of .*another name"):
            run(own, path, annotator=taken)


def network_of_ours(shape: Any, head: Any) -> keras.Model:
    given = keras.Input(shape, dtype="uint8")
    return keras.Model(given, head(keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(given))))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"annotator": ""}, "model_file and annotator go together"),
        ({"annotator": "No Name"}, "annotator must be lower-case letters"),
        ({"value_range": (1.0, 0.0)}, "value_range must be BLACK,WHITE with BLACK < WHITE"),
        ({"activation": "relu"}, "activation must be one of softmax, sigmoid; got 'relu'"),
        ({"models": ("theirs",)}, "annotator 'theirs' is taken"),
    ],
)
def test_settings_that_make_no_sense_are_refused(converted: str, changed: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        run(converted, "x.keras", **changed)


def test_what_is_no_model_is_named(own: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no such model: .*gone\.keras; name a \.keras or \.h5 file, or a SavedModel"):
        run(own, tmp_path / "gone.keras")
    (tmp_path / "folder").mkdir()
    network((32, 32, 1)).save(tmp_path / "folder" / "net.keras")
    with pytest.raises(InputError, match=r"no such model: .*folder; name"):
        run(own, tmp_path / "folder")
    (tmp_path / "broken.keras").write_bytes(b"<html>404 Not Found</html>")
    with pytest.raises(InputError, match=r"Keras cannot load .*broken\.keras: \S"):
        run(own, tmp_path / "broken.keras")
    assert not Path(layout.model(own, "drawn", "theirs")).exists()
