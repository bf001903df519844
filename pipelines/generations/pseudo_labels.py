"""Pseudo-labels, and the human labels beside them: a share of the labels that there are, drawn by the image's hash.

A shard of them is a part of the same shard of the labels that they are drawn from, rows in the same order.
"""

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from schemas import layout, tables
from schemas.manifests import LabelsManifest
from storage import hashing, products
from storage.products import ShardFolder, ShardReport


@dataclass(frozen=True)
class PseudoLabels:
    """A label set that is drawn from another.

    Attributes:
        annotator: whose labels it is drawn from.
        name: of the label set that is made.
        split: of which some images are excluded.
        share: of the images of that split that are in the pool.
        pool: whether the images of the pool are kept; otherwise those outside it.
        whole: splits that are kept as they are.
    """

    root: str
    dataset: str
    annotator: str
    name: str
    split: str
    share: float
    pool: bool
    whole: tuple[str, ...]

    def is_done(self) -> bool:
        """Whether every split is there, made from just this."""
        targets = [self._target(self._source(split), split) for split in (self.split, *self.whole)]
        return all(products.is_current(target.folder, target.fingerprint) for target in targets)

    def make(self, afresh: bool = False) -> dict[str, int]:
        """Write what is missing of it; returns how many labels of each split it holds, of what was made anew alone."""
        counts = {}
        for split in (self.split, *self.whole):
            source = self._source(split)
            target = self._target(source, split)
            if afresh or not products.is_current(target.folder, target.fingerprint):
                counts[split] = self._write(source, target, split, afresh)
        return counts

    def _source(self, split: str) -> ShardFolder:
        return products.label_set(self.root, self.dataset, self.annotator, split)

    def _target(self, source: ShardFolder, split: str) -> ShardFolder:
        recipe = {"share": self.share, "pool": self.pool} if split == self.split else {}
        fingerprint = products.fingerprint("generations", labels=source.fingerprint, split=split, **recipe)
        return ShardFolder(layout.labels(self.root, self.dataset, self.name, split), source.shards, fingerprint)

    def _write(self, source: ShardFolder, target: ShardFolder, split: str, afresh: bool) -> int:
        done = target.prepare(afresh=afresh)
        for shard in range(source.shards):
            if shard not in done:
                rows = source.read(shard)
                kept = self.kept(rows) if split == self.split else rows
                rest = rows.num_rows - kept.num_rows
                target.write(
                    shard, kept, ShardReport(rows.num_rows, kept.num_rows, {"not_drawn": rest} if rest else {})
                )
        report = products.total(list(target.done().values()))
        manifest = LabelsManifest(
            stage="generations",
            product=f"{self.dataset}/{self.name}/{split}",
            fingerprint=target.fingerprint,
            tables=(target.table_files(self.root, "labels", report.records_out, "out"),),
            counts=report.counts(),
            annotator=self.name,
            split=split,
            images=products.label_manifest(self.root, self.dataset, self.annotator, split).images,
            shards=target.shards,
            rows=report.records_out,
            drawn_from=self.annotator,
        )
        products.write_manifest(target.folder, manifest)
        return report.records_out

    def kept(self, rows: pa.Table) -> pa.Table:
        """The rows of the images that are drawn."""
        in_pool = hashing.is_in_pool(rows["image_id"].to_pylist(), self.share)
        return rows.filter(pa.array(in_pool if self.pool else ~in_pool))


def count_pseudo_labels(root: str, dataset: str, annotator: str, split: str, least: float) -> int:
    """How many labels of a label set are learnt where those less confident than `least` are not."""
    labels = products.label_set(root, dataset, annotator, split)
    confidence = pa.scalar(least, pa.float32())  # as training takes it
    total = 0
    for shard in range(labels.shards):
        rows = labels.read(shard)
        confident = pc.and_(tables.present(rows), pc.greater_equal(rows["confidence"], confidence))
        total += pc.sum(confident).as_py() or 0
    return total
