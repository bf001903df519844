"""The networks: a contract that every file of `models/networks` keeps, and those of the SVHN course as spelt."""

import ast
import functools
import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from models import archives, networks, tasks, transfer
from models.tasks import Head
from models.tensorflow_setup import keras
from schemas import plugins
from schemas.errors import InputError

NETWORKS = plugins.names(networks)
TRANSFER = ["efficientnet_v2", "vgg16", "xception"]
SMALL = {"xception": (75, 75, 3), "vgg16": (40, 40, 3), "efficientnet_v2": (40, 40, 3)}  # as small as backbones allow
CLASSES = {"multiclass": 10, "multilabel": 4, "sequence": 10}
CONV, SLOPE, POOL, NORM, DENSE = "Conv2D", "LeakyReLU", "MaxPooling2D", "BatchNormalization", "Dense"
PIXELS = ("Rescaling", 1 / 255)
COURSE: dict[str, list[tuple[str, Any]]] = {
    "logistic": [PIXELS, ("Flatten", None), (DENSE, 10)],
    "ann1": [PIXELS, ("Flatten", None), (DENSE, 64), (DENSE, 32), (DENSE, 10)],
    "ann2": [
        *(PIXELS, ("Flatten", None), (DENSE, 256), (DENSE, 128), ("Dropout", 0.2)),
        *((DENSE, 64), (DENSE, 64), (DENSE, 32), (NORM, None), (DENSE, 10)),
    ],
    "cnn1": [
        *(PIXELS, (CONV, 16), (SLOPE, 0.1), (CONV, 32), (SLOPE, 0.1), (POOL, (2, 2))),
        *(("Flatten", None), (DENSE, 32), (SLOPE, 0.1), (DENSE, 10)),
    ],
    "cnn2": [
        *(PIXELS, (CONV, 16), (SLOPE, 0.1), (CONV, 32), (SLOPE, 0.1), (POOL, (2, 2)), (NORM, None)),
        *((CONV, 32), (SLOPE, 0.1), (CONV, 64), (SLOPE, 0.1), (POOL, (2, 2)), (NORM, None)),
        *(("Flatten", None), (DENSE, 32), (SLOPE, 0.1), ("Dropout", 0.5), (DENSE, 10)),
    ],
}
TELLING = {CONV: "filters", SLOPE: "negative_slope", POOL: "pool_size", DENSE: "units", "Dropout": "rate"}
TELLING |= {"Rescaling": "scale"}


def network(name: str) -> ModuleType:
    return importlib.import_module(f"models.networks.{name}")


@functools.cache
def built(name: str, task: str) -> keras.Model:
    return network(name).build(SMALL.get(name, (16, 20, 1)), Head(task, CLASSES[task]))


def pixels(shape: tuple[int, ...], count: int = 5) -> Any:
    return np.random.default_rng(3).integers(0, 256, (count, *shape), dtype=np.uint8)


def scores_of(model: keras.Model, images: Any) -> Any:
    return np.asarray(model(images, training=False))


def parts(task: str, scores: Any) -> list[Any]:
    """The scores that are a distribution each."""
    return {"multiclass": [scores], "multilabel": [], "sequence": np.split(scores, [7, 17, 27, 37, 47], axis=1)}[task]


def test_the_networks_of_the_course_and_the_study_are_found() -> None:
    assert {*COURSE, *TRANSFER} <= set(NETWORKS)
    assert [name for name in NETWORKS if hasattr(network(name), "TRANSFER")] == TRANSFER


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("task", CLASSES)
def test_a_network_maps_uint8_pixels_to_the_scores_of_a_task(name: str, task: str) -> None:
    model = built(name, task)
    assert model.inputs[0].dtype == "uint8"
    shape = tuple(model.input_shape[1:])
    assert shape == SMALL.get(name, (16, 20, 1))
    assert model.output_shape == (None, tasks.load(task).count_scores(CLASSES[task]))
    scores = scores_of(model, pixels(shape))
    assert (scores.shape, scores.dtype) == ((5, tasks.load(task).count_scores(CLASSES[task])), np.float32)
    assert (scores >= 0).all() and (scores <= 1).all()
    for one in parts(task, scores):
        np.testing.assert_allclose(one.sum(axis=1), 1, atol=1e-5)
    assert len(np.unique(scores, axis=0)) == 5, "images got the same scores"


@pytest.mark.parametrize("name", sorted(COURSE))
def test_a_network_takes_colour_images_as_well(name: str) -> None:
    model = network(name).build((16, 12, 3), Head("multiclass", 4))
    assert scores_of(model, pixels((16, 12, 3))).shape == (5, 4)


@pytest.mark.parametrize(
    ("name", "suffix"),
    [*((name, ".keras") for name in NETWORKS), *((name, ".h5") for name in NETWORKS if name not in TRANSFER)],
)  # Keras cannot load a legacy file with operations, such as those of transfer networks, whoever wrote it
def test_saved_networks_are_allowed_to_load(tmp_path: Path, name: str, suffix: str) -> None:
    path = str(tmp_path / f"net{suffix}")
    built(name, "multiclass").save(path)
    try:
        archives.check(path, "ours")
    except InputError as error:
        pytest.fail(str(error))


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_is_saved_and_loaded_in_safe_mode(name: str, tmp_path: Path) -> None:
    model = built(name, "sequence")
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    images = pixels(model.input_shape[1:])
    np.testing.assert_array_equal(scores_of(loaded, images), scores_of(model, images))


def imports(path: str) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(Path(path).read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(str(node.module))
    return {name for name in found if name.partition(".")[0] not in sys.stdlib_module_names}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_file_imports_keras_and_what_ends_a_network_only(name: str) -> None:
    found = imports(str(network(name).__file__))
    assert "keras" in found
    assert found <= {"keras", "models.tasks", "models.transfer"}


@pytest.mark.parametrize("name", sorted(COURSE))
def test_the_layers_are_those_of_the_course(name: str) -> None:
    model, layers = network(name).build((32, 32, 1), Head("multiclass", 10)), COURSE[name]
    found = [
        (type(layer).__name__, getattr(layer, TELLING.get(type(layer).__name__, ""), None)) for layer in model.layers
    ]
    assert [kind for kind, _ in found] == ["InputLayer", *(kind for kind, _ in layers)]
    for (kind, value), (_, stated) in zip(found[1:], layers, strict=True):
        assert value == pytest.approx(stated), kind
    convolutions = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    assert {(one.kernel_size, one.padding, one.strides) for one in convolutions} <= {((3, 3), "same", (1, 1))}
    hidden = [layer.activation for layer in model.layers if isinstance(layer, keras.layers.Dense)][:-1]
    assert set(hidden) <= {keras.activations.relu if "ann" in name else keras.activations.linear}
    assert model.layers[-1].activation is keras.activations.softmax


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("logistic", 10_250), ("ann1", 68_010), ("ann2", 310_250), ("cnn1", 267_306), ("cnn2", 164_362)],
)
def test_the_parameters_are_counted(name: str, parameters: int) -> None:
    assert network(name).build((32, 32, 1), Head("multiclass", 10)).count_params() == parameters


@pytest.mark.parametrize(("name", "side", "parameters"), [("vgg16", 150, 2_228_992), ("xception", 75, 2_622_976)])
def test_the_heads_of_the_study_have_their_parameters(name: str, side: int, parameters: int) -> None:
    model = network(name).build((side, side, 3), Head("multilabel", 512))
    assert model.count_params() - transfer.split_backbone(model).count_params() == parameters
    assert sum(int(np.prod(one.shape)) for one in model.trainable_variables) == parameters, "the backbone is not frozen"


def test_networks_have_the_inputs_that_they_were_made_for() -> None:
    sides = {"vgg16": (150, 150, 3), "xception": (299, 299, 3), "efficientnet_v2": (224, 224, 3)}
    assert {name: getattr(network(name), "IMAGE_SHAPE", None) for name in NETWORKS} == {
        **dict.fromkeys(NETWORKS),
        **sides,
    }


@pytest.mark.parametrize("name", ["cnn2", "vgg16"])
def test_dropout_is_as_asked_for(name: str) -> None:
    model = network(name).build(SMALL.get(name, (8, 8, 1)), Head("multiclass", 3), dropout=0.125)
    assert [layer.rate for layer in model.layers if isinstance(layer, keras.layers.Dropout)] == [0.125]


def test_a_head_of_each_task_is_of_32_bits_whatever_the_precision() -> None:
    keras.mixed_precision.set_dtype_policy("mixed_bfloat16")
    try:
        for task, classes in CLASSES.items():
            model = network("cnn1").build((8, 8, 1), Head(task, classes))
            assert model.output.dtype == "float32"
            scores = scores_of(model, pixels((8, 8, 1)))
            for one in parts(task, scores):
                np.testing.assert_allclose(one.sum(axis=1), 1, atol=1e-5)
    finally:
        keras.mixed_precision.set_dtype_policy("float32")


def test_an_unknown_network_names_the_nearest() -> None:
    with pytest.raises(Exception, match=r"no network 'cnn3'; did you mean 'cnn[12]'\?") as caught:
        plugins.load(networks, "network", "cnn3")
    assert type(caught.value).__name__ == "InputError"
