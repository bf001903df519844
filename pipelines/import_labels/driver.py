"""Anybody's labels as a label set: which dataset they belong to, what is there already, and what the manifest states.

concord import --input labels.csv --dataset svhn --annotator vendor --split test --root out
"""

import dataclasses
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pyarrow.parquet as pq

from pipelines import runner
from pipelines.import_labels import files as import_files
from pipelines.import_labels.rows import ImportRules
from pipelines.import_labels.transforms import ImportLabels, ImportPlan
from pipelines.runner import check_rejects
from schemas import layout
from schemas.errors import IncompleteError, InputError
from schemas.layout import DIGITS, HUMAN
from schemas.manifests import (
    MULTICLASS,
    NO_IMAGES,
    SEQUENCE,
    ConfirmationManifest,
    DatasetManifest,
    ImagesManifest,
    LabelsManifest,
)
from schemas.settings.import_labels import ImportSettings
from schemas.stage import Context, Driver, Plan, Product, State
from storage import hashing, model_cards, products, stores
from storage.formats import csv_ranges
from storage.products import AnyManifest, ShardFolder
from storage.stores import find_input_files

ROWS_PER_SHARD = 1 << 20
ROWS_PER_SECOND = 300_000  # that one core reads and checks
ROW_BYTES = 12  # of a label as it is stored
_READERS = 16


@dataclass(frozen=True)
class Home:
    """The dataset that label sets belong to, and have to fit.

    Attributes:
        images: what agree compares: the fingerprint of the images that labels were made from.
        shards: of every label set; 0 where nothing says how many.
        task: empty where nothing says which.
        classes: None where nothing says which.
        index: of the images of the split; None where there are none.
        source: what all this follows from, for messages.
    """

    images: str = NO_IMAGES
    shards: int = 0
    task: str = ""
    classes: tuple[str, ...] | None = None
    index: ShardFolder | None = None
    source: str = ""


@dataclass(frozen=True)
class LabelImport:
    """What is imported: the plan that workers get, the settings, the dataset, and how many rows the files have."""

    plan: ImportPlan
    settings: ImportSettings
    home: Home
    rows: int | None


class ImportDriver(Driver[ImportSettings]):
    """Makes one label set from anybody's files; only what is missing of it."""

    def reads(self, settings: ImportSettings, root: str) -> Iterable[str]:
        """The files, wherever they lie, and the images that the labels are of, if any."""
        return [*settings.input, layout.images(root, settings.dataset, settings.version)]

    def writes(self, settings: ImportSettings, root: str) -> Iterable[str]:
        """The label set of one split."""
        return (layout.labels(root, settings.dataset, settings.annotator, settings.split),)

    def plan(self, settings: ImportSettings, context: Context) -> Plan:
        """What the files hold, and what of it is there.

        Raises:
            InputError: a file cannot be what it should, or the settings do not fit the dataset.
        """
        files = find_input_files("input", settings.input)
        check_annotator(settings, context.root)
        plan, home = plan_labels(settings, context.root, files)
        name = f"{settings.dataset}/{settings.annotator}/{settings.split}"
        manifest = products.find_manifest(plan.labels.folder, LabelsManifest)
        parts, rows = import_files.plan(files, settings.column_names, "confidence" in settings.columns)
        if manifest and not context.force and plan.labels.is_whole():
            return Plan(settings, (Product(name, State.DONE, manifest.counts),))
        done = set() if context.force else set(plan.labels.done()) & set(plan.rejects.done())
        missing = frozenset(range(plan.shards)) - done
        plan = dataclasses.replace(plan, parts=parts, missing=missing)
        records = int(sum(map(import_files.likely_rows, files))) if rows is None else rows
        share = len(missing) / plan.shards
        product = Product(
            name,
            State.PARTLY if done else State.TO_DO,
            records=records,
            elements=len(missing),
            element_bytes=min(csv_ranges.RANGE_BYTES, 36 * records),
            written_bytes=int(records * ROW_BYTES * share),
            core_seconds=records * share / ROWS_PER_SECOND,
        )
        return Plan(settings, (product,), LabelImport(plan, settings, home, rows))

    def prepare(self, plan: Plan, context: Context) -> LabelImport:
        """Remove whatever is no finished shard of this label set."""
        work: LabelImport = plan.work
        work.plan.labels.prepare(context.force)
        work.plan.rejects.prepare(context.force)
        return work

    def make(self, work: LabelImport, context: Context) -> dict[str, int]:
        """Read and check the rows of the missing shards."""
        plan = work.plan
        rows = int(sum(map(import_files.likely_rows, plan.files)) * len(plan.missing) / plan.shards)
        title = f"import {plan.dataset}/{plan.annotator}"
        steps = {"Import": ImportLabels(plan)} if plan.missing else {}
        return runner.run_job(title, steps, context, len(plan.missing), plan.labels.committed, rows)

    def commit(self, work: LabelImport, product: Product) -> dict[str, Any]:
        """Check that every row is accounted for, then write the label set's manifest.

        Raises:
            TooManyRejectsError: more rows were rejected than the settings allow.
        """
        plan, home = work.plan, work.home
        done = plan.labels.done()
        counts = products.total(list(done.values())).counts()
        accounted = counts["out"] + sum(counts["rejected"].values())
        if len(done) < plan.shards or counts["in"] != accounted or work.rows not in (None, accounted):
            expected = "" if work.rows is None else f" of {work.rows} rows"
            raise IncompleteError(
                f"{len(done)} of {plan.shards} shards of {plan.labels.folder} account for {counts}{expected}: "
                "run the same command again, with --force"
            )
        check_rejects("import", [plan.rejects], counts, work.settings.max_reject_fraction)
        classes = DIGITS if home.task == SEQUENCE else home.classes or list_labels(plan.labels)
        rejected = sum(counts["rejected"].values())
        manifest = LabelsManifest(
            stage="import",
            product=product.name,
            fingerprint=plan.fingerprint,
            tables=(
                plan.labels.table_files(plan.root, "labels", counts["out"], "out"),
                plan.rejects.table_files(plan.root, "rejects_import", rejected, "rejected"),
            ),
            counts=counts,
            annotator=plan.annotator,
            split=plan.split,
            images=home.images,
            shards=plan.shards,
            rows=counts["out"],
            task=home.task,
            classes=list(classes),
            inputs=[path.rsplit("/", 1)[-1] for path in plan.files],
        )
        products.write_manifest(plan.labels.folder, manifest)
        return counts


def check_annotator(settings: ImportSettings, root: str) -> None:
    """Raise InputError where the annotator is one of ours, whose labels another stage writes."""
    dataset, name = settings.dataset, settings.annotator
    remedy = "give --annotator another name"
    if model_cards.find_card(layout.model(root, dataset, name)):
        raise InputError(f"annotator {name!r} is a model of dataset {dataset!r}: {remedy}")
    for split in stores.list_folders(layout.label_sets(root, dataset, name)):
        folder = stores.join(layout.label_sets(root, dataset, name), split)
        manifest = products.find_manifest(folder, AnyManifest)
        if manifest and manifest.stage != "import":
            raise InputError(f"annotator {name!r} is taken: {folder} was not written by concord import; {remedy}")


def plan_labels(settings: ImportSettings, root: str, files: list[str]) -> tuple[ImportPlan, Home]:
    """The plan of a label set without its parts, and the dataset that it follows."""
    home = find_home(settings, root)
    _check_fit(settings, home)
    shards = home.shards or settings.shards or shard_count(files)
    task = home.task or settings.task or MULTICLASS
    classes = (settings.classes or home.classes) if task != SEQUENCE else None
    known = None if classes is None or not classes else frozenset(classes)
    recipe = {
        "names": (settings.dataset, settings.annotator, settings.split),
        "inputs": [products.input_identity(path) for path in files],
        "columns": settings.column_names,
        "dataset": (home.images, shards, task, sorted(known) if known is not None else None),
    }
    fingerprint = products.fingerprint("import", **recipe)
    rules = ImportRules(task, known, settings.column_names)
    names = (root, settings.dataset, settings.annotator, settings.split)
    plan = ImportPlan(*names, tuple(files), (), rules, home.index, shards, fingerprint)
    return plan, dataclasses.replace(home, task=task, classes=tuple(classes) if classes else None)


def find_home(settings: ImportSettings, root: str) -> Home:
    """The dataset: of images, of the labels that convert or confirm wrote, or of imported label sets alone.

    Raises:
        IncompleteError: its images are unfinished.
        InputError: it has no such split.
    """
    dataset = settings.dataset
    if stores.list_folders(stores.parent(layout.images(root, dataset, settings.version))):
        images = products.image_set(root, dataset, settings.version)
        images.images_in(settings.split)
        facts = images.fingerprint, images.shards, images.manifest.task, tuple(images.classes)
        return Home(*facts, images.index(settings.split), "the manifest of its images")
    manifests: list[tuple[str, DatasetManifest | None]] = []
    for folder, kind in (
        (layout.confirmation(root, dataset), ConfirmationManifest),
        (layout.label_sets(root, dataset, HUMAN), ImagesManifest),
    ):
        manifests.append((folder, products.find_manifest(folder, kind)))
    for folder, manifest in manifests:
        if manifest:
            if settings.split not in manifest.splits:
                known = ", ".join(manifest.splits)
                raise InputError(f"dataset {dataset!r} has no split {settings.split!r}; its splits are {known}")
            sets = manifest.label_sets if isinstance(manifest, ConfirmationManifest) else {}
            others = {label for labels in sets.values() for label in labels} - set(manifest.classes)
            classes = (*manifest.classes, *sorted(others))
            return Home(manifest.fingerprint, manifest.shards, manifest.task, classes, None, folder)
    return _beside(settings, root)


def _beside(settings: ImportSettings, root: str) -> Home:
    """What other imported label sets of a dataset without images say."""
    own = (settings.annotator, settings.split)
    for annotator, split in sorted(stores.partitions(layout.labels(root, settings.dataset, "", ""), 2)):
        folder = layout.labels(root, settings.dataset, annotator, split)
        manifest = products.find_manifest(folder, LabelsManifest) if (annotator, split) != own else None
        if manifest and manifest.stage == "import" and manifest.images == NO_IMAGES:
            return Home(NO_IMAGES, manifest.shards, manifest.task, source=folder)
    return Home()


def _check_fit(settings: ImportSettings, home: Home) -> None:
    """Raise InputError where the settings say otherwise than the dataset."""
    for key, requested, known in (("shards", settings.shards, home.shards), ("task", settings.task, home.task)):
        if requested and known and requested != known:
            raise InputError(f"{key} must be {known}, by {home.source}, got {requested}: leave out --{key}")
    if home.index and settings.classes and set(settings.classes) != set(home.classes or ()):
        raise InputError(
            f"classes must be those of dataset {settings.dataset!r}, by {home.source}: leave out --classes"
        )
    if settings.classes and SEQUENCE in (home.task, settings.task):
        raise InputError("leave out --classes: the labels of a sequence are numbers, of the digits 0 to 9")


def shard_count(files: Sequence[str]) -> int:
    """Shards of label sets alone: a power of two, of about a million rows, and never fewer than 8."""
    return hashing.shard_count(sum(map(import_files.likely_rows, files)) / ROWS_PER_SHARD)


def list_labels(labels: ShardFolder) -> list[str]:
    """The labels that a label set has, sorted."""

    def one(shard: int) -> set[str]:
        with stores.open_input(labels.path(shard)) as file:
            column = pq.read_table(file, columns=["label"], read_dictionary=["label"])["label"]
        return {name for chunk in column.chunks for name in chunk.dictionary.to_pylist()}

    with ThreadPoolExecutor(_READERS) as pool:
        return sorted(set().union(*pool.map(one, range(labels.shards))))


DRIVER = ImportDriver()
