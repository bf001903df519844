"""The tables of `agree`, written once all shards are counted: of every two annotators, and of all of a split."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import pyarrow as pa

from pipelines import summaries
from pipelines.agree import Compared, CompareLabels, PairKey, PairPlan, Rated, SplitPlan
from pipelines.confidence import coverage, joint, reliability
from schemas import confidence_tables, tables

PAIR_TABLES = ("summary", "confusion", "joint_confidence", "coverage", "coverage_curve")
SPLIT_TABLES = ("annotators", "calibration", "coverage", "coverage_curve")
Found = tuple[str, Compared | Rated]


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
        """The path of each summary, or of the annotators' table."""
        plans = {plan.split: plan for plan in self.plans}
        return (
            begin
            | CompareLabels(self.plans)
            | "Splits" >> beam.MapTuple(lambda key, found: (key[1], (key[0], found)))
            | "Together" >> beam.GroupByKey()
            | "Tables" >> beam.FlatMap(write_tables, plans, self.tuned_on, self.targets)
        )


def write_tables(
    keyed: tuple[PairKey | None, Iterable[Found]],
    plans: Mapping[str, SplitPlan],
    tuned_on: str,
    targets: tuple[float, ...],
) -> list[str]:
    """Write the tables of two annotators on every split, or those of all annotators."""
    key, found = keyed[0], dict(keyed[1])
    written = []
    for split, counted in sorted(found.items()):
        plan = plans[split]
        chosen: Any = found.get(tuned_on) if tuned_on != split else None
        if plan.judged and isinstance(counted, Rated):
            written.append(write_split(plan, counted, chosen, tuned_on, targets))
        elif plan.judged and isinstance(counted, Compared):
            (pair,) = (one for one in plan.pairs if (one.a, one.b) == key)
            written.append(write_pair(pair, counted, chosen, tuned_on, targets))
    return written


def write_pair(
    plan: PairPlan, found: Compared, chosen: Compared | None, tuned_on: str, targets: tuple[float, ...]
) -> str:
    """Write the tables of two annotators; the summary carries the count of what went in, and is written last."""
    keys = {"dataset": plan.dataset, "split": plan.split, "a": plan.a, "b": plan.b}
    made = {"confusion": summaries.confusion(found.counts, keys), **confidence(keys, found, chosen, tuned_on, targets)}
    for name, table in made.items():
        tables.write(plan.table(name), table, plan.fingerprint)
    summary = summaries.summary(found.counts, keys)
    tables.write(plan.table("summary"), summary, plan.fingerprint, found.report.to_json())
    return plan.table("summary")


def confidence(
    keys: Mapping[str, str], found: Compared, chosen: Compared | None, tuned_on: str, targets: tuple[float, ...]
) -> dict[str, pa.Table]:
    """The tables of how sure two annotators are; empty where there is nothing to tell."""
    joints, coverages, curves = [], [], []
    sure = found.sure
    for kind, counts in (sure.joint if sure else {}).items():
        joints.append(joint.joint_table(counts, {**keys, "confidence": kind}))
    for kind, judged in (sure.coverage if sure else {}).items():
        of = {**keys, "confidence": kind}
        curves.append(coverage.curve_table(judged, of))
        if chosen and chosen.sure and kind in chosen.sure.coverage:
            by = {**of, "chosen_on": tuned_on}
            coverages.append(coverage.agreed_table(chosen.sure.coverage[kind], judged, by, targets))
    return {
        "joint_confidence": pa.concat_tables([confidence_tables.JOINT_CONFIDENCE.empty_table(), *joints]),
        "coverage": pa.concat_tables([confidence_tables.COVERAGE.empty_table(), *coverages]),
        "coverage_curve": pa.concat_tables([confidence_tables.COVERAGE_CURVE.empty_table(), *curves]),
    }


def write_split(plan: SplitPlan, found: Rated, chosen: Rated | None, tuned_on: str, targets: tuple[float, ...]) -> str:
    """Write the tables of all annotators of a split."""
    keys = {"dataset": plan.dataset, "split": plan.split}
    empty: Any = summaries.annotators_schema().empty_table()
    calibrated, coverages, curves = [], [], []
    for name, counts in found.alone.items():
        calibrated.append(reliability.calibration_table(counts.reliability, {**keys, "annotator": name}))
        for kind, judged in counts.coverage.items():
            of = {**keys, "a": name, "confidence": kind}
            curves.append(coverage.curve_table(judged, {**of, "b": None}))
            if chosen and kind in chosen.alone[name].coverage:
                by = {**of, "chosen_on": tuned_on}
                coverages.append(coverage.alone_table(chosen.alone[name].coverage[kind], judged, by, targets))
    made = {
        "calibration": pa.concat_tables([confidence_tables.CALIBRATION.empty_table(), *calibrated]),
        "coverage": pa.concat_tables([confidence_tables.COVERAGE.empty_table(), *coverages]),
        "coverage_curve": pa.concat_tables([confidence_tables.COVERAGE_CURVE.empty_table(), *curves]),
        "annotators": summaries.annotators_table(found.ratings, keys) if found.ratings else empty,
    }
    for table, rows in made.items():
        tables.write(plan.table(table), rows, plan.fingerprint)
    return plan.table("annotators")
