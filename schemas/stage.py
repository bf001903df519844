"""What a stage is: one object per verb, whose plan only reads, and whose run makes what the plan found missing.

A verb is a driver and a line in `pipelines/stages.py`. The driver states what is to be made, how, and what its manifest
says; everything that all verbs share stands here, once: whether a product is up to date, timing, and what is reported.
The command line, run files, `plan`, `status`, `verify`, the generated docs and the tests go through the list.
"""

import importlib
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:  # `concord --help` lists the stages without pydantic
    from schemas.settings.base import Settings

S = TypeVar("S")  # the settings of a verb
Chain = Mapping[str, tuple[Any, ...]]  # the settings of each stage that runs, in the order of the stages


class State(StrEnum):
    """How far a product is."""

    DONE = "done"
    PARTLY = "partly"
    TO_DO = "to do"
    WAITS = "waits"


@dataclass(frozen=True)
class Context:
    """How the stages of one command run: where the files lie, Beam's flags, and what to rebuild."""

    root: str
    beam_flags: tuple[str, ...] = ()
    force: bool = False


@dataclass(frozen=True)
class Product:
    """One product of a stage, as the root has it now.

    Attributes:
        name: as runs, `status` and `plan` call it, such as `svhn/cnn1/test`.
        state: how far it is.
        counts: of a finished product, as its manifest states them.
        records: images or rows that go in; None where that is not known before the run.
        elements: Beam elements that are still missing.
        element_bytes: size of the largest element.
        written_bytes: what is still to be written, roughly.
        scratch_bytes: what one worker writes into the temporary folder meanwhile.
        core_seconds: time of one CPU core that this takes, roughly, by the hints of stages and networks.
        waits_for: what has to be made first; only of a product that waits.
    """

    name: str
    state: State
    counts: Mapping[str, Any] = field(default_factory=dict)
    records: int | None = None
    elements: int = 0
    element_bytes: int = 0
    written_bytes: int = 0
    scratch_bytes: int = 0
    core_seconds: float = 0.0
    waits_for: str = ""

    @property
    def is_done(self) -> bool:
        """Whether it is complete, and made from just what it would be made from now."""
        return self.state is State.DONE


@dataclass(frozen=True)
class Plan:
    """What a stage will make of some settings, and what of it is there: nothing is written to find out.

    Attributes:
        work: what the stage's own driver needs to make the products.
    """

    settings: Any
    products: tuple[Product, ...]
    work: Any = None

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to do."""
        return all(product.is_done for product in self.products)


@dataclass(frozen=True)
class StageResult:
    """What one stage did: counts of its product, seconds, and Beam's counters (empty where nothing ran)."""

    stage: str
    product: str
    built: bool
    seconds: float = 0.0
    counts: dict[str, Any] = field(default_factory=dict)
    counters: dict[str, int] = field(default_factory=dict)


class Driver(Generic[S]):
    """What a verb adds to the driver that all verbs share; a driver holds no state."""

    def reads(self, settings: S, root: str) -> Iterable[str]:
        """Folders and files under the root that have to be complete before it can be planned."""
        return ()

    def writes(self, settings: S, root: str) -> Iterable[str]:
        """Folders and files under the root that it makes; a later stage waits for them."""
        return ()

    def check(self, settings: S) -> None:
        """Raise InputError where the settings are wrong whatever the root holds, such as the name of a network.

        A stage that waits cannot be planned yet; this is what is known of it before.
        """

    def plan(self, settings: S, context: Context) -> Plan:
        """What is to be made, and what of it is there.

        Raises:
            InputError: the settings, or a file that they name, cannot be what they should be.
            IncompleteError: what it is made from is not there.
        """
        raise NotImplementedError

    def prepare(self, plan: Plan, context: Context) -> Any:
        """Remove whatever stands in the way of the products, and return what `make` needs."""
        return plan.work

    def make(self, work: Any, context: Context) -> dict[str, int]:
        """Make what is missing, usually as one Beam job, and return its counters."""
        raise NotImplementedError

    def commit(self, work: Any, product: Product) -> dict[str, Any]:
        """Check that every record of a product is accounted for, write its manifest, and return its counts."""
        raise NotImplementedError

    def run(self, stage: str, plans: Sequence[Plan], context: Context) -> Iterator[StageResult]:
        """Make what each plan found missing, and report on each product; verbs that can share a job override this."""
        for plan in plans:
            yield from self.run_one(stage, plan, context)

    def run_one(self, stage: str, plan: Plan, context: Context) -> list[StageResult]:
        """Make what one plan found missing, and report on all of its products."""
        began, fresh, counters, work = time.monotonic(), not plan.is_done, {}, plan.work
        if fresh:
            work = self.prepare(plan, context)
            counters = self.make(work, context)
        seconds, results = time.monotonic() - began, []
        for product in plan.products:
            if product.is_done:
                results.append(StageResult(stage, product.name, built=False, counts=dict(product.counts)))
            else:
                counts = self.commit(work, product)
                results.append(StageResult(stage, product.name, True, seconds, counts, counters))
        return results


@dataclass(frozen=True)
class Stage:
    """One verb: its settings and its driver, imported when they are first needed.

    Attributes:
        name: the verb, with underscores; the command line has dashes.
        settings_name: module and name of its settings; flags, run-file keys and docs follow from the class, and the
            first line of the module states what the verb does.
        module: has the verb's `DRIVER`.
    """

    name: str
    settings_name: str
    module: str

    @property
    def settings_module(self) -> str:
        """The module of its settings."""
        return self.settings_name.rpartition(".")[0]

    @property
    def settings(self) -> "type[Settings]":
        """The class of its settings."""
        kind: type[Settings] = getattr(
            importlib.import_module(self.settings_module), self.settings_name.rpartition(".")[2]
        )
        return kind

    @property
    def driver(self) -> Driver[Any]:
        """The verb's driver."""
        driver: Driver[Any] = importlib.import_module(self.module).DRIVER
        return driver

    def label(self, settings: Any) -> str:
        """What its products are called before they are planned."""
        names = [getattr(settings, key, "") for key in ("dataset", "name", "annotator", "split", "output")]
        return "/".join(name for name in names if name) or self.name

    def plan(self, settings: Any, context: Context) -> Plan:
        """What it will make of these settings, and what of it is there; see `Driver.plan`."""
        return self.driver.plan(settings, context)

    def run(self, plans: Sequence[Plan], context: Context) -> Iterator[StageResult]:
        """Make what the plans found missing, and report on each product as it is there."""
        return self.driver.run(self.name, plans, context)

    def execute(self, settings: Any, context: Context) -> list[StageResult]:
        """Plan and run some settings."""
        return list(self.run([self.plan(settings, context)], context))
