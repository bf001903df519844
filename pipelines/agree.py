"""Compare label sets, shard by shard: which images two annotators agree on, and how far in all.

    concord agree --annotators cnn1,cnn2 --truth human --dataset svhn --splits test --root out

Shard *k* of every label set speaks of the same images, so nothing is shuffled but counts: each element reads its shards
side by side, writes a shard of `pairs` (or none), and yields the counts from which the figures are computed last.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import pyarrow as pa

from pipelines import execution, measures
from pipelines.measures import Counts
from pipelines.pairing import pair
from schemas import layout, plugins, products, tables
from schemas.products import ShardFolder, ShardReport

PairKey = tuple[str, str, str]
_READ = ("image_id", "label", "confidence")


@dataclass(frozen=True)
class PairPlan:
    """Two annotators to be compared on one split, perhaps against a truth.

    Attributes:
        kept: whether the row of each image is written, and not only what follows from all of them.
    """

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
    kept: bool = True

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


@dataclass(frozen=True)
class Compared:
    """What is known of some shards of a comparison: counts of the pairs, and how many labels went in and came out."""

    counts: Counts
    report: ShardReport


def compare_shard(source: PairShard) -> tuple[PairKey, Compared]:
    """Pair the labels of one shard, write the pairs, and count them."""
    plan, shard = source.plan, source.shard
    if source.done:
        pairs = plan.pairs.read(shard)
        execution.count_element("agree", pairs.nbytes)
        return plan.key, Compared(measures.count(pairs), plan.pairs.report(shard))
    a, b = plan.labels_a.read(shard, _READ), plan.labels_b.read(shard, _READ)
    truth = plan.truth.read(shard, _READ) if plan.truth else None
    execution.count_element("agree", a.nbytes + b.nbytes + (truth.nbytes if truth else 0))
    pairs = pair(a, b, truth)
    only_a, only_b = a.num_rows - pairs.num_rows, b.num_rows - pairs.num_rows
    unpaired = {name: n for name, n in (("only_a", only_a), ("only_b", only_b)) if n}
    report = ShardReport(pairs.num_rows + only_a + only_b, pairs.num_rows, unpaired)
    if plan.kept:
        plan.pairs.write(shard, pairs, report)
    execution.count("agree.images", pairs.num_rows)
    return plan.key, Compared(measures.count(pairs), report)


def merged(parts: Iterable[Compared]) -> Compared:
    """The sum of counts, as Beam combines them."""
    found = list(parts)
    return Compared(measures.merge(one.counts for one in found), products.total([one.report for one in found]))


def write_tables(compared: tuple[PairKey, Compared], plans: Mapping[PairKey, PairPlan]) -> str:
    """Write the summary and the confusion of one pair of annotators; the summary carries the count of what went in."""
    key, found = compared
    plan, counts = plans[key], found.counts
    keys = {"dataset": plan.dataset, "split": plan.split, "a": plan.a, "b": plan.b}
    tables.write(plan.table("confusion"), confusion(counts, keys), plan.fingerprint)
    tables.write(plan.table("summary"), summary(counts, keys), plan.fingerprint, found.report.to_json())
    return plan.table("summary")


def summary(counts: Counts, keys: dict[str, str]) -> pa.Table:
    """The figures of every measure, in one row of scope `all`."""
    modules = [plugins.load(measures, "measure", name) for name in plugins.names(measures)]
    fields = [field for module in modules for field in module.FIELDS]
    row: dict[str, Any] = {**keys, "scope": "all", "label": None, "n": counts.n, "n_agree": counts.n_agree}
    for module in modules:
        row |= module.figures(counts)
    return pa.Table.from_pylist([row], schema=tables.summary(fields))


def confusion(counts: Counts, keys: dict[str, str]) -> pa.Table:
    """How often a gave one label and b another, with their mean confidence."""
    totals = counts.cells.group_by(["label_a", "label_b"]).aggregate(
        [("n", "sum"), ("confidence_a", "sum"), ("confidence_b", "sum")]
    )
    rows = [
        {
            **keys,
            "label_a": cell["label_a"],
            "label_b": cell["label_b"],
            "n": cell["n_sum"],
            "mean_confidence_a": cell["confidence_a_sum"] / measures.CONFIDENCE_UNIT / cell["n_sum"],
            "mean_confidence_b": cell["confidence_b_sum"] / measures.CONFIDENCE_UNIT / cell["n_sum"],
        }
        for cell in totals.sort_by([("label_a", "ascending"), ("label_b", "ascending")]).to_pylist()
    ]
    return pa.Table.from_pylist(rows, schema=tables.CONFUSION)
