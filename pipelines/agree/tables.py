"""Write the tables of `agree` once all shards are counted: of every two annotators, of each alone, of all together."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import pyarrow as pa

from metrics import agreement_tables, calibration, coverage
from metrics.confidence_counts import AnnotatorConfidence
from metrics.coverage import CoverageCounts
from metrics.ratings import Ratings
from pipelines.agree.transforms import Compared, CompareLabels, GroupPlan, Names, PairPlan, SplitPlan
from schemas import tables
from storage import parquet

PAIR_TABLES = ("summary", "measures", "confusion", "joint_confidence", "coverage", "coverage_curve")
ALONE_TABLES = ("calibration", "coverage", "coverage_curve")
MANY_TABLES = ("measures",)
Counts = Compared | AnnotatorConfidence | Ratings
Keys = Mapping[str, str | None]


@dataclass(eq=False)
class WriteAgreement(beam.PTransform):  # type: ignore[misc]
    """Compare label sets, and write the tables of agreement.

    Attributes:
        threshold_split: the split by which thresholds are chosen.
        targets: accuracies for which they are.
    """

    plans: tuple[SplitPlan, ...]
    threshold_split: str
    targets: tuple[float, ...]

    def expand(self, begin: beam.Pipeline) -> beam.PCollection:
        """The path of a table of each comparison, written last of its own."""
        plans = {plan.split: plan for plan in self.plans}
        return (
            begin
            | CompareLabels(self.plans)
            | "Splits" >> beam.MapTuple(key_by_annotators)
            | "Together" >> beam.GroupByKey()
            | "Tables" >> beam.FlatMap(write_tables, plans, self.threshold_split, self.targets)
        )


def key_by_annotators(key: tuple[str, Names], counts: Counts) -> tuple[Names, tuple[str, Counts]]:
    """The counts of some annotators on a split, keyed by the annotators."""
    split, names = key
    return names, (split, counts)


def write_tables(
    keyed: tuple[Names, Iterable[tuple[str, Counts]]],
    plans: Mapping[str, SplitPlan],
    threshold_split: str,
    targets: tuple[float, ...],
) -> list[str]:
    """Write the tables of some annotators on every split; the path of the last one of each."""
    names, by_split = keyed[0], dict(keyed[1])
    written = []
    for split, counts in sorted(by_split.items()):
        plan = plans[split]
        chosen: Any = by_split.get(threshold_split) if threshold_split != split else None
        if plan.evaluated and isinstance(counts, Compared):
            (pair,) = (one for one in plan.pairs if (one.a, one.b) == names)
            written.append(write_pair(pair, counts, chosen, threshold_split, targets))
        elif plan.evaluated and isinstance(counts, AnnotatorConfidence | Ratings):
            (group,) = (one for one in plan.groups if one.names == names)
            written.append(write_group(group, counts, chosen, threshold_split, targets))
    return written


def write_pair(
    plan: PairPlan, compared: Compared, chosen: Compared | None, threshold_split: str, targets: tuple[float, ...]
) -> str:
    """Write the tables of two annotators; the summary carries the count of what went in, and is written last."""
    keys = {"dataset": plan.dataset, "split": plan.split, "annotator_a": plan.a, "annotator_b": plan.b}
    counts, of_split = compared.confidence, chosen.confidence if chosen else None
    joint = counts.joint if counts else {}
    built = {
        "joint_confidence": _by_kind(tables.JOINT_CONFIDENCE, joint, calibration.joint_table, keys),
        **_coverage(
            keys, counts.coverage if counts else {}, of_split.coverage if of_split else {}, threshold_split, targets
        ),
        **agreement_tables.pair_tables(compared.counts, keys),
    }
    summary = built.pop("summary")
    for name, table in built.items():
        parquet.write(plan.table(name), table, plan.fingerprint)
    parquet.write(plan.table("summary"), summary, plan.fingerprint, compared.report.to_json())
    return plan.table("summary")


def write_group(
    plan: GroupPlan,
    counts: AnnotatorConfidence | Ratings,
    chosen: AnnotatorConfidence | None,
    threshold_split: str,
    targets: tuple[float, ...],
) -> str:
    """Write the tables of one annotator alone, or the one of many together."""
    keys = {"dataset": plan.dataset, "split": plan.split}
    labels = json.dumps(plan.labels)
    if isinstance(counts, Ratings):
        built = {"measures": agreement_tables.group_measures(counts, keys)}
    else:
        (name,) = plan.names
        whose = {**keys, "annotator_a": name, "annotator_b": None}
        of_split = chosen.coverage if chosen else {}
        built = {
            "calibration": calibration.calibration_table(counts.reliability, {**keys, "annotator": name}),
            **_coverage(whose, counts.coverage, of_split, threshold_split, targets),
        }
    for table_name, table in built.items():
        parquet.write(plan.table(table_name), table, plan.fingerprint, labels)
    return plan.table(next(iter(built)))


def _coverage(
    keys: Keys,
    counts: Mapping[str, CoverageCounts],
    chosen: Mapping[str, CoverageCounts],
    threshold_split: str,
    targets: tuple[float, ...],
) -> dict[str, pa.Table]:
    """Coverage by kind of confidence: its curve, and at thresholds, where some split was counted to choose them."""
    evaluated = {kind: one for kind, one in counts.items() if kind in chosen}

    def at_thresholds(one: CoverageCounts, of: Keys) -> pa.Table:
        of_split = chosen[str(of["confidence"])]
        return coverage.coverage_table(of_split, one, {**of, "threshold_split": threshold_split}, targets)

    return {
        "coverage": _by_kind(tables.COVERAGE, evaluated, at_thresholds, keys),
        "coverage_curve": _by_kind(tables.COVERAGE_CURVE, counts, coverage.curve_table, keys),
    }


def _by_kind(schema: pa.Schema, counts: Mapping[str, Any], table: Callable[..., pa.Table], keys: Keys) -> pa.Table:
    """A table of every kind of confidence, one after the other; empty where there is none."""
    parts = [table(one, {**keys, "confidence": kind}) for kind, one in counts.items()]
    return pa.concat_tables([schema.empty_table(), *parts])
