"""Label crops with cnn2: Concord against a bare tf.data loop, and against Beam's stock TFModelHandlerTensor.

All read the same TFRecords, decode, compute in batches of the same size, and write the same Parquet columns.

python -m benchmarks.label --count 60000
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks import common
from pipelines import runner
from pipelines.label.driver import Answers, label_table
from schemas import layout, tables
from schemas.settings.label import LabelSettings
from schemas.stage import Context
from storage import parquet, products
from storage.products import ImageSet

BATCH = 256
NETWORK = "cnn2"


def prepared(count: int) -> ImageSet:
    """The crops as a dataset, with an untrained network beside it: that labels as fast as a trained one."""
    images = products.image_set(common.converted(count), common.DATASET, "1.0.0")
    folder = Path(model_folder(images))
    if not (folder / "model.json").exists():
        from models import saved_models
        from models.networks import cnn2
        from models.tasks import Head
        from schemas.manifests import ModelCard

        task, shape = images.manifest.task, images.image_shape
        card = ModelCard(
            stage="train",
            product="untrained",
            fingerprint="untrained",
            name=folder.name,
            dataset=images.dataset,
            task=task,
            classes=images.classes,
            image_shape=shape,
        )
        saved_models.save(cnn2.build(shape, Head(task, len(images.classes))), str(folder), card)
    return images


def model_folder(images: ImageSet) -> str:
    """Where the network lies."""
    return layout.model(images.root, images.dataset, NETWORK)


def concord(images: ImageSet, folder: Path) -> None:
    """Concord's label on the DirectRunner, from the TFRecord shards to the declared label set."""
    from tests.support.stages import label

    settings = LabelSettings(dataset=images.dataset, models=(NETWORK,), splits=(common.SPLIT,), batch_size=BATCH)
    label(settings, Context(images.root, force=True))


def tensorflow_by_itself() -> Any:
    """TensorFlow as it comes, an operation on all processors; Concord gives each of its workers one thread instead."""
    from models.tensorflow_setup import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(common.PROCESSORS)
    return tf


def bare_loop(images: ImageSet, folder: Path) -> None:
    """What one would write without Beam: tf.data reads and decodes ahead, a compiled call scores, a file a shard."""
    from models import saved_models

    tf = tensorflow_by_itself()
    model = saved_models.load(model_folder(images))
    compute = tf.function(
        lambda pixels: model(pixels, training=False), input_signature=[tf.TensorSpec((None, 32, 32, 1), tf.uint8)]
    )
    answers = Answers(images.manifest.task, tuple(images.classes))
    spec = {"image": tf.io.FixedLenFeature([], tf.string), "image/id": tf.io.FixedLenFeature([], tf.string)}

    def parsed(payload: Any) -> Any:
        example = tf.io.parse_single_example(payload, spec)
        return example["image/id"], tf.ensure_shape(tf.io.decode_png(example["image"], channels=1), (32, 32, 1))

    for shard in range(images.shards):
        rows = tf.data.TFRecordDataset(images.tfrecord(common.SPLIT, shard))
        batches = rows.map(parsed, num_parallel_calls=tf.data.AUTOTUNE).batch(BATCH).prefetch(tf.data.AUTOTUNE)
        found = [(ids.numpy(), compute(pixels).numpy()) for ids, pixels in batches]
        ids = [one.decode() for part, _ in found for one in part.tolist()]
        table = label_table(ids, np.concatenate([scores for _, scores in found]), answers)
        parquet.write(str(folder / f"{shard}.parquet"), table, "bare")


def stock(images: ImageSet, folder: Path) -> None:
    """Beam's own way: an element an image through TFModelHandlerTensor, which batches by itself, and WriteToParquet."""
    import apache_beam as beam
    from apache_beam.io.parquetio import WriteToParquet
    from apache_beam.io.tfrecordio import ReadFromTFRecord
    from apache_beam.ml.inference.base import KeyedModelHandler, RunInference
    from apache_beam.ml.inference.tensorflow_inference import TFModelHandlerTensor

    tensorflow_by_itself()
    handler = TFModelHandlerTensor(f"{model_folder(images)}/model.keras", max_batch_size=BATCH)
    classes = images.classes
    pattern = f"{layout.images(images.root, images.dataset, images.version)}/{images.dataset}-{common.SPLIT}.tfrecord-*"

    def build(pipeline: Any) -> None:
        _ = (
            pipeline
            | ReadFromTFRecord(pattern)
            | beam.Map(decoded)
            | RunInference(KeyedModelHandler(handler))
            | beam.Map(row, classes)
            | WriteToParquet(str(folder / "labels"), pa.schema(list(tables.LABELS)), num_shards=images.shards)
        )

    runner.run("stock", build, ())


def decoded(payload: bytes) -> tuple[str, Any]:
    """Image id and pixels of a serialised example, as TensorFlow reads them."""
    from models.tensorflow_setup import tensorflow as tf

    feature = tf.train.Example.FromString(payload).features.feature
    return feature["image/id"].bytes_list.value[0].decode(), tf.io.decode_png(feature["image"].bytes_list.value[0])


def row(scored: tuple[str, Any], classes: list[str]) -> dict[str, Any]:
    """One label row."""
    image_id, result = scored
    scores = result.inference.numpy()
    best = int(scores.argmax())
    unknown = {"confidence_calibrated": None, "verdict": None, "scores": None}
    return {"image_id": image_id, "label": classes[best], "confidence": float(scores[best]), **unknown}


def timed(work: Callable[[ImageSet, Path], None], name: str) -> common.Side:
    """A side of the benchmark."""

    def side(count: int, folder: Path) -> dict[str, float]:
        output = folder / name
        images = {size: prepared(size) for size in (common.FEW, count)}

        def once(size: int) -> None:
            shutil.rmtree(output, ignore_errors=True)
            output.mkdir(parents=True)
            work(images[size], output)

        return common.timed(once, count, runs=3 if name != "stock" else 1)

    return side


def report(figures: dict[str, dict[str, float]], count: int) -> None:
    """Print every side, and the ratios."""
    print(f"label {count:,} drawn crops with {NETWORK}, batch {BATCH}, two threads a side, start-up apart")
    print(common.line("Concord (DirectRunner)", figures["concord"], count))
    print(common.line("bare tf.data loop", figures["bare"], count))
    print(common.line("Beam's TFModelHandlerTensor", figures["stock"], count))
    print(common.ratio("bare tf.data loop", figures["bare"], figures["concord"], 0.9))
    print(common.ratio("TFModelHandlerTensor", figures["stock"], figures["concord"], 3))


if __name__ == "__main__":
    common.crops(common.FEW)
    sides = {"concord": concord, "bare": bare_loop, "stock": stock}
    common.main({name: timed(work, name) for name, work in sides.items()}, 60_000, report)
