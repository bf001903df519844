"""Machine-made label rows joined with human verdicts: which files, what is there, and where every row went.

concord confirm --machine 'machine-*.csv' --human 'human-*.csv' --dataset open_images --root out
"""

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pipelines import runner
from pipelines.confirm import bloom, join, statistics
from pipelines.confirm.join import VerdictRules
from pipelines.confirm.statistics import Tallies
from pipelines.confirm.transforms import ConfirmLabels, ConfirmPlan, Narrowing
from pipelines.runner import check_rejects
from schemas import layout
from schemas.errors import IncompleteError
from schemas.layout import CONFIRMED, HUMAN, MACHINE
from schemas.manifests import MULTICLASS, MULTILABEL, ConfirmationManifest, LabelsManifest, TableFiles
from schemas.settings.confirm import ConfirmSettings
from schemas.stage import Context, Driver, Plan, Product, State
from storage import hashing, parquet, products, stores
from storage.formats import csv_ranges
from storage.formats.csv_ranges import Range
from storage.formats.csv_tables import read_class_names
from storage.products import ShardFolder
from storage.stores import find_input_files

COLUMNS = ("ImageID", "LabelName", "Confidence")
SOURCE = "Source"
ROW_BYTES = 36  # of Open Images' shortest rows
ROWS_PER_SHARD = 1 << 20
ROWS_PER_SECOND = 1_500_000  # that one core reads and joins
_STATISTICS = ("machine_precision", "labels_per_image", "verdict_sources")


@dataclass(frozen=True)
class Confirmation:
    """What is to be confirmed: the plan that workers get, the settings, and the names of classes."""

    plan: ConfirmPlan
    settings: ConfirmSettings
    names: dict[str, str]


class ConfirmDriver(Driver[ConfirmSettings]):
    """Writes the label sets `confirmed`, `machine` and `human` of a dataset, and the statistics of its labels."""

    def reads(self, settings: ConfirmSettings, root: str) -> Iterable[str]:
        """The CSV files, wherever they lie."""
        return [path for _, path in settings.paths()]

    def writes(self, settings: ConfirmSettings, root: str) -> Iterable[str]:
        """The label sets."""
        annotators = (CONFIRMED, MACHINE, HUMAN) if settings.label_sets != "none" else (CONFIRMED,)
        return [layout.label_sets(root, settings.dataset, annotator) for annotator in annotators]

    def plan(self, settings: ConfirmSettings, context: Context) -> Plan:
        """Which rows go where; InputError where a file cannot be what it should."""
        machine, human, fingerprint = identify_inputs(settings)
        names = read_class_names(settings.classes) if settings.classes else {}
        if settings.images:
            csv_ranges.plan_ranges([settings.images], COLUMNS[:1], columns=COLUMNS[:1])
        manifest = products.find_manifest(layout.confirmation(context.root, settings.dataset), ConfirmationManifest)
        if manifest and manifest.fingerprint == fingerprint and not context.force:
            return Plan(settings, (Product(settings.dataset, State.DONE, manifest.counts),))
        labels = frozenset(names) if names else None
        plan = _confirm_plan(settings, context.root, (machine, human), labels, fingerprint)
        missing = _missing_shards(plan, context.force)
        plan = dataclasses.replace(plan, missing=missing)
        sizes = [read_bytes(ranges) for ranges in (plan.machine, plan.human)]
        rows = sum(sizes) // (2 * ROW_BYTES)
        product = Product(
            settings.dataset,
            State.PARTLY if len(missing) < plan.shards else State.TO_DO,
            records=rows,
            elements=len(missing),
            element_bytes=min(csv_ranges.RANGE_BYTES, max(sizes)),
            written_bytes=sizes[1] * (1 if settings.label_sets == "none" else 3),
            core_seconds=rows / ROWS_PER_SECOND,
        )
        return Plan(settings, (product,), Confirmation(plan, settings, names))

    def prepare(self, plan: Plan, context: Context) -> Confirmation:
        """Remove whatever does not belong to this confirmation."""
        work: Confirmation = plan.work
        whole = dataclasses.replace(work.plan, missing=frozenset(range(work.plan.shards)))
        _remove_other_label_sets(whole)
        stores.remove(stores.join(layout.confirmation(whole.root, whole.dataset), products.MANIFEST))
        for folder in (whole.counts(), *_label_folders(whole)):
            folder.prepare(context.force)
        for side in (MACHINE, HUMAN):
            whole.rejects(side).prepare(afresh=bool(work.plan.missing))
        stores.remove_partial_file(layout.confirm_reading(whole.root, whole.dataset))
        return work

    def make(self, work: Confirmation, context: Context) -> dict[str, int]:
        """Join the rows of the missing shards."""
        plan = work.plan
        steps = {"Confirm": ConfirmLabels(plan)} if plan.missing else {}
        return runner.run_job(
            f"confirm {plan.dataset}", steps, context, len(plan.missing), committed=plan.counts().committed
        )

    def commit(self, work: Confirmation, product: Product) -> dict[str, Any]:
        """Check that every row is accounted for, then write the statistics and the manifests, the dataset's own last.

        Raises:
            TooManyRejectsError: more rows were malformed than the settings allow.
        """
        plan = work.plan
        counts = _sum_counts(plan)
        whole = statistics.reconcile(counts)
        rejects = [plan.rejects(side) for side in (MACHINE, HUMAN)]
        malformed = {"in": whole["in"], "rejected": whole["malformed"]}
        check_rejects("confirm", rejects, malformed, work.settings.max_reject_fraction)
        for table, rows in (
            ("machine_precision", statistics.label_table(counts, plan.dataset, work.names)),
            ("labels_per_image", statistics.per_image_table(counts, plan.dataset)),
            ("verdict_sources", statistics.source_table(counts, plan.dataset)),
        ):
            path = layout.statistics_table(plan.root, table, plan.dataset)
            stores.remove_partial_file(path)
            parquet.write(path, rows, plan.fingerprint)
        _write_manifests(work, counts, whole)
        return whole


def identify_inputs(settings: ConfirmSettings) -> tuple[list[str], list[str], str]:
    """The machine's files, the human files, and the fingerprint of what they make; InputError where one is missing."""
    machine, human = find_input_files(MACHINE, settings.machine), find_input_files(HUMAN, settings.human)
    others = {"classes": [settings.classes], "images": [settings.images]}
    inputs = {
        name: [products.input_identity(path) for path in paths if path]
        for name, paths in {MACHINE: machine, HUMAN: human, **others}.items()
    }
    return machine, human, products.fingerprint("confirm", settings=settings.identity(), inputs=inputs)


def shard_count(settings: ConfirmSettings, machine: int, human: int) -> int:
    """Shards of each split: a power of two, of about a million joined rows, and never fewer than 8.

    Args:
        settings: of the stage.
        machine: bytes of the machine's files.
        human: bytes of the human files.
    """
    joined = human if settings.label_sets == "none" else machine + human if settings.label_sets == "all" else 3 * human
    return settings.shards or hashing.shard_count(joined // ROW_BYTES // ROWS_PER_SHARD)


def read_bytes(ranges: Sequence[Range]) -> int:
    """How many bytes of rows some ranges hold, about, where they are zipped."""
    return sum(part.stop - part.start for part in ranges) * (4 if any(part.zipped for part in ranges) else 1)


def _confirm_plan(
    settings: ConfirmSettings,
    root: str,
    files: tuple[list[str], list[str]],
    labels: frozenset[str] | None,
    fingerprint: str,
) -> ConfirmPlan:
    """The plan of all shards."""
    machine = csv_ranges.plan_ranges(files[0], COLUMNS, columns=settings.columns)
    human = csv_ranges.plan_ranges(files[1], COLUMNS, (SOURCE,), settings.columns)
    images = csv_ranges.plan_ranges([settings.images], COLUMNS[:1], columns=COLUMNS[:1]) if settings.images else None
    shards = shard_count(settings, read_bytes(machine), read_bytes(human))
    narrowing = Narrowing(labels, images, settings.min_confidence)
    rules = VerdictRules(settings.on_conflict, settings.one_label, settings.label_sets)
    bits = bloom.bits_for(read_bytes(human) // ROW_BYTES)
    names = (root, settings.dataset, machine, human, narrowing, rules, dict(settings.splits), shards, bits)
    return ConfirmPlan(*names, fingerprint, frozenset(range(shards)))


def _missing_shards(plan: ConfirmPlan, force: bool) -> frozenset[int]:
    """The shards of which any file is missing, or was made from something else."""
    if force:
        return plan.missing
    missing = plan.missing - set(plan.counts().done())
    for folder in _label_folders(plan):
        missing |= plan.missing - set(folder.done())
    if not missing and not _is_read(plan):
        return frozenset({0})  # all are joined, but the counts of the reading are gone: read again
    return missing


def _is_read(plan: ConfirmPlan) -> bool:
    """Whether the counts of what was read are there, and all rows that they say were rejected."""
    path = layout.confirm_reading(plan.root, plan.dataset)
    if stores.stat(path) is None or parquet.read_tags(path)[0] != plan.fingerprint:
        return False
    counts = statistics.counts_of(parquet.read(path, plan.fingerprint))
    kept = [report for side in (MACHINE, HUMAN) for report in plan.rejects(side).done().values()]
    return products.total(kept).records_in == sum(n for (what, _, _), n in counts.items() if what == "malformed")


def _label_folders(plan: ConfirmPlan) -> list[ShardFolder]:
    return [plan.labels(annotator, split) for annotator in plan.annotators for split in plan.fractions]


def _remove_other_label_sets(plan: ConfirmPlan) -> None:
    """Remove label sets of an earlier `confirm` that this one does not write, and splits that it has not."""
    keep = {folder.folder for folder in _label_folders(plan)}
    home = layout.confirmation(plan.root, plan.dataset)
    earlier = products.find_manifest(home, ConfirmationManifest)
    for annotator in {*(earlier.label_sets if earlier else ()), *plan.annotators}:
        parent = stores.parent(layout.labels(plan.root, plan.dataset, annotator, ""))
        for name in stores.list_folders(parent):
            folder = stores.join(parent, name)
            if folder not in keep:
                ShardFolder(folder, 1, "").prepare(afresh=True)


def _sum_counts(plan: ConfirmPlan) -> Tallies:
    """The counts of all shards together; IncompleteError where a shard was not written."""
    done = plan.counts().done()
    absent = sorted(set(range(plan.shards)) - set(done))
    if absent:
        raise IncompleteError(f"shards {absent} were not written; run the same command again")
    read = parquet.read(layout.confirm_reading(plan.root, plan.dataset), plan.fingerprint)
    parts = [read, *(plan.counts().read(shard) for shard in sorted(done))]
    return statistics.counts_of(join.add_tallies([part.cast(join.TALLY_SCHEMA) for part in parts]))


def _write_manifests(work: Confirmation, counts: Tallies, whole: dict[str, Any]) -> None:
    plan = work.plan
    for annotator in plan.annotators:
        for split in plan.fractions:
            _write_label_manifest(plan, annotator, split, counts)
    sets = {
        annotator: sorted(label for (what, label, _) in counts if what == f"labels:{annotator}")
        for annotator in plan.annotators
    }
    labels = sorted(set().union(*sets.values()))
    manifest = ConfirmationManifest(
        stage="confirm",
        product=plan.dataset,
        fingerprint=plan.fingerprint,
        tables=_table_files(plan, whole),
        counts=whole,
        dataset=plan.dataset,
        task=MULTICLASS if work.settings.one_label else MULTILABEL,
        shards=plan.shards,
        splits=plan.fractions,
        classes=sorted({label for (what, label, _) in counts if what == CONFIRMED}),
        display_names={label: work.names[label] for label in labels if label in work.names},
        settings=work.settings.identity(),
        label_sets=sets,
    )
    products.write_manifest(layout.confirmation(plan.root, plan.dataset), manifest)


def _write_label_manifest(plan: ConfirmPlan, annotator: str, split: str, counts: Tallies) -> None:
    folder = plan.labels(annotator, split)
    rows = products.total(list(folder.done().values())).records_out
    manifest = LabelsManifest(
        stage="confirm",
        product=f"{plan.dataset}/{annotator}/{split}",
        fingerprint=plan.fingerprint,
        tables=(folder.table_files(plan.root, "labels", rows, "out"),),
        annotator=annotator,
        split=split,
        images=plan.fingerprint,
        shards=plan.shards,
        rows=rows,
        labelled_images=counts.get(("labelled_images", f"{annotator}:{split}", 0), 0),
        content=counts.get(("content", f"{annotator}:{split}", 0), 0),
    )
    products.write_manifest(folder.folder, manifest)


def _table_files(plan: ConfirmPlan, whole: dict[str, Any]) -> tuple[TableFiles, ...]:
    """Of all tables that have no manifest of their own."""
    paths = {name: layout.statistics_table(plan.root, name, plan.dataset) for name in _STATISTICS}
    paths["confirm_read"] = layout.confirm_reading(plan.root, plan.dataset)
    rejects = [
        plan.rejects(side).table_files(plan.root, "rejects_confirm", sum(whole[side]["malformed"].values()), "rejected")
        for side in (MACHINE, HUMAN)
    ]
    lone = [products.single_table_file(plan.root, name, path) for name, path in paths.items()]
    return (*lone, *rejects, plan.counts().table_files(plan.root, "confirm_joined"))


DRIVER = ConfirmDriver()
