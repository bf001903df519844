"""Compare label sets, shard by shard: which images annotators agree on, how much they agree, and their confidence.

    concord agree --annotators cnn1,cnn2 --reference human --dataset svhn --splits test --root out

Shard *k* of every label set covers the same images, so nothing is shuffled but counts: each element reads its shards
side by side, writes a shard of `pairs` for every two annotators (or none), and yields the counts from which the figures
are computed last.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import apache_beam as beam
import pyarrow as pa

from metrics import confidence_counts, ratings
from metrics.confidence_counts import ConfidenceCounts
from metrics.counts import LabelCounts, SequenceCounts, count_label_sets, count_labels
from metrics.pairing import AnnotatorView, align_labels, pair_by_image, pair_labels
from pipelines import runner
from schemas import layout
from schemas.manifests import MULTILABEL, SEQUENCE
from storage import products
from storage.products import ShardFolder, ShardReport

Names = tuple[str, ...]
_IDS = ("image_id",)
_READ = ("image_id", "label", "confidence", "confidence_calibrated", "verdict")


@dataclass(frozen=True)
class LabelSet:
    """One annotator's labels of a split.

    Attributes:
        index: of the images, where it covers all of them but its rejects; None where it covers those of its rows.
    """

    name: str
    labels: ShardFolder
    index: ShardFolder | None = None
    rejects: ShardFolder | None = None

    def view(self, shard: int, shards: int, rows: pa.Table) -> AnnotatorView:
        """What it says of the images of a shard of so many, where they have several labels."""
        if self.index is None:
            return AnnotatorView.of(rows)
        gone = self.rejects.read_part(shard, shards, _IDS) if self.rejects else None
        return AnnotatorView.of(rows, self.index.read_part(shard, shards, _IDS), gone)


@dataclass(frozen=True)
class PairPlan:
    """Two annotators to be compared on one split.

    Attributes:
        kept: whether the row of each image is written, and not only what follows from all of them.
        done: shards whose rows are written already, and only to be counted.
    """

    root: str
    dataset: str
    split: str
    a: str
    b: str
    shards: int
    fingerprint: str
    kept: bool = True
    done: frozenset[int] = frozenset()

    @property
    def pairs(self) -> ShardFolder:
        """Where their pairs go."""
        folder = layout.pairs(self.root, self.dataset, self.a, self.b, self.split)
        return ShardFolder(folder, self.shards, self.fingerprint)

    def table(self, name: str) -> str:
        """Path of an aggregated table."""
        return layout.agreement_table(self.root, name, self.dataset, (self.a, self.b), self.split)


@dataclass(frozen=True)
class GroupPlan:
    """One annotator by itself, or three and more together, on one split.

    Attributes:
        labels: the fingerprint of each one's label set; their tables carry them.
    """

    root: str
    dataset: str
    split: str
    names: tuple[str, ...]
    fingerprint: str
    labels: Mapping[str, str] = field(default_factory=dict)

    def table(self, name: str) -> str:
        """Path of a table of theirs."""
        return layout.agreement_table(self.root, name, self.dataset, self.names, self.split)


@dataclass(frozen=True)
class SplitPlan:
    """The annotators of one split, and what is to be made of them.

    Attributes:
        task: of the dataset.
        reference: the annotator taken as right, or None.
        reference_is_complete: of several labels: whether an image has none that the reference does not give it.
        pairs: the comparisons that are to be made.
        groups: the annotators that are evaluated alone, or many together.
        shards: elements; label sets of fewer shards are read in parts.
        evaluated: whether any table is made; if not, thresholds are chosen on this split, and no more.
    """

    root: str
    dataset: str
    split: str
    task: str
    annotators: tuple[LabelSet, ...]
    reference: LabelSet | None
    reference_is_complete: bool
    pairs: tuple[PairPlan, ...]
    groups: tuple[GroupPlan, ...]
    shards: int
    evaluated: bool = True


@dataclass(frozen=True)
class SplitShard:
    """What one Beam element stands for."""

    plan: SplitPlan
    shard: int


@dataclass(frozen=True, eq=False)
class Compared:
    """The counts of some shards of two annotators: agreement, confidence, and the records in and out."""

    counts: Any
    confidence: ConfidenceCounts | None
    report: ShardReport

    @classmethod
    def merged(cls, parts: Iterable["Compared"]) -> "Compared":
        """The sum of counts."""
        shards = list(parts)
        confidences = [one.confidence for one in shards if one.confidence is not None]
        confidence = ConfidenceCounts.merged(confidences) if confidences else None
        counts = merged(one.counts for one in shards) if shards else LabelCounts.merged([])
        return cls(counts, confidence, products.total([one.report for one in shards]))


@dataclass(eq=False)
class CompareLabels(beam.PTransform):  # type: ignore[misc]
    """Compare every shard, and sum up the counts of all."""

    plans: tuple[SplitPlan, ...]

    def expand(self, begin: beam.Pipeline) -> beam.PCollection:
        """A pair of (split, annotators) and counts for each two annotators of a split, for one alone, and for many."""
        shards = [SplitShard(plan, shard) for plan in self.plans for shard in range(plan.shards)]
        return (
            begin
            | "Shards" >> beam.Create(shards)
            | "Compare" >> beam.FlatMap(compare_shard)
            | "Count" >> beam.CombinePerKey(merged)
        )


def merged(parts: Iterable[Any]) -> Any:
    """The sum of counts of one kind, as Beam combines them."""
    shards = list(parts)
    return type(shards[0]).merged(shards) if shards else None


class _Shard:
    """The label sets of one shard, read once."""

    def __init__(self, source: SplitShard) -> None:
        self.plan, self._part = source.plan, (source.shard, source.plan.shards)
        self.rows = {one.name: one.labels.read_part(*self._part, _READ) for one in self.plan.annotators}
        reference = self.plan.reference
        self.reference = reference.labels.read_part(*self._part, _READ) if reference else None
        self.bytes = sum(rows.nbytes for rows in (*self.rows.values(), *([self.reference] if reference else [])))

    @cached_property
    def view(self) -> dict[str, AnnotatorView]:
        """What each annotator says of images with several labels."""
        return {one.name: one.view(*self._part, self.rows[one.name]) for one in self.plan.annotators}

    @cached_property
    def reference_view(self) -> AnnotatorView | None:
        """The same of the reference."""
        return self.plan.reference.view(*self._part, self.reference) if self.plan.reference else None

    def compare(self, a: str, b: str) -> tuple[pa.Table, Any, ShardReport]:
        """The pairs of two annotators, their counts, and how many images went in (that one covers) and came out."""
        if self.plan.task == MULTILABEL:
            one, other = self.view[a], self.view[b]
            label_pairs = pair_labels(one, other, self.reference_view, self.plan.reference_is_complete)
            counts = count_label_sets(label_pairs.rows, label_pairs.images, label_pairs.known)
            return label_pairs.rows, counts, _report(len(one.seen), len(other.seen), label_pairs.images)
        pairs = pair_by_image(self.rows[a], self.rows[b], self.reference)
        cells = count_labels(pairs)
        whole = SequenceCounts(cells.cells) if self.plan.task == SEQUENCE else cells
        return pairs, whole, _report(self.rows[a].num_rows, self.rows[b].num_rows, pairs.num_rows)


def _report(a: int, b: int, both: int) -> ShardReport:
    unpaired = {name: n for name, n in (("only_a", a - both), ("only_b", b - both)) if n}
    return ShardReport(both + sum(unpaired.values()), both, unpaired)


def compare_shard(source: SplitShard) -> Iterator[tuple[tuple[str, Names], Any]]:
    """Pair the labels of each two annotators in one shard, write the pairs, and count them, and each alone, and all."""
    plan, labels = source.plan, _Shard(source)
    runner.count_element("agree", labels.bytes)
    for one in plan.pairs:
        pairs, counts, report = labels.compare(one.a, one.b)
        if one.kept and source.shard not in one.done:
            one.pairs.write(source.shard, pairs, report)
        runner.count_records("agree", report, "unpaired")
        confidence = confidence_counts.count_confidence(pairs, plan.reference is not None and plan.task != MULTILABEL)
        yield (plan.split, (one.a, one.b)), Compared(counts, confidence, report)
    for group in plan.groups:
        rows = {name: labels.rows[name] for name in group.names}
        if len(rows) > 1:
            yield (plan.split, group.names), ratings.count_ratings(align_labels(rows))
        else:
            yield (
                (plan.split, group.names),
                confidence_counts.count_annotator_confidence(rows[group.names[0]], labels.reference),
            )
