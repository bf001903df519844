"""Convert a source of labelled images into TFRecord shards, their index, and a label set by `human`.

    concord convert --source svhn_h5 --input SVHN_single_grey1.h5 --dataset svhn --root out

Slabs of the source are read and encoded side by side; the encoded crops, which are small, are shuffled to their shards
as Arrow batches; one task then writes each shard: images, labels, rejects, and last its index, which commits it.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipelines import encoding, execution
from pipelines.sources import Records, Slab, Source
from schemas import hashing, layout, storage, tables, tfrecord
from schemas.products import ShardFolder, ShardReport

HUMAN = "human"
ShardKey = tuple[str, int]


@dataclass(frozen=True)
class ConvertPlan:
    """What a conversion makes: fixed before it starts, and sent to every worker.

    Attributes:
        fractions: share of each split where splits are drawn by hash; None keeps the source's own.
        missing: the shards still to be made.
    """

    root: str
    dataset: str
    version: str
    source: Source
    slabs: tuple[Slab, ...]
    image_shape: tuple[int, int, int]
    classes: tuple[str, ...]
    value_range: tuple[float, ...]
    fractions: dict[str, float] | None
    splits: tuple[str, ...]
    shards: int
    fingerprint: str
    missing: frozenset[ShardKey]

    def index(self, split: str) -> ShardFolder:
        """Where the index of a split goes; its shards commit the others."""
        return ShardFolder(layout.index(self.root, self.dataset, split), self.shards, self.fingerprint)

    def labels(self, split: str) -> ShardFolder:
        """Where people's labels of a split go."""
        folder = layout.labels(self.root, self.dataset, HUMAN, split)
        return ShardFolder(folder, self.shards, self.fingerprint)

    def rejects(self, split: str) -> ShardFolder:
        """Where the rejects of a split go."""
        return ShardFolder(layout.convert_rejects(self.root, self.dataset, split), self.shards, self.fingerprint)

    @property
    def images(self) -> str:
        """Folder of the TFRecord shards."""
        return layout.images(self.root, self.dataset, self.version)

    def tfrecord_name(self, split: str, shard: int) -> str:
        """File name of a TFRecord shard."""
        return layout.tfrecord_shard(self.dataset, split, shard, self.shards)


@dataclass(eq=False)
class ConvertImages(beam.PTransform):  # type: ignore[misc]
    """Read every slab, and write the shards that are missing."""

    plan: ConvertPlan

    def expand(self, begin: beam.Pipeline) -> beam.PCollection:
        """The key of each shard, as it is written."""
        encoded = begin | "Slabs" >> beam.Create(self.plan.slabs) | "Encode" >> beam.FlatMap(encode_slab, self.plan)
        every_shard = begin | "Shards" >> beam.Create([(key, b"") for key in sorted(self.plan.missing)])
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
    runs = [(key, rows) for key, rows in _by_shard(records, slab, hashes, plan) if key in plan.missing]
    if not runs:  # a resumed run may miss no shard that this slab has a record of
        return
    rows = np.concatenate([rows for _, rows in runs])
    batch = encoding.encode_records(records, rows, hashes, plan.classes, plan.value_range)
    start = 0
    for key, rows in runs:
        yield key, encoding.to_ipc(batch.slice(start, len(rows)))
        start += len(rows)


def _by_shard(
    records: Records, slab: Slab, hashes: npt.NDArray[np.uint64], plan: ConvertPlan
) -> Iterator[tuple[ShardKey, npt.NDArray[np.int64]]]:
    """The rows of each shard that a slab has any of, in hash order."""
    shards = hashing.shard_of(hashes, plan.shards)
    splits = np.full(len(hashes), slab.split)
    if plan.fractions is not None:
        splits = hashing.split_of(records.image_ids, plan.fractions)
    for split in plan.splits:
        rows = np.flatnonzero(splits == split)
        rows = rows[np.argsort(hashes[rows], kind="stable")]
        bounds = np.searchsorted(shards[rows], np.arange(plan.shards + 1))
        for shard in range(plan.shards):
            if bounds[shard] < bounds[shard + 1]:
                yield (split, shard), rows[bounds[shard] : bounds[shard + 1]]


def write_shard(grouped: tuple[ShardKey, Iterable[bytes]], plan: ConvertPlan) -> ShardKey:
    """Write everything of one shard: images, people's labels, rejects, and last the index, which commits it."""
    (split, shard), batches = grouped
    rows = encoding.gather(batches)
    execution.count_element("convert.write", rows.nbytes)
    rejected = rows.filter(pc.is_valid(rows["reason"]))
    accepted = rows.filter(pc.is_null(rows["reason"])) if rejected.num_rows else rows
    content = b"".join(accepted["record"].to_pylist())
    reasons = Counter(rejected["reason"].to_pylist())
    report = ShardReport(rows.num_rows, accepted.num_rows, dict(sorted(reasons.items())), len(content))
    storage.write_bytes(storage.join(plan.images, plan.tfrecord_name(split, shard)), content)
    plan.labels(split).write(shard, label_table(accepted), report)
    plan.rejects(split).write(shard, rejected.select(tables.REJECTS.names).cast(tables.REJECTS), report)
    plan.index(split).write(shard, index_table(accepted, shard, plan.image_shape), report)
    execution.count("convert.images", accepted.num_rows)
    execution.count("convert.rejected", rejected.num_rows)
    return split, shard


def label_table(accepted: pa.Table) -> pa.Table:
    """People's labels: sure of each."""
    count = accepted.num_rows
    columns = {
        "image_id": accepted["image_id"],
        "label": accepted["label"],
        "confidence": np.ones(count, dtype=np.float32),
    }
    unknown = {field.name: pa.nulls(count, field.type) for field in tables.LABELS if field.name not in columns}
    return pa.table({**columns, **unknown}, schema=tables.LABELS)


def index_table(accepted: pa.Table, shard: int, image_shape: tuple[int, int, int]) -> pa.Table:
    """Where each image of a shard lies in its TFRecord file."""
    count = accepted.num_rows
    framed = pc.binary_length(accepted["record"]).to_numpy().astype(np.int64)
    height, width, _ = image_shape
    return pa.table(
        {
            "image_id": accepted["image_id"],
            "shard": np.full(count, shard, dtype=np.int32),
            "offset": np.cumsum(framed) - framed + tfrecord.HEADER_BYTES,
            "length": framed - tfrecord.HEADER_BYTES - tfrecord.FOOTER_BYTES,
            "sha256": accepted["sha256"],
            "height": np.full(count, height, dtype=np.int32),
            "width": np.full(count, width, dtype=np.int32),
        },
        schema=tables.INDEX,
    )
