"""The model folder: its files are those that its card states, and what would run code is not loaded."""

import hashlib
import io
import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from models import saved_models
from models.networks import cnn1
from models.tasks import Head
from models.tensorflow_setup import keras
from models.tensorflow_setup import tensorflow as tf
from schemas.errors import IncompleteError, InputError, StorageError
from storage import model_cards
from tests.support.manifests import model_card

CARD = model_card(fingerprint="0123456789abcdef", classes=["no", "yes"])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    saved_models.save(cnn1.build((8, 8, 3), Head("multiclass", 2)), str(tmp_path / "model"), CARD)
    return tmp_path / "model"


def pixels(count: int = 6) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(5).integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)


def png(image: npt.NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "png")
    return buffer.getvalue()


def test_the_card_states_every_file(folder: Path) -> None:
    card = json.loads((folder / "model.json").read_text())
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    assert set(card["files"]) == set(files) - {"model.json"}
    assert {"model.keras", "serving/saved_model.pb"} <= set(card["files"])
    for name, stated in card["files"].items():
        content = files[name].read_bytes()
        assert stated == {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
    assert card["parameters"] == cnn1.build((8, 8, 3), Head("multiclass", 2)).count_params()
    assert (card["fingerprint"], card["classes"]) == (CARD.fingerprint, CARD.classes)


def test_serving_gives_the_scores_of_the_model_from_encoded_images(folder: Path) -> None:
    images = pixels()
    expected = saved_models.load(str(folder)).predict(images, verbose=0)
    serve = tf.saved_model.load(str(folder / "serving")).signatures["serving_default"]
    found = serve(image=tf.constant([png(image) for image in images]))["scores"].numpy()
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert np.ptp(expected, axis=0).min() > 1e-3, "every image has the same scores"


def test_serving_turns_grey_images_to_colour(folder: Path) -> None:
    grey = pixels(1)[0, :, :, 0]
    serve = tf.saved_model.load(str(folder / "serving")).signatures["serving_default"]
    expected = saved_models.load(str(folder)).predict(np.stack([grey] * 3, axis=-1)[None], verbose=0)
    np.testing.assert_allclose(serve(image=tf.constant([png(grey)]))["scores"].numpy(), expected, atol=1e-6)


def test_a_changed_model_file_is_refused(folder: Path) -> None:
    content = bytearray((folder / "model.keras").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "model.keras").write_bytes(content)
    with pytest.raises(IncompleteError, match=r"model\.keras is not the file that model\.json states"):
        saved_models.load(str(folder))


def test_another_model_in_its_place_is_refused(folder: Path) -> None:
    cnn1.build((8, 8, 3), Head("multiclass", 2)).save(folder / "model.keras")
    with pytest.raises(IncompleteError, match="train the model again"):
        saved_models.load(str(folder))


def test_a_folder_without_a_card_is_no_model(folder: Path) -> None:
    (folder / "model.json").unlink()
    with pytest.raises(IncompleteError, match=r"no complete model in .*: run concord train first"):
        saved_models.load(str(folder))


def test_a_model_that_would_run_code_is_refused(tmp_path: Path) -> None:
    lambdas = keras.Sequential(
        [keras.Input((8, 8, 3), dtype="uint8"), keras.layers.Lambda(lambda image: image / 255), keras.layers.Flatten()]
    )
    lambdas.save(tmp_path / "model.keras")
    write_card_of(tmp_path / "model.keras")
    with pytest.raises(InputError, match=r"Keras cannot load .*model\.keras: .*[Ll]ambda"):
        saved_models.load(str(tmp_path))


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.keras").write_bytes(b"<html>404 Not Found</html>")
    write_card_of(tmp_path / "model.keras")
    with pytest.raises(InputError, match="train the model again"):
        saved_models.load(str(tmp_path))


def test_a_card_of_an_earlier_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.json").write_text('{"fingerprint": "f", "files": {}}')
    with pytest.raises(StorageError, match=r"model\.json names no stage, .*: remove it, and build it again"):
        saved_models.load(str(tmp_path))


def write_card_of(path: Path) -> None:
    content = path.read_bytes()
    files = {path.name: {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}}
    model_cards.write_card(str(path.parent), model_card(files=files))


def test_a_model_is_no_model_while_it_is_written_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(saved_models, "_export", full_disk)
    with pytest.raises(OSError, match="No space left"):
        saved_models.save(cnn1.build((8, 8, 3), Head("multiclass", 2)), str(folder), CARD)
    assert not (folder / "model.json").exists()


def test_a_model_is_current_while_its_fingerprint_and_its_files_fit(folder: Path) -> None:
    assert model_cards.is_current(str(folder), CARD.fingerprint)
    assert not model_cards.is_current(str(folder), "another")
    (folder / "serving" / "saved_model.pb").unlink()
    assert not model_cards.is_current(str(folder), CARD.fingerprint)
