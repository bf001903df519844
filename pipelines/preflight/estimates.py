"""How long a chain takes: the work of its steps, shared out among workers, stage by stage."""

from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.preflight import paces
from pipelines.preflight.paces import Past
from pipelines.preflight.prospect import State, Step
from pipelines.preflight.runners import Machines

MEASURED, TABLE = "past runs", "rough guess"


@dataclass(frozen=True)
class Timed:
    """A step, and how long it takes.

    Attributes:
        core_seconds: of one core, all in all.
        seconds: by the clock, with the workers that there are.
        basis: what this was taken from; empty where there is nothing to do.
    """

    step: Step
    core_seconds: float
    seconds: float
    basis: str


@dataclass(frozen=True)
class Hours:
    """What Dataflow counts: hours of its workers' cores, and of their GPUs."""

    cores: float
    gpus: float


def timed(step: Step, past: Past, machines: Machines) -> Timed:
    """How long one step takes by itself, once its stage has started."""
    if step.state in (State.DONE, State.WAITS) or not step.units:
        return Timed(step, 0.0, 0.0, "")
    pace, measured = past.pace(step.stage, step.kind, step.unit_seconds)
    core_seconds = pace * step.units
    return Timed(step, core_seconds, core_seconds / _parallel(step, machines), MEASURED if measured else TABLE)


def _parallel(step: Step, machines: Machines) -> float:
    """Cores that work on a step at once; a GPU stands for many."""
    elements = max(step.elements.values(), default=1)
    at_once = max(1, min(machines.workers, elements))
    return at_once * paces.GPU_CORES if machines.dataflow and step.accelerator else at_once


def stage_seconds(found: Sequence[Timed], machines: Machines) -> float:
    """How long some steps of one chain take: stages one after the other, products of a stage side by side."""
    total = 0.0
    for stage in dict.fromkeys(one.step.stage for one in found):
        mine = [one for one in found if one.step.stage == stage and one.core_seconds]
        if mine:
            started = paces.START_REMOTE if machines.dataflow else paces.START.get(stage, paces.START_ELSE)
            shared = sum(one.seconds * _parallel(one.step, machines) for one in mine)
            fastest = float(max(min(machines.workers, _elements(mine)), 1))
            fastest *= paces.GPU_CORES if machines.dataflow and mine[0].step.accelerator else 1
            total += started + max(shared / fastest, *(one.seconds for one in mine))
    return total


def _elements(found: Sequence[Timed]) -> int:
    return sum(max(one.step.elements.values(), default=1) for one in found)


def hours(found: Sequence[Timed], machines: Machines, cores: int) -> Hours:
    """Hours of Dataflow's workers, of which each has so many cores, starting and waiting not counted."""
    gpus = sum(one.core_seconds / paces.GPU_CORES for one in found if one.step.accelerator) / 3600
    plain = sum(one.core_seconds for one in found if not one.step.accelerator) / 3600
    return Hours(plain + gpus * cores, gpus)
