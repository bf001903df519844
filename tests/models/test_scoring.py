"""Scoring payloads: the scores of the network itself, and the names of the images that cannot be decoded."""

import io
import weakref

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from models.heads import Head
from models.networks import cnn1
from models.quiet import tensorflow as tf
from models.scoring import Scorer

COUNT = 7


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    return Scorer(cnn1.build((8, 8, 1), Head("multiclass", 3)), batch=3)  # 7 images are two batches and a rest


def pixels(shape: tuple[int, ...] = (COUNT, 8, 8)) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(5).integers(0, 256, shape, dtype=np.uint8)


def encoded(image: npt.NDArray[np.uint8], format_name: str = "png") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format_name)
    return buffer.getvalue()


def payload(image: bytes, image_id: str) -> bytes:
    feature = {
        "image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[image])),
        "image/id": tf.train.Feature(bytes_list=tf.train.BytesList(value=[image_id.encode()])),
        "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[1])),
    }
    return bytes(tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString())


def test_scores_are_those_of_the_network_in_order() -> None:
    model = cnn1.build((8, 8, 1), Head("multiclass", 3))
    found = Scorer(model, batch=3).scores([payload(encoded(image), "x") for image in pixels()])
    np.testing.assert_allclose(found, model.predict(pixels()[..., None], verbose=0), atol=1e-6)
    assert len(np.unique(found.round(6), axis=0)) == COUNT, "images share their scores, so their order does not show"


def test_no_payloads_have_no_scores(scorer: Scorer) -> None:
    assert scorer.scores([]).shape == (0, 3)


def test_ids_are_those_of_the_payloads(scorer: Scorer) -> None:
    ids = ["train-0000001", "Nr. 5/ö", "0"]
    assert scorer.ids([payload(b"", one) for one in ids]) == ids


def test_a_colour_image_is_turned_grey(scorer: Scorer) -> None:
    grey = pixels()[0]
    colour = np.stack([grey] * 3, axis=-1)
    found = scorer.scores([payload(encoded(colour), "c"), payload(encoded(grey), "g")])
    np.testing.assert_allclose(found[0], found[1], atol=1e-3)  # libpng's weights may round a pixel otherwise


def test_images_that_cannot_be_decoded_are_named(scorer: Scorer) -> None:
    good = encoded(pixels()[0])
    images = [good, b"", good, b"<html>404</html>", encoded(pixels((1, 9, 8))[0]), good[: len(good) // 2]]
    payloads = [payload(image, str(row)) for row, image in enumerate(images)]
    with pytest.raises(scorer.failures):
        scorer.scores(payloads)
    found = scorer.undecodable(payloads)
    assert sorted(found) == [1, 3, 5]  # an image of another size is scaled
    assert "Unknown image file format" in found[3]


def test_a_scorer_can_be_referred_to_weakly(scorer: Scorer) -> None:
    assert weakref.ref(scorer)() is scorer  # Beam shares a model among threads so
