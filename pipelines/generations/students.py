"""Who learns from whom in a study of generations: every network by name, and how each is trained."""

from collections.abc import Iterator
from dataclasses import dataclass

from schemas.settings.generations import GenerationsSettings, cut_name
from schemas.settings.train import TrainSettings
from schemas.tables import EVERYTHING, GENERATION, LABELLED_SHARE


@dataclass(frozen=True)
class Student:
    """One network of a study.

    Attributes:
        kind: of its row in the table.
        generation: 0 learns from humans; None for a reference.
        cut: the confidence threshold of the labels that it learns; None for human labels.
        annotator: its name, that of its model and of its label set.
        teacher: whose labels teach it.
        label_set: the label set that those labels stand in.
    """

    kind: str
    generation: int | None
    cut: float | None
    seed: int
    network: str
    annotator: str
    teacher: str
    label_set: str

    @property
    def learns_from_humans(self) -> bool:
        """Whether it learns human labels."""
        return self.cut is None


def human_share_set(settings: GenerationsSettings) -> str:
    """Name of the label set of the human labels of the images outside the pool."""
    return f"{settings.name}_taught"


def pool_set(annotator: str) -> str:
    """Name of the label set of what a network teaches: its labels of the pool."""
    return f"{annotator}_pool"


def supervised_baseline(settings: GenerationsSettings, seed: int) -> str:
    """Name of the network that learns the human labels of all images."""
    return f"{settings.name}_all_s{seed}"


def initial_teachers(settings: GenerationsSettings) -> list[Student]:
    """Generation 0: the networks that learn the human labels of a share of the images, one per seed."""
    return [
        Student(
            GENERATION,
            0,
            None,
            seed,
            settings.first,
            _annotator(settings, 0, None, seed),
            settings.labels,
            human_share_set(settings),
        )
        for seed in settings.seeds
    ]


def references(settings: GenerationsSettings) -> list[Student]:
    """What the students are compared with, all of the students' own network.

    Where no other teacher is named, generation 0 is itself the one that learns the human share.
    """
    networks = []
    for seed in settings.seeds:
        rest = (None, None, seed, settings.network)
        if settings.teacher:
            name = f"{settings.name}_share_s{seed}"
            networks.append(Student(LABELLED_SHARE, *rest, name, settings.labels, human_share_set(settings)))
        networks.append(
            Student(EVERYTHING, *rest, supervised_baseline(settings, seed), settings.labels, settings.labels)
        )
    return networks


def students(settings: GenerationsSettings, generation: int) -> Iterator[Student]:
    """The networks of a generation from 1 on: one for each cut and seed."""
    for cut in settings.cuts:
        for seed in settings.seeds:
            teacher = _annotator(settings, generation - 1, cut if generation > 1 else None, seed)
            name = _annotator(settings, generation, cut, seed)
            yield Student(GENERATION, generation, cut, seed, settings.network, name, teacher, pool_set(teacher))


def members(settings: GenerationsSettings, generation: int) -> list[Student]:
    """The networks of a generation, from 0 on."""
    return list(students(settings, generation)) if generation else initial_teachers(settings)


def everyone(settings: GenerationsSettings) -> list[Student]:
    """Every network of a study: the references, and each generation."""
    later = [one for number in range(1, settings.generations + 1) for one in students(settings, number)]
    return [*references(settings), *initial_teachers(settings), *later]


def training(settings: GenerationsSettings, student: Student) -> TrainSettings:
    """How one of them is trained."""
    is_teacher = student.generation == 0 and settings.teacher
    key = "teacher_train" if is_teacher else "train"
    values = {
        "dataset": settings.dataset,
        "version": settings.version,
        "network": student.network,
        "name": student.annotator,
        "labels": student.label_set,
        "min_confidence": student.cut or 0.0,
        "split": settings.split,
        "validation": settings.validation,
        "seed": student.seed,
    }
    return TrainSettings.from_table({**getattr(settings, key), **values}, f"generations.{key}")


def _annotator(settings: GenerationsSettings, generation: int, cut: float | None, seed: int) -> str:
    line = "" if cut is None else f"_{cut_name(cut)}"
    return f"{settings.name}_g{generation}{line}_s{seed}"
