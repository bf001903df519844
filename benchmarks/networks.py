"""Images a second through each network, on whatever Keras finds: what a run over a million images costs follows.

    python -m benchmarks.networks
    KERAS_BACKEND=jax python -m benchmarks.networks --networks cnn2 xception --precision mixed_bfloat16

Pixels are random and lie in memory, as uint8; copying them to the device is part of it, reading and decoding them are
not. Learning is a whole step: forwards, backwards and Adam; of a transfer network only its head learns. No Beam and no
TensorFlow is needed, so that it also runs where only JAX is.
"""

import argparse
import itertools
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from models import networks
from models.tasks import Head
from schemas import plugins
from schemas.manifests import MULTICLASS

CLASSES = 10
MILLION = 1_000_000
BATCHES = 4  # different ones, again and again
BATCH = {"large": 128, "small": 1024}
GREY = (32, 32, 1)
SHAPES = {"logistic": GREY, "ann1": GREY, "ann2": GREY, "cnn1": GREY, "cnn2": GREY, "house_number": (64, 64, 3)}
DEFAULT_SHAPE = (32, 32, 3)


def device() -> str:
    """What computes, as the backend names it."""
    if keras.backend.backend() == "jax":
        import jax

        return ", ".join(sorted({one.device_kind for one in jax.devices()}))
    import tensorflow as tf

    found = tf.config.list_physical_devices("GPU")
    kinds = {tf.config.experimental.get_device_details(one).get("device_name", "GPU") for one in found}
    return ", ".join(sorted(kinds)) or "CPU"


def rate(step: Callable[[int], Any], images: int, seconds: float) -> float:
    """Images a second of a step over so many images, once it is compiled and warm."""
    for number in range(2):
        step(number)
    began, done = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        step(done)
        done += 1
    return done * images / (time.perf_counter() - began)


def measure(name: str, precision: str, batch: int, seconds: float) -> tuple[float, float]:
    """Images a second that a network labels, and that it learns from."""
    keras.mixed_precision.set_dtype_policy(precision)
    module = plugins.load(networks, "network", name)
    shape = getattr(module, "IMAGE_SHAPE", None) or SHAPES.get(name, DEFAULT_SHAPE)
    model = module.build(shape, Head(MULTICLASS, CLASSES))
    size = batch or BATCH["large" if shape[0] > 100 else "small"]
    random = np.random.default_rng(1)
    pixels = [random.integers(0, 256, (size, *shape), dtype=np.uint8) for _ in range(BATCHES)]
    labels = random.integers(0, CLASSES, size)
    model.compile("adam", "sparse_categorical_crossentropy")
    labelled = rate(lambda number: model.predict_on_batch(pixels[number % BATCHES]), size, seconds)
    learnt = rate(lambda number: model.train_on_batch(pixels[number % BATCHES], labels), size, seconds)
    return labelled, learnt


def main() -> None:
    """Measure each network at each precision."""
    known = plugins.names(networks)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=known, default=known)
    parser.add_argument("--precision", nargs="+", default=["float32"])
    parser.add_argument("--batch", type=int, default=0, help="images at once (0: 1024 small ones, 128 large ones)")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each figure")
    given = parser.parse_args()
    print(f"Keras {keras.__version__} on {keras.backend.backend()}, {device()}")
    for name, precision in itertools.product(given.networks, given.precision):
        labelled, learnt = measure(name, precision, given.batch, given.seconds)
        hours = MILLION / labelled / 3600
        print(
            f"{name:<16} {precision:<14} labels {labelled:>9,.0f} images/s ({hours:.3f} hours a million), "
            f"learns from {learnt:>9,.0f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
