"""The driver's side of `confirm`: which files, what is already there, and the reconciliation of all rows."""

import time
from collections.abc import Sequence
from typing import Any

import apache_beam as beam

from pipelines import progress, runner
from pipelines.confirm import bloom, statistics, tallies
from pipelines.confirm.join import VerdictRules
from pipelines.confirm.statistics import Tallies
from pipelines.confirm.transforms import ConfirmLabels, ConfirmPlan, Narrowing
from pipelines.runner import Context, StageResult, check_rejects
from schemas import layout
from schemas.errors import IncompleteError
from schemas.layout import CONFIRMED, HUMAN, MACHINE
from schemas.manifests import MULTICLASS, MULTILABEL
from schemas.settings import ConfirmSettings
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
_STATISTICS = ("machine_precision", "labels_per_image", "verdict_sources")


def confirm(settings: ConfirmSettings, context: Context) -> StageResult:
    """Write the label sets `confirmed`, `machine` and `human` of a dataset, and the statistics of its labels.

    Raises:
        InputError: a file cannot be what it should.
        TooManyRejectsError: more rows were malformed than the settings allow.
    """
    machine, human, fingerprint = identified(settings)
    folder = layout.confirmation(context.root, settings.dataset)
    manifest = products.find_manifest(folder)
    if manifest and manifest["fingerprint"] == fingerprint and not context.force:
        return StageResult("confirm", settings.dataset, made=False, counts=manifest["counts"])
    began = time.monotonic()
    names = read_class_names(settings.classes) if settings.classes else {}
    plan = _plan(settings, context, (machine, human), frozenset(names) if names else None, fingerprint)
    counters = _make(plan, context)
    counts = _declare(plan, settings, names)
    return StageResult("confirm", settings.dataset, True, time.monotonic() - began, counts, counters)


def identified(settings: ConfirmSettings) -> tuple[list[str], list[str], str]:
    """The machine's files, people's files, and the fingerprint of what they make; InputError where one is missing."""
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
        human: bytes of people's files.
    """
    joined = human if settings.label_sets == "none" else machine + human if settings.label_sets == "all" else 3 * human
    return settings.shards or hashing.shard_count(joined // ROW_BYTES // ROWS_PER_SHARD)


def read_bytes(ranges: Sequence[Range]) -> int:
    """How many bytes of rows some ranges hold, about, where they are zipped."""
    return sum(part.stop - part.start for part in ranges) * (4 if any(part.zipped for part in ranges) else 1)


def _plan(
    settings: ConfirmSettings,
    context: Context,
    files: tuple[list[str], list[str]],
    labels: frozenset[str] | None,
    fingerprint: str,
) -> ConfirmPlan:
    """The plan, after everything that does not belong to it is swept away."""
    machine = csv_ranges.plan(files[0], COLUMNS, columns=settings.columns)
    human = csv_ranges.plan(files[1], COLUMNS, (SOURCE,), settings.columns)
    images = csv_ranges.plan([settings.images], COLUMNS[:1], columns=COLUMNS[:1]) if settings.images else None
    shards = shard_count(settings, read_bytes(machine), read_bytes(human))
    narrowing = Narrowing(labels, images, settings.min_confidence)
    rules = VerdictRules(settings.on_conflict, settings.one_label, settings.label_sets)
    bits = bloom.bits_for(read_bytes(human) // ROW_BYTES)
    given = (context.root, settings.dataset, machine, human, narrowing, rules, dict(settings.splits), shards, bits)
    whole = ConfirmPlan(*given, fingerprint, frozenset(range(shards)))
    _sweep_others(whole)
    stores.remove(stores.join(layout.confirmation(context.root, settings.dataset), products.MANIFEST))
    done = whole.counts().prepare(context.force)
    missing = whole.missing - set(done)
    for folder in _label_folders(whole):
        missing |= whole.missing - set(folder.prepare(context.force))
    if not missing and not _is_read(whole):
        missing = frozenset({0})  # all joined, but what tells of the reading is gone: read again
    for side in (MACHINE, HUMAN):
        whole.rejects(side).prepare(afresh=bool(missing))
    stores.remove_partial_file(layout.confirm_reading(whole.root, whole.dataset))
    return ConfirmPlan(*given, fingerprint, missing)


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


def _sweep_others(plan: ConfirmPlan) -> None:
    """Remove label sets of an earlier `confirm` that this one does not write, and splits that it has not."""
    keep = {folder.folder for folder in _label_folders(plan)}
    home = layout.confirmation(plan.root, plan.dataset)
    earlier = (products.find_manifest(home) or {}).get("label_sets", {})
    for annotator in {*earlier, *plan.annotators}:
        parent = stores.parent(layout.labels(plan.root, plan.dataset, annotator, ""))
        for name in stores.list_folders(parent):
            folder = stores.join(parent, name)
            if folder not in keep:
                ShardFolder(folder, 1, "").prepare(afresh=True)


def _make(plan: ConfirmPlan, context: Context) -> dict[str, int]:
    if not plan.missing:
        return {}

    def build(pipeline: beam.Pipeline) -> None:
        pipeline | "Confirm" >> ConfirmLabels(plan)

    with progress.shown(f"confirm {plan.dataset}", len(plan.missing), 0, plan.counts().committed):
        return runner.run(f"concord confirm {plan.dataset}", build, context.beam_flags)


def _declare(plan: ConfirmPlan, settings: ConfirmSettings, names: dict[str, str]) -> dict[str, Any]:
    """Check that every row is accounted for, then write the statistics and the manifests, the dataset's own last."""
    done = plan.counts().done()
    absent = sorted(set(range(plan.shards)) - set(done))
    if absent:
        raise IncompleteError(f"shards {absent} were not written; run the same command again")
    read = parquet.read(layout.confirm_reading(plan.root, plan.dataset), plan.fingerprint)
    summed = tallies.add(
        [read.cast(tallies.SCHEMA), *(plan.counts().read(shard).cast(tallies.SCHEMA) for shard in sorted(done))]
    )
    counts = statistics.counts_of(summed)
    whole = statistics.reconcile(counts)
    rejects = [plan.rejects(side) for side in (MACHINE, HUMAN)]
    check_rejects("confirm", rejects, {"in": whole["in"], "rejected": whole["malformed"]}, settings.max_reject_fraction)
    for table, rows in (
        ("machine_precision", statistics.label_table(counts, plan.dataset, names)),
        ("labels_per_image", statistics.per_image_table(counts, plan.dataset)),
        ("verdict_sources", statistics.source_table(counts, plan.dataset)),
    ):
        path = layout.statistics_table(plan.root, table, plan.dataset)
        stores.remove_partial_file(path)
        parquet.write(path, rows, plan.fingerprint)
    _write_manifests(plan, settings, names, counts, whole)
    return whole


def _write_manifests(
    plan: ConfirmPlan, settings: ConfirmSettings, names: dict[str, str], counts: Tallies, whole: dict[str, Any]
) -> None:
    for annotator in plan.annotators:
        for split in plan.fractions:
            folder = plan.labels(annotator, split)
            rows = products.total(list(folder.done().values())).records_out
            told = {what: counts.get((what, f"{annotator}:{split}", 0), 0) for what in ("labelled_images", "content")}
            facts: dict[str, Any] = {"images": plan.fingerprint, "rows": rows, **told}
            folder.complete(annotator=annotator, split=split, **facts)
    classes = sorted({label for (what, label, _) in counts if what == CONFIRMED})
    sets = {
        annotator: sorted(label for (what, label, _) in counts if what == f"labels:{annotator}")
        for annotator in plan.annotators
    }
    about = {
        "dataset": plan.dataset,
        "fingerprint": plan.fingerprint,
        "shards": plan.shards,
        "splits": plan.fractions,
        "task": MULTICLASS if settings.one_label else MULTILABEL,
        "classes": classes,
        "label_sets": sets,
        "display_names": {label: names[label] for label in sorted(set().union(*sets.values())) if label in names},
    }
    home = layout.confirmation(plan.root, plan.dataset)
    sealed = {products.SEALS: _seals(plan)}
    products.write_manifest(home, {**about, **sealed, "counts": whole, "settings": settings.identity()})


def _seals(plan: ConfirmPlan) -> dict[str, dict[str, str]]:
    """Of all tables that have no manifest of their own."""
    paths = {name: layout.statistics_table(plan.root, name, plan.dataset) for name in _STATISTICS}
    paths["confirm_read"] = layout.confirm_reading(plan.root, plan.dataset)
    found = {name: parquet.footer_hashes([path]) for name, path in paths.items()}
    rejects = {f"rejects_confirm/{side}": plan.rejects(side).seals() for side in (MACHINE, HUMAN)}
    return {**found, **rejects, "confirm_joined": plan.counts().seals()}
