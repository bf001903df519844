"""Convert a source of labelled images into TFRecord shards, their index, and a label set by `human`.

    concord convert --source svhn_h5 --input SVHN_single_grey1.h5 --dataset svhn --root out

Slabs of the source are read and encoded side by side; the encoded crops, which are small, are shuffled to their shards
as Arrow batches; one task then writes each shard: images, labels, rejects, and last its index, which commits it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipelines import execution
from pipelines.batches import to_ipc
from pipelines.convert import encoding
from pipelines.convert.image_shards import ImageShards, ShardContent, ShardKey, sure_labels
from pipelines.sources import Records, Slab, Source
from schemas import hashing, tables


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
    execution.count_element("convert.read", slab.payload_bytes)
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
        for shard, found in enumerate(hashing.rows_by_shard(hashes[rows], plan.target.shards)):
            if len(found):
                yield (split, shard), rows[found]


def write_shard(grouped: tuple[ShardKey, Iterable[bytes]], plan: ConvertPlan) -> ShardKey:
    """Write everything of one shard: images, people's labels, rejects, and last the index, which commits it."""
    key, batches = grouped
    rows = encoding.gather(batches)
    execution.count_element("convert.write", rows.nbytes)
    report = plan.target.write(key, shard_content(rows, plan.image_shape))
    execution.count_records("convert", report)
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
    labels = sure_labels(accepted["image_id"], accepted["label"])
    rejects = rejected.select(tables.REJECTS.names).cast(tables.REJECTS)
    return ShardContent(accepted["record"].to_pylist(), columns, labels, rejects)
