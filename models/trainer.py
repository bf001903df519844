"""Train one model, in a process of its own: `python -m models.trainer` with a job as JSON on its first input line.

One process a model, with a fixed number of threads, deterministic operations and seeds that follow (seed, epoch), makes
training repeatable on one kind of machine. The process ends when its input closes, so that it never outlives the
worker that started it.
"""

import json
import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import schemas
from models import inputs, networks, saved
from models.job import TrainJob
from models.quiet import keras
from models.quiet import tensorflow as tf
from schemas import plugins, products, storage
from schemas.errors import ConcordError, InputError
from schemas.products import ImageSet
from schemas.settings import TrainSettings

EVALUATION_BATCH = 256


@dataclass(frozen=True)
class Data:
    """What one training learns from and is judged by."""

    train: inputs.LabelledShards
    validation: inputs.LabelledShards


def train(job: TrainJob, tell: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Train a model and write its folder.

    Args:
        job: what to train.
        tell: called after each epoch with its figures.

    Returns:
        the metrics of the best epoch.
    """
    settings = job.settings
    images = products.image_set(job.root, settings.dataset, settings.version)
    keras.utils.set_random_seed(settings.seed)
    module = plugins.load(networks, "network", settings.network)
    model = module.build(images.image_shape, len(images.classes))
    model.compile(
        optimizer=keras.optimizers.Adam(settings.learning_rate),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
        jit_compile=False,  # XLA made these networks several times slower on a CPU
    )
    split, held = _splits(images, settings)
    paths = [images.tfrecord(name, shard) for name in dict.fromkeys((split, held)) for shard in range(images.shards)]
    with storage.local_copies(paths) as local:
        data = _data(images, settings, split, held, dict(zip(paths, local, strict=True)))
        began = time.monotonic()
        try:
            history = _fit(model, data, images, settings, tell)
        except tf.errors.DataLossError as error:
            place = inputs.damaged_record(images, split) or inputs.damaged_record(images, held)
            remedy = "remake the dataset with concord convert --force"
            raise InputError(f"{place}: the checksum does not fit; {remedy}") from error
    best = int(np.argmax(history["val_accuracy"]))
    metrics = {name: values[best] for name, values in history.items()}
    metrics |= {"best_epoch": best + 1, "epochs": len(history["loss"]), "seconds": round(time.monotonic() - began, 2)}
    metrics |= {"train_images": len(data.train), "validation_images": len(data.validation)}
    saved.save(model, job.folder, _card(job, images, history, metrics))
    return metrics


def _splits(images: ImageSet, settings: TrainSettings) -> tuple[str, str]:
    """The splits to train and to validate on; the same twice where a share is held out."""
    images.images_in(settings.split)
    return settings.split, settings.validation if settings.validation in images.manifest["splits"] else settings.split


def _data(images: ImageSet, settings: TrainSettings, split: str, held: str, local: dict[str, str]) -> Data:
    def shards(name: str, classes: tuple[Any, ...]) -> inputs.LabelledShards:
        paths = tuple(local[images.tfrecord(name, shard)] for shard in range(images.shards))
        return inputs.LabelledShards(paths, classes)

    def labels(name: str) -> tuple[Any, ...]:
        found = products.label_set(images.root, settings.dataset, settings.labels, name)
        return inputs.label_shards(images, name, found)

    if held == split:
        kept, out = inputs.hold_out(images, split, labels(split), settings.validation_fraction)
        data = Data(shards(split, kept), shards(split, out))
    else:
        data = Data(shards(split, labels(split)), shards(held, labels(held)))
    for name, part in ((split, data.train), (held, data.validation)):
        if len(part) == 0:
            raise InputError(f"{settings.labels!r} labels no image of split {name!r} of {settings.dataset!r}")
    return data


def _fit(
    model: keras.Model, data: Data, images: ImageSet, settings: TrainSettings, tell: Callable[[dict[str, Any]], None]
) -> dict[str, list[float]]:
    """Fit with early stopping; the weights left in the model are those of the best epoch."""
    shape, batch = images.image_shape, settings.batch_size
    stop = keras.callbacks.EarlyStopping(
        "val_accuracy", mode="max", patience=settings.patience, restore_best_weights=True
    )

    def told(epoch: int, logs: dict[str, float]) -> None:
        tell({"model": settings.name, "epoch": epoch + 1, "epochs": settings.epochs, **logs})

    fitted = model.fit(
        inputs.training(data.train, shape, batch, settings.seed, settings.epochs),
        steps_per_epoch=-(-len(data.train) // batch),
        epochs=settings.epochs,
        validation_data=inputs.validation(data.validation, shape, EVALUATION_BATCH),
        callbacks=[stop, keras.callbacks.LambdaCallback(on_epoch_end=told)],
        verbose=0,
    )
    return {name: [float(value) for value in values] for name, values in fitted.history.items()}


def _card(job: TrainJob, images: ImageSet, history: dict[str, list[float]], metrics: dict[str, Any]) -> dict[str, Any]:
    settings = job.settings
    return {
        "fingerprint": job.fingerprint,
        "name": settings.name,
        "network": settings.network,
        "dataset": settings.dataset,
        "images": images.fingerprint,
        "training_labels": settings.labels,
        "classes": images.classes,
        "image_shape": list(images.image_shape),
        "settings": settings.identity(),
        "metrics": metrics,
        "history": history,
        "versions": {"concord": schemas.__version__, "keras": keras.__version__, "tensorflow": tf.__version__},
    }


def _end_with_input() -> None:
    sys.stdin.read()
    os._exit(1)


def main() -> None:
    """Read a job, train it, and say how it goes, a JSON object a line."""

    def tell(figures: dict[str, Any]) -> None:
        sys.stdout.write(json.dumps(figures) + "\n")
        sys.stdout.flush()

    job = TrainJob.from_json(sys.stdin.readline())
    threading.Thread(target=_end_with_input, daemon=True).start()
    tf.config.threading.set_intra_op_parallelism_threads(job.settings.threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.config.experimental.enable_op_determinism()
    try:
        tell({"metrics": train(job, tell)})
    except ConcordError as error:
        tell({"error": str(error), "kind": type(error).__name__})
        sys.exit(1)


if __name__ == "__main__":
    main()
