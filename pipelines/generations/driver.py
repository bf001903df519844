"""Machines that teach machines: train, label and compare, generation by generation, all from ordinary stages.

    concord generations studies/generations.toml --data DATA --root out/generations

Humans teach the first network by their labels of a share of the images. It labels the others, the pool, and its
pseudo-labels alone teach the next one, which labels the pool in turn. Each step is one stage for all networks of a
generation; every model and label set lies where any other does, and what is up to date is not rebuilt.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from models import networks
from pipelines.generations import results, students
from pipelines.generations.pseudo_labels import PseudoLabels, count_pseudo_labels
from pipelines.generations.students import Student
from pipelines.stages import find_stage
from schemas import layout, plugins
from schemas.errors import IncompleteError, InputError
from schemas.manifests import MULTILABEL
from schemas.settings.agree import AgreeSettings
from schemas.settings.generations import GenerationsSettings
from schemas.settings.label import LabelSettings
from schemas.stage import Context, Driver, Plan, Product, StageResult, State
from storage import parquet, products, stores


@dataclass(frozen=True)
class Step:
    """One step of a study: an ordinary stage with some settings, or label sets that are drawn from others."""

    stage: str
    settings: Sequence[Any]

    def is_done(self, context: Context) -> bool:
        """Whether nothing of it is left to do; IncompleteError where what it reads is not there."""
        if self.stage == PSEUDO_LABELS:
            return all(one.is_done() for one in self.settings)
        return all(find_stage(self.stage).plan(one, context).is_done for one in self.settings)

    def run(self, context: Context) -> Iterator[StageResult]:
        """Do it; of products that several of its settings share, the first result counts."""
        if self.stage == PSEUDO_LABELS:
            yield from (_draw(one, context) for one in self.settings)
            return
        stage, reported = find_stage(self.stage), set()
        for result in stage.run([stage.plan(one, context) for one in self.settings], context):
            if result.product not in reported:
                yield result
            reported.add(result.product)


PSEUDO_LABELS = "pseudo_labels"  # what such a step is called in results


class GenerationsDriver(Driver[GenerationsSettings]):
    """Runs a study from its first network to its table; each step is taken only where it is not done."""

    def reads(self, settings: GenerationsSettings, root: str) -> Iterable[str]:
        """The images and the human labels."""
        images = layout.images(root, settings.dataset, settings.version)
        splits = (settings.split, settings.validation, settings.test)
        return [images, *(layout.labels(root, settings.dataset, settings.labels, split) for split in splits)]

    def check(self, settings: GenerationsSettings) -> None:
        """Whether there are such networks."""
        for network in (settings.first, settings.network):
            plugins.check(networks, "network", network)

    def plan(self, settings: GenerationsSettings, context: Context) -> Plan:
        """Whether the whole study is done.

        Raises:
            InputError: a network is unknown, or the dataset has not the splits or the task that this takes.
            IncompleteError: the images or the human labels are not there.
        """
        check_study(settings, context.root)
        name, notes = f"{settings.dataset}/{settings.name}", dict[str, str]()
        try:
            done = not context.force and all(step.is_done(context) for step in steps(settings, context.root, notes))
            done = done and _is_tabulated(settings, context.root, notes)
        except IncompleteError:  # what an earlier step will make
            done = False
        if done:
            return Plan(settings, (Product(name, State.DONE, _counts(settings, context.root, notes)),))
        return Plan(settings, (Product(name, State.TO_DO),))

    def run(self, stage: str, plans: Sequence[Plan], context: Context) -> Iterator[StageResult]:
        """Take every step, and write the table."""
        for plan in plans:
            if plan.is_done:
                yield from self.run_one(stage, plan, context)
                continue
            settings, notes, began = plan.settings, dict[str, str](), time.monotonic()
            for step in steps(settings, context.root, notes):
                yield from step.run(context)
            _tabulate(settings, context, notes)
            seconds, counts = time.monotonic() - began, _counts(settings, context.root, notes)
            yield StageResult(stage, plan.products[0].name, True, seconds, counts)


def steps(settings: GenerationsSettings, root: str, notes: dict[str, str]) -> Iterator[Step]:
    """The steps of a study, in order; each is to be taken before the next is requested.

    Args:
        settings: of the study.
        root: where everything lies.
        notes: takes why networks are excluded, by name.
    """
    training = students.training(settings, students.initial_teachers(settings)[0])
    hints = training.hints()
    whole, evaluated = (settings.split, settings.validation, settings.test), (settings.test,)
    yield _pseudo_labels(settings, root, {students.human_share_set(settings): settings.labels}, pool=False)
    for generation in range(settings.generations + 1):
        members = students.members(settings, generation)
        notes |= excluded_networks(settings, root, members, notes)
        if notes and generation == 0:
            raise InputError(
                f"generation 0 has nothing to learn from, {next(iter(notes.values()))}: give a smaller pool"
            )
        included = [student for student in members if student.annotator not in notes]
        if not included:
            continue
        references = [] if generation else students.references(settings)
        yield Step("train", [students.training(settings, student) for student in (*included, *references)])
        last = generation == settings.generations
        yield _label(settings, included, evaluated if last else whole, hints)
        if references:
            yield _label(settings, references, evaluated, hints)
        if not last:
            pools = {students.pool_set(student.annotator): student.annotator for student in included}
            yield _pseudo_labels(settings, root, pools, pool=True)
    yield _compare(settings, notes)


def check_study(settings: GenerationsSettings, root: str) -> None:
    """Raise where a study cannot be begun; see `GenerationsDriver.plan`."""
    DRIVER.check(settings)
    images = products.image_set(root, settings.dataset, settings.version)
    for split in (settings.split, settings.test):
        images.images_in(split)
    if settings.validation not in images.manifest.splits:
        raise InputError(
            f"dataset {settings.dataset!r} has no split {settings.validation!r} by which networks stop learning: name "
            f"another with validation = ..., or convert with splits that hold one"
        )
    if images.manifest.task == MULTILABEL:
        raise InputError(f"images of {settings.dataset!r} have several labels; generations takes one label per image")
    for split in (settings.split, settings.validation, settings.test):
        products.label_set(root, settings.dataset, settings.labels, split)


def excluded_networks(
    settings: GenerationsSettings, root: str, networks: Iterable[Student], before: dict[str, str]
) -> dict[str, str]:
    """Which networks have nothing to learn from, by name, and why.

    Args:
        settings: of the study.
        root: where the teachers' label sets lie.
        networks: the networks of a generation.
        before: those of earlier generations that were excluded.
    """
    notes = {}
    for student in networks:
        if student.teacher in before:
            notes[student.annotator] = f"excluded: its teacher {student.teacher} was excluded"
            continue
        for split in (settings.split, settings.validation):
            if not count_pseudo_labels(root, settings.dataset, student.label_set, split, student.cut or 0.0):
                confident = f" of confidence {student.cut:g} or more" if student.cut else ""
                notes.setdefault(
                    student.annotator, f"excluded: {student.label_set} has no label{confident} of split {split}"
                )
    return notes


def _pseudo_labels(settings: GenerationsSettings, root: str, sets: dict[str, str], pool: bool) -> Step:
    """The label sets that teach: by name, from whose labels each is drawn."""
    rest = (settings.split, settings.pool, pool, (settings.validation,))
    return Step(
        PSEUDO_LABELS,
        [PseudoLabels(root, settings.dataset, annotator, name, *rest) for name, annotator in sets.items()],
    )


def _draw(labels: PseudoLabels, context: Context) -> StageResult:
    began = time.monotonic()
    counts = labels.make(context.force)
    seconds = time.monotonic() - began if counts else 0.0
    return StageResult(PSEUDO_LABELS, f"{labels.dataset}/{labels.name}", bool(counts), seconds, {"labels": counts})


def _label(
    settings: GenerationsSettings, networks: Sequence[Student], splits: tuple[str, ...], hints: dict[str, str]
) -> Step:
    models = tuple(student.annotator for student in networks)
    rest: Any = {"dataset": settings.dataset, "version": settings.version, **hints}
    return Step("label", [LabelSettings(models=models, splits=splits, **rest)])


def _compare(settings: GenerationsSettings, notes: dict[str, str]) -> Step:
    """Compare each network with its teacher and its supervised baseline; what machines teach, with the human labels."""
    requests: dict[tuple[tuple[str, ...], str], None] = {}
    for student in students.everyone(settings):
        if student.annotator in notes:
            continue
        baseline = students.supervised_baseline(settings, student.seed)
        teacher = () if student.learns_from_humans else (student.teacher,)
        if student.annotator != baseline:
            requests[(student.annotator, *teacher, baseline), settings.test] = None
        if teacher:
            requests[(student.label_set, settings.labels), settings.split] = None
    return Step(
        "agree",
        [
            AgreeSettings(dataset=settings.dataset, annotators=annotators, reference=settings.labels, splits=(split,))
            for annotators, split in requests
        ],
    )


def _is_tabulated(settings: GenerationsSettings, root: str, notes: dict[str, str]) -> bool:
    path = layout.generations_table(root, settings.dataset, settings.name)
    return stores.stat(path) is not None and parquet.read_tags(path)[0] == _fingerprint(settings, root, notes)


def _tabulate(settings: GenerationsSettings, context: Context, notes: dict[str, str]) -> None:
    """Write the table, unless it is there and made from just this."""
    if context.force or not _is_tabulated(settings, context.root, notes):
        path = layout.generations_table(context.root, settings.dataset, settings.name)
        stores.remove_partial_file(path)
        table = results.table(settings, context.root, notes)
        parquet.write(path, table, _fingerprint(settings, context.root, notes))


def _counts(settings: GenerationsSettings, root: str, notes: dict[str, str]) -> dict[str, Any]:
    """What is reported of a study: its rows, and those that stand for all seeds."""
    path = layout.generations_table(root, settings.dataset, settings.name)
    rows = parquet.read(path, _fingerprint(settings, root, notes)).to_pylist()
    return {"rows": len(rows), "means": [row for row in rows if row["seed"] is None]}


def _fingerprint(settings: GenerationsSettings, root: str, notes: dict[str, str]) -> str:
    """Of the label sets that the figures follow from, and of what is asked."""
    networks = [student for student in students.everyone(settings) if student.annotator not in notes]
    sets = dict.fromkeys((student.annotator, settings.test) for student in networks)
    for student in networks:
        sets |= dict.fromkeys((student.label_set, split) for split in (settings.split, settings.validation))
    labels = {
        f"{name}/{split}": products.label_set(root, settings.dataset, name, split).fingerprint for name, split in sets
    }
    reference = products.label_set(root, settings.dataset, settings.labels, settings.test).fingerprint
    return products.fingerprint(
        "generations", settings=settings.identity(), labels=labels, reference=reference, notes=notes
    )


DRIVER = GenerationsDriver()
