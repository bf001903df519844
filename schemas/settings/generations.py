"""Let machines teach machines: human labels teach the first network, each network's labels alone teach the next.

concord generations studies/generations.toml --data DATA --root out/generations
"""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from schemas.errors import InputError
from schemas.layout import HUMAN, IMAGENET
from schemas.settings.base import DatasetSettings, Distinct, Name, NetworkSettings, Split, setting
from schemas.settings.train import TrainSettings

_OWN = (  # what the study itself states of each training
    *("dataset", "version", "network", "name", "labels", "min_confidence", "split", "validation"),
    *("evaluate", "reference", "seed", "folds", "sweep"),
)


def cut_name(cut: float) -> str:
    """A confidence threshold as a part of names: c90 for 0.9, c995 for 0.995."""
    return "c" + f"{cut:.12f}"[2:].rstrip("0").ljust(2, "0")


class GenerationsSettings(DatasetSettings):
    """Who teaches whom, with which labels, and how often."""

    labels: Name = setting(
        "annotator who teaches the first generation, and against whom all are evaluated", default=HUMAN, group="Data"
    )
    pool: float = setting(
        "share of the split's images that humans do not label, drawn by hashed id",
        default=0.8,
        gt=0,
        lt=1,
        group="Data",
    )
    split: Split = setting("split that is learnt from", default="train", group="Data")
    validation: Split = setting(
        "split that decides when to stop, by the labels of each one's teacher", default="validation", group="Data"
    )
    test: Split = setting("split on which all are evaluated", default="test", group="Data")

    network: str = setting("architecture that is trained on them", plugins="models.networks", group="Networks")
    train: Mapping[str, Any] = setting(
        "how it is trained: keys of [[train]], such as epochs", default={}, group="Networks"
    )
    teacher: str = setting(
        "architecture of generation 0, which humans teach (default: the same network)",
        default="",
        plugins="models.networks",
        group="Networks",
    )
    teacher_train: Mapping[str, Any] = setting(
        "how the teacher is trained, where it is another one", default={}, group="Networks"
    )
    name: Name = setting(
        "name of the study, with which those of its models begin (default: the network's)",
        default_factory=lambda values: values["network"],
        group="Networks",
    )

    cuts: tuple[float, ...] = setting(
        "labels with less confidence do not teach; one line of students for each",
        default=(0.0, 0.9, 0.99),
        min_length=1,
        group="Generations",
    )
    generations: int = setting("how often machines teach machines", default=3, ge=1, group="Generations")
    seeds: Annotated[tuple[int, ...], Distinct] = setting(
        "each gives a whole line of students of its own", default=(1, 2, 3), min_length=1, group="Generations"
    )

    def check(self) -> None:
        """Thresholds and seeds can be names, splits differ, and networks can be trained as stated."""
        for cut in self.cuts:
            if not 0 <= cut < 1:
                raise InputError(f"cuts must lie in [0, 1), got {cut}")
        if len(set(map(cut_name, self.cuts))) < len(self.cuts):
            raise InputError(f"cuts must be distinct, got {list(self.cuts)}")
        if min(self.seeds) < 0:
            raise InputError(f"seeds must be 0 or more, got {min(self.seeds)}")
        splits = (self.split, self.validation, self.test)
        if len(set(splits)) < len(splits):
            raise InputError(f"split, validation and test must be three splits, got {', '.join(splits)}")
        if self.teacher_train and not self.teacher:
            raise InputError("teacher_train needs a teacher: name the network of generation 0")
        for key, network in (("train", self.network), ("teacher_train", self.first)):
            table = TrainSettings.with_new_names(getattr(self, key))
            for name in table:
                if name in _OWN:
                    raise InputError(f"generations.{key} has {name!r}, which the study itself states of each training")
            training = {**table, "dataset": self.dataset, "network": network}
            TrainSettings.from_table(training, f"generations.{key}")

    def with_hints(self, hints: Mapping[str, Any]) -> "GenerationsSettings":
        """The same study, whose networks request this accelerator and memory."""
        tables = {"train": {**self.train, **hints}}
        if self.teacher:
            tables["teacher_train"] = {**self.teacher_train, **hints}
        return self.changed(**tables) if hints else self

    def worker_paths(self) -> Iterator[tuple[str, str]]:
        """Files of weights that its trainings name."""
        for key in ("train", "teacher_train"):
            weights = getattr(self, key).get("weights", "")
            if weights not in ("", IMAGENET):
                yield f"{key}.weights", weights

    def identity(self) -> dict[str, Any]:
        """Everything that can change the result: not what its networks are trained on."""
        values, hints = super().identity(), NetworkSettings.hint_keys()
        for key in ("train", "teacher_train"):
            values[key] = {name: value for name, value in values[key].items() if name not in hints}
        return values

    @property
    def first(self) -> str:
        """The architecture of generation 0."""
        return self.teacher or self.network
