"""Compare label sets, shard by shard: which images two annotators agree on, and how far in all.

    concord agree --annotators cnn1,cnn2 --truth human --dataset svhn --splits test --root out

Shard *k* of every label set speaks of the same images, so nothing is shuffled but counts: each element reads its shards
side by side, writes a shard of `pairs`, and yields the counts from which the figures are computed last.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc

from pipelines import execution, measures
from pipelines.measures import Counts
from pipelines.summaries import write_tables
from schemas import layout, tables
from schemas.products import ShardFolder, ShardReport

PairKey = tuple[str, str, str]


@dataclass(frozen=True)
class PairPlan:
    """Two annotators to be compared on one split, perhaps against a truth."""

    root: str
    dataset: str
    split: str
    a: str
    b: str
    labels_a: ShardFolder
    labels_b: ShardFolder
    truth: ShardFolder | None
    truth_name: str
    fingerprint: str

    @property
    def key(self) -> PairKey:
        """What tells it from the other comparisons of a run."""
        return self.a, self.b, self.split

    @property
    def pairs(self) -> ShardFolder:
        """Where their pairs go."""
        folder = layout.pairs(self.root, self.dataset, self.a, self.b, self.split)
        return ShardFolder(folder, self.labels_a.shards, self.fingerprint)

    def table(self, name: str) -> str:
        """Path of an aggregated table."""
        return layout.agreement_table(self.root, name, self.dataset, self.a, self.b, self.split)


@dataclass(frozen=True)
class PairShard:
    """What one Beam element stands for; `done` where its pairs are written already and only to be counted."""

    plan: PairPlan
    shard: int
    done: bool


@dataclass(eq=False)
class CompareLabels(beam.PTransform):  # type: ignore[misc]
    """Compare every shard, and write what follows from the counts of all."""

    shards: tuple[PairShard, ...]

    def expand(self, begin: beam.Pipeline) -> beam.PCollection:
        """The path of the summary of each comparison."""
        plans = {source.plan.key: source.plan for source in self.shards}
        return (
            begin
            | "Shards" >> beam.Create(self.shards)
            | "Compare" >> beam.Map(compare_shard)
            | "Count" >> beam.CombinePerKey(merged)
            | "Tables" >> beam.Map(write_tables, plans)
        )


def compare_shard(source: PairShard) -> tuple[PairKey, Counts]:
    """Pair the labels of one shard, write the pairs, and count them."""
    plan, shard = source.plan, source.shard
    if source.done:
        pairs = plan.pairs.read(shard)
        execution.count_element("agree", pairs.nbytes)
        return plan.key, measures.count(pairs)
    a, b = plan.labels_a.read(shard), plan.labels_b.read(shard)
    truth = plan.truth.read(shard) if plan.truth else None
    execution.count_element("agree", a.nbytes + b.nbytes + (truth.nbytes if truth else 0))
    pairs = pair(a, b, truth)
    only_a, only_b = a.num_rows - pairs.num_rows, b.num_rows - pairs.num_rows
    unpaired = {name: n for name, n in (("only_a", only_a), ("only_b", only_b)) if n}
    report = ShardReport(pairs.num_rows + only_a + only_b, pairs.num_rows, unpaired)
    plan.pairs.write(shard, pairs, report)
    execution.count("agree.images", pairs.num_rows)
    return plan.key, measures.count(pairs)


def pair(a: pa.Table, b: pa.Table, truth: pa.Table | None) -> pa.Table:
    """The images that both annotators labelled, in the order of `a`, a row each.

    Args:
        a: labels of one annotator, a row an image.
        b: labels of the other.
        truth: labels of the annotator taken as truth; None for none.
    """
    there = pc.index_in(a["image_id"], value_set=pa.concat_arrays(b["image_id"].chunks or [pa.array([], pa.string())]))
    known = pc.is_valid(there)
    a, b = a.filter(known), b.take(there.filter(known))
    agree = pc.equal(a["label"], b["label"])
    true = pa.nulls(a.num_rows, pa.string()) if truth is None else _looked_up(a["image_id"], truth)
    return pa.table(
        {
            "image_id": a["image_id"],
            "label_a": a["label"],
            "confidence_a": a["confidence"],
            "label_b": b["label"],
            "confidence_b": b["confidence"],
            "agree": agree,
            "truth": true,
            "correct_a": pc.equal(a["label"], true),
            "correct_b": pc.equal(b["label"], true),
        },
        schema=tables.PAIRS,
    )


def _looked_up(ids: pa.ChunkedArray, labels: pa.Table) -> pa.ChunkedArray:
    """The label of each id, null where there is none."""
    value_set = pa.concat_arrays(labels["image_id"].chunks or [pa.array([], pa.string())])
    return labels["label"].take(pc.index_in(ids, value_set=value_set))


def merged(parts: Iterable[Counts]) -> Counts:
    """The sum of counts, as Beam combines them."""
    found: Counts = measures.merge(parts)
    return found
