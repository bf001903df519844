"""A plan as people and machines read it: a table a chain, then what is wrong."""

import dataclasses
import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.preflight import paces
from pipelines.preflight.estimates import MEASURED, Hours, Timed
from pipelines.preflight.places import told
from pipelines.preflight.prospect import Problem, State
from pipelines.preflight.runners import Machines

_COLUMNS = ("stage", "product", "state", "in", "out", "elements", "written", "time")
_RIGHT = ("in", "out", "elements", "written", "time")
_LONGEST = 48
_MOST, _FOLDED = 12, 3  # products of a stage that have a line each; of more, how many have


@dataclass(frozen=True)
class ChainPlan:
    """The steps of one run file, and how long they take in all."""

    file: str
    steps: tuple[Timed, ...]
    seconds: float


@dataclass(frozen=True)
class Plan:
    """Everything that is known before a run.

    Attributes:
        kept_bytes: written, and kept.
        passing_bytes: most that is written in the root beside it, and removed again.
        free_bytes: where the root lies; None in an object store.
        hours: of Dataflow's workers; None elsewhere.
    """

    root: str
    machines: Machines
    chains: tuple[ChainPlan, ...]
    problems: tuple[Problem, ...]
    kept_bytes: int
    passing_bytes: int
    free_bytes: int | None
    hours: Hours | None

    @property
    def fails(self) -> bool:
        """Whether a run would fail."""
        return any(problem.fails for problem in self.problems)


def as_json(plan: Plan) -> str:
    """The plan for machines: an object, of which `ok` says whether a run can begin."""
    chains = [
        {
            "file": chain.file,
            "seconds": round(chain.seconds, 1),
            "steps": [_step(one) for one in chain.steps],
        }
        for chain in plan.chains
    ]
    content = {
        "ok": not plan.fails,
        "root": plan.root,
        "runner": dataclasses.asdict(plan.machines),
        "chains": chains,
        "problems": [dataclasses.asdict(problem) for problem in plan.problems],
        "kept_bytes": plan.kept_bytes,
        "passing_bytes": plan.passing_bytes,
        "free_bytes": plan.free_bytes,
        "worker_hours": plan.hours and dataclasses.asdict(plan.hours),
    }
    return json.dumps(content, indent=2)


def _step(one: Timed) -> dict[str, Any]:
    spent = {"core_seconds": round(one.core_seconds, 1), "seconds": round(one.seconds, 1), "basis": one.basis}
    return {**dataclasses.asdict(one.step), **spent}


def as_text(plan: Plan) -> str:
    """The plan for people."""
    lines = []
    for chain in plan.chains:
        lines += [chain.file, *(f"  {line}" for line in _table(chain.steps)), ""]
    lines += _sums(plan)
    wrong = [problem for problem in plan.problems if problem.fails]
    warnings = [problem for problem in plan.problems if not problem.fails]
    for title, found in (("would fail", wrong), ("to be noted", warnings)):
        lines += ["", f"{title}:", *(f"  {one.stage}: {one.message}" for one in found)] if found else []
    return "\n".join([*lines, "", "" if wrong else "nothing that would fail was found"]).rstrip()


def _table(steps: Sequence[Timed]) -> list[str]:
    rows: list[tuple[str, ...]] = [_COLUMNS]
    for _, alike in itertools.groupby(steps, key=lambda one: (one.step.stage, one.step.state)):
        found = list(alike)
        shown_few = _FOLDED if len(found) > _MOST else len(found)
        rows += [_row(one) for one in found[:shown_few]]
        rows += [_folded(found[shown_few:])] if found[shown_few:] else []
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    shown = []
    for row in rows:
        cells = [
            cell.rjust(width) if name in _RIGHT else cell.ljust(width)
            for cell, width, name in zip(row, widths, _COLUMNS, strict=True)
        ]
        shown.append("  ".join(cells).rstrip())
    return shown


def _folded(found: Sequence[Timed]) -> tuple[str, ...]:
    """A row for many products alike: what they take in all."""
    elements = sum(max(one.step.elements.values(), default=0) for one in found)
    first = found[0].step
    both = dataclasses.replace(
        first,
        product=f"and {len(found)} more",
        records_in=sum(one.step.records_in or 0 for one in found) or None,
        records_out=sum(one.step.records_out or 0 for one in found) or None,
        exact=all(one.step.exact for one in found),
        elements={"": elements} if elements else {},
        kept_bytes=sum(one.step.kept_bytes for one in found),
    )
    return _row(Timed(both, 0.0, sum(one.seconds for one in found), found[0].basis))


def _row(one: Timed) -> tuple[str, ...]:
    step = one.step
    product = step.product if len(step.product) <= _LONGEST else "..." + step.product[3 - _LONGEST :]
    about = "" if step.exact else "~"
    counts = [f"{about}{n:,}" if n is not None else "" for n in (step.records_in, step.records_out)]
    elements = "+".join(f"{n:,}" for n in step.elements.values())
    open_ = step.state in (State.TO_DO, State.PARTLY)
    size = told(step.kept_bytes) if open_ else ""
    spent = span(one.seconds) + ("" if one.basis == MEASURED else " *") if one.basis else ""
    return (step.stage, product, str(step.state), *counts, elements, size, spent)


def _sums(plan: Plan) -> list[str]:
    seconds = sum(chain.seconds for chain in plan.chains)
    bases = {one.basis for chain in plan.chains for one in chain.steps if one.basis}
    cores = "core" if plan.machines.workers == 1 else "cores"
    lines = []
    if bases:
        lines.append(f"time:    about {span(seconds)} on {plan.machines.workers} {cores} ({plan.machines.runner})")
        lines.append(f"         {_basis(bases)}")
    else:
        lines.append("time:    none, nothing is to be done")
    room = "" if plan.free_bytes is None else f"; {told(plan.free_bytes)} are free"
    passing = f", and {told(plan.passing_bytes)} for a while" if plan.passing_bytes else ""
    lines.append(f"space:   about {told(plan.kept_bytes)} are written{passing}{room}")
    steps = [one.step for chain in plan.chains for one in chain.steps]
    largest = max((step.element_bytes for step in steps), default=0)
    memory = max((step.worker_bytes for step in steps if step.state in (State.TO_DO, State.PARTLY)), default=0)
    if memory:
        lines.append(f"memory:  about {told(memory)} a worker at most; the largest element is {told(largest)}")
    if plan.hours:
        said = f"{plan.hours.cores:,.1f} vCPU hours, {plan.hours.gpus:,.1f} GPU hours"
        gpu = f"a GPU taken for {paces.GPU_CORES:.0f} cores"
        lines.append(f"workers: about {said} ({gpu}, an assumption)")
    return lines


def _basis(bases: set[str]) -> str:
    if bases == {MEASURED}:
        return "by this root's own past runs"
    if MEASURED in bases:
        return "by this root's own past runs; times with * are rough guesses, by figures of another machine"
    return "times with * are rough guesses, by figures of another machine; this root has no runs to go by"


def span(seconds: float) -> str:
    """A time, for people."""
    if seconds < 60:
        return f"{seconds:.0f} s" if seconds >= 1 or not seconds else "< 1 s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:,.1f} h"
