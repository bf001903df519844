"""The verb `plan`: check and estimate everything before anything is started.

concord plan run.toml --root out
concord plan run.toml --root gs://bucket/out --runner=DataflowRunner --project=ours --region=europe-west4
"""

import argparse
import dataclasses
import shutil
from collections.abc import Callable, Mapping
from functools import partial
from importlib import resources
from typing import Any

from schemas import run_files
from schemas.errors import ConcordError
from schemas.run_files import RunFile
from schemas.settings.base import NetworkSettings
from storage import stores

IsDone = Callable[[Any, str], bool]


def add(own: argparse.ArgumentParser) -> None:
    """Add the flags of `plan` to its parser."""
    own.add_argument(
        "files", nargs="*", metavar="FILE.toml", help="run files (default: the samples drawn by the project itself)"
    )
    own.add_argument("--json", action="store_true", help="print the plan as JSON, for machines")
    own.add_argument(
        "--no-write", action="store_true", help="do not even try whether the root can be written, by a small file"
    )


def run(given: argparse.Namespace, beam_flags: tuple[str, ...], readers: Mapping[str, IsDone]) -> int:
    """Print the plan, and return the exit status: 1 where a run would fail, else 0.

    Args:
        given: what `add` asked for, with what every chain takes (`root`, `data`, `force`, resource hints).
        beam_flags: Beam's flags, which name the runner.
        readers: of the stages that run no Beam: whether one's product is there and made from just what it would be.
    """
    from pipelines.preflight import telling

    plan = drawn_up(given, beam_flags, readers)
    print(telling.as_json(plan) if given.json else telling.as_text(plan))
    return 1 if plan.fails else 0


def drawn_up(given: argparse.Namespace, beam_flags: tuple[str, ...], readers: Mapping[str, IsDone]) -> Any:
    """The plan (`telling.Plan`) that the command line asks for; see `run`."""
    from pipelines.preflight import estimates, paces, places, runners, telling
    from pipelines.preflight.prospect import Prospect
    from pipelines.runner import Context

    prospect = Prospect(Context(given.root, beam_flags, given.force))
    chains = _chains(given, prospect)
    machines = runners.machines(beam_flags)
    places.check_root(prospect, write=not given.no_write)
    places.check_inputs(prospect, list(chains.values()))
    runners.check(prospect, beam_flags, _inputs(chains.values()))
    past = paces.past(given.root, f"{machines.runner}Runner") if prospect.reachable else paces.Past({})
    plans = []
    for file, chain in chains.items():
        first = len(prospect.steps)
        _follow(chain, prospect, readers)
        steps = tuple(estimates.timed(step, past, machines) for step in prospect.steps[first:])
        plans.append(telling.ChainPlan(file, steps, estimates.stage_seconds(steps, machines)))
    places.check_space(prospect, machines.workers, machines.local)
    places.check_memory(prospect, machines.workers, machines.local)
    kept, passing = places.needed(prospect.steps)
    every = [one for chain in plans for one in chain.steps]
    hours = estimates.hours(every, machines, runners.cores_of(beam_flags)) if machines.dataflow else None
    free = None if stores.is_remote(given.root) else shutil.disk_usage(places.standing(given.root)).free
    return telling.Plan(
        *(given.root, machines, tuple(plans), tuple(prospect.problems), kept, passing), free_bytes=free, hours=hours
    )


def _chains(given: argparse.Namespace, prospect: Any) -> dict[str, RunFile]:
    """The chains of all run files that can be read; what is wrong with the others is told."""
    from pipelines.chain import load_run_file

    hints = {name: value for name in NetworkSettings.hint_keys() if (value := getattr(given, name)) is not None}
    chains = {}
    with resources.as_file(resources.files("samples")) as folder:
        samples = {path.name: str(path) for path in sorted(folder.glob("*.toml"))}
        for name, path in ({path: path for path in given.files} or samples).items():
            try:
                chains[name] = run_files.hinted(load_run_file(path, given.root, given.data), hints)
            except ConcordError as error:
                prospect.tell("run file", str(error))
    return chains


def _inputs(chains: Any) -> dict[str, str]:
    """Paths that stages read on their workers, each with its stage."""
    found: dict[str, str] = {}
    for chain in chains:
        for stage in ("confirm", "convert", "imports"):
            asked = getattr(chain, stage)
            for settings in asked if isinstance(asked, tuple) else [asked] if asked else []:
                for name in ("input", "machine", "human"):
                    found |= dict.fromkeys(getattr(settings, name, ()), stage)
    return found


def _follow(chain: RunFile, prospect: Any, readers: Mapping[str, IsDone]) -> None:
    """Go through a chain's stages, in the order in which they run."""
    from pipelines.preflight import comparing, inputs, learning

    stages: dict[str, Callable[[Any, Any], None]] = {
        "draw": inputs.draw,
        "confirm": inputs.confirm,
        "convert": inputs.convert,
        "imports": inputs.imports,
        "features": lambda settings, found: learning.features([settings], found),
        "train": learning.train,
        "label": learning.label,
        "agree": comparing.agree,
        "explain": learning.explain,
        "generations": comparing.generations,
        **{name: partial(getattr(comparing, name), is_done=is_done) for name, is_done in readers.items()},
    }
    known = {entry.name for entry in dataclasses.fields(chain)}
    for name, follow in stages.items():
        asked = getattr(chain, name) if name in known else None
        if asked:
            follow(asked, prospect)
