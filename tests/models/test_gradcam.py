"""Where a network looked: the heat of an independent computation, of every kind of network and task."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from models import external_models, tasks, transfer
from models.external_models import Fit
from models.gradcam import GradCam
from models.networks import ann1, cnn2, logistic
from models.tasks import Head
from models.tensorflow_setup import keras
from schemas.errors import InputError

Array = npt.NDArray[Any]
SIDE = 6


def pixels(count: int = 4, shape: tuple[int, ...] = (SIDE, SIDE, 1), seed: int = 3) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)


def tiny(activation: str = "softmax", scale: float = 1.0, classes: int = 3) -> tuple[keras.Model, Array, Array]:
    """A convolution of 1x1, flattened, and scores; its kernels (1 to 2 maps, and 72 to the classes) are known."""
    generator = np.random.default_rng(8)
    maps, scores = generator.normal(size=(1, 1, 1, 2)), generator.normal(size=(SIDE * SIDE * 2, classes)) * scale
    given = keras.Input((SIDE, SIDE, 1), dtype="uint8")
    x = keras.layers.Conv2D(2, 1, use_bias=False)(keras.layers.Rescaling(1 / 255)(given))
    x = keras.layers.Dense(classes, use_bias=False, activation=activation)(keras.layers.Flatten()(x))
    model = keras.Model(given, x)
    model.set_weights([maps, scores])
    return model, maps[0, 0, 0], scores


def by_hand(images: Array, maps: Array, scores: Array, wanted: Array) -> Array:
    """Grad-CAM in NumPy: the network is linear up to its logits, so its gradient is its kernel."""
    features = images[..., 0].astype(np.float64)[..., None] / 255 * maps  # (n, 6, 6, 2)
    heats = []
    for feature, label in zip(features, wanted, strict=True):
        weights = scores[:, label].reshape(SIDE, SIDE, 2).mean(axis=(0, 1))
        heat = np.maximum((feature * weights).sum(axis=-1), 0)
        heats.append(heat / heat.max() if heat.max() > 0 else heat)
    return np.array(heats)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid", "linear"])
def test_heat_is_that_of_a_computation_by_hand(activation: str) -> None:
    model, maps, kernel = tiny(activation)
    images = pixels(20)
    heat, scores = GradCam(model, "multilabel" if activation == "sigmoid" else "multiclass", 3).explain(images)
    np.testing.assert_allclose(scores, model.predict(images, verbose=0), atol=1e-6)
    expected = by_hand(images, maps, kernel, scores.argmax(axis=1))
    assert (expected.max(axis=(1, 2)) > 0).sum() >= 5
    assert len(set(scores.argmax(axis=1).tolist())) > 1
    np.testing.assert_allclose(heat, expected, atol=1e-5)


def test_heat_of_any_network_is_that_of_finite_differences() -> None:
    """The gradient of the logit with regard to the maps, by changing one place of one map after the other."""
    keras.utils.set_random_seed(4)
    given = keras.Input((SIDE, SIDE, 3), dtype="uint8")
    maps = keras.layers.Conv2D(3, 3, padding="same", activation="elu")(keras.layers.Rescaling(1 / 255)(given))
    x = keras.layers.Dense(8, activation="tanh")(keras.layers.Flatten()(keras.layers.Dropout(0.5)(maps)))
    logits = keras.layers.Dense(4)(x)
    model = keras.Model(given, keras.layers.Softmax()(logits))
    images = pixels(2, (SIDE, SIDE, 3))
    heat, scores = GradCam(model, "multiclass", 4).explain(images)
    first, second = keras.Model(given, maps), keras.Model(maps, logits)
    features, step = first.predict(images, verbose=0), 1e-2
    for image in range(2):
        base = features[image]
        changed = np.repeat(base[None], 2 * base.size, axis=0)
        for place, index in enumerate(np.ndindex(base.shape)):
            changed[2 * place][index] += step
            changed[2 * place + 1][index] -= step
        parts = [np.asarray(second(part, training=False)) for part in np.array_split(changed, 16)]
        found = np.concatenate(parts)[:, scores[image].argmax()]  # predict would take gigabytes
        gradient = ((found[::2] - found[1::2]) / (2 * step)).reshape(base.shape)
        expected = np.maximum((base * gradient.mean(axis=(0, 1))).sum(axis=-1), 0)
        assert expected.max() > 0
        np.testing.assert_allclose(heat[image], expected / expected.max(), atol=5e-3)


def cornered(corner: tuple[slice, slice], size: int = 16) -> keras.Model:
    """A network that looks only at one corner: the brighter it is, the more it says `yes`."""
    model = keras.Sequential(
        [
            keras.Input((size, size, 1), dtype="uint8"),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Conv2D(1, 1, use_bias=False),
            keras.layers.Flatten(),
            keras.layers.Dense(2, activation="softmax"),
        ]
    )
    there = np.zeros((size, size))
    there[corner] = 1
    model.set_weights([np.ones((1, 1, 1, 1)), np.stack([-there.ravel(), there.ravel()], axis=1), np.zeros(2)])
    return model


@pytest.mark.parametrize("corner", [(slice(0, 4), slice(0, 4)), (slice(0, 4), slice(12, 16)), (slice(12, 16),) * 2])
def test_what_lights_up_is_hot(corner: tuple[slice, slice]) -> None:
    """Grad-CAM shows the places where the maps that count are active: a bright corner in a dark image is hot."""
    image = np.zeros((1, 16, 16, 1), np.uint8)
    image[0][corner] = 255
    heat, scores = GradCam(cornered(corner), "multiclass", 2).explain(image)
    assert scores[0].argmax() == 1
    assert heat[0][corner].min() == 1
    assert heat[0].sum() == 16


def test_small_maps_are_enlarged_to_the_image() -> None:
    given = keras.Input((16, 16, 1), dtype="uint8")
    x = keras.layers.Conv2D(1, 4, strides=4, use_bias=False)(keras.layers.Rescaling(1 / 255)(given))
    model = keras.Model(given, keras.layers.Dense(1, activation="sigmoid")(keras.layers.GlobalAveragePooling2D()(x)))
    model.set_weights([np.ones((4, 4, 1, 1)), np.ones((1, 1)), np.zeros(1)])
    image = np.zeros((1, 16, 16, 1), np.uint8)
    image[0, 12:, :4] = 255
    heat, _ = GradCam(model, "multilabel", 1).explain(image)
    assert heat.shape == (1, 16, 16)
    assert np.unravel_index(heat[0].argmax(), (16, 16))[0] >= 13
    assert heat[0, 12:, :4].mean() > 0.7
    assert heat[0, :8].max() == 0 == heat[0, :, 8:].max()


@pytest.mark.parametrize("nested", [False, True])
def test_a_network_that_is_quite_sure_still_tells(nested: bool) -> None:
    model, maps, kernel = tiny(scale=300)
    images = pixels(20)
    explained = (
        external_models.wrapped(raw(model), Fit("multiclass", "abc", (SIDE, SIDE, 1), "", (0, 1), ""), "x")
        if nested
        else model
    )
    heat, scores = GradCam(explained, "multiclass", 3).explain(images)
    expected = by_hand(images, maps, kernel, scores.argmax(axis=1))
    told = expected.max(axis=(1, 2)) > 0
    assert (scores.max(axis=1) == 1).all(), "no score is saturated"
    assert told.sum() >= 5
    np.testing.assert_allclose(heat, expected, atol=1e-5)


def raw(model: keras.Model) -> keras.Model:
    """The same network without its rescaling, as a foreign one that takes pixels from 0 to 1."""
    given = keras.Input(model.input_shape[1:])
    value = given
    for layer in model.layers[2:]:
        value = layer(value)
    return keras.Model(given, value)


def test_a_foreign_network_tells_as_it_does_by_itself() -> None:
    """Classes in another order and fewer, logits made probabilities, and a network within the network."""
    model, maps, kernel = tiny("linear")
    within = keras.Sequential([keras.Input((SIDE, SIDE, 1)), raw(model)])
    fit = Fit("multiclass", ["a", "b", "c", "d"], (SIDE, SIDE, 1), ["d", "b", "a"], (0, 1), "softmax")
    images = pixels(20)
    heat, scores = GradCam(external_models.wrapped(within, fit, "x.keras"), "multiclass", 4).explain(images)
    own = np.array([{3: 0, 1: 1, 0: 2}[label] for label in scores.argmax(axis=1).tolist()])
    assert (scores[:, 2] == 0).all()
    np.testing.assert_allclose(heat, by_hand(images, maps, kernel, own), atol=1e-5)


def test_one_score_for_two_classes_tells_for_both() -> None:
    model, maps, kernel = tiny("sigmoid", classes=1)
    fit = Fit("multiclass", ["no", "yes"], (SIDE, SIDE, 1), (), (0, 1), "")
    images = pixels(30)
    heat, scores = GradCam(external_models.wrapped(raw(model), fit, "x.keras"), "multiclass", 2).explain(images)
    said = scores.argmax(axis=1)
    both = by_hand(images, maps, np.concatenate([-kernel, kernel], axis=1), said)
    assert set(said.tolist()) == {0, 1}
    np.testing.assert_allclose(heat, both, atol=1e-5)


@pytest.mark.parametrize("pooling", [None, "avg"])
def test_a_backbone_within_a_network_is_found(pooling: str | None) -> None:
    keras.utils.set_random_seed(2)
    backbone = keras.Sequential(
        [
            keras.Input((16, 16, 3)),
            keras.layers.DepthwiseConv2D(3),
            keras.layers.SeparableConv2D(4, 3, activation="relu"),
            *([keras.layers.GlobalAveragePooling2D()] if pooling else []),
        ]
    )
    layers = [backbone, keras.layers.Flatten(), keras.Sequential([keras.layers.Dense(3), keras.layers.Softmax()])]
    network = keras.Sequential([keras.Input((16, 16, 3)), *layers])
    model = external_models.wrapped(network, Fit("multiclass", "abc", (16, 16, 3), "", (-1, 1), ""), "x.keras")
    images = pixels(6, (16, 16, 3))
    network = GradCam(model, "multiclass", 3)
    heat, scores = network.explain(images)
    np.testing.assert_allclose(scores, model.predict(images, verbose=0), atol=1e-6)
    assert (heat.max(axis=(1, 2)) > 0).any()
    np.testing.assert_array_equal(GradCam(model, "multiclass", 3).explain(images)[0], heat)  # asked a second time


def test_frozen_networks_tell_the_same() -> None:
    keras.utils.set_random_seed(6)
    model = cnn2.build((16, 16, 1), Head("multiclass", 3))
    images = pixels(5, (16, 16, 1))
    before = GradCam(model, "multiclass", 3).explain(images)[0]
    weights = model.get_weights()
    transfer.freeze(model)
    np.testing.assert_allclose(GradCam(model, "multiclass", 3).explain(images)[0], before, atol=1e-6)
    assert before.max() == 1
    for old, new in zip(weights, model.get_weights(), strict=True):  # statistics of batches are not learnt either
        np.testing.assert_array_equal(old, new)


def test_what_is_asked_about_several_labels_is_the_most_probable_one() -> None:
    scores = np.array([[0.2, 0.9, 0.7], [0.4, 0.1, 0.3]], np.float32)
    np.testing.assert_array_equal(tasks.load("multilabel").mark_label(scores, 3), [[0, 1, 0], [1, 0, 0]])


def test_what_is_asked_about_a_number_is_its_length_and_its_digits() -> None:
    lengths = np.full((2, 7), 0.01, np.float32)
    lengths[0, 2], lengths[1, 0] = 0.9, 0.9  # two digits, and none
    digits = np.full((2, 5, 10), 0.01, np.float32)
    digits[:, [0, 1, 2], [4, 7, 9]] = 0.9
    found = tasks.load("sequence").mark_label(np.concatenate([lengths, digits.reshape(2, -1)], axis=1), 10)
    assert np.flatnonzero(found[0]).tolist() == [2, 7 + 4, 7 + 10 + 7]
    assert np.flatnonzero(found[1]).tolist() == [0]


def test_heat_of_a_number_is_that_of_the_sum_of_what_it_is_read_from() -> None:
    model, maps, _ = tiny("linear")
    features = keras.layers.Flatten()(model.layers[2].output)
    reader = keras.Model(model.inputs[0], Head("sequence", 10)(features))
    generator = np.random.default_rng(1)
    reader.set_weights(
        [reader.get_weights()[0], *(generator.normal(size=one.shape) for one in reader.get_weights()[1:])]
    )
    images = pixels(12)
    heat, scores = GradCam(reader, "sequence", 10).explain(images)
    np.testing.assert_allclose(scores, reader.predict(images, verbose=0), atol=1e-6)
    kernels = np.concatenate([layer.kernel.numpy() for layer in reader.layers if hasattr(layer, "kernel")][1:], axis=1)
    assert kernels.shape == (SIDE * SIDE * 2, 57)
    asked = tasks.load("sequence").mark_label(scores, 10)
    assert len(np.unique(asked, axis=0)) > 1
    summed = kernels @ asked.T
    np.testing.assert_allclose(heat, by_hand(images, maps, summed, np.arange(12)), atol=1e-4)


def test_another_label_may_be_asked_about() -> None:
    model, maps, kernel = tiny()
    images, said = pixels(10), np.tile(np.array([[0, 0, 1]], np.float32), (10, 1))
    heat, scores = GradCam(model, "multiclass", 3).explain(images, said)
    assert (scores.argmax(axis=1) != 2).any()
    np.testing.assert_allclose(heat, by_hand(images, maps, kernel, np.full(10, 2)), atol=1e-5)


@pytest.mark.parametrize("network", [logistic, ann1])
def test_networks_without_convolutions_are_refused(network: Any) -> None:
    with pytest.raises(InputError, match=r"has no convolutions: its predictions cannot be explained"):
        GradCam(network.build((8, 8, 1), Head("multiclass", 3)), "multiclass", 3)
