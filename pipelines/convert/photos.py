"""Convert photographs, which come one file each, into TFRecord shards: fetched, looked at, and written shard by shard.

    concord convert --source open_images --dataset open_images --root out
    concord convert --source image_folder --input photos --dataset photos --root out

Photographs are never shuffled: a Beam element is a shard of their ids, already grouped, and one task fetches them, many
at once, and writes the shard's files.
"""

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import apache_beam as beam
import pyarrow as pa

from pipelines import execution
from pipelines.convert.image_shards import ImageShards, ShardContent, ShardKey, sure_labels
from pipelines.pictures import fetching
from pipelines.pictures.fetching import Missing, Patience
from pipelines.pictures.photographs import Photograph, Wanted, prepare
from pipelines.sources import Photo, PhotoSource
from schemas import tables, tfrecord
from schemas.examples import encode_example
from schemas.products import MULTILABEL
from schemas.rejects import Problem, Reason


@dataclass(frozen=True)
class PhotoPlan:
    """What a conversion makes of photographs, and how; see `ImageShards`."""

    target: ImageShards
    source: PhotoSource
    patience: Patience
    wanted: Wanted


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
        return begin | "Shards" >> beam.Create(shards) | "Convert" >> beam.Map(convert_shard, self.plan)


def convert_shard(shard: PhotoShard, plan: PhotoPlan) -> ShardKey:
    """Fetch one shard's photographs and write its files."""
    photos = plan.source.photos(plan.target.root, *shard.key, plan.target.shards, shard.listed)
    found = asyncio.run(gather(photos, plan))
    content = shard_content(photos, found, plan.target)
    report = plan.target.write(shard.key, content)
    execution.count_element("convert.fetch", report.payload_bytes)
    execution.count_records("convert", report)
    return shard.key


async def gather(photos: Sequence[Photo], plan: PhotoPlan) -> list[Photograph | Problem]:
    """Each photograph as it is to be stored, or why it cannot be, in the order given."""
    labelled = [photo.location for photo in photos if photo.labels is not None]
    fetched = iter(await fetching.fetch_each(labelled, plan.patience, lambda _, content: prepare(content, plan.wanted)))
    found = [_UNLABELLED if photo.labels is None else next(fetched) for photo in photos]
    return [Problem(one.reason, one.detail) if isinstance(one, Missing) else one for one in found]


_UNLABELLED = Problem(Reason.LABEL_MISSING, "it is of no class that was asked for, or in no row of the table")


def shard_content(photos: Sequence[Photo], found: Sequence[Photograph | Problem], target: ImageShards) -> ShardContent:
    """What a shard holds: the photographs that are there, and the rejects."""
    index = {name: number for number, name in enumerate(target.classes)}
    good = [(photo, one) for photo, one in zip(photos, found, strict=True) if isinstance(one, Photograph)]
    records = []
    for photo, one in good:
        numbers = [index[label] for label in photo.labels or ()]
        labels = numbers if target.task == MULTILABEL else numbers[0]
        records.append(tfrecord.frame(encode_example(one.content, photo.image_id, labels)))
    columns = {name: [getattr(one, name) for _, one in good] for name in ("format", "height", "width", "channels")}
    columns["image_id"] = [photo.image_id for photo, _ in good]
    columns["sha256"] = [hashlib.sha256(one.content).hexdigest() for _, one in good]
    columns["reencoded"] = [one.changed for _, one in good]
    pairs = [(photo.image_id, label) for photo, _ in good for label in photo.labels or ()]
    rows = sure_labels([image_id for image_id, _ in pairs], [label for _, label in pairs])
    return ShardContent(records, columns, rows, reject_table(photos, found))


def reject_table(photos: Sequence[Photo], found: Sequence[Photograph | Problem]) -> pa.Table:
    """The photographs that cannot be stored, and why."""
    rows = [
        {
            "image_id": photo.image_id,
            "source": photo.location,
            "position": "the file",
            "reason": str(one.reason),
            "detail": one.detail,
        }
        for photo, one in zip(photos, found, strict=True)
        if isinstance(one, Problem)
    ]
    return pa.Table.from_pylist(rows, schema=tables.REJECTS)
