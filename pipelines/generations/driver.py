"""Let machines teach machines: train, label and compare, generation by generation, all from ordinary stages.

    concord generations studies/generations.toml --data DATA --root out/generations

People teach the first network by their labels of a share of the images. It labels the others, the pool, and its labels
alone teach the next one, which labels the pool in turn. Each step is one stage for all networks of a generation; every
model and label set lies where any other does, and what is there is not made again.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from models import networks
from pipelines.generations import results as lineage_table
from pipelines.generations import students
from pipelines.generations.pseudo_labels import PseudoLabels, count_pseudo_labels
from pipelines.generations.students import Student
from pipelines.runner import Context, Stage, StageResult
from schemas import layout, manifests, plugins
from schemas.errors import InputError
from schemas.settings.agree import AgreeSettings
from schemas.settings.generations import GenerationsSettings
from schemas.settings.label import LabelSettings
from schemas.settings.train import TrainSettings
from storage import parquet, products, stores


@dataclass(frozen=True)
class Verbs:
    """The stages that a study is made of; handed in, since stages never import each other."""

    train: Callable[[Sequence[TrainSettings], Context], list[StageResult]]
    label: Callable[[LabelSettings, Context], list[StageResult]]
    agree: Callable[[AgreeSettings, Context], list[StageResult]]


def steps(settings: GenerationsSettings, context: Context, verbs: Verbs) -> Iterator[Stage]:
    """The stages of a study, in order; each is to be run before the next is asked for.

    Raises:
        InputError: a network is unknown, or the dataset has not the splits or the task that this takes.
        IncompleteError: the images or people's labels are not there.
    """
    check(settings, context.root)
    training = students.training(settings, students.initial_teachers(settings)[0])
    label = partial(_label, settings, context, verbs, training.hints())
    whole, judged = (settings.split, settings.validation, settings.test), (settings.test,)
    yield partial(_draw, settings, context, {students.taught_set(settings): settings.labels}, False)
    notes: dict[str, str] = {}
    references = students.references(settings)
    for generation in range(settings.generations + 1):
        found = list(students.students(settings, generation)) if generation else students.initial_teachers(settings)
        notes |= left_out(settings, context.root, found, notes)
        if notes and generation == 0:
            raise InputError(f"people teach nothing, {next(iter(notes.values()))}: give a smaller pool")
        taught = [heir for heir in found if heir.annotator not in notes]
        if not taught:
            continue
        also = references if generation == 0 else []
        yield partial(verbs.train, [students.training(settings, heir) for heir in (*taught, *also)], context)
        last = generation == settings.generations
        yield partial(label, taught, judged if last else whole)
        if also:
            yield partial(label, also, judged)
        if not last:
            pools = {students.pool_set(heir.annotator): heir.annotator for heir in taught}
            yield partial(_draw, settings, context, pools, True)
    yield partial(_compare, settings, context, verbs, notes)
    yield partial(_tabulate, settings, context, notes)


def check(settings: GenerationsSettings, root: str) -> None:
    """Raise where a study cannot be begun; see `steps`."""
    for network in (settings.first, settings.network):
        plugins.check(networks, "network", network)
    images = products.image_set(root, settings.dataset, settings.version)
    for split in (settings.split, settings.test):
        images.images_in(split)
    if settings.validation not in images.manifest["splits"]:
        raise InputError(
            f"dataset {settings.dataset!r} has no split {settings.validation!r} by which networks stop learning: name "
            f"another with validation = ..., or convert with splits that hold one"
        )
    if images.manifest["task"] == manifests.MULTILABEL:
        raise InputError(f"images of {settings.dataset!r} have several labels; generations takes one label an image")
    for split in (settings.split, settings.validation, settings.test):
        products.label_set(root, settings.dataset, settings.labels, split)


def left_out(
    settings: GenerationsSettings, root: str, found: Iterable[Student], before: dict[str, str]
) -> dict[str, str]:
    """Which networks nothing can be taught to, by name, and why.

    Args:
        settings: of the study.
        root: where their teachers' label sets lie.
        found: the networks of a generation.
        before: those of earlier generations that were left out.
    """
    notes = {}
    for heir in found:
        if heir.teacher in before:
            notes[heir.annotator] = f"left out: its teacher {heir.teacher} was left out"
            continue
        for split in (settings.split, settings.validation):
            if not count_pseudo_labels(root, settings.dataset, heir.label_set, split, heir.cut or 0.0):
                sure = f" at least {heir.cut:g} sure" if heir.cut else ""
                notes.setdefault(heir.annotator, f"left out: {heir.label_set} has no label{sure} of split {split}")
    return notes


def _draw(settings: GenerationsSettings, context: Context, wanted: dict[str, str], pool: bool) -> list[StageResult]:
    """Make the label sets that teach: by name, from whose labels each is drawn."""
    results = []
    for name, annotator in wanted.items():
        began = time.monotonic()
        place = (context.root, settings.dataset, annotator, name)
        made = PseudoLabels(*place, settings.split, settings.pool, pool, (settings.validation,)).make(context.force)
        spent = time.monotonic() - began if made else 0.0
        results.append(StageResult("teach", f"{settings.dataset}/{name}", bool(made), spent, {"labels": made}))
    return results


def _label(
    settings: GenerationsSettings,
    context: Context,
    verbs: Verbs,
    hints: Mapping[str, str],
    found: Sequence[Student],
    splits: tuple[str, ...],
) -> list[StageResult]:
    models = tuple(heir.annotator for heir in found)
    where: Any = {"dataset": settings.dataset, "version": settings.version, **hints}
    return verbs.label(LabelSettings(models=models, splits=splits, **where), context)


def _compare(settings: GenerationsSettings, context: Context, verbs: Verbs, notes: dict[str, str]) -> list[StageResult]:
    """Compare each network with its teacher and with what people taught everything; what machines teach, with people.

    A comparison that several networks share is made for the first of them.
    """
    results: dict[str, StageResult] = {}
    asked: dict[tuple[tuple[str, ...], str], None] = {}
    for heir in students.everyone(settings):
        if heir.annotator in notes:
            continue
        highest = students.supervised_baseline(settings, heir.seed)
        teacher = () if heir.is_taught_by_people else (heir.teacher,)
        if heir.annotator != highest:
            asked[(heir.annotator, *teacher, highest), settings.test] = None
        if teacher:
            asked[(heir.label_set, settings.labels), settings.split] = None
    for annotators, split in asked:
        wanted = AgreeSettings(
            dataset=settings.dataset, annotators=annotators, reference=settings.labels, splits=(split,)
        )
        for one in verbs.agree(wanted, context):
            results.setdefault(one.product, one)
    return list(results.values())


def _tabulate(settings: GenerationsSettings, context: Context, notes: dict[str, str]) -> StageResult:
    """Write the table, unless it is there and made from just this."""
    began = time.monotonic()
    path = layout.generations_table(context.root, settings.dataset, settings.name)
    fingerprint = _fingerprint(settings, context.root, notes)
    made = context.force or stores.stat(path) is None or parquet.read_tags(path)[0] != fingerprint
    if made:
        stores.remove_partial_file(path)
        parquet.write(path, lineage_table.table(settings, context.root, notes), fingerprint)
    rows = parquet.read(path, fingerprint).to_pylist()
    counts: dict[str, Any] = {"rows": len(rows), "means": [row for row in rows if row["seed"] is None]}
    product = f"{settings.dataset}/{settings.name}"
    return StageResult("generations", product, made, time.monotonic() - began if made else 0.0, counts)


def _fingerprint(settings: GenerationsSettings, root: str, notes: dict[str, str]) -> str:
    """Of the label sets that the figures follow from, and of what is asked."""
    found = [heir for heir in students.everyone(settings) if heir.annotator not in notes]
    sets = dict.fromkeys((heir.annotator, settings.test) for heir in found)
    for heir in found:
        sets |= dict.fromkeys((heir.label_set, split) for split in (settings.split, settings.validation))
    labels = {
        f"{name}/{split}": products.label_set(root, settings.dataset, name, split).fingerprint for name, split in sets
    }
    people = products.label_set(root, settings.dataset, settings.labels, settings.test).fingerprint
    asked = settings.identity()
    return products.fingerprint("generations", settings=asked, labels=labels, people=people, notes=notes)
