"""On paper: the stages that bring images and labels in (draw, confirm, convert, import)."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import samples
from pipelines.confirm import driver as confirm_stage
from pipelines.convert import driver as convert_stage
from pipelines.convert import shards as image_shards
from pipelines.convert import sources
from pipelines.convert.driver import Job
from pipelines.convert.sources import NO_PICTURES, PhotoSource, Slab, SourcePlan, slab_rows
from pipelines.import_labels import driver as imports_stage
from pipelines.import_labels import files as import_files
from pipelines.import_labels.rows import CsvPart
from pipelines.preflight import paces, pictures, sizes
from pipelines.preflight.prospect import Images, Labels, Prospect, State, Step, WaitsError
from schemas import layout, plugins, tables
from schemas.errors import InputError
from schemas.layout import CONFIRMED, DIGITS, HUMAN, MACHINE
from schemas.manifests import MULTICLASS, MULTILABEL
from schemas.settings.confirm import ConfirmSettings
from schemas.settings.draw import DrawSettings
from schemas.settings.import_labels import ImportSettings
from storage import json_files, products, stores
from storage.formats import csv_ranges
from storage.formats.csv_tables import read_class_names
from storage.stores import find_input_files

SIDE, CHUNK = 32, 250  # of the drawn house numbers
PICTURE_BYTES = 13_500  # of a drawn scene
SCENE_ROWS = {MACHINE: 4.7, HUMAN: 2.53, CONFIRMED: 0.63}  # rows of a drawn scene; of the last, images
SCENE_LABELS, SCENE_MATCHED = 18, 1.96
MATCHED, WITH_LABEL = 0.4, 0.2  # of people's rows: a guess, where nothing is known: Open Images has 0.21 matched
PEEK = 1 << 18
PLAIN_BYTES, SLABS_HELD = 250 << 20, 3  # a worker without TensorFlow, and copies of an element on the way


def draw(settings: DrawSettings, prospect: Prospect) -> None:
    """The sample: drawn already, or what it will be."""
    output = settings.output.rstrip("/")
    prospect.drawn[output] = settings
    with prospect.attempt("draw", output):
        if not output:
            raise InputError("draw needs the path of the file or folder to write: give --output")
        sample = plugins.load(samples, "sample", settings.sample)
        prospect.check_reachable(output)
        note = json_files.find(f"{output}.json") if sample.is_there(settings, output) else None
        fingerprint = products.fingerprint("draw", settings=settings.identity())
        if note and note["fingerprint"] == fingerprint and not prospect.context.force:
            del prospect.drawn[output]
            prospect.add(Step("draw", output, State.DONE))
            return
        counts = {name: getattr(settings, name) for name in ("train", "validation", "test")}
        if settings.sample == "house_numbers":
            rows = [-(-count // min(count, CHUNK)) * min(count, CHUNK) for count in counts.values()]
            images, size = sum(counts.values()), sum(rows) * (SIDE * SIDE * 4 + 1) + 10_000
        else:
            images, size = settings.images, settings.images * PICTURE_BYTES
        step = Step(
            *("draw", output, State.TO_DO, images, images),
            kept_bytes=size,
            kind=settings.sample,
            units=images,
            unit_seconds=1 / paces.DRAWN_A_SECOND.get(settings.sample, 300.0),
        )
        prospect.add(step)


def confirm(settings: ConfirmSettings, prospect: Prospect) -> None:
    """The label sets of people's verdicts."""
    dataset = settings.dataset
    annotators = (CONFIRMED, *((MACHINE, HUMAN) if settings.label_sets != "none" else ()))
    prospect.unknown |= {(dataset, name) for name in annotators}
    with prospect.attempt("confirm", dataset):
        prospect.check_reachable(*settings.machine, *settings.human, settings.classes, settings.images)
        scenes = _drawn_around(prospect, (*settings.machine, *settings.human))
        if scenes:
            rows = {side: int(scenes.images * SCENE_ROWS[side]) for side in (MACHINE, HUMAN)}
            _confirmed(settings, prospect, rows, {side: count * 24 for side, count in rows.items()}, 1, scenes)
            return
        machine, human, fingerprint = confirm_stage.identified(settings)
        if settings.classes:
            read_class_names(settings.classes)
        if settings.images:
            csv_ranges.plan([settings.images], confirm_stage.COLUMNS[:1], columns=confirm_stage.COLUMNS[:1])
        folder = layout.confirmation(prospect.root, dataset)
        parts = {
            MACHINE: csv_ranges.plan(machine, confirm_stage.COLUMNS, columns=settings.columns),
            HUMAN: csv_ranges.plan(human, confirm_stage.COLUMNS, (confirm_stage.SOURCE,), settings.columns),
        }
        if not prospect.context.force and products.is_current(folder, fingerprint):
            prospect.unknown -= {(dataset, name) for name in annotators}
            counts = products.require_manifest(folder, "", "")["counts"]
            prospect.add(Step("confirm", dataset, State.DONE, counts["in"]))
            return
        rows = {side: int(sum(map(_rows_of, found))) for side, found in parts.items()}
        content = {side: confirm_stage.read_bytes(found) for side, found in parts.items()}
        _confirmed(settings, prospect, rows, content, max(map(len, parts.values())), None)


def _drawn_around(prospect: Prospect, paths: Sequence[str]) -> DrawSettings | None:
    """The sample that files lie in that are still to be drawn, if they all do."""
    found = [one for path in paths for folder, one in prospect.drawn.items() if path.startswith(folder + "/")]
    return found[0] if found and len(found) == len(paths) else None


def _rows_of(part: csv_ranges.Range) -> float:
    """About how many rows a range has, by the length of its first ones."""
    size = part.stop - part.start
    if part.zipped:
        return size * 4 / confirm_stage.ROW_BYTES
    with stores.open_input(part.path) as file:
        file.seek(part.start)
        head = file.read(min(PEEK, size))
    return size / len(head) * max(1, head.count(b"\n") or head.count(b"\r"))


def _confirmed(
    settings: ConfirmSettings,
    prospect: Prospect,
    rows: Mapping[str, int],
    content: Mapping[str, int],
    ranges: int,
    scenes: DrawSettings | None,
) -> None:
    """What will be confirmed of so many rows and bytes of each side: a guess, unless they are drawn."""
    shards = confirm_stage.shard_count(settings, content[MACHINE], content[HUMAN])
    images = scenes.images * SCENE_ROWS[CONFIRMED] if scenes else rows[HUMAN] * WITH_LABEL
    matched = scenes.images * SCENE_MATCHED if scenes else rows[HUMAN] * MATCHED
    kept = {CONFIRMED: matched}
    if settings.label_sets != "none":
        whole = 1.0 if settings.label_sets == "all" else min(1.0, images * 5 / max(1, rows[MACHINE]))
        kept |= {MACHINE: rows[MACHINE] * whole, HUMAN: rows[HUMAN] * whole}
    size = len(settings.splits) * sizes.reject_bytes(shards) + 60_000
    for name, count in kept.items():
        prospect.unknown.discard((settings.dataset, name))
        for split, share in settings.splits.items():
            found = int((images if name == CONFIRMED else count) * share)
            prospect.labels[settings.dataset, name, split] = Labels(found, shards, fresh=True, exact=False)
            size += sizes.label_bytes(count * share, shards, shared=True)
    largest = min(csv_ranges.RANGE_BYTES, max(content.values()))
    step = Step(
        *("confirm", settings.dataset, State.TO_DO, sum(rows.values()), int(matched), False),
        elements={"confirm.read_machine": ranges, "confirm.join": shards},
        element_bytes=largest,
        kept_bytes=size,
        worker_bytes=PLAIN_BYTES + SLABS_HELD * largest,
        units=sum(rows.values()),
        unit_seconds=1 / paces.ROWS_A_SECOND["confirm"],
    )
    prospect.add(step)


def convert(settings: Any, prospect: Prospect) -> None:
    """A dataset's images, their index, and people's labels."""
    prospect.await_images(settings.dataset, settings.version)
    with prospect.attempt("convert", settings.dataset):
        plugins.check(sources, "source", settings.source)
        prospect.check_reachable(*(path for _, path in settings.paths()))
        drawn = [prospect.drawn[path] for path in settings.input if path in prospect.drawn]
        if settings.source == "open_images" and (settings.dataset, settings.label_set) in prospect.unknown:
            raise WaitsError
        if settings.source == "open_images" and _label_set_is_fresh(settings, prospect):
            _fetched_later(settings, prospect)
        elif drawn:
            _drawn_later(settings, prospect, drawn[0])
        else:
            _looked_at(settings, prospect)


def _label_set_is_fresh(settings: Any, prospect: Prospect) -> bool:
    keys = [key for key in prospect.labels if key[:2] == (settings.dataset, settings.label_set)]
    return any(found.fresh for key in keys if (found := prospect.labels[key]))


def _fetched_later(settings: Any, prospect: Prospect) -> None:
    """Photographs of a label set that is still to be made."""
    plugins.load(sources, "source", settings.source).make(settings)
    found = {
        split: labels
        for (dataset, name, split), labels in prospect.labels.items()
        if (dataset, name) == (settings.dataset, settings.label_set) and labels
    }
    counts = {split: labels.rows for split, labels in found.items()}
    least = max(labels.shards for labels in found.values())
    shards = settings.shards or convert_stage.photo_shard_count(counts, settings.max_side, least)
    task = MULTICLASS if settings.one_label else MULTILABEL
    scenes = _drawn_around(prospect, [settings.images_from])
    each = PICTURE_BYTES if scenes else pictures.photo_bytes(settings)
    names = (settings.dataset, settings.version, task, SCENE_LABELS if scenes else 0, None, counts, shards)
    images = Images(*names, each, fresh=True, exact=False)
    prospect.set_images(images, "")
    _add_photos(settings, prospect, images, State.TO_DO, shards * len(counts))


def _drawn_later(settings: Any, prospect: Prospect, drawn: DrawSettings) -> None:
    """Crops of a sample that is still to be drawn; of another source than the sample's own nothing is known."""
    if settings.source != "svhn_h5" or drawn.sample != "house_numbers":
        raise InputError(
            f"{settings.source} cannot be planned before {drawn.output} is drawn: run concord draw, then plan again"
        )
    plugins.load(sources, "source", settings.source).make(settings)
    counts = {"train": drawn.train, "validation": drawn.validation, "test": drawn.test}
    slabs = [
        Slab(drawn.output, split, "", "", start, min(start + rows, count), min(rows, count - start) * SIDE * SIDE * 4)
        for split, count in counts.items()
        for rows in (slab_rows(count, SIDE * SIDE * 4, min(count, CHUNK)),)
        for start in range(0, count, rows)
    ]
    plan = SourcePlan((SIDE, SIDE, 1), tuple(slabs))
    shards = settings.shards or convert_stage.shard_count(plan)
    splits = dict(settings.splits) if settings.splits else {}
    _add_slabs(settings, prospect, plan, shards, splits, (State.TO_DO, 0), len(settings.classes or DIGITS))


def _looked_at(settings: Any, prospect: Prospect) -> None:
    """A source that is there."""
    pictures.check_images_from(settings)
    source, fingerprint = convert_stage.identified(settings, prospect.root)
    manifest = None if prospect.context.force else convert_stage.current(settings, prospect.root, fingerprint)
    job = convert_stage.plan(settings, prospect.context, source, fingerprint) if manifest is None else None
    if job is None:  # done; the source is looked at all the same, since people ask whether it can be opened
        _found_whole(settings, prospect, manifest or {})
        return
    done = frozenset() if prospect.context.force else image_shards.finished(job.target)
    state = (State.PARTLY if done else State.TO_DO, len(done))
    if isinstance(source, PhotoSource):
        found = source.plan_photos(prospect.root)
        each = (
            pictures.folder_bytes(settings, job.records)
            if settings.source == "image_folder"
            else pictures.photo_bytes(settings)
        )
        pictures.check_photographs(settings, prospect, source, dict(found.counts), job.target.shards)
        names = (settings.dataset, settings.version, found.task, len(found.classes), None, dict(found.counts))
        images = Images(*names, job.target.shards, each, fresh=True)
        prospect.set_images(images, found.annotator)
        _add_photos(settings, prospect, images, state[0], len(job.target.every() - done))
        return
    _add_slabs(
        settings, prospect, source.plan(), job.target.shards, _fractions(settings, job), state, len(job.target.classes)
    )


def _fractions(settings: Any, job: Job) -> dict[str, float]:
    return dict.fromkeys(job.target.splits, 1.0) | dict(settings.splits) if settings.splits else {}


def _found_whole(settings: Any, prospect: Prospect, manifest: Mapping[str, Any]) -> None:
    """Images that are there, made from just this."""
    del prospect.images[settings.dataset, settings.version]
    prospect.unknown.discard((settings.dataset, HUMAN))
    counts = manifest["counts"]
    prospect.add(Step("convert", settings.dataset, State.DONE, counts["in"], counts["out"]))


def _add_slabs(
    settings: Any,
    prospect: Prospect,
    plan: SourcePlan,
    shards: int,
    fractions: Mapping[str, float],
    state: tuple[State, int],
    classes: int,
) -> None:
    """A conversion of arrays of pixels, of which some shards are done already."""
    records, pictures = plan.records(), plan.image_shape != NO_PICTURES
    total = sum(records.values())
    splits = {name: round(total * share) for name, share in fractions.items()} if fractions else records
    each = sizes.picture_bytes(plan.image_shape) if pictures else 0.0
    names = (settings.dataset, settings.version, plan.task, classes, plan.image_shape, splits, shards)
    images = Images(*names, each, fresh=True, exact=not fractions)
    prospect.set_images(images, HUMAN)
    missing = shards * len(splits) - state[1]
    slab = max(one.payload_bytes for one in plan.slabs)
    shard = math.ceil(max(splits.values()) / shards) * math.prod(plan.image_shape) if pictures else 0
    step = Step(
        *("convert", settings.dataset, state[0], total, total),
        elements={"convert.read": len(plan.slabs), "convert.write": missing},
        element_bytes=max(slab, shard),
        kept_bytes=_kept(images, HUMAN, pictures) * missing // (shards * len(splits)),
        worker_bytes=PLAIN_BYTES + SLABS_HELD * max(slab, shard),
        kind=settings.source,
        units=total * missing / (shards * len(splits)),
        unit_seconds=max(1, math.prod(plan.image_shape)) / paces.VALUES_A_SECOND,
    )
    prospect.add(step)


def _add_photos(settings: Any, prospect: Prospect, images: Images, state: State, missing: int) -> None:
    total, whole = sum(images.splits.values()), images.shards * len(images.splits)
    annotator = HUMAN if settings.source != "open_images" else ""
    step = Step(
        *("convert", settings.dataset, state, total, total, images.exact),
        elements={"convert.fetch": missing},
        element_bytes=images.shard_bytes,
        kept_bytes=_kept(images, annotator, True) * missing // whole,
        worker_bytes=PLAIN_BYTES + 2 * images.shard_bytes,
        kind=settings.source,
        units=total * missing / whole,
        unit_seconds=1 / (paces.SCALED_A_SECOND if settings.max_side else paces.PHOTOS_A_SECOND),
    )
    prospect.add(step)


def _kept(images: Images, annotator: str, pictures: bool) -> int:
    """Bytes of a dataset: TFRecords, index, labels and rejects."""
    size = sizes.METADATA_BYTES + int(sum(images.splits.values()) * images.record_bytes)
    for count in images.splits.values():
        size += sizes.reject_bytes(images.shards)
        size += sizes.table_bytes(tables.INDEX, count, images.shards) if pictures else 0
        size += sizes.label_bytes(count, images.shards) if annotator else 0
    return size


def imports(asked: Sequence[ImportSettings], prospect: Prospect) -> None:
    """Anybody's labels."""
    for settings in asked:
        product = f"{settings.dataset}/{settings.annotator}/{settings.split}"
        prospect.labels[settings.dataset, settings.annotator, settings.split] = None
        with prospect.attempt("import", product):
            prospect.check_reachable(*settings.input)
            files = find_input_files("input", settings.input)
            imports_stage.check_annotator(settings, prospect.root)
            parts, rows = import_files.plan(files, settings.column_names, "confidence" in settings.columns)
            if rows is None:
                rows = round(sum(_rows_of(one.part) for one in parts if isinstance(one, CsvPart)))
            _import(settings, prospect, files, (len(parts), rows), product)


def _import(
    settings: ImportSettings, prospect: Prospect, files: list[str], found: tuple[int, int], product: str
) -> None:
    key, image_key = (settings.dataset, settings.annotator, settings.split), (settings.dataset, settings.version)
    parts, likely = found
    images = prospect.find_images(*image_key) if image_key in prospect.images else None
    if images and images.fresh:
        images.images_in(settings.split)
        state, missing, shards = State.TO_DO, images.shards, images.shards
    else:
        plan, _ = imports_stage.plan_labels(settings, prospect.root, files)
        shards = plan.shards
        manifest = products.find_manifest(plan.labels.folder)
        if manifest and manifest["fingerprint"] == plan.fingerprint and not prospect.context.force:
            prospect.labels[key] = Labels(int(manifest["rows"]), shards, fresh=False)
            counts = manifest["counts"]
            prospect.add(Step("import", product, State.DONE, counts["in"], counts["out"]))
            return
        done = set() if prospect.context.force else set(plan.labels.done()) & set(plan.rejects.done())
        state, missing = (State.PARTLY if done else State.TO_DO), shards - len(done)
    prospect.labels[key] = Labels(likely, shards, fresh=True, exact=False)
    step = Step(
        *("import", product, state, likely, likely, False),
        elements={"import.read": parts, "import.write": missing},
        element_bytes=min(csv_ranges.RANGE_BYTES, 36 * likely),
        kept_bytes=sizes.label_bytes(likely, shards) + sizes.reject_bytes(shards),
        worker_bytes=PLAIN_BYTES + SLABS_HELD * csv_ranges.RANGE_BYTES,
        units=likely * missing / shards,
        unit_seconds=1 / paces.ROWS_A_SECOND["import"],
    )
    prospect.add(step)
