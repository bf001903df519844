"""Agreement: which annotators are compared on which splits, what is missing, and what each manifest states.

concord agree --annotators cnn1,cnn2 --reference human --dataset svhn --splits test --root out
"""

import dataclasses
import itertools
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from metrics import measures
from pipelines import runner
from pipelines.agree.tables import ALONE_TABLES, MANY_TABLES, PAIR_TABLES, WriteAgreement
from pipelines.agree.transforms import GroupPlan, LabelSet, PairPlan, SplitPlan
from schemas import layout
from schemas.errors import IncompleteError, InputError
from schemas.manifests import (
    MULTICLASS,
    MULTILABEL,
    ConfirmationManifest,
    DatasetManifest,
    ImagesManifest,
    LabelsManifest,
    PairsManifest,
)
from schemas.settings.agree import AgreeSettings
from schemas.stage import Context, Driver, Plan, Product, State
from storage import parquet, products, stores
from storage.products import ShardFolder, ShardReport

_log = logging.getLogger("concord")
ROWS_PER_SECOND, COUNTED_PER_SECOND = 2_000_000, 3_000_000  # of one core, with and without a row per image
ROW_BYTES = 16  # of a pair


@dataclass(frozen=True)
class Comparison:
    """What is compared in one job.

    Attributes:
        plans: everything, by split.
        missing: what of it has to be made.
        threshold_plan: the split by which thresholds are chosen; None for none.
    """

    settings: AgreeSettings
    plans: tuple[SplitPlan, ...]
    missing: tuple[SplitPlan, ...]
    threshold_plan: SplitPlan | None


class AgreeDriver(Driver[AgreeSettings]):
    """Compares every pair of annotators on every split; only what is missing."""

    def reads(self, settings: AgreeSettings, root: str) -> Iterable[str]:
        """The label sets."""
        names = [*settings.annotators, *([settings.reference] if settings.reference else [])]
        return [layout.labels(root, settings.dataset, name, split) for name in names for split in settings.splits]

    def writes(self, settings: AgreeSettings, root: str) -> Iterable[str]:
        """The comparisons."""
        return (layout.comparisons(root, settings.dataset),)

    def plan(self, settings: AgreeSettings, context: Context) -> Plan:
        """Which comparisons are missing.

        Raises:
            IncompleteError: a label set is not there, or two are of different images.
            InputError: two annotators cannot be compared.
        """
        threshold_plan = plan_threshold_split(settings, context.root)
        plans = tuple(plan_split(settings, context.root, split, threshold_plan) for split in settings.splits)
        missing = tuple(part for plan in plans if (part := missing_of(plan, context.force)))
        absent = {part.split: part for part in missing}
        pairs = [self._product(one, plan, absent.get(plan.split)) for plan in plans for one in plan.pairs]
        return Plan(settings, tuple(pairs), Comparison(settings, plans, missing, threshold_plan))

    def _product(self, one: PairPlan, plan: SplitPlan, missing: SplitPlan | None) -> Product:
        """One comparison; it is done if the tables of its annotators alone, and of all together, are there as well."""
        annotators = {one.a, one.b}
        images, name = plan.annotators[0].labels.rows(), f"{one.dataset}/{one.a}-{one.b}/{one.split}"
        if missing is None or not (
            any({pair.a, pair.b} == annotators for pair in missing.pairs)
            or any(annotators & set(group.names) for group in missing.groups)
        ):
            manifest = products.require_manifest(one.pairs.folder, PairsManifest, "comparison", "run concord agree")
            return Product(name, State.DONE, manifest.counts, records=images)
        return Product(
            name,
            State.TO_DO,
            records=images,
            elements=one.shards,
            element_bytes=images // one.shards * ROW_BYTES,
            written_bytes=images * ROW_BYTES if one.kept else 0,
            core_seconds=images / (ROWS_PER_SECOND if one.kept else COUNTED_PER_SECOND),
        )

    def prepare(self, plan: Plan, context: Context) -> Comparison:
        """Remove whatever stands in the way of the comparisons that are to be made."""
        work: Comparison = plan.work
        prepared = [_prepare_split(missing, context.force) for missing in work.missing]
        if work.threshold_plan:
            prepared = _with_threshold_split(prepared, work.threshold_plan)
        return dataclasses.replace(work, missing=tuple(prepared))

    def make(self, work: Comparison, context: Context) -> dict[str, int]:
        """Compare the missing annotators, all splits in one job."""
        settings = work.settings
        steps = {"Agree": WriteAgreement(work.missing, settings.threshold_split, settings.targets)}
        kept = [one for plan in work.missing for one in plan.pairs if one.kept]
        images = sum(plan.annotators[0].labels.rows() for plan in work.missing)
        return runner.run_job(
            f"agree {settings.dataset}",
            steps,
            context,
            sum(one.shards - len(one.done) for one in kept),  # without pairs nothing is written before the figures
            committed=lambda: sum(one.pairs.committed() for one in kept),
            records=images,
        )

    def commit(self, work: Comparison, product: Product) -> dict[str, Any]:
        """Check that every shard was compared, then write the comparison's manifest."""
        plan, split = next(
            (one, plan)
            for plan in work.plans
            for one in plan.pairs
            if product.name == f"{one.dataset}/{one.a}-{one.b}/{one.split}"
        )
        done = plan.pairs.done()
        if plan.kept and len(done) < plan.shards:
            raise IncompleteError(
                f"only {len(done)} of {plan.shards} shards of {plan.pairs.folder} were written; run again"
            )
        report = ShardReport.from_json(parquet.read_tags(plan.table("summary"))[1])
        counts = {"in": report.records_in, "out": report.records_out, "unpaired": dict(report.rejected)}
        rows = report.records_out if split.task != MULTILABEL else None  # there a row is a label
        pairs = [plan.pairs.table_files(plan.root, "pairs", rows)] if plan.kept else []
        lone = [products.single_table_file(plan.root, name, plan.table(name)) for name in PAIR_TABLES]
        manifest = PairsManifest(
            stage="agree",
            product=product.name,
            fingerprint=plan.fingerprint,
            tables=(*pairs, *lone),
            counts=counts,
            dataset=plan.dataset,
            split=plan.split,
            annotator_a=plan.a,
            annotator_b=plan.b,
            reference=split.reference.name if split.reference else "",
            task=split.task,
            labels={one.name: one.labels.fingerprint for one in split.annotators if one.name in (plan.a, plan.b)},
            shards=plan.shards,
            has_pairs=plan.kept,
            rows=report.records_out,
        )
        products.write_manifest(plan.pairs.folder, manifest)
        return counts


def plan_split(settings: AgreeSettings, root: str, split: str, threshold_plan: SplitPlan | None = None) -> SplitPlan:
    """The comparisons of every two annotators on one split, with thresholds from `threshold_plan`'s split."""
    names = [*settings.annotators, *([settings.reference] if settings.reference else [])]
    sets = {name: products.label_set(root, settings.dataset, name, split) for name in names}
    manifests = {name: products.label_manifest(root, settings.dataset, name, split) for name in names}
    homes = _find_datasets(root, settings.dataset)
    _check_same_images(settings, split, {name: one.images for name, one in manifests.items()}, homes)
    tasks = [*(home.task for home in homes), *(one.task for one in manifests.values())]
    task = next(filter(None, tasks), MULTICLASS)
    label_sets = {
        name: _label_set(root, settings.dataset, split, name, sets[name], manifests[name], task) for name in sets
    }
    whole = {name: task != MULTILABEL or products.states_presence_alone(labels) for name, labels in sets.items()}
    _check_known(settings, whole)
    shards = max(labels.shards for labels in sets.values())
    prints = {name: labels.fingerprint for name, labels in sets.items()}
    recipe = partial(_fingerprint, settings, split, prints, threshold_plan)
    groups: list[tuple[str, ...]] = [
        (name,) for name in settings.annotators if settings.reference and name != settings.reference
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
        annotators=tuple(label_sets[name] for name in settings.annotators),
        reference=label_sets[settings.reference] if settings.reference else None,
        reference_is_complete=bool(settings.reference) and whole[settings.reference],
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
    threshold_plan: SplitPlan | None,
    annotators: Sequence[str],
) -> str:
    """Of what follows from some annotators' labels."""
    chosen = {}
    if threshold_plan and threshold_plan.split != split and len(annotators) < 3:
        read = {
            one.name: one.labels.fingerprint for one in (*threshold_plan.annotators, threshold_plan.reference) if one
        }
        by = [read[name] for name in (*annotators, settings.reference)]
        chosen = {"tuned": by, "tuned_on": threshold_plan.split, "targets": settings.targets}
    reference = [labels[settings.reference], settings.reference] if settings.reference else []
    recipe = {"labels": [labels[name] for name in annotators], "names": annotators, "reference": reference, **chosen}
    columns = sorted(measures.descriptions())  # with one measure more, the tables are written anew
    return products.fingerprint("agree", dataset=settings.dataset, split=split, columns=columns, **recipe)


def _find_datasets(root: str, dataset: str) -> list[DatasetManifest]:
    """The manifests that say what a dataset is: of its images, and of what humans confirmed."""
    versions = stores.parent(layout.images(root, dataset, "version"))
    folders = [layout.images(root, dataset, version) for version in stores.list_folders(versions)]
    images = [products.find_manifest(folder, ImagesManifest) for folder in folders]
    confirmed = products.find_manifest(layout.confirmation(root, dataset), ConfirmationManifest)
    return [manifest for manifest in (*images, confirmed) if manifest is not None]


def _check_same_images(
    settings: AgreeSettings, split: str, images: dict[str, str], homes: list[DatasetManifest]
) -> None:
    """Sets of the dataset as it is now go together, whether of its images or of ids alone; others only if all alike."""
    now = {home.fingerprint for home in homes}
    if len({"now" if one in now else one for one in images.values()}) > 1:
        raise IncompleteError(
            f"the label sets of {', '.join(images)} for split {split!r} of {settings.dataset!r} were made from "
            "different conversions of the dataset: run concord label again"
        )


def _label_set(
    root: str, dataset: str, split: str, name: str, labels: ShardFolder, manifest: LabelsManifest, task: str
) -> LabelSet:
    """A label set; where images have several labels, with the index that states which of them the annotator covers."""
    if task != MULTILABEL or not manifest.covers_all_images:
        return LabelSet(name, labels)
    index = ShardFolder(layout.index(root, dataset, split), labels.shards, manifest.images)
    rejects = ShardFolder(layout.label_rejects(root, dataset, name, split), labels.shards, labels.fingerprint)
    return LabelSet(name, labels, index, rejects if stores.list_files(rejects.folder) else None)


def _check_known(settings: AgreeSettings, whole: dict[str, bool]) -> None:
    """Of several labels, an annotator that says no to some leaves others open, and can only be the reference."""
    for name in settings.annotators:
        if not whole[name]:
            raise InputError(
                f"{name!r} also says which labels images have not, and leaves others open: what it did not say is not "
                f"known; take it as the reference (--reference {name}), or compare others"
            )


def plan_threshold_split(settings: AgreeSettings, root: str) -> SplitPlan | None:
    """The split by which thresholds are chosen; None without a reference, or where an annotator has no labels of it."""
    split = settings.threshold_split
    names = [*settings.annotators, settings.reference]
    folders = (
        [layout.labels(root, settings.dataset, name, split) for name in names] if settings.reference and split else []
    )
    if not folders or any(products.find_manifest(folder, LabelsManifest) is None for folder in folders):
        if folders:
            _log.info("agree: no thresholds: not all annotators have labels for %r", split)
        return None
    plan = plan_split(settings, root, split)
    if plan.task == MULTILABEL:
        return None
    bare = tuple(dataclasses.replace(one, kept=False) for one in plan.pairs)
    alone = tuple(one for one in plan.groups if len(one.names) == 1)
    return dataclasses.replace(plan, pairs=bare, groups=alone, evaluated=False)


def is_done(plan: PairPlan) -> bool:
    """Whether the pairs are complete, if they are kept, and every table is there, all made from just this."""
    manifest = products.find_manifest(plan.pairs.folder, PairsManifest)
    if manifest is None or manifest.fingerprint != plan.fingerprint:
        return False
    complete = not plan.kept or (manifest.has_pairs and plan.pairs.is_whole())
    return complete and _there(plan, PAIR_TABLES)


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


def _with_threshold_split(plans: list[SplitPlan], threshold_plan: SplitPlan) -> list[SplitPlan]:
    """The same, with what has to be counted on the split by which their thresholds are chosen."""
    pairs = {(one.a, one.b) for plan in plans for one in plan.pairs}
    names = {one.names for plan in plans for one in plan.groups}
    own = next((plan for plan in plans if plan.split == threshold_plan.split), None)
    own_pairs = {(one.a, one.b) for one in own.pairs} if own else set()
    own_names = {one.names for one in own.groups} if own else set()
    more = [one for one in threshold_plan.pairs if (one.a, one.b) in pairs - own_pairs]
    alone = [one for one in threshold_plan.groups if one.names in names - own_names]
    if not more and not alone:
        return plans
    if own is None:
        return [*plans, dataclasses.replace(threshold_plan, pairs=tuple(more), groups=tuple(alone))]
    whole = dataclasses.replace(own, pairs=(*own.pairs, *more), groups=(*own.groups, *alone))
    return [whole if plan is own else plan for plan in plans]


def _prepare_split(plan: SplitPlan, force: bool) -> SplitPlan:
    """The same, with whatever stands in its way swept away, and the shards of pairs that are there already."""
    paths = [one.table(name) for one in plan.groups for name in _tables(one)]
    for path in [*paths, *(one.table(name) for one in plan.pairs for name in PAIR_TABLES)]:
        stores.remove(path)
        stores.remove_partial_file(path)
    pairs = tuple(
        dataclasses.replace(one, done=frozenset(one.pairs.prepare(afresh=force or not one.kept))) for one in plan.pairs
    )
    return dataclasses.replace(plan, pairs=pairs)


DRIVER = AgreeDriver()
