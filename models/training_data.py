"""What one training reads: parts of a dataset to learn from, to stop by and to evaluate on, and their payloads."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from models import inputs, tasks
from models.inputs import Batches, LabelledShards
from models.tasks import Objective, Scores, Targets
from models.tensorflow_setup import keras
from models.tensorflow_setup import tensorflow as tf
from models.training_job import TrainJob
from schemas import tables
from schemas.errors import IncompleteError, InputError, TooManyRejectsError
from schemas.rejects import REJECT_HINTS, Reason
from storage import hashing, products, stores, tfrecord
from storage.products import ImageSet, ShardFolder

# The targets that a label set gives each image of a split, and which of the images are learnt from.


def encode_targets(
    images: ImageSet, split: str, labels: ShardFolder, min_confidence: float = 0.0, unknown: str = "auto"
) -> tuple[Targets, ...]:
    """For each shard of a split, what is to be learnt of each of its images according to a label set.

    Args:
        images: the dataset.
        split: of it.
        labels: the label set; it may have fewer shards than the images.
        min_confidence: labels less confident than this are not learnt.
        unknown: what independent classes are that no row of an image names: absent, ignored, or auto.

    Raises:
        InputError: the label set names a class that the dataset does not have.
    """
    task = tasks.load(images.manifest.task)
    complete = (
        not task.INDEPENDENT or unknown == "absent" or (unknown == "auto" and products.states_presence_alone(labels))
    )
    least = pa.scalar(min_confidence, pa.float32())  # as confidences are stored: 0.7 is no less than 0.7
    targets = []
    for shard in range(images.shards):
        rows = labels.read_part(shard, images.shards)
        ids = images.index(split).read(shard)["image_id"].to_pylist()
        confident = pc.or_(pc.invert(tables.present(rows)), pc.greater_equal(rows["confidence"], least))
        try:
            targets.append(task.encode_targets(rows.filter(confident), ids, images.classes, complete))
        except KeyError as error:
            path = labels.path(shard * labels.shards // images.shards)
            raise InputError(f"{path} has label {error.args[0]!r}, which is none of the dataset's classes") from error
    return tuple(targets)


def split_by_ids(
    images: ImageSet, split: str, targets: tuple[Targets, ...], is_second: Callable[[list[str]], Any]
) -> tuple[tuple[Targets, ...], tuple[Targets, ...]]:
    """Two views of the same shards: the images whose ids are not of the second part, and those whose are."""
    first, second = [], []
    for shard, one in enumerate(targets):
        chosen = np.asarray(is_second(images.index(split).read(shard)["image_id"].to_pylist()), dtype=np.bool_)
        first.append(replace(one, known=one.known & ~chosen))
        second.append(replace(one, known=one.known & chosen))
    return tuple(first), tuple(second)


# Shards of images with damaged records, made readable: TensorFlow reads a shard no further than its first damage.


@dataclass(frozen=True)
class Damaged:
    """A record that cannot be read: its shard, its row in the index, and whose image it was."""

    path: str
    row: int
    image_id: str

    def __str__(self) -> str:
        return f"{self.path}, record {self.row} ({self.image_id})"


DamagedRows = Mapping[int, tuple[Damaged, ...]]  # by the number of the shard


def make_readable(images: ImageSet, split: str, shard: int, copy: str, scratch: str) -> tuple[str, tuple[Damaged, ...]]:
    """A local path from which TensorFlow reads one record per row of the index, and which of them are empty.

    Args:
        images: the dataset.
        split: of it.
        shard: of the split.
        copy: where the shard lies on this machine.
        scratch: a local folder for a shard without its damage.
    """
    content = stores.read_bytes(copy)
    index = images.index(split).read(shard)
    ranges = zip(index["offset"].to_pylist(), index["length"].to_pylist(), strict=True)
    payloads = [tfrecord.payload_at(content, offset, length) for offset, length in ranges]
    framed = sum(tfrecord.HEADER_BYTES + len(payload or b"") + tfrecord.FOOTER_BYTES for payload in payloads)
    if None not in payloads and framed == len(content):
        return copy, ()
    repaired = stores.join(scratch, f"{split}-{shard}")
    stores.write_parts(repaired, (tfrecord.frame_record(payload or b"") for payload in payloads))
    path, ids = images.tfrecord(split, shard), index["image_id"].to_pylist()
    return repaired, tuple(Damaged(path, row, ids[row]) for row, payload in enumerate(payloads) if payload is None)


CLOSE = 0.02  # of the largest feature: mixed precision rounds otherwise in batches of another size


@dataclass(frozen=True)
class Source:
    """Where payloads come from: TFRecords, or features that were computed before.

    Attributes:
        payloads: for each split, from the number of a shard to a dataset of its payloads.
        decode: payloads (n,) to what the network takes.
        damaged: for each split, the payloads that are empty, for their records cannot be read.
    """

    payloads: Mapping[str, Callable[[tf.Tensor], tf.data.Dataset]]
    decode: Callable[[tf.Tensor], tf.Tensor]
    damaged: Mapping[str, DamagedRows] = field(default_factory=dict)


@dataclass(frozen=True)
class Part:
    """Some images of a split, and their targets."""

    split: str
    targets: tuple[Targets, ...]

    def __len__(self) -> int:
        return int(sum(one.known.sum() for one in self.targets))

    def open(self, source: Source) -> LabelledShards:
        """Their payloads, beside their targets."""
        return LabelledShards(source.payloads[self.split], self.targets)


@dataclass(frozen=True)
class Data:
    """What one training learns from, what decides which epoch was best, and what it is evaluated on, by name."""

    train: Part
    validation: Part
    evaluation: Mapping[str, Part]

    @property
    def splits(self) -> list[str]:
        """The splits that are read, each once."""
        return list(dict.fromkeys(part.split for part in self.parts))

    @property
    def parts(self) -> list[Part]:
        """All that is read."""
        return [self.train, self.validation, *self.evaluation.values()]

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def map_parts(self, change: Callable[[Part], Part]) -> "Data":
        """The same, with every part changed."""
        evaluation = {name: change(part) for name, part in self.evaluation.items()}
        return Data(change(self.train), change(self.validation), evaluation)


def plan_data(job: TrainJob, images: ImageSet) -> Data:
    """Which images of which splits a training reads.

    Raises:
        InputError: no image has a label to learn, or there is no such split.
    """
    settings = job.settings
    images.images_in(settings.split)

    def read_targets(split: str, annotator: str) -> tuple[Targets, ...]:
        labels = products.label_set(images.root, settings.dataset, annotator, split)
        return encode_targets(images, split, labels, settings.min_confidence, settings.missing_labels)

    train, evaluation = read_targets(settings.split, settings.labels), {}
    for split in settings.evaluate:
        images.images_in(split)
        evaluation[split] = Part(split, read_targets(split, settings.reference or settings.labels))
    if job.fold >= 0:
        train, unseen = split_by_ids(
            images, settings.split, train, lambda ids: hashing.fold_of(ids, settings.folds) == job.fold
        )
        evaluation["unseen_fold"] = Part(settings.split, unseen)
    if settings.validation in images.manifest.splits:
        validation = Part(settings.validation, read_targets(settings.validation, settings.labels))
    else:
        train, held_out = split_by_ids(
            images, settings.split, train, lambda ids: hashing.is_held_out(ids, settings.validation_fraction)
        )
        validation = Part(settings.split, held_out)
    data = Data(Part(settings.split, train), validation, evaluation)
    for part in (data.train, *([data.validation] if settings.validation_fraction else [])):
        if len(part) == 0:
            raise InputError(f"{settings.labels!r} labels no image of split {part.split!r} of {settings.dataset!r}")
    return data


@contextmanager
def open_images(images: ImageSet, splits: Sequence[str], shape: tuple[int, int, int]) -> Iterator[Source]:
    """The images of some splits, brought to this machine where they are not on it, and where they are damaged."""
    with ExitStack() as stack:
        payloads, damaged = {}, {}
        scratch = stack.enter_context(stores.scratch_folder())
        for split in splits:
            paths = [images.tfrecord(split, shard) for shard in range(images.shards)]
            copies = stack.enter_context(stores.local_copies(paths))
            shards = [make_readable(images, split, *one, scratch) for one in enumerate(copies)]
            payloads[split] = inputs.read_records(tuple(path for path, _ in shards))
            damaged[split] = {shard: rows for shard, (_, rows) in enumerate(shards) if rows}
        yield Source(payloads, inputs.image_decoder(shape), damaged)


def drop_damaged(data: Data, damaged: Mapping[str, DamagedRows], most: float) -> Data:
    """The same, without the images whose records are damaged.

    Raises:
        TooManyRejectsError: they are more than `most`, a share of the images that are to be read.
    """
    records = [record for shards in damaged.values() for rows in shards.values() for record in rows]
    if not records:
        return data

    def drop(part: Part) -> Part:
        targets = list(part.targets)
        for shard, rows in damaged[part.split].items():
            known = targets[shard].known.copy()
            known[[record.row for record in rows]] = False
            targets[shard] = replace(targets[shard], known=known)
        return Part(part.split, tuple(targets))

    readable = data.map_parts(drop)
    excluded = len(data) - len(readable)
    if excluded > most * len(data):
        raise TooManyRejectsError(
            f"train has to exclude {excluded} of {len(data)} images ({Reason.RECORD_DAMAGED} {excluded}), more than "
            f"--max-reject-fraction {most:g}. The first: {records[0]}: {REJECT_HINTS[Reason.RECORD_DAMAGED]}"
        )
    return readable


def open_features(images: ImageSet, folders: Mapping[str, ShardFolder], width: int) -> Source:
    """Features (width,) of the images of some splits, read shard by shard."""

    def reader(split: str, folder: ShardFolder) -> Callable[[tf.Tensor], tf.data.Dataset]:
        def read(shard: npt.NDArray[np.int64]) -> npt.NDArray[np.object_]:
            ids = images.index(split).read(int(shard))["image_id"].to_pylist()
            return np.array(align_features(folder.read(int(shard)), ids), dtype=object)

        def payloads(shard: tf.Tensor) -> tf.data.Dataset:
            rows = tf.ensure_shape(tf.numpy_function(read, [shard], tf.string), (None,))
            return tf.data.Dataset.from_tensor_slices(rows)

        return payloads

    readers = {split: reader(split, folder) for split, folder in folders.items()}
    return Source(readers, lambda payloads: tf.reshape(tf.io.decode_raw(payloads, tf.float32), (-1, width)))


def align_features(features: pa.Table, ids: Sequence[str]) -> list[bytes]:
    """The features of each image as bytes, in the order of the ids; empty where an image has none."""
    column = features["features"].combine_chunks()
    flat = column.flatten().to_numpy().reshape(len(column), -1) if len(column) else np.zeros((0, 0), np.float32)
    by_id = {image_id: row.tobytes() for image_id, row in zip(features["image_id"].to_pylist(), flat, strict=True)}
    return [by_id.get(image_id, b"") for image_id in ids]


def keep_with_features(data: Data, images: ImageSet, folders: Mapping[str, ShardFolder]) -> Data:
    """The same, without the images that have no features."""

    def keep(part: Part) -> Part:
        targets = []
        for shard, one in enumerate(part.targets):
            with_features = set(folders[part.split].read(shard)["image_id"].to_pylist())
            ids = images.index(part.split).read(shard)["image_id"].to_pylist()
            kept = np.array([image_id in with_features for image_id in ids], dtype=np.bool_)
            targets.append(replace(one, known=one.known & kept))
        return Part(part.split, tuple(targets))

    return data.map_parts(keep)


def check_features(backbone: keras.Model, part: Part, images: ImageSet, folder: ShardFolder) -> None:
    """Make sure that features are those of the backbone that the saved network will have, by some images' own.

    Raises:
        IncompleteError: they are not.
    """
    shard = next((number for number, one in enumerate(part.targets) if one.known.any()), 0)
    rows = images.index(part.split).read(shard).slice(0, 16)
    stored = align_features(folder.read(shard), rows["image_id"].to_pylist())
    content = stores.read_bytes(images.tfrecord(part.split, shard))
    ranges = zip(rows["offset"].to_pylist(), rows["length"].to_pylist(), stored, strict=True)
    pairs = [(tfrecord.payload_at(content, at, length), features) for at, length, features in ranges if features]
    readable = [(payload, features) for payload, features in pairs if payload is not None][:4]
    if not readable:
        return
    expected = np.stack([np.frombuffer(features, np.float32) for _, features in readable])
    decode = inputs.image_decoder(tuple(backbone.input_shape[1:]))
    computed = np.asarray(backbone(decode(tf.constant([payload for payload, _ in readable])), training=False))
    if computed.shape != expected.shape or np.abs(computed - expected).max() > CLOSE * (1 + np.abs(expected).max()):
        raise IncompleteError(f"{folder.folder} holds features of another backbone: run concord features --force")


def score_part(model: keras.Model, part: Part, source: Source, objective: Objective) -> tuple[npt.NDArray[Any], Scores]:
    """Targets and scores of every labelled image of a part, in order."""
    shards = part.open(source)
    if not len(shards):
        return shards.values(), np.zeros((0, model.output_shape[-1]), np.float32)
    batches = inputs.validation_batches(shards, Batches(source.decode, objective, inputs.EVALUATION_BATCH))
    scores = [np.asarray(model(batch[0], training=False)) for batch in batches]
    return shards.values(), np.concatenate(scores).astype(np.float32)
