"""The verb `plan`: what a run would do, and what would make it fail, before anything is started.

concord plan run.toml --root out
concord plan run.toml --root gs://bucket/out --runner=DataflowRunner --project=ours --region=europe-west4

Each stage's own `plan` states its products; a stage whose input an earlier one has still to make waits for it. Times
are rough guesses, from hints of stages and networks measured on one machine.
"""

import dataclasses
import itertools
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipelines import checks
from pipelines.chain import StagePlan, plan_chain
from pipelines.checks import Machines, Problem, Problems, readable_bytes
from schemas.stage import Chain, Context, Product, State
from storage import stores

_COLUMNS = ("stage", "product", "state", "records", "elements", "written", "time")
_TO_THE_RIGHT = ("records", "elements", "written", "time")
_LONGEST = 48
_MOST, _KEPT = 12, 3  # products of a stage that have a line each; of more, how many have


@dataclass(frozen=True)
class RunPlan:
    """What is known before a run.

    Attributes:
        chains: the stages of each run file, by its name.
        free_bytes: where the root lies; None in an object store.
    """

    root: str
    machines: Machines
    chains: Mapping[str, tuple[StagePlan, ...]]
    problems: tuple[Problem, ...]
    free_bytes: int | None

    @property
    def fails(self) -> bool:
        """Whether a run would fail."""
        return any(problem.fails for problem in self.problems)

    @property
    def products(self) -> list[Product]:
        """Of all chains."""
        return [product for stages in self.chains.values() for stage in stages for product in stage.products]

    def seconds(self, products: Sequence[Product]) -> float:
        """Roughly what these products take, on all workers together."""
        return sum(product.core_seconds / min(self.machines.workers, max(1, product.elements)) for product in products)


def plan_run(chains: Mapping[str, Chain], context: Context, problems: Problems, write: bool) -> RunPlan:
    """Plan the chains of run files, in the order in which they would run.

    Args:
        chains: by the file's name.
        context: where, with which of Beam's flags.
        problems: those found so far; it takes the others.
        write: whether to try to write a small file into the root.
    """
    machines = checks.find_machines(context.beam_flags)
    checks.check_root(problems, context.root, write)
    checks.check_inputs(problems, context.root, list(chains.values()))
    checks.check_runner(problems, context.beam_flags, context.root, list(chains.values()))
    plans = {}
    for name, chain in chains.items():
        plans[name] = tuple(plan_chain(chain, context, problems.silent))
        for stage in plans[name]:
            if stage.problem:
                problems.add(stage.stage, stage.problem)
            checks.check_elements(problems, stage.stage, stage.products)
    every = [product for stages in plans.values() for stage in stages for product in stage.products]
    checks.check_space(problems, context.root, every, machines)
    local = not stores.is_remote(context.root)
    free = shutil.disk_usage(checks.nearest_folder(context.root)).free if local else None
    return RunPlan(context.root, machines, plans, tuple(problems.every), free)


def as_json(plan: RunPlan) -> str:
    """The plan for machines: an object, of which `ok` says whether a run can begin."""
    chains = [
        {"file": file, "stages": [dataclasses.asdict(stage) for stage in stages]}
        for file, stages in plan.chains.items()
    ]
    content = {
        "ok": not plan.fails,
        "root": plan.root,
        "runner": dataclasses.asdict(plan.machines),
        "chains": chains,
        "problems": [dataclasses.asdict(problem) for problem in plan.problems],
        "seconds": round(plan.seconds(plan.products), 1),
        "written_bytes": sum(product.written_bytes for product in plan.products),
        "free_bytes": plan.free_bytes,
    }
    return json.dumps(content, indent=2)


def as_text(plan: RunPlan) -> str:
    """The plan as text: a table per chain, sums, and what would fail."""
    lines = []
    for file, stages in plan.chains.items():
        lines += [file, *(f"  {line}" for line in _table(plan, stages)), ""]
    lines += _sums(plan)
    failures = [problem for problem in plan.problems if problem.fails]
    warnings = [problem for problem in plan.problems if not problem.fails]
    for title, problems in (("would fail", failures), ("warnings", warnings)):
        lines += ["", f"{title}:", *(f"  {one.stage}: {one.message}" for one in problems)] if problems else []
    return "\n".join([*lines, "", "" if failures else "no problem was detected"]).rstrip()


def _table(plan: RunPlan, stages: Sequence[StagePlan]) -> list[str]:
    rows: list[tuple[str, ...]] = [_COLUMNS]
    products = [(stage.stage, product) for stage in stages for product in stage.products]
    for (name, _), alike in itertools.groupby(products, key=lambda one: (one[0], one[1].state)):
        group = [product for _, product in alike]
        kept = _KEPT if len(group) > _MOST else len(group)
        rows += [_row(plan, name, [product], product.name) for product in group[:kept]]
        rows += [_row(plan, name, group[kept:], f"and {len(group) - kept} more")] if group[kept:] else []
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    return [
        "  ".join(
            cell.rjust(width) if name in _TO_THE_RIGHT else cell.ljust(width)
            for cell, width, name in zip(row, widths, _COLUMNS, strict=True)
        ).rstrip()
        for row in rows
    ]


def _row(plan: RunPlan, stage: str, products: Sequence[Product], name: str) -> tuple[str, ...]:
    first = products[0]
    shown = name if len(name) <= _LONGEST else "..." + name[3 - _LONGEST :]
    records, elements = (sum(getattr(one, key) or 0 for one in products) for key in ("records", "elements"))
    state = f"waits for {first.waits_for}" if first.state is State.WAITS else str(first.state)
    open_ = first.state in (State.TO_DO, State.PARTLY)
    written = readable_bytes(sum(one.written_bytes for one in products)) if open_ else ""
    seconds = plan.seconds(products)
    return (
        stage,
        shown,
        state,
        f"{records:,}" if records else "",
        f"{elements:,}" if elements else "",
        written,
        f"~{readable_seconds(seconds)}" if open_ and seconds else "",
    )


def _sums(plan: RunPlan) -> list[str]:
    seconds, written = plan.seconds(plan.products), sum(product.written_bytes for product in plan.products)
    cores = f"{plan.machines.workers} core{'s' * (plan.machines.workers != 1)}"
    waits = any(product.state is State.WAITS for product in plan.products)
    more = "; what waits is not counted" if waits else ""
    free = "" if plan.free_bytes is None else f"; {readable_bytes(plan.free_bytes)} are free"
    largest = max((product.element_bytes for product in plan.products), default=0)
    lines = [f"time:    about {readable_seconds(seconds)} on {cores} ({plan.machines.runner}), a rough guess{more}"]
    if not seconds:
        lines = [f"time:    {'not known before the first stages ran' if waits else 'none, nothing is left to do'}"]
    lines.append(f"space:   about {readable_bytes(written)} will be written{more}{free}")
    return [*lines, *([f"memory:  the largest element has about {readable_bytes(largest)}"] if largest else [])]


def readable_seconds(seconds: float) -> str:
    """A time, with a unit."""
    if seconds < 60:
        return f"{seconds:.0f} s" if seconds >= 1 or not seconds else "< 1 s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:,.1f} h"
