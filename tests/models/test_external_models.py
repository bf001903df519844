"""Foreign networks: fitted to a dataset, they say what they say by themselves; what does not fit is refused."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import pytest

from models import external_models
from models.external_models import Fit
from models.tensorflow_setup import keras
from schemas.errors import InputError

CLASSES = ["a", "b", "c", "d"]
SHAPE = (6, 5, 1)


def fit(
    class_order: Sequence[str] = (),
    value_range: Sequence[float] = (0, 1),
    activation: str = "",
    shape: tuple[int | None, int | None, int] = SHAPE,
    task: str = "multiclass",
    classes: Sequence[str] = CLASSES,
) -> Fit:
    return Fit(task, classes, shape, class_order, value_range, activation)


def network(
    shape: tuple[int | None, ...], outputs: int = 4, activation: str | None = "softmax", dtype: str = "float32"
) -> keras.Model:
    """A network that takes this shape and says something else of each image."""
    keras.utils.set_random_seed(5)
    given = keras.Input(shape, dtype=dtype)
    x = keras.layers.Rescaling(20.0)(given)
    x = (
        keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(8, 3)(x))
        if None in shape
        else keras.layers.Flatten()(x)
    )
    x = keras.layers.Dense(outputs, activation=activation, kernel_initializer="random_normal")(x)
    return keras.Model(given, x)


def pixels(count: int = 9, shape: tuple[int, ...] = SHAPE) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(2).integers(0, 256, (count, *shape), dtype=np.uint8)


def told_apart(scores: Any) -> Any:
    assert np.ptp(scores, axis=0).max() > 0.05, "every image has the same scores: a mistake would not show"
    return scores


@pytest.mark.parametrize("suffix", [".keras", ".h5", ".hdf5"])
@pytest.mark.parametrize("shape", [SHAPE, (30,), (6, 5), (None, None, 1)])
def test_files_say_what_the_network_says(tmp_path: Path, suffix: str, shape: tuple[int | None, ...]) -> None:
    model = network(shape)
    path = str(tmp_path / f"theirs{suffix}")
    model.save(path)
    found = external_models.wrapped(external_models.load(path, False, path), fit(), path)
    images = pixels()
    given = (images / np.float32(255)).reshape(9, *(shape if None not in shape else SHAPE))
    assert found.input_shape == (None, *SHAPE)
    assert found.input.dtype == "uint8"
    np.testing.assert_allclose(found.predict(images, verbose=0), told_apart(model.predict(given, verbose=0)), atol=1e-5)


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-1, 1), (0, 255), (-0.5, 0.5), (1, 3)])
def test_pixels_are_told_as_the_network_wants_them(low: float, high: float) -> None:
    model = network(SHAPE)
    found = external_models.wrapped(model, fit(value_range=(low, high)), "x").predict(pixels(), verbose=0)
    given = low + pixels().astype(np.float64) / 255 * (high - low)
    np.testing.assert_allclose(found, told_apart(model.predict(given, verbose=0)), atol=1e-4)


def test_a_network_that_takes_bytes_gets_the_very_pixels() -> None:
    model = network(SHAPE, dtype="uint8")
    found = external_models.wrapped(model, fit(value_range=(0, 255)), "x").predict(pixels(), verbose=0)
    np.testing.assert_allclose(found, told_apart(model.predict(pixels(), verbose=0)), atol=1e-6)


@pytest.mark.parametrize(
    ("taken", "images", "expected"),
    [
        ((6, 5, 1), (6, 5, 1), (6, 5, 1)),
        ((8, 9, 3), (6, 5, 1), (8, 9, 3)),  # decoding scales and colours
        ((30,), (6, 5, 1), (6, 5, 1)),
        ((30,), (6, 5, 3), (6, 5, 1)),
        ((90,), (6, 5, 1), (6, 5, 3)),
        ((90,), (6, 5, 3), (6, 5, 3)),
        ((784,), (32, 32, 1), (28, 28, 1)),
        ((3072,), (None, None, 1), (32, 32, 3)),
        ((28, 28), (32, 32, 3), (28, 28, 1)),
        ((None, None, 3), (32, 30, 1), (32, 30, 3)),
        ((None, 40, 3), (32, 30, 1), (32, 40, 3)),
    ],
)
def test_the_size_that_a_network_takes(taken: Any, images: Any, expected: Any) -> None:
    assert external_models.pixel_shape(taken, images, "x") == expected


@pytest.mark.parametrize("taken", [(7,), (4, 6, 5, 1), (6, 5, 4), (1, 28, 28), (), (None,)])
def test_what_takes_no_images_is_refused(taken: Any) -> None:
    with pytest.raises(InputError, match=r"their\.keras takes \[.*\], which is no image"):
        external_models.pixel_shape(taken, SHAPE, "their.keras")


def test_images_of_many_sizes_need_one() -> None:
    with pytest.raises(InputError, match=r"takes images of any size, and the dataset's differ: .*--max-side"):
        external_models.pixel_shape((None, None, 3), (None, None, 3), "x")


@pytest.mark.parametrize("given", [("d", "b", "a", "c"), ("c", "a"), ("b", "d", "a")])
def test_classes_in_another_order_or_fewer(given: tuple[str, ...]) -> None:
    model = network(SHAPE, outputs=len(given))
    found = external_models.wrapped(model, fit(class_order=given), "x").predict(pixels(), verbose=0)
    own = told_apart(model.predict(pixels() / np.float32(255), verbose=0))
    expected = [own[:, given.index(name)] if name in given else np.zeros(len(own)) for name in CLASSES]
    np.testing.assert_allclose(found, np.stack(expected, axis=1), atol=1e-5)


def test_one_score_is_that_of_the_second_class() -> None:
    model = network(SHAPE, outputs=1, activation="sigmoid")
    own = told_apart(model.predict(pixels() / np.float32(255), verbose=0))[:, 0]
    found = external_models.wrapped(model, fit(classes=["no", "yes"]), "x").predict(pixels(), verbose=0)
    np.testing.assert_allclose(found, np.stack([1 - own, own], axis=1), atol=1e-5)
    turned = external_models.wrapped(model, fit(classes=["no", "yes"], class_order=["yes", "no"]), "x").predict(
        pixels(), verbose=0
    )
    np.testing.assert_allclose(turned, found[:, ::-1], atol=1e-5)


@pytest.mark.parametrize(("task", "activation"), [("multiclass", "softmax"), ("multilabel", "sigmoid")])
def test_logits_are_refused_with_a_remedy_that_helps(task: str, activation: str) -> None:
    model = network(SHAPE, activation=None)
    with pytest.raises(InputError, match=r"no probabilities: if they are logits, say --activation softmax .*sigmoid"):
        external_models.wrapped(model, fit(task=task), "x")
    found = external_models.wrapped(model, fit(task=task, activation=activation), "x").predict(pixels(), verbose=0)
    logits = told_apart(model.predict(pixels() / np.float32(255), verbose=0)).astype(np.float64)
    expected = 1 / (1 + np.exp(-logits)) if task == "multilabel" else np.exp(logits)
    expected = expected if task == "multilabel" else expected / expected.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_scores_of_several_labels_need_not_add_up() -> None:
    model = network(SHAPE, activation="sigmoid")
    found = external_models.wrapped(model, fit(task="multilabel"), "x").predict(pixels(), verbose=0)
    np.testing.assert_allclose(found, model.predict(pixels() / np.float32(255), verbose=0), atol=1e-5)
    with pytest.raises(InputError, match="no probabilities"):
        external_models.wrapped(model, fit(), "x")  # of one label per image they must


def test_numbers_are_read_from_57_scores() -> None:
    digits = list("0123456789")
    model = network(SHAPE, outputs=57, activation="sigmoid")
    found = external_models.wrapped(model, fit(task="sequence", classes=digits), "x").predict(pixels(), verbose=0)
    np.testing.assert_allclose(found, model.predict(pixels() / np.float32(255), verbose=0), atol=1e-5)
    with pytest.raises(InputError, match=r"--classes.*sequence"):
        external_models.wrapped(model, fit(task="sequence", classes=digits, class_order=digits[::-1]), "x")


@pytest.mark.parametrize(
    ("given", "outputs", "message"),
    [
        ((), 3, r"their\.keras gives scores of shape \[3\], but 4 classes need \[4\]: .*--classes"),
        (("a", "b"), 4, r"gives scores of shape \[4\], but 2 classes need \[2\]"),
        (("a", "x"), 2, r"--classes names 'x'; the dataset has: a, b, c, d"),
        (("a", "b", "a"), 3, r"--classes names a class twice"),
    ],
)
def test_scores_that_do_not_fit_are_refused(given: tuple[str, ...], outputs: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        external_models.wrapped(network(SHAPE, outputs=outputs), fit(class_order=given), "their.keras")


def test_a_functional_network_of_keras_2_gives_one_output(tmp_path: Path) -> None:
    """It names its one input and output as lists of one."""
    model, path = network(SHAPE), tmp_path / "theirs.h5"
    model.save(path)
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        for key in ("input_layers", "output_layers"):
            config["config"][key] = [config["config"][key]]
        file.attrs["model_config"] = json.dumps(config)
    found = external_models.wrapped(external_models.load(str(path), False, "theirs"), fit(), "theirs")
    own = told_apart(model.predict(pixels() / np.float32(255), verbose=0))
    np.testing.assert_allclose(found.predict(pixels(), verbose=0), own, atol=1e-5)


def test_scores_by_place_are_refused() -> None:
    given = keras.Input(SHAPE)
    with pytest.raises(InputError, match=r"gives scores of shape \[6, 5, 4\]"):
        external_models.wrapped(keras.Model(given, keras.layers.Conv2D(4, 1)(given)), fit(), "x")


def test_several_inputs_or_outputs_are_refused() -> None:
    one, two = keras.Input((4,)), keras.Input((4,))
    joined = keras.layers.Concatenate()([one, two])
    with pytest.raises(InputError, match=r"x has 2 inputs and 1 outputs, but must have one of each"):
        external_models.wrapped(keras.Model([one, two], joined), fit(), "x")
    with pytest.raises(InputError, match=r"x has 1 inputs and 2 outputs"):
        external_models.wrapped(keras.Model(one, [keras.layers.Dense(2)(one), keras.layers.Dense(2)(one)]), fit(), "x")


def test_scores_that_are_not_numbers_are_refused() -> None:
    model = network(SHAPE)
    model.layers[-1].set_weights([one * np.nan for one in model.layers[-1].get_weights()])
    with pytest.raises(InputError, match="no probabilities"):
        external_models.wrapped(model, fit(), "x")


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_code_in_a_file_is_not_run(tmp_path: Path, suffix: str) -> None:
    model = keras.Sequential([keras.Input(SHAPE), keras.layers.Lambda(lambda x: x * 2), keras.layers.Flatten()])
    path = str(tmp_path / f"code{suffix}")
    model.save(path)
    with pytest.raises(InputError, match=r"^Keras cannot load theirs: .*[Ll]ambda"):
        external_models.load(path, True, "theirs")


@pytest.mark.parametrize("suffix", [".keras", ".h5", ".onnx"])
@pytest.mark.parametrize("content", [b"", b"<html>404 Not Found</html>", b"PK\x03\x04 cut off"])
def test_what_is_no_network_is_refused(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"broken{suffix}"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"^(Keras cannot load theirs: |theirs: cannot read it \()\S"):
        external_models.load(str(path), True, "theirs")


def test_weights_alone_are_no_network(tmp_path: Path) -> None:
    path = str(tmp_path / "only.weights.h5")
    network(SHAPE).save_weights(path)
    with pytest.raises(InputError, match=r"^Keras cannot load theirs: \S"):
        external_models.load(path, True, "theirs")


def test_a_saved_model_is_loaded_only_if_it_is_trusted(tmp_path: Path) -> None:
    model = network(SHAPE)
    model.export(str(tmp_path / "theirs"), verbose=False)
    path = str(tmp_path / "theirs")
    with pytest.raises(InputError, match=r"theirs is a SavedModel, which can run code of its own: .*--trust-model"):
        external_models.load(path, False, path)
    found = external_models.wrapped(external_models.load(path, True, path), fit(), path)
    own = told_apart(model.predict(pixels() / np.float32(255), verbose=0))
    np.testing.assert_allclose(found.predict(pixels(), verbose=0), own, atol=1e-5)


def test_a_saved_model_without_the_usual_signature_is_refused(tmp_path: Path) -> None:
    import tensorflow as tf

    tf.saved_model.save(tf.Module(), str(tmp_path / "bare"))
    with pytest.raises(InputError, match=r"^Keras cannot load theirs: \S"):
        external_models.load(str(tmp_path / "bare"), True, "theirs")
