"""The tables of `agree`, written once all shards are counted: of every two annotators, and of all of a split."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import pyarrow as pa

from metrics import agreement_tables, calibration, coverage
from metrics.confidence_counts import AnnotatorConfidence
from metrics.ratings import Ratings
from pipelines.agree.transforms import Compared, CompareLabels, GroupPlan, Names, PairPlan, SplitPlan
from schemas import tables
from storage import parquet

PAIR_TABLES = ("summary", "confusion", "joint_confidence", "coverage", "coverage_curve")
ALONE_TABLES = ("calibration", "coverage", "coverage_curve")
MANY_TABLES = ("annotators",)
Found = tuple[str, Compared | AnnotatorConfidence | Ratings]


@dataclass(eq=False)
class WriteAgreement(beam.PTransform):  # type: ignore[misc]
    """Compare label sets, and write what follows.

    Attributes:
        tuned_on: the split by which thresholds are chosen.
        targets: accuracies for which they are.
    """

    plans: tuple[SplitPlan, ...]
    tuned_on: str
    targets: tuple[float, ...]

    def expand(self, begin: beam.Pipeline) -> beam.PCollection:
        """The path of a table of each comparison, written last of its own."""
        plans = {plan.split: plan for plan in self.plans}
        return (
            begin
            | CompareLabels(self.plans)
            | "Splits" >> beam.MapTuple(by_annotators)
            | "Together" >> beam.GroupByKey()
            | "Tables" >> beam.FlatMap(write_tables, plans, self.tuned_on, self.targets)
        )


def by_annotators(key: tuple[str, Names], found: Compared | AnnotatorConfidence | Ratings) -> tuple[Names, Found]:
    """What was counted of some annotators on a split, by whose it is."""
    split, names = key
    return names, (split, found)


def write_tables(
    keyed: tuple[Names, Iterable[Found]], plans: Mapping[str, SplitPlan], tuned_on: str, targets: tuple[float, ...]
) -> list[str]:
    """Write the tables of some annotators on every split."""
    names, found = keyed[0], dict(keyed[1])
    written = []
    for split, counted in sorted(found.items()):
        plan = plans[split]
        chosen: Any = found.get(tuned_on) if tuned_on != split else None
        if plan.judged and isinstance(counted, Compared):
            (pair,) = (one for one in plan.pairs if (one.a, one.b) == names)
            written.append(write_pair(pair, counted, chosen, tuned_on, targets))
        elif plan.judged and isinstance(counted, AnnotatorConfidence | Ratings):
            (group,) = (one for one in plan.groups if one.names == names)
            written.append(write_group(group, counted, chosen, tuned_on, targets))
    return written


def write_pair(
    plan: PairPlan, found: Compared, chosen: Compared | None, tuned_on: str, targets: tuple[float, ...]
) -> str:
    """Write the tables of two annotators; the summary carries the count of what went in, and is written last."""
    keys = {"dataset": plan.dataset, "split": plan.split, "a": plan.a, "b": plan.b}
    made = {
        "confusion": agreement_tables.confusion(found.counts, keys),
        **confidence(keys, found, chosen, tuned_on, targets),
    }
    for name, table in made.items():
        parquet.write(plan.table(name), table, plan.fingerprint)
    summary = agreement_tables.summary(found.counts, keys)
    parquet.write(plan.table("summary"), summary, plan.fingerprint, found.report.to_json())
    return plan.table("summary")


def confidence(
    keys: Mapping[str, str], found: Compared, chosen: Compared | None, tuned_on: str, targets: tuple[float, ...]
) -> dict[str, pa.Table]:
    """The tables of how sure two annotators are; empty where there is nothing to tell."""
    joints, coverages, curves = [], [], []
    sure = found.sure
    for kind, counts in (sure.joint if sure else {}).items():
        joints.append(calibration.joint_table(counts, {**keys, "confidence": kind}))
    for kind, judged in (sure.coverage if sure else {}).items():
        of = {**keys, "confidence": kind}
        curves.append(coverage.curve_table(judged, of))
        if chosen and chosen.sure and kind in chosen.sure.coverage:
            by = {**of, "chosen_on": tuned_on}
            coverages.append(coverage.coverage_table(chosen.sure.coverage[kind], judged, by, targets))
    return {
        "joint_confidence": pa.concat_tables([tables.JOINT_CONFIDENCE.empty_table(), *joints]),
        "coverage": pa.concat_tables([tables.COVERAGE.empty_table(), *coverages]),
        "coverage_curve": pa.concat_tables([tables.COVERAGE_CURVE.empty_table(), *curves]),
    }


def write_group(
    plan: GroupPlan,
    found: AnnotatorConfidence | Ratings,
    chosen: AnnotatorConfidence | None,
    tuned_on: str,
    targets: tuple[float, ...],
) -> str:
    """Write the tables of one annotator alone, or the one of many together."""
    keys = {"dataset": plan.dataset, "split": plan.split}
    labels = json.dumps(plan.labels)
    if isinstance(found, Ratings):
        made = {"annotators": agreement_tables.annotators_table(found, keys)}
    else:
        made = alone({**keys, "a": plan.names[0]}, found, chosen, tuned_on, targets)
    for name, table in made.items():
        parquet.write(plan.table(name), table, plan.fingerprint, labels)
    return plan.table(next(iter(made)))


def alone(
    keys: Mapping[str, str],
    found: AnnotatorConfidence,
    chosen: AnnotatorConfidence | None,
    tuned_on: str,
    targets: tuple[float, ...],
) -> dict[str, pa.Table]:
    """The tables of how sure one annotator, `a`, is."""
    whose = {"dataset": keys["dataset"], "split": keys["split"], "annotator": keys["a"]}
    coverages, curves = [], []
    for kind, judged in found.coverage.items():
        of = {**keys, "b": None, "confidence": kind}
        curves.append(coverage.curve_table(judged, of))
        if chosen and kind in chosen.coverage:
            by = {**of, "chosen_on": tuned_on}
            coverages.append(coverage.coverage_table(chosen.coverage[kind], judged, by, targets))
    return {
        "calibration": calibration.calibration_table(found.reliability, whose),
        "coverage": pa.concat_tables([tables.COVERAGE.empty_table(), *coverages]),
        "coverage_curve": pa.concat_tables([tables.COVERAGE_CURVE.empty_table(), *curves]),
    }
