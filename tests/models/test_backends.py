"""Networks are plain Keras 3: on JAX, without TensorFlow, they give the scores that they give on TensorFlow."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models import networks
from models.tasks import Head
from models.tensorflow_setup import keras
from schemas import plugins
from tests.support.small_dataset import random_pixels

NETWORKS = plugins.names(networks)
HEADS = {"cnn1": Head("multilabel", 4), "cnn2": Head("sequence", 10)}
# as small as backbones allow, and cut early: what comes later is more of the same
BUILT: dict[str, tuple[tuple[int, int, int], dict[str, Any]]] = {
    "xception": ((40, 44, 3), {"features_from": "block3_sepconv1"}),
    "vgg16": ((34, 32, 3), {"features_from": "block3_pool"}),
    "efficientnet_v2": ((40, 36, 3), {"features_from": "block2b_add"}),
}


def built(name: str) -> Any:
    shape, given = BUILT.get(name, ((16, 20, 1), {}))
    model = plugins.load(networks, "network", name).build(shape, HEADS.get(name, Head("multiclass", 5)), **given)
    for layer in model.layers:  # untrained statistics would let features vanish on their way
        if name == "xception" and isinstance(layer, keras.layers.BatchNormalization):
            layer.moving_variance.assign(np.full(layer.moving_variance.shape, 0.1, np.float32))
    for _ in range(30 if name == "house_number" else 0):
        model(random_pixels(8, shape), training=True)
    return model


ON_JAX = """
import importlib, json, sys
import numpy as np
import keras
from models.tasks import Head

assert keras.backend.backend() == "jax"
# weights are loaded: to draw some before would compile a program for each shape
keras.initializers.VarianceScaling.__call__ = lambda self, shape, dtype=None: np.zeros(shape, np.float32)
folder, given = sys.argv[1], json.loads(sys.argv[2])
for name, (shape, task, classes, options) in given.items():
    model = importlib.import_module(f"models.networks.{name}").build(tuple(shape), Head(task, classes), **options)
    model.load_weights(f"{folder}/{name}.weights.h5")
    np.save(f"{folder}/{name}.jax.npy", model.predict(np.load(f"{folder}/{name}.pixels.npy"), verbose=0))
heavy = [module for module in ("tensorflow", "apache_beam", "models.tensorflow_setup") if module in sys.modules]
print("heavy:", heavy)
"""


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the scores of every network on both backends, from the same weights and pixels."""
    if importlib.util.find_spec("jax") is None:
        pytest.skip("JAX is not installed: pip install concord[jax]")
    folder, given = tmp_path_factory.mktemp("backends"), {}
    for name in NETWORKS:
        model = built(name)
        shape, options = BUILT.get(name, ((16, 20, 1), {}))
        head = HEADS.get(name, Head("multiclass", 5))
        given[name] = (shape, head.task, head.classes, options)
        pixels = random_pixels(4, shape)
        model.save_weights(folder / f"{name}.weights.h5")
        np.save(folder / f"{name}.pixels.npy", pixels)
        np.save(folder / f"{name}.tensorflow.npy", np.asarray(model(pixels, training=False)))
    return run_on_jax(folder, given)


def run_on_jax(folder: Path, given: dict[str, Any]) -> Path:
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", ON_JAX, str(folder), json.dumps(given)]
    ran = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=300)
    assert ran.returncode == 0, ran.stderr[-2000:]
    (folder / "told").write_text(ran.stdout)
    return folder


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_gives_the_same_scores_on_jax(scored: Path, name: str) -> None:
    expected, found = (np.load(scored / f"{name}.{backend}.npy") for backend in ("tensorflow", "jax"))
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert np.ptp(expected, axis=0).max() > 1e-3, "images have the same scores: a difference would not show"


def test_on_jax_neither_tensorflow_nor_beam_is_imported(scored: Path) -> None:
    assert (scored / "told").read_text().splitlines()[-1] == "heavy: []"
