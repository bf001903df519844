"""The driver's side of `agree`: which pairs of annotators are to be compared, and declaring each comparison whole."""

import itertools
import logging
import time
from typing import Any

import apache_beam as beam

from pipelines import execution, progress
from pipelines.agree import CompareLabels, PairPlan, PairShard
from pipelines.execution import Context, StageResult
from schemas import products, storage, tables
from schemas.errors import IncompleteError
from schemas.products import ShardFolder, ShardReport
from schemas.settings import AgreeSettings

_log = logging.getLogger("concord")


def agree(settings: AgreeSettings, context: Context) -> list[StageResult]:
    """Compare every pair of annotators on every split; only what is missing.

    Raises:
        IncompleteError: a label set is not there, or two speak of different images.
    """
    plans = [
        plan_pair(settings, context.root, split, a, b)
        for split in settings.splits
        for a, b in itertools.combinations(settings.annotators, 2)
    ]
    fresh = [plan for plan in plans if context.force or not is_done(plan)]
    began = time.monotonic()
    counters = _make(fresh, context) if fresh else {}
    seconds = time.monotonic() - began
    results = []
    for plan in plans:
        made = plan in fresh
        counts = _declare(plan) if made else products.require_manifest(plan.pairs.folder, "pairs", "")["counts"]
        product = f"{plan.dataset}/{plan.a}-{plan.b}/{plan.split}"
        results.append(StageResult("agree", product, made, seconds if made else 0.0, counts, counters if made else {}))
    return results


def plan_pair(settings: AgreeSettings, root: str, split: str, a: str, b: str) -> PairPlan:
    """The comparison of two annotators on one split."""
    names = [a, b, *([settings.truth] if settings.truth else [])]
    sets = [products.label_set(root, settings.dataset, name, split) for name in names]
    images = {name: _images_of(labels) for name, labels in zip(names, sets, strict=True)}
    if len(set(images.values())) > 1 or len({labels.shards for labels in sets}) > 1:
        raise IncompleteError(
            f"the label sets of {', '.join(names)} for split {split!r} of {settings.dataset!r} were made from "
            "different conversions of the dataset: run concord label again"
        )
    recipe = {"labels": [labels.fingerprint for labels in sets], "names": names, "split": split}
    fingerprint = products.fingerprint("agree", dataset=settings.dataset, **recipe)
    truth = sets[2] if settings.truth else None
    kept = settings.pairs == "all"
    return PairPlan(root, settings.dataset, split, a, b, sets[0], sets[1], truth, settings.truth, fingerprint, kept)


def _images_of(labels: ShardFolder) -> str:
    return str(products.require_manifest(labels.folder, "label set", "run concord label")["images"])


def is_done(plan: PairPlan) -> bool:
    """Whether the pairs are complete, if they are asked for, and every table is there, all made from just this."""
    manifest = products.find_manifest(plan.pairs.folder)
    if (
        manifest is None
        or manifest["fingerprint"] != plan.fingerprint
        or (plan.kept and not manifest.get("pairs", True))
    ):
        return False
    paths = [plan.table(name) for name in ("summary", "confusion")]
    return all(storage.stat(path) is not None and tables.read_tags(path)[0] == plan.fingerprint for path in paths)


def _make(plans: list[PairPlan], context: Context) -> dict[str, int]:
    shards: list[PairShard] = []
    for plan in plans:
        for name in ("summary", "confusion"):
            storage.remove(plan.table(name))
            storage.sweep_partials(plan.table(name).rpartition("/")[0])
        done = plan.pairs.prepare(afresh=context.force or not plan.kept)
        shards += [PairShard(plan, shard, shard in done) for shard in range(plan.pairs.shards)]

    def build(pipeline: beam.Pipeline) -> None:
        pipeline | "Agree" >> CompareLabels(tuple(shards))

    missing = sum(not source.done for source in shards)
    images = sum(products.require_manifest(plan.labels_a.folder, "label set", "")["rows"] for plan in plans)
    if not any(plan.kept for plan in plans):  # then nothing is committed before the figures
        _log.info("agree: %s images", f"{images:,}")
        return execution.run(f"concord agree {plans[0].dataset}", build, context.beam_flags)
    with progress.shown("agree", missing, images, lambda: sum(plan.pairs.committed() for plan in plans)):
        return execution.run(f"concord agree {plans[0].dataset}", build, context.beam_flags)


def _declare(plan: PairPlan) -> dict[str, Any]:
    done = plan.pairs.done()
    if plan.kept and len(done) < plan.pairs.shards:
        raise IncompleteError(
            f"only {len(done)} of {plan.pairs.shards} shards of {plan.pairs.folder} were written; run again"
        )
    report = ShardReport.from_json(tables.read_tags(plan.table("summary"))[1])
    counts = {"in": report.records_in, "out": report.records_out, "unpaired": dict(report.rejected)}
    keys = {"dataset": plan.dataset, "split": plan.split, "a": plan.a, "b": plan.b, "truth": plan.truth_name}
    labels = {plan.a: plan.labels_a.fingerprint, plan.b: plan.labels_b.fingerprint}
    plan.pairs.complete(**keys, labels=labels, pairs=plan.kept, rows=report.records_out, counts=counts)
    return counts
