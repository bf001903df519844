"""Convert drawn crops to TFRecords: Concord against tensorflow_datasets' own writer, and against bare PNG encoding.

python -m benchmarks.convert --count 60000
"""

import shutil
import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from benchmarks import common
from pipelines.convert.encoding import encode_png
from schemas.stage import Context
from tests.support.stages import convert


def concord(count: int, folder: Path) -> dict[str, float]:
    """Concord's convert on the DirectRunner, from the .h5 file to the declared dataset."""

    def work(size: int) -> None:
        convert(common.convert_settings(size), Context(str(folder / "concord"), force=True))

    return common.timed(work, count)


def tfds_writer(count: int, folder: Path) -> dict[str, float]:
    """tensorflow_datasets' `store_as_tfds_dataset`, from the same crops in memory."""
    inputs = {size: (_pixels(size), _labels(size)) for size in (common.FEW, count)}
    return common.timed(lambda size: _store(*inputs[size], folder / "tfds"), count, runs=1)


def _store(pixels: np.ndarray, labels: np.ndarray, folder: Path) -> None:
    from models.tensorflow_setup import tensorflow as tf  # isort: skip
    import tensorflow_datasets as tfds

    def examples() -> Iterator[dict[str, Any]]:
        for row in range(len(pixels)):
            yield {"image": pixels[row], "image/id": f"test-{row:07d}", "label": int(labels[row])}

    signature = {
        "image": tf.TensorSpec((32, 32, 1), tf.uint8),
        "image/id": tf.TensorSpec((), tf.string),
        "label": tf.TensorSpec((), tf.int64),
    }
    features = tfds.features.FeaturesDict(
        {
            "image": tfds.features.Image(shape=(32, 32, 1), encoding_format="png"),
            "image/id": tfds.features.Text(),
            "label": tfds.features.ClassLabel(num_classes=10),
        }
    )
    shutil.rmtree(folder, ignore_errors=True)
    dataset = tf.data.Dataset.from_generator(examples, output_signature=signature)
    tfds.dataset_builders.store_as_tfds_dataset("peer", "1.0.0", features, {"test": dataset}, data_dir=str(folder))


def bare_png(count: int, folder: Path) -> dict[str, float]:
    """Nothing but PNG encoding, with Concord's encoder and level, on two threads."""
    parts = np.array_split(_pixels(count), 64)
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        with ThreadPoolExecutor(common.PROCESSORS) as pool:
            list(pool.map(lambda part: [encode_png(image) for image in part], parts))
        seconds.append(time.perf_counter() - began)
    return {"seconds": statistics.median(seconds)}


def _pixels(count: int) -> np.ndarray:
    with h5py.File(common.crops(count)) as file:
        return np.asarray(np.rint(file["X_test"][:]), dtype=np.uint8)[..., None]


def _labels(count: int) -> np.ndarray:
    with h5py.File(common.crops(count)) as file:
        return np.asarray(file["y_test"][:])


def report(figures: dict[str, dict[str, float]], count: int) -> None:
    """Print every side, and the ratios."""
    print(f"convert {count:,} drawn crops of 32x32, two threads a side, start-up excluded and shown apart")
    for side, name in (
        ("concord", "Concord (DirectRunner)"),
        ("tfds", "tensorflow_datasets' writer"),
        ("png", "bare PNG encoding"),
    ):
        print(common.line(name, figures[side], count))
    print(common.ratio("tensorflow_datasets", figures["tfds"], figures["concord"], 5))
    print(common.ratio("bare PNG encoding", figures["png"], figures["concord"], 0.5))


if __name__ == "__main__":
    common.crops(common.FEW)
    common.main({"concord": concord, "tfds": tfds_writer, "png": bare_png}, 60_000, report)
