"""Scoring payloads: the scores of the network itself, and the names of the images that cannot be decoded."""

import io
import weakref
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from models.networks import cnn1
from models.scoring import Scored, Scorer
from models.tasks import Head
from models.tensorflow_setup import tensorflow as tf
from schemas.errors import Reason

COUNT = 7
IMAGE_UNDECODABLE = Reason.IMAGE_UNDECODABLE
MODEL = cnn1.build((8, 8, 1), Head("multiclass", 3))


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
    found = Scorer(model, batch=3).score([payload(encoded(image), "x") for image in pixels()]).scores
    np.testing.assert_allclose(found, model.predict(pixels()[..., None], verbose=0), atol=1e-6)
    assert len(np.unique(found.round(6), axis=0)) == COUNT, "images share their scores, so their order does not show"


def test_no_payloads_have_no_scores(scorer: Scorer) -> None:
    assert scorer.score([]).scores.shape == (0, 3)


def test_ids_are_those_of_the_payloads(scorer: Scorer) -> None:
    ids = ["train-0000001", "Nr. 5/ö", "0"]
    assert scorer.ids([payload(b"", one) for one in ids]) == ids


def test_a_colour_image_is_turned_grey(scorer: Scorer) -> None:
    grey = pixels()[0]
    colour = np.stack([grey] * 3, axis=-1)
    found = scorer.score([payload(encoded(colour), "c"), payload(encoded(grey), "g")]).scores
    np.testing.assert_allclose(found[0], found[1], atol=1e-3)  # libpng's weights may round a pixel otherwise


def scored(payloads: list[bytes], batch: int = 4, scorer: Scorer | None = None) -> Scored:
    return (scorer or Scorer(MODEL, batch)).score(payloads)


def good_payloads() -> list[bytes]:
    return [payload(encoded(image), str(row)) for row, image in enumerate(pixels())]


def test_images_that_cannot_be_decoded_are_named_and_leave_the_others_as_they_are() -> None:
    payloads = good_payloads()
    whole = scored(payloads)
    image = encoded(pixels()[0])
    for row, bad in ((1, b""), (3, b"<html>404</html>"), (5, image[: len(image) // 2])):
        payloads[row] = payload(bad, str(row))
    payloads[6] = payload(encoded(pixels((1, 9, 8))[0]), "6")  # an image of another size is scaled
    found = scored(payloads)
    assert {row: reason for row, (reason, _) in found.faults.items()} == dict.fromkeys((1, 3, 5), IMAGE_UNDECODABLE)
    assert "Unknown image file format" in found.faults[3][1]
    assert np.isnan(found.scores[[1, 3, 5]]).all()
    assert np.isfinite(found.scores[6]).all()
    kept = [0, 2, 4]
    assert found.scores[kept].tobytes() == whole.scores[kept].tobytes()  # bit for bit
    assert found.batches == whole.batches == (4, 3)


def test_only_images_that_cannot_be_decoded() -> None:
    found = scored([payload(b"", "0")] * 5)
    assert sorted(found.faults) == [0, 1, 2, 3, 4]
    assert np.isnan(found.scores).all()


class Failing(Scorer):
    """A network that fails where it is to see some images, or too many of them."""

    def __init__(self, error: Exception, poisoned: tuple[int, ...] = (), most: int = 1000) -> None:
        super().__init__(MODEL, batch=4)
        self.error, self.most, self.seen = error, most, list[int]()
        self.poisoned = {pixels()[row].tobytes() for row in poisoned}

    def _score_part(self, shown: Any, part: range) -> Any:
        self.seen.append(len(part))
        images = np.asarray(shown[part.start : part.stop])
        if len(part) > self.most or any(image[..., 0].tobytes() in self.poisoned for image in images):
            raise self.error
        return super()._score_part(shown, part)


ERRORS = [
    tf.errors.InternalError(None, None, "cuDNN failed\nmore"),
    tf.errors.InvalidArgumentError(None, None, "cuDNN failed"),
    RuntimeError("cuDNN failed"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("poisoned", [(0,), (2,), (6,), (1, 2), (0, 1, 2, 3), tuple(range(COUNT))], ids=str)
def test_poisoned_images_are_found_by_halving(error: Exception, poisoned: tuple[int, ...]) -> None:
    failing = Failing(error, poisoned)
    found = scored(good_payloads(), scorer=failing)
    assert found.faults == dict.fromkeys(poisoned, (Reason.MODEL_FAILED, "cuDNN failed"))
    kept = [row for row in range(COUNT) if row not in poisoned]
    assert np.isnan(found.scores[list(poisoned)]).all()
    np.testing.assert_allclose(found.scores[kept], scored(good_payloads()).scores[kept], atol=1e-6)
    assert found.out_of_memory == 0
    failing.seen.clear()
    failing.score(good_payloads())
    assert failing.seen[0] == 4, "a poisoned image made the batches after it smaller"


MEMORY = [
    tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor"),
    MemoryError("Unable to allocate 3 GiB"),
    RuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate"),  # JAX's
    RuntimeError("CUDA out of memory. Tried to allocate"),  # PyTorch's
]


@pytest.mark.parametrize("error", MEMORY, ids=lambda error: f"{type(error).__name__}")
@pytest.mark.parametrize(("most", "sizes"), [(3, [4, 2, 2, 2, 1]), (1, [4, 2, *[1] * COUNT])])
def test_a_batch_that_memory_does_not_hold_is_halved_and_so_are_those_after_it(
    error: Exception, most: int, sizes: list[int]
) -> None:
    failing = Failing(error, most=most)
    found = scored(good_payloads(), scorer=failing)
    assert failing.seen == sizes
    assert (found.faults, found.out_of_memory) == ({}, len([size for size in sizes if size > most]))
    np.testing.assert_allclose(found.scores, scored(good_payloads()).scores, atol=1e-6)
    failing.seen.clear()
    failing.score(good_payloads())
    assert max(failing.seen) <= most


def test_an_image_that_memory_never_holds_is_named() -> None:
    found = scored(good_payloads(), scorer=Failing(MEMORY[0], poisoned=(2,)))
    assert found.faults == {2: (Reason.OUT_OF_MEMORY, "OOM when allocating tensor")}


def test_a_mistake_is_no_fault_of_an_image() -> None:
    with pytest.raises(TypeError, match="ours"):
        scored(good_payloads(), scorer=Failing(TypeError("ours"), poisoned=(2,)))


def test_a_scorer_can_be_referred_to_weakly(scorer: Scorer) -> None:
    assert weakref.ref(scorer)() is scorer  # Beam shares a model among threads so
