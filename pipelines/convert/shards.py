"""The shards of a dataset of images: what is to be made, what is there already, and how one is written.

A shard is several files: the TFRecord file, the labels that the source brought along, the rejects, and the index, which
is written last and commits the others.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from schemas import layout, tables
from storage import stores, tfrecord
from storage.products import MANIFEST, ShardFolder, ShardReport

ShardKey = tuple[str, int]


@dataclass(frozen=True)
class ImageShards:
    """The shards that a conversion makes: fixed before it starts, and sent to every worker.

    Attributes:
        annotator: whose labels the source brings along; empty where they are in a label set already.
        missing: the shards still to be made.
        has_images: whether there are images; else a shard is its labels and rejects, and the labels commit it.
    """

    root: str
    dataset: str
    version: str
    task: str
    classes: tuple[str, ...]
    annotator: str
    splits: tuple[str, ...]
    shards: int
    fingerprint: str
    missing: frozenset[ShardKey]
    has_images: bool = True

    def every(self) -> frozenset[ShardKey]:
        """The key of every shard."""
        return frozenset((split, shard) for split in self.splits for shard in range(self.shards))

    def index(self, split: str) -> ShardFolder:
        """Where the index of a split goes."""
        return ShardFolder(layout.index(self.root, self.dataset, split), self.shards, self.fingerprint)

    def labels(self, split: str) -> ShardFolder:
        """Where the labels of a split go that the source brings along."""
        folder = layout.labels(self.root, self.dataset, self.annotator, split)
        return ShardFolder(folder, self.shards, self.fingerprint)

    def rejects(self, split: str) -> ShardFolder:
        """Where the rejects of a split go."""
        return ShardFolder(layout.convert_rejects(self.root, self.dataset, split), self.shards, self.fingerprint)

    def commits(self, split: str) -> ShardFolder:
        """The folder whose shards are written last, and so commit the others."""
        return self.index(split) if self.has_images else self.labels(split)

    def tables(self, split: str) -> list[ShardFolder]:
        """The folders of tables that a split has."""
        labels = [self.labels(split)] if self.annotator else []
        return [*labels, self.rejects(split), *([self.index(split)] if self.has_images else [])]

    @property
    def images(self) -> str:
        """Folder of the TFRecord shards."""
        return layout.images(self.root, self.dataset, self.version)

    @property
    def home(self) -> str:
        """Folder of the dataset's manifest: that of the images, or of the labels where they are alone."""
        return self.images if self.has_images else layout.label_sets(self.root, self.dataset, self.annotator)

    def tfrecord_name(self, split: str, shard: int) -> str:
        """File name of a TFRecord shard."""
        return layout.tfrecord_shard(self.dataset, split, shard, self.shards)

    def write(self, key: ShardKey, content: "ShardContent") -> ShardReport:
        """Write everything of one shard, last what commits it."""
        split, shard = key
        report = content.report()
        labels = content.labels.num_rows
        self.rejects(split).write(shard, content.rejects, report)
        if not self.has_images:
            self.labels(split).write(shard, content.labels, report)
            return report
        stores.write_parts(stores.join(self.images, self.tfrecord_name(split, shard)), content.records)
        if self.annotator:
            self.labels(split).write(shard, content.labels, ShardReport(labels, labels))
        self.index(split).write(shard, content.index(shard), report)
        return report


@dataclass(frozen=True)
class ShardContent:
    """All that a shard holds; the records, the columns of their images and the labels are in hash order.

    Attributes:
        records: framed TFRecord records.
        columns: `image_id`, `sha256`, `format`, `height`, `width`, `channels`, `reencoded` of each.
        labels: rows of schema `LABELS`, of the source's own annotator.
        rejects: rows of schema `REJECTS`.
    """

    records: Sequence[bytes]
    columns: dict[str, Any]
    labels: pa.Table
    rejects: pa.Table

    def report(self) -> ShardReport:
        """The shard's counts."""
        sizes = [np.asarray(self.columns[name]).tolist() for name in ("height", "width", "channels")]
        shapes = tuple(sorted(set(zip(*sizes, strict=True))))[:2]
        read = len(self.records) + self.rejects.num_rows
        size = sum(map(len, self.records))
        return ShardReport(read, len(self.records), tables.reject_counts(self.rejects), size, shapes)

    def index(self, shard: int) -> pa.Table:
        """Where each image lies in the shard's TFRecord file, and what it is."""
        framed = np.array([len(record) for record in self.records], dtype=np.int64)
        places = {
            "shard": np.full(len(framed), shard, dtype=np.int32),
            "offset": np.cumsum(framed) - framed + tfrecord.HEADER_BYTES,
            "length": framed - tfrecord.HEADER_BYTES - tfrecord.FOOTER_BYTES,
        }
        columns = self.columns | places
        arrays = [pa.array(columns[field.name], field.type) for field in tables.INDEX]
        return pa.table(arrays, schema=tables.INDEX)


def certain_labels(image_ids: Any, labels: Any) -> pa.Table:
    """Rows of human labels: of confidence 1.

    Args:
        image_ids: (n,) the image of each row.
        labels: (n,) its label.
    """
    confidence = np.ones(len(labels), dtype=np.float32)
    return tables.label_rows({"image_id": image_ids, "label": labels, "confidence": confidence})


def finished(shards: ImageShards) -> frozenset[ShardKey]:
    """The shards of which every file is there, made from just this."""
    there = stores.list_files(shards.images)
    done: set[ShardKey] = set()
    for split in shards.splits:
        reports = shards.commits(split).done()
        others = [set(folder.done()) for folder in shards.tables(split) if folder != shards.commits(split)]
        for shard, report in reports.items():
            size = there.get(shards.tfrecord_name(split, shard))
            whole = size == report.payload_bytes or not shards.has_images
            if whole and all(shard in other for other in others):
                done.add((split, shard))
    return frozenset(done)


def sweep(shards: ImageShards, done: frozenset[ShardKey]) -> None:
    """Remove the manifests, and every file of the dataset that is no finished shard of this conversion."""
    alone = layout.label_sets(shards.root, shards.dataset, shards.annotator)
    for home in [shards.images, *([alone] if shards.annotator else [])]:
        stores.remove(stores.join(home, MANIFEST))
    _remove_all_but(shards.images, {shards.tfrecord_name(*key) for key in done} if shards.has_images else set())
    parents = {stores.parent(folder.folder) for folder in (shards.index("x"), shards.commits("x"))}
    old = [name for parent in parents for name in stores.list_folders(parent)]
    for split in {*shards.splits, *(name.removeprefix("split=") for name in old)}:
        keep = {layout.parquet_shard(shard, shards.shards) for name, shard in done if name == split}
        for folder in shards.tables(split):
            _remove_all_but(folder.folder, keep)
        if not shards.has_images:  # an index that is there is of images that are no more
            _remove_all_but(shards.index(split).folder, set())


def _remove_all_but(folder: str, keep: set[str]) -> None:
    for name in stores.list_files(folder):
        if name not in keep:
            stores.remove(stores.join(folder, name))
