"""The networks: a contract that every file of `models/networks` keeps, and the two of the SVHN course as spelt."""

import ast
import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from models import networks
from models.quiet import keras
from schemas import plugins

NETWORKS = plugins.names(networks)
CONV, SLOPE, POOL, NORM = "Conv2D", "LeakyReLU", "MaxPooling2D", "BatchNormalization"
CNN1 = [
    *(("Rescaling", 1 / 255), (CONV, 16), (SLOPE, 0.1), (CONV, 32), (SLOPE, 0.1), (POOL, (2, 2))),
    *(("Flatten", None), ("Dense", 32), (SLOPE, 0.1), ("Dense", 10)),
]
CNN2 = [
    *(("Rescaling", 1 / 255), (CONV, 16), (SLOPE, 0.1), (CONV, 32), (SLOPE, 0.1), (POOL, (2, 2)), (NORM, None)),
    *((CONV, 32), (SLOPE, 0.1), (CONV, 64), (SLOPE, 0.1), (POOL, (2, 2)), (NORM, None)),
    *(("Flatten", None), ("Dense", 32), (SLOPE, 0.1), ("Dropout", 0.5), ("Dense", 10)),
]
TELLING = {CONV: "filters", SLOPE: "negative_slope", POOL: "pool_size", "Dense": "units", "Dropout": "rate"}
TELLING |= {"Rescaling": "scale"}


def network(name: str) -> ModuleType:
    return importlib.import_module(f"models.networks.{name}")


def pixels(shape: tuple[int, int, int], count: int = 5) -> Any:
    return np.random.default_rng(3).integers(0, 256, (count, *shape), dtype=np.uint8)


def test_both_networks_of_the_course_are_found() -> None:
    assert {"cnn1", "cnn2"} <= set(NETWORKS)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(("shape", "classes"), [((32, 32, 1), 10), ((32, 32, 3), 4)])
def test_a_network_maps_uint8_pixels_to_scores_that_sum_to_one(
    name: str, shape: tuple[int, int, int], classes: int
) -> None:
    model = network(name).build(shape, classes)
    assert model.inputs[0].dtype == "uint8"
    assert tuple(model.input_shape) == (None, *shape)
    scores = model.predict(pixels(shape), verbose=0)
    assert (scores.shape, scores.dtype) == ((5, classes), np.float32)
    np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-5)
    assert (scores >= 0).all()
    assert np.ptp(scores, axis=0).max() > 1e-4, "every image got the same scores"


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_is_saved_and_loaded_in_safe_mode(name: str, tmp_path: Path) -> None:
    model = network(name).build((32, 32, 3), 10)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    images = pixels((32, 32, 3))
    np.testing.assert_array_equal(loaded.predict(images, verbose=0), model.predict(images, verbose=0))


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_file_imports_keras_only(name: str) -> None:
    tree = ast.parse(Path(str(network(name).__file__)).read_text())
    roots = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            roots |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            roots.add(str(node.module).partition(".")[0])
    assert "keras" in roots
    assert roots <= {"keras", *sys.stdlib_module_names}


@pytest.mark.parametrize(("name", "layers"), [("cnn1", CNN1), ("cnn2", CNN2)])
def test_the_layers_are_those_of_the_course(name: str, layers: list[tuple[str, Any]]) -> None:
    model = network(name).build((32, 32, 1), 10)
    found = [
        (type(layer).__name__, getattr(layer, TELLING[type(layer).__name__], None))
        if type(layer).__name__ in TELLING
        else (type(layer).__name__, None)
        for layer in model.layers
    ]
    assert [kind for kind, _ in found] == [kind for kind, _ in layers]
    for (kind, value), (_, stated) in zip(found, layers, strict=True):
        assert value == pytest.approx(stated), kind
    convolutions = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    assert {(layer.kernel_size, layer.padding, layer.strides) for layer in convolutions} == {((3, 3), "same", (1, 1))}
    assert model.layers[-1].activation is keras.activations.softmax


@pytest.mark.parametrize(("name", "parameters"), [("cnn1", 267_306), ("cnn2", 164_362)])
def test_the_parameters_are_counted(name: str, parameters: int) -> None:
    assert network(name).build((32, 32, 1), 10).count_params() == parameters


def test_an_unknown_network_names_the_nearest() -> None:
    with pytest.raises(Exception, match=r"no network 'cnn3'; did you mean 'cnn[12]'\?") as caught:
        plugins.load(networks, "network", "cnn3")
    assert type(caught.value).__name__ == "InputError"
