"""What is saved is the whole function: every network gives the same scores from encoded images in one call."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from models import networks, saved_models
from models.inputs import decode_image
from models.networks import cnn2
from models.tasks import Head
from models.tensorflow_setup import keras
from models.tensorflow_setup import tensorflow as tf
from schemas import plugins
from tests.support.manifests import model_card
from tests.support.small_dataset import Pixels, png, random_pixels

# the shapes are as small as backbones allow, and their features are taken early: what is saved does not depend on it
BUILT: dict[str, tuple[tuple[int, int, int], dict[str, str]]] = {
    "xception": ((40, 44, 3), {"features_from": "block3_sepconv1"}),
    "vgg16": ((34, 32, 3), {"features_from": "block3_pool"}),
    "efficientnet_v2": ((40, 36, 3), {"features_from": "block2b_add"}),
}
HEADS = {"vgg16": Head("multilabel", 9), "cnn2": Head("sequence", 10)}


def built(name: str) -> keras.Model:
    shape, given = BUILT.get(name, ((16, 20, 1), {}))
    return plugins.load(networks, "network", name).build(shape, HEADS.get(name, Head("multiclass", 5)), **given)


def mixed(shape: tuple[int, int, int]) -> list[bytes]:
    """Encoded images: two that fit, a grey and a colour one, a larger, a smaller, and a JPEG."""
    height, width, channels = shape

    def noise(height: int, width: int, channels: int, seed: int) -> Pixels:
        found: Pixels = random_pixels(1, (height, width, channels), seed)[0]
        return found

    return [
        *(png(noise(height, width, channels, 1)), png(noise(height, width, channels, 2))),
        *(png(noise(height, width, 4 - channels, 3)), png(noise(2 * height + 3, width + 5, channels, 4))),
        *(png(noise(7, 60, 4 - channels, 5)), cv2.imencode(".jpg", noise(height, width, 3, 6))[1].tobytes()),
    ]


@pytest.mark.parametrize("name", plugins.names(networks))
def test_a_saved_network_scores_encoded_images_in_one_call(name: str, tmp_path: Path) -> None:
    model, folder = built(name), str(tmp_path / "model")
    saved_models.save(model, folder, model_card())
    images = mixed(tuple(model.input_shape[1:]))
    pixels = np.stack([decode_image(image, tuple(model.input_shape[1:])) for image in images])
    expected = np.asarray(model(pixels, training=False))
    serve = tf.saved_model.load(f"{folder}/serving").signatures["serving_default"]
    assert list(serve.structured_input_signature[1]) == ["image"]
    found = serve(image=tf.constant(images))["scores"].numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(np.asarray(saved_models.load(folder)(pixels, training=False)), expected, atol=1e-6)
    assert len(np.unique(expected.round(7), axis=0)) == len(images), "images have the same scores: none would be missed"


def test_what_is_saved_does_not_drop_out_nor_normalise_by_the_batch(tmp_path: Path) -> None:
    model = cnn2.build((8, 8, 1), Head("multiclass", 3), dropout=0.9)
    saved_models.save(model, str(tmp_path), model_card())
    serve = tf.saved_model.load(str(tmp_path / "serving")).signatures["serving_default"]
    images = [png(one) for one in random_pixels(4, (8, 8, 1))]
    together = serve(image=tf.constant(images))["scores"].numpy()
    apart = [serve(image=tf.constant([one]))["scores"].numpy()[0] for one in images]
    np.testing.assert_allclose(together, apart, atol=1e-6)
    assert np.ptp(together, axis=0).max() > 1e-4
