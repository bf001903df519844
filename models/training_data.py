"""What one training reads: parts of a dataset to learn from, to stop by and to be judged on, and their payloads."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from models import inputs
from models import targets as labelled
from models.inputs import Batches, LabelledShards
from models.objectives import Objective
from models.tasks import Scores, Targets
from models.tensorflow_setup import keras
from models.tensorflow_setup import tensorflow as tf
from models.training_job import TrainJob
from schemas.errors import IncompleteError, InputError, TooManyRejectsError
from schemas.rejects import REJECT_HINTS, Reason
from storage import products, stores, tfrecord
from storage.products import ImageSet, ShardFolder

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


def readable(images: ImageSet, split: str, shard: int, copy: str, scratch: str) -> tuple[str, tuple[Damaged, ...]]:
    """A local path from which TensorFlow reads a record for each row of the index, and which of them are empty.

    Args:
        images: the dataset.
        split: of it.
        shard: of the split.
        copy: where the shard lies on this machine.
        scratch: a folder of one's own.
    """
    content = stores.read_bytes(copy)
    index = images.index(split).read(shard)
    places = zip(index["offset"].to_pylist(), index["length"].to_pylist(), strict=True)
    payloads = [tfrecord.payload_at(content, offset, length) for offset, length in places]
    framed = sum(tfrecord.HEADER_BYTES + len(payload or b"") + tfrecord.FOOTER_BYTES for payload in payloads)
    if None not in payloads and framed == len(content):
        return copy, ()
    mended = stores.join(scratch, f"{split}-{shard}")
    stores.write_parts(mended, (tfrecord.frame_record(payload or b"") for payload in payloads))
    path, ids = images.tfrecord(split, shard), index["image_id"].to_pylist()
    return mended, tuple(Damaged(path, row, ids[row]) for row, payload in enumerate(payloads) if payload is None)


JUDGING_BATCH = 256
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
    """Some images of a split, and what is to be learnt of them."""

    split: str
    targets: tuple[Targets, ...]

    def __len__(self) -> int:
        return int(sum(one.known.sum() for one in self.targets))

    def of(self, source: Source) -> LabelledShards:
        """Their payloads, beside their targets."""
        return LabelledShards(source.payloads[self.split], self.targets)


@dataclass(frozen=True)
class Data:
    """What one training learns from, what decides which epoch was best, and what it is judged on, by name."""

    train: Part
    validation: Part
    judged: Mapping[str, Part]

    @property
    def splits(self) -> list[str]:
        """The splits that are read, each once."""
        return list(dict.fromkeys(part.split for part in self.parts))

    @property
    def parts(self) -> list[Part]:
        """All that is read."""
        return [self.train, self.validation, *self.judged.values()]

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def each(self, change: Callable[[Part], Part]) -> "Data":
        """The same, with every part changed."""
        judged = {name: change(part) for name, part in self.judged.items()}
        return Data(change(self.train), change(self.validation), judged)


def plan_data(job: TrainJob, images: ImageSet) -> Data:
    """Which images of which splits a training reads.

    Raises:
        InputError: no image has a label to learn, or there is no such split.
    """
    settings = job.settings
    images.images_in(settings.split)

    def targets(split: str, annotator: str) -> tuple[Targets, ...]:
        found = products.label_set(images.root, settings.dataset, annotator, split)
        return labelled.shard_targets(images, split, found, settings.min_confidence, settings.missing_labels)

    truth = settings.reference or settings.labels
    train, judged = targets(settings.split, settings.labels), {}
    for split in settings.evaluate:
        images.images_in(split)
        judged[split] = Part(split, targets(split, truth))
    if job.fold >= 0:
        train, unseen = labelled.without_fold(images, settings.split, train, job.fold, settings.folds)
        judged["unseen_fold"] = Part(settings.split, unseen)
    if settings.validation in images.manifest.splits:
        held = Part(settings.validation, targets(settings.validation, settings.labels))
    else:
        train, out = labelled.without(images, settings.split, train, settings.validation_fraction)
        held = Part(settings.split, out)
    found = Data(Part(settings.split, train), held, judged)
    for part in (found.train, *([found.validation] if settings.validation_fraction else [])):
        if len(part) == 0:
            raise InputError(f"{settings.labels!r} labels no image of split {part.split!r} of {settings.dataset!r}")
    return found


@contextmanager
def image_source(images: ImageSet, splits: Sequence[str], shape: tuple[int, int, int]) -> Iterator[Source]:
    """The images of some splits, brought to this machine where they are not on it, and where they are damaged."""
    with ExitStack() as stack:
        payloads, damaged = {}, {}
        scratch = stack.enter_context(stores.scratch_folder())
        for split in splits:
            paths = [images.tfrecord(split, shard) for shard in range(images.shards)]
            copies = stack.enter_context(stores.local_copies(paths))
            found = [readable(images, split, *one, scratch) for one in enumerate(copies)]
            payloads[split] = inputs.records(tuple(path for path, _ in found))
            damaged[split] = {shard: rows for shard, (_, rows) in enumerate(found) if rows}
        yield Source(payloads, inputs.decode_images(shape), damaged)


def without_damaged(data: Data, damaged: Mapping[str, DamagedRows], most: float) -> Data:
    """The same, without the images whose records are damaged.

    Raises:
        TooManyRejectsError: they are more than `most`, a share of the images that are to be read.
    """
    places = [one for rows in damaged.values() for found in rows.values() for one in found]
    if not places:
        return data

    def kept(part: Part) -> Part:
        targets = list(part.targets)
        for shard, found in damaged[part.split].items():
            known = targets[shard].known.copy()
            known[[one.row for one in found]] = False
            targets[shard] = replace(targets[shard], known=known)
        return Part(part.split, tuple(targets))

    whole = data.each(kept)
    lost = len(data) - len(whole)
    if lost > most * len(data):
        raise TooManyRejectsError(
            f"train has to leave out {lost} of {len(data)} images ({Reason.RECORD_DAMAGED} {lost}), more than "
            f"--max-reject-fraction {most:g}. The first: {places[0]}: {REJECT_HINTS[Reason.RECORD_DAMAGED]}"
        )
    return whole


def feature_source(images: ImageSet, folders: Mapping[str, ShardFolder], width: int) -> Source:
    """Features (width,) of the images of some splits, read shard by shard."""

    def reader(split: str, folder: ShardFolder) -> Callable[[tf.Tensor], tf.data.Dataset]:
        def read(shard: npt.NDArray[np.int64]) -> npt.NDArray[np.object_]:
            ids = images.index(split).read(int(shard))["image_id"].to_pylist()
            return np.array(aligned(folder.read(int(shard)), ids), dtype=object)

        def payloads(shard: tf.Tensor) -> tf.data.Dataset:
            found = tf.ensure_shape(tf.numpy_function(read, [shard], tf.string), (None,))
            return tf.data.Dataset.from_tensor_slices(found)

        return payloads

    decoded = {split: reader(split, folder) for split, folder in folders.items()}
    return Source(decoded, lambda payloads: tf.reshape(tf.io.decode_raw(payloads, tf.float32), (-1, width)))


def aligned(features: pa.Table, ids: Sequence[str]) -> list[bytes]:
    """The features of each image as bytes, in the order given; none where an image has none."""
    column = features["features"].combine_chunks()
    flat = column.flatten().to_numpy().reshape(len(column), -1) if len(column) else np.zeros((0, 0), np.float32)
    found = {name: row.tobytes() for name, row in zip(features["image_id"].to_pylist(), flat, strict=True)}
    return [found.get(image_id, b"") for image_id in ids]


def with_features(data: Data, images: ImageSet, folders: Mapping[str, ShardFolder]) -> Data:
    """The same, without the images that have no features."""

    def kept(part: Part) -> Part:
        targets = []
        for shard, one in enumerate(part.targets):
            there = set(folders[part.split].read(shard)["image_id"].to_pylist())
            ids = images.index(part.split).read(shard)["image_id"].to_pylist()
            targets.append(replace(one, known=one.known & np.array([name in there for name in ids], dtype=np.bool_)))
        return Part(part.split, tuple(targets))

    return data.each(kept)


def check_features(backbone: keras.Model, part: Part, images: ImageSet, folder: ShardFolder) -> None:
    """Make sure that features are those of the backbone that the saved network will have, by some images' own.

    Raises:
        IncompleteError: they are not.
    """
    shard = next((number for number, one in enumerate(part.targets) if one.known.any()), 0)
    rows = images.index(part.split).read(shard).slice(0, 16)
    stored = aligned(folder.read(shard), rows["image_id"].to_pylist())
    content = stores.read_bytes(images.tfrecord(part.split, shard))
    places = zip(rows["offset"].to_pylist(), rows["length"].to_pylist(), stored, strict=True)
    read = [(tfrecord.payload_at(content, at, length), features) for at, length, features in places if features]
    found = [(payload, features) for payload, features in read if payload is not None][:4]
    if not found:
        return
    expected = np.stack([np.frombuffer(features, np.float32) for _, features in found])
    decode = inputs.decode_images(tuple(backbone.input_shape[1:]))
    computed = np.asarray(backbone(decode(tf.constant([payload for payload, _ in found])), training=False))
    if computed.shape != expected.shape or np.abs(computed - expected).max() > CLOSE * (1 + np.abs(expected).max()):
        raise IncompleteError(f"{folder.folder} holds features of another backbone: run concord features --force")


def scored(model: keras.Model, part: Part, source: Source, objective: Objective) -> tuple[npt.NDArray[Any], Scores]:
    """Targets and scores of every labelled image of a part, in order."""
    shards = part.of(source)
    if not len(shards):
        return shards.values(), np.zeros((0, model.output_shape[-1]), np.float32)
    batches = inputs.validation(shards, Batches(source.decode, objective, JUDGING_BATCH))
    found = [np.asarray(model(batch[0], training=False)) for batch in batches]
    return shards.values(), np.concatenate(found).astype(np.float32)
