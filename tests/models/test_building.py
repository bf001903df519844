"""Building the network that settings ask for: sizes, settings that it takes or not, and its precision."""

from pathlib import Path
from typing import Any

import pytest

from models import building
from models.tasks import Head
from models.tensorflow_setup import keras
from models.tensorflow_setup import tensorflow as tf
from models.transfer import Transfer
from schemas.errors import InputError
from schemas.settings.train import TrainSettings
from storage.products import ImageSet
from tests.support.manifests import images_manifest

HEAD = Head("multiclass", 4)


def settings(**changed: Any) -> TrainSettings:
    return TrainSettings(**{"dataset": "small", "network": "cnn1", **changed})


def images(*shape: int | None) -> ImageSet:
    manifest = images_manifest("small", "f", image_shape=shape, classes=["a", "b"])
    return ImageSet("root", "small", "1.0.0", manifest)


@pytest.mark.parametrize(
    ("changed", "of_images", "shape"),
    [
        ({}, (28, 30, 1), (28, 30, 1)),
        ({"image_size": 16}, (28, 30, 1), (16, 16, 1)),
        ({"image_size": 16}, (None, None, 3), (16, 16, 3)),
        ({"network": "vgg16"}, (28, 30, 1), (150, 150, 3)),
        ({"network": "vgg16", "image_size": 64}, (28, 30, 1), (64, 64, 3)),
        ({"network": "xception"}, (None, None, 3), (299, 299, 3)),
    ],
)
def test_the_shape_is_as_set_or_the_networks_own_or_the_images(
    changed: dict[str, Any], of_images: tuple[int | None, ...], shape: tuple[int, int, int]
) -> None:
    assert building.image_shape(settings(**changed), images(*of_images)) == shape


def test_images_of_different_sizes_need_a_size() -> None:
    with pytest.raises(InputError, match=r"the images of 'small' have different sizes.*image-size"):
        building.image_shape(settings(), images(None, None, 3))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"width": 0.5}, r"network 'cnn1' takes no width; it takes none of these settings"),
        ({"network": "cnn2", "weights": "x.h5"}, r"network 'cnn2' takes no weights; it takes dropout"),
        ({"network": "vgg16", "width": 2.0}, r"'vgg16' takes no width; it takes weights, features_from, dropout"),
        ({"fine_tune_from": "all"}, r"network 'cnn1' has no backbone to fine-tune: remove fine_tune_from"),
        ({"network": "cnn2", "dropout": 0.0, "features_from": "a"}, r"takes no features_from; it takes dropout"),
    ],
)
def test_a_setting_that_a_network_does_not_take_is_named(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        building.network_options(settings(**changed))


def test_settings_that_a_network_takes_are_handed_on() -> None:
    assert building.network_options(settings()) == {}
    assert building.network_options(settings(network="cnn2", dropout=0.0)) == {"dropout": 0.0}
    given = {"network": "vgg16", "weights": "x.h5", "features_from": "block1_pool", "fine_tune_from": "all"}
    assert building.network_options(settings(**given)) == {"weights": "x.h5", "features_from": "block1_pool"}
    model = building.build(settings(network="cnn2", dropout=0.125), (8, 8, 1), HEAD)
    assert [layer.rate for layer in model.layers if isinstance(layer, keras.layers.Dropout)] == [0.125]


def test_images_too_small_for_a_network_are_refused() -> None:
    with pytest.raises(InputError, match=r"'vgg16' cannot be built for images of \[16, 16, 3\]") as raised:
        building.build(settings(network="vgg16"), (16, 16, 3), HEAD)
    assert str(raised.value).endswith("give another --image-size")
    assert "\n" not in str(raised.value)


def test_weights_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(Exception, match=r"no\.weights\.h5"):
        building.build(settings(network="vgg16", weights=str(tmp_path / "no.weights.h5")), (40, 40, 3), HEAD)


def test_weights_that_cannot_be_fetched_name_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: Any) -> None:
        raise OSError("Name or service not known")

    monkeypatch.setattr(Transfer, "backbone", offline)
    with pytest.raises(InputError, match=r"cannot be fetched \(Name or service not known\): give a file with --weig"):
        building.build(settings(network="vgg16", weights="imagenet"), (40, 40, 3), HEAD)


@pytest.mark.parametrize(
    ("capabilities", "policy"),
    [
        ([], "float32"),
        ([(6, 1)], "float32"),
        ([(7, 5)], "mixed_float16"),
        ([(8, 0)], "mixed_bfloat16"),
        ([(9, 0), (7, 0)], "mixed_float16"),
        ([(9, 0), (6, 1)], "float32"),
    ],
)
def test_precision_follows_what_the_gpus_are_made_for(
    capabilities: list[tuple[int, int]], policy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda _: list(range(len(capabilities))))
    monkeypatch.setattr(
        tf.config.experimental, "get_device_details", lambda gpu: {"compute_capability": capabilities[gpu]}
    )
    assert building.resolve_precision("auto") == policy
    assert building.resolve_precision("mixed_bfloat16") == "mixed_bfloat16"


def test_a_network_is_built_at_the_precision_asked_for() -> None:
    try:
        model = building.build(settings(precision="mixed_bfloat16"), (8, 8, 1), HEAD)
    finally:
        keras.mixed_precision.set_dtype_policy("float32")
    assert {layer.compute_dtype for layer in model.layers if isinstance(layer, keras.layers.Conv2D)} == {"bfloat16"}
    assert {variable.dtype for variable in model.trainable_variables} == {"float32"}
    assert building.build(settings(), (8, 8, 1), HEAD).layers[2].compute_dtype == "float32"
