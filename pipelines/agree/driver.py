"""The driver's side of `agree`: which annotators are to be compared on which splits, and declaring each pair whole."""

import dataclasses
import itertools
import logging
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import apache_beam as beam

from metrics import measures
from models import targets
from pipelines import progress, runner
from pipelines.agree.tables import ALONE_TABLES, MANY_TABLES, PAIR_TABLES, WriteAgreement
from pipelines.agree.transforms import GroupPlan, LabelSet, PairPlan, SplitPlan
from pipelines.runner import Context, StageResult
from schemas import layout
from schemas.errors import IncompleteError, InputError
from schemas.manifests import MULTICLASS, MULTILABEL
from schemas.settings import AgreeSettings
from storage import parquet, products, stores
from storage.products import ShardFolder, ShardReport

_log = logging.getLogger("concord")


def agree(settings: AgreeSettings, context: Context) -> list[StageResult]:
    """Compare every pair of annotators on every split; only what is missing.

    Raises:
        IncompleteError: a label set is not there, or two speak of different images.
        InputError: two annotators cannot be compared.
    """
    tuning = tuning_split(settings, context.root)
    plans = [plan_split(settings, context.root, split, tuning) for split in settings.splits]
    fresh = [missing for plan in plans if (missing := missing_of(plan, context.force))]
    began = time.monotonic()
    counters = _make(fresh, tuning, settings, context) if fresh else {}
    seconds = time.monotonic() - began
    made = {(one.split, one.a, one.b) for plan in fresh for one in plan.pairs}
    results = []
    for plan in plans:
        for one in plan.pairs:
            new = (one.split, one.a, one.b) in made
            counts = _declare(one, plan) if new else products.require_manifest(one.pairs.folder, "pairs", "")["counts"]
            product = f"{one.dataset}/{one.a}-{one.b}/{one.split}"
            results.append(StageResult("agree", product, new, seconds if new else 0.0, counts, counters if new else {}))
    return results


def plan_split(settings: AgreeSettings, root: str, split: str, tuning: SplitPlan | None = None) -> SplitPlan:
    """The comparisons of every two annotators on one split; where thresholds are chosen on another one, `tuning`."""
    names = [*settings.annotators, *([settings.truth] if settings.truth else [])]
    sets = {name: products.label_set(root, settings.dataset, name, split) for name in names}
    facts = {name: products.require_manifest(labels.folder, "label set", "") for name, labels in sets.items()}
    homes = _homes(root, settings.dataset)
    _check_same_images(settings, split, {name: str(one["images"]) for name, one in facts.items()}, homes)
    task = next((str(one["task"]) for one in (*homes, *facts.values()) if "task" in one), MULTICLASS)
    found = {name: _label_set(root, settings.dataset, split, name, sets[name], facts[name], task) for name in sets}
    whole = {name: task != MULTILABEL or targets.is_complete(labels) for name, labels in sets.items()}
    _check_known(settings, whole)
    shards = max(labels.shards for labels in sets.values())
    prints = {name: labels.fingerprint for name, labels in sets.items()}
    recipe = partial(_fingerprint, settings, split, prints, tuning)
    groups: list[tuple[str, ...]] = [
        (name,) for name in settings.annotators if settings.truth and name != settings.truth
    ]
    groups += [settings.annotators] if len(settings.annotators) > 2 else []
    pairs = tuple(
        PairPlan(root, settings.dataset, split, a, b, shards, recipe((a, b)), settings.pairs == "all")
        for a, b in itertools.combinations(settings.annotators, 2)
    )
    return SplitPlan(
        root=root,
        dataset=settings.dataset,
        split=split,
        task=task,
        annotators=tuple(found[name] for name in settings.annotators),
        truth=found[settings.truth] if settings.truth else None,
        whole_truth=bool(settings.truth) and whole[settings.truth],
        pairs=pairs,
        groups=tuple(
            GroupPlan(root, settings.dataset, split, names, recipe(names), {name: prints[name] for name in names})
            for names in groups
            if task != MULTILABEL
        ),
        shards=shards,
    )


def _fingerprint(
    settings: AgreeSettings,
    split: str,
    labels: Mapping[str, str],
    tuning: SplitPlan | None,
    annotators: Sequence[str],
) -> str:
    """Of what follows from some annotators' labels."""
    chosen = {}
    if tuning and tuning.split != split and len(annotators) < 3:
        read = {one.name: one.labels.fingerprint for one in (*tuning.annotators, tuning.truth) if one}
        by = [read[name] for name in (*annotators, settings.truth)]
        chosen = {"tuned": by, "tuned_on": tuning.split, "targets": settings.targets}
    truth = [labels[settings.truth], settings.truth] if settings.truth else []
    recipe = {"labels": [labels[name] for name in annotators], "names": annotators, "truth": truth, **chosen}
    columns = sorted(measures.descriptions())  # one measure more, and the tables are written anew
    return products.fingerprint("agree", dataset=settings.dataset, split=split, columns=columns, **recipe)


def _homes(root: str, dataset: str) -> list[dict[str, Any]]:
    """The manifests that say what a dataset is: of its images, and of what people confirmed."""
    versions = stores.parent(layout.images(root, dataset, "version"))
    folders = [layout.images(root, dataset, version) for version in stores.list_folders(versions)]
    found = [products.find_manifest(folder) for folder in (*folders, layout.confirmation(root, dataset))]
    return [manifest for manifest in found if manifest is not None]


def _check_same_images(
    settings: AgreeSettings, split: str, images: dict[str, str], homes: list[dict[str, Any]]
) -> None:
    """Sets of the dataset as it is now go together, whether of its images or of ids alone; others only if all alike."""
    now = {str(home["fingerprint"]) for home in homes}
    if len({"now" if one in now else one for one in images.values()}) > 1:
        raise IncompleteError(
            f"the label sets of {', '.join(images)} for split {split!r} of {settings.dataset!r} were made from "
            "different conversions of the dataset: run concord label again"
        )


def _label_set(
    root: str, dataset: str, split: str, name: str, labels: ShardFolder, facts: dict[str, Any], task: str
) -> LabelSet:
    """A label set; where images have several labels, with what tells which of them the annotator has seen."""
    if task != MULTILABEL or not facts.get("seen_all"):
        return LabelSet(name, labels)
    index = ShardFolder(layout.index(root, dataset, split), labels.shards, str(facts["images"]))
    rejects = ShardFolder(layout.label_rejects(root, dataset, name, split), labels.shards, labels.fingerprint)
    return LabelSet(name, labels, index, rejects if stores.list_files(rejects.folder) else None)


def _check_known(settings: AgreeSettings, whole: dict[str, bool]) -> None:
    """Of several labels, an annotator that says no to some leaves others open, and can only be taken as truth."""
    for name in settings.annotators:
        if not whole[name]:
            raise InputError(
                f"{name!r} also says which labels images have not, and leaves others open: what it did not say is not "
                f"known; take it as the truth (--truth {name}), or compare others"
            )


def tuning_split(settings: AgreeSettings, root: str) -> SplitPlan | None:
    """The split by which thresholds are chosen; None where there is no truth, or not every annotator labelled it."""
    split = settings.tuned_on
    names = [*settings.annotators, settings.truth]
    folders = [layout.labels(root, settings.dataset, name, split) for name in names] if settings.truth and split else []
    if not folders or any(products.find_manifest(folder) is None for folder in folders):
        if folders:
            _log.info("agree: not all label split %r, so no thresholds of confidence are chosen", split)
        return None
    plan = plan_split(settings, root, split)
    if plan.task == MULTILABEL:
        return None
    bare = tuple(dataclasses.replace(one, kept=False) for one in plan.pairs)
    alone = tuple(one for one in plan.groups if len(one.names) == 1)
    return dataclasses.replace(plan, pairs=bare, groups=alone, judged=False)


def is_done(plan: PairPlan) -> bool:
    """Whether the pairs are complete, if they are asked for, and every table is there, all made from just this."""
    manifest = products.find_manifest(plan.pairs.folder)
    if manifest is None or manifest["fingerprint"] != plan.fingerprint:
        return False
    whole = not plan.kept or (manifest.get("pairs", True) and plan.pairs.is_whole())
    return whole and _there(plan, PAIR_TABLES)


def _tables(group: GroupPlan) -> tuple[str, ...]:
    return ALONE_TABLES if len(group.names) == 1 else MANY_TABLES


def _there(plan: PairPlan | GroupPlan, names: tuple[str, ...]) -> bool:
    paths = [plan.table(name) for name in names]
    return all(stores.stat(path) is not None and parquet.read_tags(path)[0] == plan.fingerprint for path in paths)


def missing_of(plan: SplitPlan, force: bool) -> SplitPlan | None:
    """What is still to be made of a split's comparisons; None where nothing is."""
    pairs = tuple(one for one in plan.pairs if force or not is_done(one))
    groups = tuple(one for one in plan.groups if force or not _there(one, _tables(one)))
    return dataclasses.replace(plan, pairs=pairs, groups=groups) if pairs or groups else None


def _make(
    plans: list[SplitPlan], tuning: SplitPlan | None, settings: AgreeSettings, context: Context
) -> dict[str, int]:
    prepared = [_prepared(plan, context.force) for plan in plans]
    if tuning:
        prepared = _with_tuning(prepared, tuning)

    def build(pipeline: beam.Pipeline) -> None:
        pipeline | "Agree" >> WriteAgreement(tuple(prepared), settings.tuned_on, settings.targets)

    kept = [one for plan in prepared for one in plan.pairs if one.kept]
    images = sum(plan.annotators[0].labels.rows() for plan in prepared)
    title = f"concord agree {settings.dataset}"
    if not kept:  # then nothing is committed before the figures
        _log.info("agree: %s labels of each annotator", f"{images:,}")
        return runner.run(title, build, context.beam_flags)
    missing = sum(one.shards - len(one.done) for one in kept)
    with progress.shown("agree", missing, images, lambda: sum(one.pairs.committed() for one in kept)):
        return runner.run(title, build, context.beam_flags)


def _with_tuning(plans: list[SplitPlan], tuning: SplitPlan) -> list[SplitPlan]:
    """The same, with what has to be counted on the split by which their thresholds are chosen."""
    pairs = {(one.a, one.b) for plan in plans for one in plan.pairs}
    names = {one.names for plan in plans for one in plan.groups}
    own = next((plan for plan in plans if plan.split == tuning.split), None)
    made_pairs = {(one.a, one.b) for one in own.pairs} if own else set()
    made_names = {one.names for one in own.groups} if own else set()
    more = [one for one in tuning.pairs if (one.a, one.b) in pairs - made_pairs]
    alone = [one for one in tuning.groups if one.names in names - made_names]
    if not more and not alone:
        return plans
    if own is None:
        return [*plans, dataclasses.replace(tuning, pairs=tuple(more), groups=tuple(alone))]
    whole = dataclasses.replace(own, pairs=(*own.pairs, *more), groups=(*own.groups, *alone))
    return [whole if plan is own else plan for plan in plans]


def _prepared(plan: SplitPlan, force: bool) -> SplitPlan:
    """The same, with whatever stands in its way swept away, and the shards of pairs that are there already."""
    paths = [one.table(name) for one in plan.groups for name in _tables(one)]
    for path in [*paths, *(one.table(name) for one in plan.pairs for name in PAIR_TABLES)]:
        stores.remove(path)
        stores.remove_partial_file(path)
    pairs = tuple(
        dataclasses.replace(one, done=frozenset(one.pairs.prepare(afresh=force or not one.kept))) for one in plan.pairs
    )
    return dataclasses.replace(plan, pairs=pairs)


def _declare(plan: PairPlan, split: SplitPlan) -> dict[str, Any]:
    done = plan.pairs.done()
    if plan.kept and len(done) < plan.shards:
        raise IncompleteError(
            f"only {len(done)} of {plan.shards} shards of {plan.pairs.folder} were written; run again"
        )
    report = ShardReport.from_json(parquet.read_tags(plan.table("summary"))[1])
    counts = {"in": report.records_in, "out": report.records_out, "unpaired": dict(report.rejected)}
    truth = split.truth.name if split.truth else ""
    keys = {"dataset": plan.dataset, "split": plan.split, "a": plan.a, "b": plan.b, "truth": truth}
    labels = {one.name: one.labels.fingerprint for one in split.annotators if one.name in (plan.a, plan.b)}
    beside = {name: parquet.footer_hashes([plan.table(name)]) for name in PAIR_TABLES}
    made = {"labels": labels, "pairs": plan.kept, "task": split.task, "rows": report.records_out, "counts": counts}
    plan.pairs.complete(beside, **keys, **made)
    return counts
