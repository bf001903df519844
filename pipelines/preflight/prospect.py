"""What a root holds, and what it will hold once the stages before have run: what a plan is drawn up from."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from pipelines.runner import Context
from schemas import layout
from schemas.errors import ConcordError
from schemas.layout import HUMAN
from schemas.settings.draw import DrawSettings
from storage import products, stores
from storage.products import ImageSet, ShardFolder


class State(StrEnum):
    """How far a product is: `waits` is one of which nothing can be said before a problem is mended."""

    DONE = "done"
    PARTLY = "partly"
    TO_DO = "to do"
    WAITS = "waits"


@dataclass(frozen=True)
class Problem:
    """What is wrong, where, and the remedy; one that is no more than a warning does not make a run fail."""

    stage: str
    message: str
    fails: bool = True


@dataclass(frozen=True)
class Step:
    """One product of one stage.

    Attributes:
        product: named as the run names it.
        records_in: images or rows that go in, of the whole product; None where that cannot be known yet.
        records_out: and that come out, if none is rejected.
        exact: whether these counts are known, and not only likely.
        elements: Beam elements still to be done, by the name that the run counts them under.
        element_bytes: of the largest element.
        kept_bytes: written, and kept.
        passing_bytes: written in the root, and removed again.
        scratch_bytes: written in the temporary folder, by one worker.
        worker_bytes: memory of a worker process, roughly.
        kind: what its pace depends on beside its stage: a network, or a source.
        units: what takes time: images, rows, or images times epochs; only those still to be done.
        unit_seconds: seconds of one core that one takes, by the table of paces.
        accelerator: whether it asks for one.
    """

    stage: str
    product: str
    state: State
    records_in: int | None = None
    records_out: int | None = None
    exact: bool = True
    elements: Mapping[str, int] = field(default_factory=dict)
    element_bytes: int = 0
    kept_bytes: int = 0
    passing_bytes: int = 0
    scratch_bytes: int = 0
    worker_bytes: int = 0
    kind: str = ""
    units: float = 0.0
    unit_seconds: float = 0.0
    accelerator: bool = False


@dataclass(frozen=True)
class Images:
    """Images of a dataset, as they are or will be; `shape` is None where they are of different sizes."""

    dataset: str
    version: str
    task: str
    classes: int
    shape: tuple[int, int, int] | None
    splits: Mapping[str, int]
    shards: int
    record_bytes: float
    fresh: bool
    exact: bool = True
    pictures: bool = True

    def images_in(self, split: str) -> int:
        """How many images a split holds; InputError where there is no such split."""
        known = {"splits": {name: {"out": n} for name, n in self.splits.items()}}
        return ImageSet("", self.dataset, self.version, known).images_in(split)

    @property
    def shard_bytes(self) -> int:
        """Of the largest shard, about."""
        return int(max(self.splits.values(), default=0) / self.shards * self.record_bytes)


@dataclass(frozen=True)
class Labels:
    """A label set, as it is or will be."""

    rows: int
    shards: int
    fresh: bool
    exact: bool = True


@dataclass(frozen=True)
class Model:
    """A model, as it is or will be; `split` is the one that it learns from, and divides where it has folds."""

    network: str
    fresh: bool
    shape: tuple[int, int, int] | None = None
    folds: int = 0
    split: str = ""


class WaitsError(Exception):
    """Something that a stage reads is not known, because of a problem that is told already."""


@dataclass
class Prospect:
    """The root as it will be. What is None is going to be there, if a problem is mended that is told already."""

    context: Context
    reachable: bool = True
    images: dict[tuple[str, str], Images | None] = field(default_factory=dict)
    labels: dict[tuple[str, str, str], Labels | None] = field(default_factory=dict)
    models: dict[tuple[str, str], Model | None] = field(default_factory=dict)
    drawn: dict[str, DrawSettings] = field(default_factory=dict)
    unknown: set[tuple[str, str]] = field(default_factory=set)
    barred: set[str] = field(default_factory=set)
    steps: list[Step] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    @property
    def root(self) -> str:
        """Where everything is kept."""
        return self.context.root

    def add(self, step: Step) -> None:
        """Take up a step."""
        self.steps.append(step)

    def tell(self, stage: str, message: str, fails: bool = True) -> None:
        """Take up a problem, each once."""
        problem = Problem(stage, message.partition("\n")[0], fails)
        if problem not in self.problems:
            self.problems.append(problem)

    @contextmanager
    def attempt(self, stage: str, product: str) -> Iterator[None]:
        """Go on after a block that finds a problem, its product waiting for the remedy."""
        try:
            yield
            return
        except WaitsError:
            pass
        except ConcordError as error:
            self.tell(stage, str(error))
        except Exception as error:  # of a library, at an input that nobody thought of: the other stages are looked at
            self.tell(stage, f"{product}: unexpected {type(error).__name__}: {error}")
        self.add(Step(stage, product, State.WAITS))

    def check_reachable(self, *paths: str) -> None:
        """Raise where a path lies in a store that does not answer, which is told already."""
        if not self.reachable or any(store_of(path) in self.barred for path in paths):
            raise WaitsError

    def find_images(self, dataset: str, version: str) -> Images:
        """A dataset's images.

        Raises:
            IncompleteError: they are not there, and no stage before makes them.
            WaitsError: whether they will be there is not known.
        """
        if (dataset, version) not in self.images:
            self.check_reachable()
            self.images[dataset, version] = _images_of(products.image_set(self.root, dataset, version))
        found = self.images[dataset, version]
        if found is None:
            raise WaitsError
        return found

    def find_labels(self, dataset: str, annotator: str, split: str) -> Labels:
        """A label set; raises as `find_images` does."""
        key = (dataset, annotator, split)
        if key not in self.labels:
            if (dataset, annotator) in self.unknown:
                raise WaitsError
            self.check_reachable()
            folder = products.label_set(self.root, dataset, annotator, split)
            told = products.find_manifest(folder.folder) or {}
            self.labels[key] = Labels(int(told.get("rows", 0)), folder.shards, fresh=False)
        found = self.labels[key]
        if found is None:
            raise WaitsError
        return found

    def await_images(self, dataset: str, version: str) -> None:
        """Say that images and people's labels of a dataset will be made; how many is not known yet."""
        self.images[dataset, version] = None
        self.unknown.add((dataset, HUMAN))

    def set_images(self, images: Images, annotator: str) -> None:
        """Say what images will be there, and whose labels come with them, if anybody's."""
        self.images[images.dataset, images.version] = images
        self.unknown.discard((images.dataset, HUMAN))
        for split, count in images.splits.items() if annotator else ():
            labels = Labels(count, images.shards, images.fresh, images.exact)
            self.labels[images.dataset, annotator, split] = labels

    def is_fresh(self, *found: Any) -> bool:
        """Whether any of what a stage reads will be made anew, or it is to be made anew by itself."""
        return self.context.force or any(one.fresh for one in found)


def _images_of(found: ImageSet) -> Images:
    """What there is."""
    manifest = found.manifest
    splits = {name: int(one["out"]) for name, one in manifest["splits"].items()}
    shape = manifest["image_shape"]
    sizes = stores.list_files(layout.images(found.root, found.dataset, found.version))
    payload = sum(size for name, size in sizes.items() if ".tfrecord-" in name)
    whole = tuple(shape) if shape and None not in shape else None
    return Images(
        *(found.dataset, found.version, str(manifest["task"]), len(found.classes), whole, splits, found.shards),
        record_bytes=payload / max(1, sum(splits.values())),
        fresh=False,
    )


def store_of(path: str) -> str:
    """What a path's reachability depends on: its bucket, or nothing where it is local."""
    scheme, mark, rest = path.partition("://")
    return f"{scheme}://{rest.partition('/')[0]}" if mark else ""


def state_of(folders: Mapping[str, tuple[ShardFolder, ...]], force: bool) -> dict[str, tuple[State, int]]:
    """Of each product: how far it is, and how many shards are missing, of which any of its folders has none."""
    found = {}
    for name, (output, *others) in folders.items():
        if not force and products.is_current(output.folder, output.fingerprint):
            found[name] = State.DONE, 0
            continue
        done = set() if force else set(output.done()).intersection(*(other.done() for other in others))
        found[name] = (State.PARTLY if done else State.TO_DO), output.shards - len(done)
    return found
