"""The settings of `generations`: who is taught by whom, with which labels, and how often.

concord generations studies/generations.toml --data DATA --root out/generations
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from schemas.errors import InputError
from schemas.fields import HINTS, Checked, make, setting
from schemas.layout import HUMAN, IMAGENET, check_name, check_split
from schemas.train_settings import TrainSettings

_OWN = (  # what the study itself says of each training
    *("dataset", "version", "network", "name", "labels", "min_confidence", "split", "validation"),
    *("evaluate", "truth", "seed", "folds", "sweep"),
)


def cut_name(cut: float) -> str:
    """A cut as a part of names: c90 for 0.9, c995 for 0.995."""
    return "c" + f"{cut:.12f}"[2:].rstrip("0").ljust(2, "0")


@dataclass(frozen=True)
class GenerationsSettings(Checked):
    """Let machines teach machines: people teach the first network, each network's labels alone teach the next."""

    dataset: str = setting("", "name of the dataset")
    network: str = setting("", "architecture that is taught, one of the files of models/networks")
    train: Mapping[str, Any] = setting(None, "how it is trained: keys of [[train]], such as epochs", "tables")
    teacher: str = setting("", "architecture of generation 0, which people teach (default: the same network)")
    teacher_train: Mapping[str, Any] = setting(None, "how the teacher is trained, where it is another one", "tables")
    name: str = setting("", "name of the study, with which those of its models begin (default: the network's)")
    version: str = setting("1.0.0", "version of the dataset")

    labels: str = setting(HUMAN, "annotator who teaches the first generation, and by whom all are judged")
    pool: float = setting(0.8, "share of the split's images that people do not label, drawn by hashed id")
    split: str = setting("train", "split that is learnt from")
    validation: str = setting("validation", "split that decides when to stop, by the labels of each one's teacher")
    test: str = setting("test", "split on which all are judged")

    cuts: tuple[float, ...] = setting((0.0, 0.9, 0.99), "labels less confident are not taught; a line of heirs each")
    generations: int = setting(3, "how often machines teach machines")
    seeds: tuple[int, ...] = setting((1, 2, 3), "each makes a whole line of heirs of its own")

    def __post_init__(self) -> None:
        if not self.network:
            raise InputError("generations needs a network: say which one is taught")
        object.__setattr__(self, "name", self.name or self.network)
        super().__post_init__()

    def check(self) -> None:
        """There are generations, cuts and seeds, splits apart from each other, and something for people to teach."""
        if self.generations < 1:
            raise InputError(f"generations must be at least 1, got {self.generations}")
        for cut in self.cuts:
            if not 0 <= cut < 1:
                raise InputError(f"cuts must lie in [0, 1), got {cut}")
        for key, values in (("cuts", [cut_name(cut) for cut in self.cuts]), ("seeds", self.seeds)):
            if not values or len(set(values)) < len(values):
                raise InputError(f"{key} must be one or more distinct numbers, got {list(getattr(self, key))}")
        if min(self.seeds) < 0:
            raise InputError(f"seeds must be 0 or more, got {min(self.seeds)}")
        if not 0 < self.pool < 1:
            raise InputError(f"pool must lie between 0 and 1, got {self.pool}")
        splits = [check_split(name) for name in (self.split, self.validation, self.test)]
        if len(set(splits)) < len(splits):
            raise InputError(f"split, validation and test must be three splits, got {', '.join(splits)}")
        check_name("labels", self.labels)
        self._check_tables()
        for key, network in (("train", self.network), ("teacher_train", self.first)):
            training = {**(getattr(self, key) or {}), "dataset": self.dataset, "network": network}
            make(TrainSettings, training, f"generations.{key}")

    def _check_tables(self) -> None:
        if self.teacher_train and not self.teacher:
            raise InputError("teacher_train needs a teacher: say which network generation 0 is")
        for name in ("train", "teacher_train"):
            for key in getattr(self, name) or {}:
                if key in _OWN:
                    raise InputError(f"generations.{name} has {key!r}, which the study itself says of each training")

    def worker_paths(self) -> Iterator[tuple[str, str]]:
        """Files of weights that its trainings name."""
        for key in ("train", "teacher_train"):
            weights = (getattr(self, key) or {}).get("weights", "")
            if weights not in ("", IMAGENET):
                yield f"{key}.weights", weights

    def with_hints(self, hints: Mapping[str, Any]) -> "GenerationsSettings":
        """The same study, each of its trainings with this accelerator and memory."""
        tables = {"train": self.train, **({"teacher_train": self.teacher_train} if self.teacher else {})}
        changed: dict[str, Any] = {key: {**(table or {}), **hints} for key, table in tables.items()}
        return replace(self, **changed) if hints else self

    def identity(self) -> dict[str, Any]:
        """Everything that can change the result: not what its networks are trained on."""
        values = super().identity()
        for key in ("train", "teacher_train"):
            values[key] = {name: value for name, value in (values[key] or {}).items() if name not in HINTS} or None
        return values

    @property
    def first(self) -> str:
        """The architecture of generation 0."""
        return self.teacher or self.network
