"""Convert a source of labelled images into TFRecord shards, their index, and a label set by `human`.

    concord convert --source svhn_h5 --input SVHN_single_grey1.h5 --dataset svhn --root out

Slabs of the source are read and encoded side by side; the encoded crops, which are small, are shuffled to their shards
as Arrow batches; one task then writes each shard: images, labels, rejects, and last its index, which commits it.
"""

import asyncio
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipelines import runner
from pipelines.convert import encoding
from pipelines.convert.shards import ImageShards, ShardContent, ShardKey, certain_labels
from pipelines.convert.sources import Photo, PhotoSource, Records, Slab, Source
from schemas import tables
from schemas.errors import Problem, Reason
from schemas.manifests import MULTILABEL
from storage import fetching, hashing, tfrecord
from storage.fetching import FetchFailure, FetchPolicy
from storage.formats.images import Photograph, TargetFormat, prepare
from storage.parquet import to_ipc
from storage.tfrecord import encode_example


@dataclass(frozen=True)
class ConvertPlan:
    """What a conversion makes of slabs of pixels, and how; see `ImageShards`.

    Attributes:
        fractions: share of each split where splits are drawn by hash; None keeps the source's own.
    """

    target: ImageShards
    source: Source
    slabs: tuple[Slab, ...]
    image_shape: tuple[int, int, int]
    value_range: tuple[float, ...]
    fractions: dict[str, float] | None


@dataclass(eq=False)
class ConvertImages(beam.PTransform):  # type: ignore[misc]
    """Read every slab, and write the shards that are missing."""

    plan: ConvertPlan

    def expand(self, begin: beam.Pipeline) -> beam.PCollection:
        """The key of each shard, as it is written."""
        encoded = begin | "Slabs" >> beam.Create(self.plan.slabs) | "Encode" >> beam.FlatMap(encode_slab, self.plan)
        every_shard = begin | "Shards" >> beam.Create([(key, b"") for key in sorted(self.plan.target.missing)])
        return (
            (encoded, every_shard)
            | "WithEmptyShards" >> beam.Flatten()
            | "ByShard" >> beam.GroupByKey()
            | "Write" >> beam.Map(write_shard, self.plan)
        )


def encode_slab(slab: Slab, plan: ConvertPlan) -> Iterator[tuple[ShardKey, bytes]]:
    """Read a slab; yield its encoded records, an Arrow IPC batch for each missing shard that has any."""
    runner.count_element("convert.read", slab.payload_bytes)
    records = plan.source.read(slab)
    hashes = hashing.image_hashes(records.image_ids)
    runs = [(key, rows) for key, rows in _by_shard(records, slab, hashes, plan) if key in plan.target.missing]
    if not runs:  # a resumed run may miss no shard that this slab has a record of
        return
    rows = np.concatenate([rows for _, rows in runs])
    batch = encoding.encode_records(records, rows, hashes, plan.target.classes, plan.value_range)
    start = 0
    for key, rows in runs:
        yield key, to_ipc(batch.slice(start, len(rows)))
        start += len(rows)


def _by_shard(
    records: Records, slab: Slab, hashes: npt.NDArray[np.uint64], plan: ConvertPlan
) -> Iterator[tuple[ShardKey, npt.NDArray[np.int64]]]:
    """The rows of each shard that a slab has any of, in hash order."""
    splits = np.full(len(hashes), slab.split)
    if plan.fractions is not None:
        splits = hashing.split_of(records.image_ids, plan.fractions)
    for split in plan.target.splits:
        rows = np.flatnonzero(splits == split)
        for shard, of_shard in enumerate(hashing.rows_by_shard(hashes[rows], plan.target.shards)):
            if len(of_shard):
                yield (split, shard), rows[of_shard]


def write_shard(grouped: tuple[ShardKey, Iterable[bytes]], plan: ConvertPlan) -> ShardKey:
    """Write everything of one shard: images, human labels, rejects, and last the index, which commits it."""
    key, batches = grouped
    rows = encoding.gather(batches)
    runner.count_element("convert.write", rows.nbytes)
    report = plan.target.write(key, shard_content(rows, plan.image_shape))
    runner.count_records("convert", report)
    return key


def shard_content(rows: pa.Table, image_shape: tuple[int, int, int]) -> ShardContent:
    """What a shard holds, from its rows of schema `ENCODED`."""
    rejected = rows.filter(pc.is_valid(rows["reason"]))
    accepted = rows.filter(pc.is_null(rows["reason"])) if rejected.num_rows else rows
    count = accepted.num_rows
    height, width, channels = (np.full(count, size, np.int32) for size in image_shape)
    columns = {
        "image_id": accepted["image_id"].combine_chunks(),
        "sha256": accepted["sha256"].combine_chunks(),
        "format": ["png"] * count,
        "reencoded": [None] * count,
        "height": height,
        "width": width,
        "channels": channels,
    }
    labels = certain_labels(accepted["image_id"], accepted["label"])
    rejects = rejected.select(tables.REJECTS.names).cast(tables.REJECTS)
    return ShardContent(accepted["record"].to_pylist(), columns, labels, rejects)


# Convert photographs, which come one file each, into TFRecord shards: fetched, looked at, and written shard by shard.


@dataclass(frozen=True)
class PhotoPlan:
    """What a conversion makes of photographs, and how; see `ImageShards`."""

    target: ImageShards
    source: PhotoSource
    policy: FetchPolicy
    limits: TargetFormat


@dataclass(frozen=True)
class PhotoShard:
    """What one Beam element stands for.

    Attributes:
        listed: its photographs, where the source lists them beforehand.
    """

    key: ShardKey
    listed: tuple[Photo, ...]


@dataclass(eq=False)
class ConvertPhotos(beam.PTransform):  # type: ignore[misc]
    """Fetch the photographs of the shards that are missing, and write them."""

    plan: PhotoPlan

    def expand(self, begin: beam.Pipeline) -> beam.PCollection:
        """The key of each shard, as it is written."""
        target = self.plan.target
        shards = [
            PhotoShard(key, self.plan.source.listed(*key, target.shards)) for key in sorted(self.plan.target.missing)
        ]
        return begin | "Shards" >> beam.Create(shards) | "Convert" >> beam.Map(convert_photo_shard, self.plan)


def convert_photo_shard(shard: PhotoShard, plan: PhotoPlan) -> ShardKey:
    """Fetch one shard's photographs and write its files."""
    photos = plan.source.photos(plan.target.root, *shard.key, plan.target.shards, shard.listed)
    photographs = asyncio.run(gather(photos, plan))
    content = photo_shard_content(photos, photographs, plan.target)
    report = plan.target.write(shard.key, content)
    runner.count_element("convert.fetch", report.payload_bytes)
    runner.count_records("convert", report)
    return shard.key


async def gather(photos: Sequence[Photo], plan: PhotoPlan) -> list[Photograph | Problem]:
    """Each photograph as it is to be stored, or why it cannot be, in the order given."""
    labelled = [photo.location for photo in photos if photo.labels is not None]
    fetched = iter(await fetching.fetch_each(labelled, plan.policy, lambda _, content: prepare(content, plan.limits)))
    results = [_UNLABELLED if photo.labels is None else next(fetched) for photo in photos]
    return [Problem(one.reason, one.detail) if isinstance(one, FetchFailure) else one for one in results]


_UNLABELLED = Problem(Reason.LABEL_MISSING, "it is of no requested class, or in no row of the table")


def photo_shard_content(
    photos: Sequence[Photo], photographs: Sequence[Photograph | Problem], target: ImageShards
) -> ShardContent:
    """What a shard holds: the photographs that are there, and the rejects."""
    index = {name: number for number, name in enumerate(target.classes)}
    good = [(photo, one) for photo, one in zip(photos, photographs, strict=True) if isinstance(one, Photograph)]
    records = []
    for photo, one in good:
        numbers = [index[label] for label in photo.labels or ()]
        labels = numbers if target.task == MULTILABEL else numbers[0]
        records.append(tfrecord.frame_record(encode_example(one.content, photo.image_id, labels)))
    columns = {name: [getattr(one, name) for _, one in good] for name in ("format", "height", "width", "channels")}
    columns["image_id"] = [photo.image_id for photo, _ in good]
    columns["sha256"] = [hashlib.sha256(one.content).hexdigest() for _, one in good]
    columns["reencoded"] = [one.changed for _, one in good]
    pairs = [(photo.image_id, label) for photo, _ in good for label in photo.labels or ()]
    rows = certain_labels([image_id for image_id, _ in pairs], [label for _, label in pairs])
    return ShardContent(records, columns, rows, reject_table(photos, photographs))


def reject_table(photos: Sequence[Photo], photographs: Sequence[Photograph | Problem]) -> pa.Table:
    """The photographs that cannot be stored, and why."""
    rows = [
        {
            "image_id": photo.image_id,
            "source": photo.location,
            "position": "the file",
            "reason": str(one.reason),
            "detail": one.detail,
        }
        for photo, one in zip(photos, photographs, strict=True)
        if isinstance(one, Problem)
    ]
    return pa.Table.from_pylist(rows, schema=tables.REJECTS)
