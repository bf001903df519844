"""The driver's side of `import`: what dataset the labels are of, what is already there, and declaring the set whole."""

import dataclasses
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import pyarrow.parquet as pq

from pipelines import progress, runner
from pipelines.import_labels import files as import_files
from pipelines.import_labels.rows import ImportRules
from pipelines.import_labels.transforms import ImportLabels, ImportPlan
from pipelines.runner import Context, StageResult, check_rejects
from schemas import layout
from schemas.errors import IncompleteError, InputError
from schemas.layout import DIGITS, HUMAN
from schemas.manifests import IMPORT, MULTICLASS, NO_IMAGES, SEQUENCE
from schemas.settings.import_labels import ImportSettings
from storage import hashing, model_cards, products, stores
from storage.products import ShardFolder
from storage.stores import find_input_files

ROWS_PER_SHARD = 1 << 20
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
        said_by: what all this follows from, to be told.
    """

    images: str = NO_IMAGES
    shards: int = 0
    task: str = ""
    classes: tuple[str, ...] | None = None
    index: ShardFolder | None = None
    said_by: str = ""


def imports(asked: Sequence[ImportSettings], context: Context) -> list[StageResult]:
    """Make the label sets that are asked for; only what is missing.

    Raises:
        InputError: a file cannot be what it should, or the settings do not fit the dataset.
        TooManyRejectsError: more rows were refused than the settings allow.
    """
    return [import_labels(settings, context) for settings in asked]


def import_labels(settings: ImportSettings, context: Context) -> StageResult:
    """Make one label set; see `imports`."""
    product = f"{settings.dataset}/{settings.annotator}/{settings.split}"
    files = find_input_files("input", settings.input)
    check_annotator(settings, context.root)
    plan, home = plan_labels(settings, context.root, files)
    manifest = products.find_manifest(plan.labels.folder)
    if manifest and not context.force and plan.labels.is_whole():
        return StageResult("import", product, made=False, counts=manifest["counts"])
    began = time.monotonic()
    parts, rows = import_files.plan(files, settings.column_names, "confidence" in settings.columns)
    done = set(plan.labels.prepare(context.force)) & set(plan.rejects.prepare(context.force))
    missing = frozenset(range(plan.shards)) - done
    counters = _make(dataclasses.replace(plan, parts=parts, missing=missing), context)
    counts = _declare(plan, settings, home, rows)
    return StageResult("import", product, True, time.monotonic() - began, counts, counters)


def check_annotator(settings: ImportSettings, root: str) -> None:
    """Raise InputError where the annotator is one of ours, whose labels another stage writes."""
    dataset, name = settings.dataset, settings.annotator
    remedy = "give --annotator another name"
    if model_cards.find_card(layout.model(root, dataset, name)):
        raise InputError(f"annotator {name!r} is a model of dataset {dataset!r}: {remedy}")
    for split in stores.list_folders(layout.label_sets(root, dataset, name)):
        folder = stores.join(layout.label_sets(root, dataset, name), split)
        manifest = products.find_manifest(folder)
        if manifest and manifest.get("stage") != IMPORT:
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
        facts = images.fingerprint, images.shards, str(images.manifest["task"]), tuple(images.classes)
        return Home(*facts, images.index(settings.split), "the manifest of its images")
    for folder in (layout.confirmation(root, dataset), layout.label_sets(root, dataset, HUMAN)):
        manifest = products.find_manifest(folder)
        if manifest:
            if settings.split not in manifest["splits"]:
                known = ", ".join(manifest["splits"])
                raise InputError(f"dataset {dataset!r} has no split {settings.split!r}; its splits are {known}")
            classes = {
                *manifest["classes"],
                *(one for found in manifest.get("label_sets", {}).values() for one in found),
            }
            ordered = tuple(manifest["classes"]) + tuple(sorted(classes - set(manifest["classes"])))
            return Home(manifest["fingerprint"], manifest["shards"], manifest["task"], ordered, None, folder)
    return _beside(settings, root)


def _beside(settings: ImportSettings, root: str) -> Home:
    """What other imported label sets of a dataset without images say."""
    own = (settings.annotator, settings.split)
    for annotator, split in sorted(stores.partitions(layout.labels(root, settings.dataset, "", ""), 2)):
        folder = layout.labels(root, settings.dataset, annotator, split)
        manifest = products.find_manifest(folder) if (annotator, split) != own else None
        if manifest and manifest.get("stage") == IMPORT and manifest["images"] == NO_IMAGES:
            return Home(NO_IMAGES, manifest["shards"], manifest["task"], said_by=folder)
    return Home()


def _check_fit(settings: ImportSettings, home: Home) -> None:
    """Raise InputError where the settings say otherwise than the dataset."""
    for key, given, found in (("shards", settings.shards, home.shards), ("task", settings.task, home.task)):
        if given and found and given != found:
            raise InputError(f"{key} must be {found}, by {home.said_by}, got {given}: leave out --{key}")
    if home.index and settings.classes and set(settings.classes) != set(home.classes or ()):
        raise InputError(
            f"classes must be those of dataset {settings.dataset!r}, by {home.said_by}: leave out --classes"
        )
    if settings.classes and SEQUENCE in (home.task, settings.task):
        raise InputError("leave out --classes: the labels of a sequence are numbers, of the digits 0 to 9")


def shard_count(files: Sequence[str]) -> int:
    """Shards of label sets alone: a power of two, of about a million rows, and never fewer than 8."""
    return hashing.shard_count(sum(map(import_files.likely_rows, files)) / ROWS_PER_SHARD)


def _make(plan: ImportPlan, context: Context) -> dict[str, int]:
    if not plan.missing:
        return {}

    def build(pipeline: beam.Pipeline) -> None:
        pipeline | "Import" >> ImportLabels(plan)

    title = f"import {plan.dataset}/{plan.annotator}"
    rows = int(sum(map(import_files.likely_rows, plan.files)) * len(plan.missing) / plan.shards)
    with progress.shown(title, len(plan.missing), rows, plan.labels.committed):
        return runner.run(f"concord import {plan.dataset}", build, context.beam_flags)


def _declare(plan: ImportPlan, settings: ImportSettings, home: Home, rows: int | None) -> dict[str, Any]:
    """Check that every row is accounted for, then write the label set's manifest."""
    done = plan.labels.done()
    report = products.total(list(done.values()))
    counts: dict[str, Any] = {"in": report.records_in, "out": report.records_out, "rejected": dict(report.rejected)}
    account = counts["out"] + sum(counts["rejected"].values())
    if len(done) < plan.shards or counts["in"] != account or rows not in (None, account):
        expected = "" if rows is None else f" of {rows} rows"
        raise IncompleteError(
            f"{len(done)} of {plan.shards} shards of {plan.labels.folder} account for {counts}{expected}: "
            "run the same command again, with --force"
        )
    check_rejects("import", [plan.rejects], counts, settings.max_reject_fraction)
    classes = DIGITS if home.task == SEQUENCE else home.classes or seen_labels(plan.labels)
    facts = {"stage": IMPORT, "annotator": plan.annotator, "split": plan.split, "images": home.images}
    kind = {"task": home.task, "classes": list(classes), "inputs": [path.rsplit("/", 1)[-1] for path in plan.files]}
    beside = {"rejects_import": plan.rejects.seals()}
    plan.labels.complete(beside, **facts, **kind, rows=counts["out"], counts=counts)
    return counts


def seen_labels(labels: ShardFolder) -> list[str]:
    """The labels that a label set has, sorted."""

    def one(shard: int) -> set[str]:
        with stores.open_input(labels.path(shard)) as file:
            column = pq.read_table(file, columns=["label"], read_dictionary=["label"])["label"]
        return {name for chunk in column.chunks for name in chunk.dictionary.to_pylist()}

    with ThreadPoolExecutor(_READERS) as pool:
        return sorted(set().union(*pool.map(one, range(labels.shards))))
