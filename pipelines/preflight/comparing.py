"""On paper: the stages that compare label sets (agree, generations), and those that read what there is."""

import importlib.util
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from pipelines.agree import driver
from pipelines.agree.transforms import SplitPlan
from pipelines.generations import students
from pipelines.generations.driver import check, left_out
from pipelines.generations.students import Student
from pipelines.preflight import learning, paces, sizes
from pipelines.preflight.inputs import PLAIN_BYTES
from pipelines.preflight.prospect import Labels, Prospect, State, Step
from schemas import layout, tables
from schemas.errors import InputError
from schemas.manifests import MULTILABEL
from schemas.settings.agree import AgreeSettings
from schemas.settings.generations import GenerationsSettings
from schemas.settings.label import LabelSettings
from schemas.settings.label_errors import LabelErrorSettings
from schemas.settings.queue import QueueSettings
from schemas.settings.report import ReportSettings
from storage import products, stores

ROW_BYTES = 60  # of a label, as it is compared in memory
QUEUE_ROW_BYTES = 120
IsDone = Callable[[Any, str], bool]


def agree(settings: AgreeSettings, prospect: Prospect) -> None:
    """The comparisons of every two annotators; each label set that is missing is a problem of its own."""
    names = [*settings.annotators, *([settings.reference] if settings.reference else [])]
    for split in settings.splits:
        found: dict[str, Labels] = {}
        for name in dict.fromkeys(names):
            with _quietly(prospect), prospect.attempt("agree", f"{settings.dataset}/{name}/{split}"):
                found[name] = prospect.find_labels(settings.dataset, name, split)
        pairs = list(itertools.combinations(settings.annotators, 2))
        if len(found) < len(set(names)):
            for a, b in pairs:
                prospect.add(Step("agree", f"{settings.dataset}/{a}-{b}/{split}", State.WAITS))
            continue
        with prospect.attempt("agree", f"{settings.dataset}/{split}"):
            _compare(settings, prospect, split, found)


@contextmanager
def _quietly(prospect: Prospect) -> Iterator[None]:
    """Keep the problems that a block finds, but no step for each annotator whose labels wait."""
    steps = len(prospect.steps)
    yield
    del prospect.steps[steps:]


def _compare(settings: AgreeSettings, prospect: Prospect, split: str, found: Mapping[str, Labels]) -> None:
    missing = _missing(settings, prospect, split, found)
    shards = max(labels.shards for labels in found.values())
    shared = {"agree": shards}
    for a, b in itertools.combinations(settings.annotators, 2):
        to_do = missing is None or (a, b) in missing
        rows = max(found[a].rows, found[b].rows)
        exact = found[a].exact and found[b].exact and found[a].rows == found[b].rows
        pairs = sizes.table_bytes(tables.PAIRS, rows, shards) if settings.pairs == "all" else 0
        alone = sizes.ALONE_TABLE_BYTES * (2 if settings.reference else 0) / max(1, len(settings.annotators) - 1)
        largest = (rows // shards + 1) * ROW_BYTES * len(found)
        state = State.DONE if not to_do else State.TO_DO
        step = Step(
            *("agree", f"{settings.dataset}/{a}-{b}/{split}", state, rows, rows, exact),
            elements=shared if to_do else {},
            element_bytes=largest if to_do else 0,
            kept_bytes=int(pairs + alone + sizes.PAIR_TABLE_BYTES) if to_do else 0,
            worker_bytes=PLAIN_BYTES + 3 * largest,
            kind=settings.pairs,
            units=rows if to_do else 0,
            unit_seconds=1 / paces.ROWS_A_SECOND["agree" if settings.pairs == "all" else "agree.none"],
        )
        prospect.add(step)
        shared = {} if to_do else shared  # an element compares every two annotators


def _missing(
    settings: AgreeSettings, prospect: Prospect, split: str, found: Mapping[str, Labels]
) -> set[tuple[str, str]] | None:
    """The pairs that are not compared yet; None where all are to be."""
    tuned = [prospect.labels.get((settings.dataset, name, settings.threshold_split)) for name in found]
    fresh = prospect.is_fresh(*found.values(), *(one for one in tuned if one))
    if fresh or not prospect.reachable:
        return None
    tuning = driver.tuning_split(settings, prospect.root)
    plan: SplitPlan = driver.plan_split(settings, prospect.root, split, tuning)
    left = driver.missing_of(plan, prospect.context.force)
    if left is None:
        return set()
    pairs = {(one.a, one.b) for one in left.pairs}
    return pairs or {(plan.pairs[0].a, plan.pairs[0].b)}  # only tables of one or of many are missing


def generations(settings: GenerationsSettings, prospect: Prospect) -> None:
    """A study: its trainings, label sets and comparisons, generation by generation, as it would run them."""
    with prospect.attempt("generations", f"{settings.dataset}/{settings.name}"):
        images = prospect.find_images(settings.dataset, settings.version)
        if not images.fresh:
            check(settings, prospect.root)
        elif images.task == MULTILABEL:
            raise InputError(
                f"images of {settings.dataset!r} have several labels; generations takes one label an image"
            )
        for split in (settings.split, settings.validation, settings.test):
            images.images_in(split)
        _study(settings, prospect)


def _study(settings: GenerationsSettings, prospect: Prospect) -> None:
    whole, judged = (settings.split, settings.validation, settings.test), (settings.test,)
    _teach(settings, prospect, {students.taught_set(settings): settings.labels}, 1 - settings.pool)
    notes: dict[str, str] = {}
    for generation in range(settings.generations + 1):
        found = list(students.students(settings, generation)) if generation else students.initial_teachers(settings)
        notes |= left_out(
            settings, prospect.root, [one for one in found if _is_told(settings, prospect, one, notes)], notes
        )
        found = [heir for heir in found if heir.annotator not in notes]
        also = students.references(settings) if generation == 0 else []
        learning.train([students.training(settings, heir) for heir in (*found, *also)], prospect)
        last = generation == settings.generations
        _labels(settings, prospect, found, judged if last else whole)
        _labels(settings, prospect, also, judged)
        if not last:
            pools = {students.pool_set(heir.annotator): heir.annotator for heir in found}
            _teach(settings, prospect, pools, settings.pool)
    comparisons = len(students.everyone(settings)) * 2
    rows = prospect.find_images(settings.dataset, settings.version).images_in(settings.test)
    product = f"{settings.dataset}/{settings.name}"
    path = layout.generations_table(prospect.root, settings.dataset, settings.name)
    fresh = any(one.stage in ("train", "label", "teach") and one.state is not State.DONE for one in prospect.steps)
    done = not fresh and stores.stat(path) is not None
    kept = comparisons * (sizes.PAIR_TABLE_BYTES + sizes.ALONE_TABLE_BYTES + 8 * 5_000)
    units, pace = comparisons * rows, 1 / paces.ROWS_A_SECOND["agree"]
    made = Step("generations", product, State.TO_DO, exact=False, kept_bytes=kept, units=units, unit_seconds=pace)
    prospect.add(Step("generations", product, State.DONE) if done else made)


def _is_told(settings: GenerationsSettings, prospect: Prospect, heir: Student, notes: Mapping[str, str]) -> bool:
    """Whether what would teach a network is there already, so that it can be told if that is too little."""
    keys = [(settings.dataset, heir.label_set, split) for split in (settings.split, settings.validation)]
    taught = [prospect.labels.get(key) for key in keys]
    return heir.teacher in notes or all(one is not None and not one.fresh for one in taught)


def _labels(
    settings: GenerationsSettings, prospect: Prospect, found: Sequence[Student], splits: tuple[str, ...]
) -> None:
    if found:
        models = tuple(heir.annotator for heir in found)
        where: dict[str, Any] = {"dataset": settings.dataset, "version": settings.version}
        learning.label(LabelSettings(models=models, splits=splits, **where), prospect)


def _teach(settings: GenerationsSettings, prospect: Prospect, wanted: Mapping[str, str], share: float) -> None:
    """The label sets that teach; how many are sure enough is not known before."""
    for name, annotator in wanted.items():
        for split, part in ((settings.split, share), (settings.validation, 1.0)):
            with prospect.attempt("teach", f"{settings.dataset}/{name}"):
                of = prospect.find_labels(settings.dataset, annotator, split)
                folder = layout.labels(prospect.root, settings.dataset, name, split)
                fresh = of.fresh or prospect.context.force or products.find_manifest(folder) is None
                if fresh:
                    made = Labels(int(of.rows * part), of.shards, fresh, exact=False)
                    prospect.labels[settings.dataset, name, split] = made
                rows = prospect.find_labels(settings.dataset, name, split).rows
                if split == settings.split:
                    state, kept = (State.TO_DO, sizes.label_bytes(rows, of.shards)) if fresh else (State.DONE, 0)
                    counts = (rows, rows, not fresh)
                    prospect.add(Step("teach", f"{settings.dataset}/{name}", state, *counts, kept_bytes=kept))


def label_errors(settings: LabelErrorSettings, prospect: Prospect, is_done: IsDone) -> None:
    """Labels that may be wrong."""
    product = f"{settings.dataset}/{settings.annotator}/{settings.split}"
    with prospect.attempt("label_errors", product):
        if importlib.util.find_spec("cleanlab") is None:
            prospect.tell("label_errors", "cleanlab is not installed: pip install 'concord[quality]'")
        images = prospect.find_images(settings.dataset, settings.version)
        count = images.images_in(settings.split)
        read = [
            prospect.find_labels(settings.dataset, name, settings.split)
            for name in (settings.annotator, settings.labels)
        ]
        model = prospect.models.get((settings.dataset, settings.annotator))
        if read[0].fresh and model and not (model.folds and model.split == settings.split):
            raise InputError(
                f"{settings.annotator!r} will not have scored split {settings.split!r} out of fold: train it with "
                "folds of that split (folds = 5), and label it with scores"
            )
        fresh = prospect.is_fresh(images, *read) or not is_done(settings, prospect.root)
        _read("label_errors", product, prospect, fresh, count, count * 40)


def queue(settings: QueueSettings, prospect: Prospect, is_done: IsDone) -> None:
    """What people should look at."""
    product = f"{settings.dataset}/{settings.split}"
    with prospect.attempt("queue", product):
        images = prospect.find_images(settings.dataset, settings.version)
        count = images.images_in(settings.split)
        names = [*settings.annotators, *([settings.reference] if settings.reference else [])]
        read = [prospect.find_labels(settings.dataset, name, settings.split) for name in names]
        fresh = prospect.is_fresh(images, *read) or not is_done(settings, prospect.root)
        exported = min(count, settings.limit or count) * images.record_bytes if settings.export else 0
        _read("queue", product, prospect, fresh, count, int(count * QUEUE_ROW_BYTES + exported))


def report(settings: ReportSettings, prospect: Prospect, is_done: IsDone) -> None:
    """The page; it is drawn again where anything before it is made again."""
    with prospect.attempt("report", settings.dataset):
        mine = [one for one in prospect.steps if one.product.split("/")[0] == settings.dataset]
        if any(one.state is State.WAITS for one in mine):
            prospect.add(Step("report", settings.dataset, State.WAITS))
            return
        before = prospect.context.force or any(one.state is not State.DONE for one in mine)
        fresh = before or not is_done(settings, prospect.root)
        if not fresh:
            prospect.add(Step("report", settings.dataset, State.DONE))
            return
        pairs = sum(one.stage == "agree" for one in mine)
        size, pace = sizes.PAGE_BYTES + pairs * sizes.PAGE_PAIR_BYTES, paces.PAGE_SECONDS
        prospect.add(Step("report", settings.dataset, State.TO_DO, kept_bytes=size, units=1, unit_seconds=pace))


def _read(stage: str, product: str, prospect: Prospect, fresh: bool, rows: int, kept: int) -> None:
    if fresh:
        pace = 1 / paces.READ_A_SECOND
        prospect.add(Step(stage, product, State.TO_DO, rows, kept_bytes=kept, units=rows, unit_seconds=pace))
    else:
        prospect.add(Step(stage, product, State.DONE, rows))
