"""Transfer networks: backbones and their preprocessing as `keras.applications` has them, places within, weights."""

import functools
import importlib
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import pytest

from models import transfer
from models.tasks import Head
from models.tensorflow_setup import keras
from models.transfer import Transfer
from schemas.errors import InputError

pytestmark = pytest.mark.filterwarnings("ignore:Skipping nested container")  # Keras' own

SIDES = {"xception": 75, "vgg16": 40, "efficientnet_v2": 40}
APPLICATION = {
    "xception": (keras.applications.Xception, keras.applications.xception.preprocess_input),
    "vgg16": (keras.applications.VGG16, keras.applications.vgg16.preprocess_input),
    "efficientnet_v2": (keras.applications.EfficientNetV2B0, keras.applications.efficientnet_v2.preprocess_input),
}


def of(name: str) -> Transfer:
    found: Transfer = importlib.import_module(f"models.networks.{name}").TRANSFER
    return found


@functools.cache
def backbone(name: str) -> keras.Model:
    return of(name).backbone((SIDES[name], SIDES[name], 3))


def pixels(side: int, count: int = 3) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(6).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


@pytest.mark.parametrize("name", SIDES)
def test_pixels_are_prepared_as_the_weights_want_them(name: str) -> None:
    images = pixels(SIDES[name])
    kinds = (keras.layers.Rescaling if name == "efficientnet_v2" else keras.layers.Conv2D,)
    first = next(layer.name for layer in backbone(name).layers if isinstance(layer, kinds))
    prepared = keras.Model(backbone(name).input, transfer.find_tensor(backbone(name), f"{first}.input"))(images)
    expected = APPLICATION[name][1](images.astype(np.float32))
    np.testing.assert_allclose(prepared, expected, atol=1e-4)
    others = [prepare(images.astype(np.float32)) for one, (_, prepare) in APPLICATION.items() if one != name]
    assert all(np.abs(prepared - other).max() > 1 for other in others), "a swap would not be seen"


@pytest.mark.parametrize("name", SIDES)
def test_features_are_those_of_the_application_on_prepared_pixels(name: str) -> None:
    images, (application, prepare) = pixels(SIDES[name]), APPLICATION[name]
    whole = application(include_top=False, weights=None, input_shape=images.shape[1:])
    spread_statistics(backbone(name))
    whole.set_weights(backbone(name).get_weights())
    expected = np.asarray(whole(prepare(images.astype(np.float32)), training=False))
    pooled = expected.reshape(3, -1) if name == "vgg16" else expected.mean(axis=(1, 2))
    found = np.asarray(backbone(name)(images, training=False))
    scale = np.abs(pooled).max()
    np.testing.assert_allclose(found / scale, pooled / scale, atol=1e-4)
    assert np.ptp(pooled, axis=0).max() / scale > 0.01, "images have the same features"


def spread_statistics(model: keras.Model) -> None:
    """Normalise by less than untrained statistics do, so that features do not vanish on their way."""
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.moving_variance.assign(np.full(layer.moving_variance.shape, 0.05, np.float32))


@functools.cache
def whole_vgg16() -> keras.Model:
    return of("vgg16").build((40, 40, 3), Head("multiclass", 4), features_from="block2_pool", dropout=0.25)


def test_a_network_is_its_backbone_and_its_head() -> None:
    model, images = whole_vgg16(), pixels(40)
    features = transfer.split_backbone(model)(images, training=False)
    assert features.shape == (3, 10 * 10 * 128)
    np.testing.assert_allclose(transfer.split_head(model)(features), model(images, training=False), atol=1e-6)
    assert {layer.name for layer in transfer.split_head(model).layers} >= {"hidden", "dropout", "scores"}
    assert model.get_layer("hidden").units == 256
    assert model.get_layer("dropout").rate == 0.25


def test_features_can_be_had_from_within() -> None:
    model, images = whole_vgg16(), pixels(40)
    inner = keras.Model(model.input, model.get_layer("block2_pool").output)(images)
    np.testing.assert_array_equal(transfer.split_backbone(model)(images), np.reshape(inner, (3, -1)))
    assert "block3_conv1" not in [layer.name for layer in model.layers]
    before = transfer.find_tensor(model, "block2_pool.input")
    assert before is transfer.find_tensor(model, "block2_conv2") is not transfer.find_tensor(model, "block2_pool")
    assert transfer.find_tensor(model, "") is model.output


def test_a_layer_that_is_not_there_names_those_that_are() -> None:
    with pytest.raises(InputError, match=r"no layer 'block9'; its last ones are .*block5_conv3, block5_pool"):
        of("vgg16").backbone((40, 40, 3), features_from="block9")


def test_grey_images_are_refused() -> None:
    with pytest.raises(InputError, match=r"vgg16 takes colour images \(3 channels\), got 1"):
        of("vgg16").backbone((40, 40, 1))


def normalised() -> keras.Model:
    """A small network with layers of every kind that fine-tuning treats apart."""
    pixels = keras.Input((4,))
    x = keras.layers.Dense(3, name="early")(pixels)
    x = keras.layers.Dense(3, name="middle")(x)
    x = keras.layers.BatchNormalization(name="statistics")(x)
    return keras.Model(pixels, keras.layers.Dense(2, name="late")(x))


@pytest.mark.parametrize(
    ("place", "trained"), [("all", {"early", "middle", "late"}), ("middle", {"middle", "late"}), ("late", {"late"})]
)
def test_layers_from_a_place_on_are_trained_but_not_statistics(place: str, trained: set[str]) -> None:
    model = normalised()
    transfer.freeze(model)
    assert model.trainable_variables == []
    transfer.unfreeze(model, place)
    assert {variable.path.split("/")[0] for variable in model.trainable_variables} == trained


def test_weights_of_the_whole_backbone_are_loaded(tmp_path: Path) -> None:
    path = str(tmp_path / "own.weights.h5")
    whole = keras.applications.VGG16(include_top=False, weights=None, input_shape=(40, 40, 3))
    whole.save_weights(path)
    loaded = of("vgg16").backbone((48, 40, 3), weights=path)
    for found, expected in zip(loaded.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_array_equal(found, expected)
    cut = of("vgg16").backbone((40, 40, 3), weights=path, features_from="block1_conv2")
    for found, expected in zip(cut.get_weights(), whole.get_weights()[:4], strict=True):
        np.testing.assert_array_equal(found, expected)


def foreign(folder: Path, kind: str) -> str:
    path = folder / "wrong.weights.h5"
    if kind == "text":
        path.write_text("<html>404 Not Found</html>")
    elif kind == "other network":
        keras.applications.MobileNetV2(include_top=False, weights=None, input_shape=(32, 32, 3)).save_weights(path)
    elif kind == "other file":
        with h5py.File(path, "w") as file:
            file["X_train"] = np.zeros((3, 2))
    return str(path)


@pytest.mark.parametrize("kind", ["text", "other network", "other file", "none"])
def test_weights_that_do_not_fit_are_refused(tmp_path: Path, kind: str) -> None:
    path = foreign(tmp_path, kind)
    with pytest.raises(InputError, match=r"wrong\.weights\.h5 does not hold the weights of vgg16: .") as raised:
        of("vgg16").backbone((40, 40, 3), weights=path)
    assert "\n" not in str(raised.value)


def by_layer(file: Any, kinds: list[str]) -> dict[str, list[npt.NDArray[Any]]]:
    """The variables of a weights file, of layers of some kinds: kind and number to arrays."""
    names = [name for name in file["layers"] if name.rstrip("0123456789").rstrip("_") in kinds]
    return {name: [array[()] for _, array in sorted(file["layers"][name]["vars"].items())] for name in names}


def test_real_weights_of_a_part_of_xception_are_loaded(shared_data: Path) -> None:
    path = shared_data / "imagenet_weights" / "xception_imagenet_through_block13.weights.h5"
    kinds = {"Conv2D": "conv2d", "SeparableConv2D": "separable_conv2d", "BatchNormalization": "batch_normalization"}
    with h5py.File(path) as file:
        stated = by_layer(file, list(kinds.values()))
    model = of("xception").backbone((75, 75, 3), str(path), "block14_sepconv1.input")
    counts = dict.fromkeys(kinds, 0)
    for layer in model.layers:
        kind = type(layer).__name__
        if kind in kinds:
            name = f"{kinds[kind]}_{counts[kind]}" if counts[kind] else kinds[kind]
            counts[kind] += 1
            for found, expected in zip(layer.get_weights(), stated.pop(name), strict=True):
                np.testing.assert_array_equal(found, expected.astype(np.float32), err_msg=name)
    assert stated == {} and counts["SeparableConv2D"] == 32
    assert model.output_shape == (None, 1024)
    with pytest.raises(InputError, match=r"does not hold the weights of xception"):
        of("xception").backbone((75, 75, 3), str(path), "block14_sepconv1")
