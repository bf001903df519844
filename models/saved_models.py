"""The model folder: `model.keras`, `serving/`, and `model.json`, which is written last and declares it whole.

`model.keras` maps uint8 pixels to scores, preprocessing inside; `serving/` is the same with decoding before it, from
encoded image bytes, for TensorFlow Serving and its like. Labelling loads `model.keras`, in Keras' safe mode. Both give
uncalibrated scores: the temperatures of `calibration` in `model.json` are applied by labelling alone, to confidence.
"""

import hashlib
from pathlib import Path

import numpy as np

from models import archives, external_models
from models.inputs import decode_batch
from models.tensorflow_setup import keras
from models.tensorflow_setup import tensorflow as tf
from schemas.errors import IncompleteError, InputError
from schemas.manifests import ModelCard, ModelFile
from storage import stores
from storage.model_cards import CARD_FILE, MODEL_FILE, require_card, write_card


def save(model: keras.Model, folder: str, card: ModelCard) -> None:
    """Write a model folder; whatever was there before is no longer a model from the first moment on.

    Args:
        model: from uint8 pixels to scores.
        folder: where to, local, `gs://` or `s3://`.
        card: what `model.json` states of it, apart from its weights and files.
    """
    stores.remove(stores.join(folder, CARD_FILE))
    with stores.scratch_folder() as scratch:
        model.save(Path(scratch, MODEL_FILE))
        _export(model, Path(scratch, "serving"))
        files = {}
        for file in sorted(path for path in Path(scratch).rglob("*") if path.is_file()):
            name, content = file.relative_to(scratch).as_posix(), file.read_bytes()
            stores.write_bytes(stores.join(folder, name), content)
            files[name] = ModelFile(sha256=hashlib.sha256(content).hexdigest(), size=len(content))
    facts = {"parameters": model.count_params(), "weights_sha256": weights_hash(model), "files": files}
    write_card(folder, card.model_copy(update=facts))


def weights_hash(model: keras.Model) -> str:
    """SHA-256 of all weights in order, which, unlike a file's, does not change with the time of saving."""
    digest = hashlib.sha256()
    for weights in model.get_weights():
        digest.update(np.ascontiguousarray(weights).tobytes())
    return digest.hexdigest()


def _export(model: keras.Model, folder: Path) -> None:
    """The SavedModel: `serving_default` takes encoded images (n,), and gives scores (n, classes).

    It tracks the weights alone: walking a backbone's layers, to save them as objects, took longer than the rest.
    """
    image_shape = tuple(model.input_shape[1:])

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image")])  # type: ignore[untyped-decorator]
    def scores(image: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"scores": model(decode_batch(image, image_shape), training=False)}

    module = tf.Module()
    module.weights = [weight.value for weight in model.weights]
    tf.saved_model.save(module, str(folder), signatures={"serving_default": scores})


def load(folder: str, trusted: bool = False) -> keras.Model:
    """The network of a model folder, in Keras' safe mode: a file that would run code is refused.

    Args:
        folder: of the model.
        trusted: whether a SavedModel, which can run code of its own, may be loaded as well.

    Raises:
        IncompleteError: the file is not the one that `model.json` states.
        InputError: Keras cannot read it.
    """
    card = require_card(folder)
    if MODEL_FILE not in card.files and card.external is not None:
        return external_models.reload(folder, card, trusted)
    path = stores.join(folder, MODEL_FILE)
    content = stores.read_bytes(path)
    if MODEL_FILE not in card.files or hashlib.sha256(content).hexdigest() != card.files[MODEL_FILE].sha256:
        raise IncompleteError(f"{path} is not the file that {CARD_FILE} states: train the model again")
    with stores.scratch_folder() as scratch:
        Path(scratch, MODEL_FILE).write_bytes(content)
        try:
            archives.check(str(Path(scratch, MODEL_FILE)), path)
            model: keras.Model = keras.saving.load_model(Path(scratch, MODEL_FILE), compile=False, safe_mode=True)
        except InputError as error:
            raise InputError(f"{error}, or train the model again") from error
        except (ValueError, TypeError, OSError) as error:
            raise InputError(
                f"Keras cannot load {path} ({str(error).splitlines()[0]}): train the model again"
            ) from error
    return model
