"""A chain of stages, each of whose products is made only where it is missing, and the manifest of the run."""

import dataclasses
import logging
import os
import re
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any

import schemas
from pipelines import progress
from pipelines.stages import STAGES
from schemas import layout, run_files
from schemas.errors import ConcordError, InputError
from schemas.stage import Chain, Context, Plan, Product, Stage, StageResult, State
from storage import products, small_files, stores

_log = logging.getLogger("concord")
_SECRET = re.compile(r"--[\w-]*(?:key|secret|token|password|credential)[\w-]*", re.IGNORECASE)


def load_run_file(path: str, root: str, data: str = "") -> Chain:
    """The chain of a run file, wherever it lies; see `run_files.parse_toml`."""
    status = stores.stat(path)
    if status and status.size > run_files.MOST_BYTES:
        raise InputError(
            f"{path} is not a run file: it has {status.size:,} bytes, and may have {run_files.MOST_BYTES:,}"
        )
    return run_files.parse_toml(path, stores.read_bytes(path), STAGES, root, data)


@dataclass
class Run:
    """One run of one command: its configuration, and what its stages did."""

    root: str
    command: str
    chain: Chain
    beam_flags: tuple[str, ...] = ()
    run_id: str = field(default_factory=lambda: f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{uuid.uuid4().hex[:4]}")
    results: list[StageResult] = field(default_factory=list)
    began: float = field(default_factory=time.time)

    @property
    def manifest(self) -> str:
        """Path of its manifest."""
        return layout.run_manifest(self.root, self.run_id)

    def write_manifest(self, status: str) -> None:
        """Write `runs/<run id>.json`."""
        settings = {name: [vars(one) for one in several] for name, several in self.chain.items()}
        content = {
            "run_id": self.run_id,
            "command": self.command,
            "status": status,
            "began": datetime.fromtimestamp(self.began, UTC).isoformat(timespec="seconds"),
            "seconds": round(time.time() - self.began, 3),
            "code": schemas.__version__,
            "configuration": {**settings, "beam_flags": without_secrets(self.beam_flags)},
            "inputs": [{"path": path, **products.input_identity(path)} for path in self._inputs()],
            "stages": [dataclasses.asdict(result) for result in self.results],
        }
        small_files.write_json(self.manifest, content)

    def _inputs(self) -> Iterator[str]:
        """The files that the settings name, as far as they are there."""
        named = (path for several in self.chain.values() for one in several for _, path in one.paths())
        for path in dict.fromkeys(path for path in named if "{" not in path):  # that is a template of addresses
            matches = stores.glob(path) if stores.is_pattern(path) else [path]
            yield from (match for match in matches if (status := stores.stat(match)) and status.size)


def without_secrets(beam_flags: Iterable[str]) -> list[str]:
    """Beam's flags as they may be kept: without the values of secrets."""
    shown, hidden = [], False  # a value may follow its flag as a word of its own
    for flag in beam_flags:
        name, mark, _ = flag.partition("=")
        secret = _SECRET.fullmatch(name) is not None
        covered = "***" if hidden and not flag.startswith("--") else flag
        shown.append(f"{name}=***" if secret and mark else covered)
        hidden = secret and not mark
    return shown


def run_chain(command: str, chain: Chain, context: Context, report: Callable[[StageResult], None]) -> Run:
    """Run a chain's stages in their order, and write the run's manifest, also where it fails.

    Args:
        command: the verb of the command line.
        chain: the settings of each stage.
        context: where, with which of Beam's flags, and what to rebuild.
        report: is called with each result as it is there.
    """
    run = Run(context.root, command, run_files.with_resolved_paths(chain), context.beam_flags)
    progress.name_run(run.run_id)
    _log.debug("run %s", run.run_id, extra=progress.fields("run_started", root=context.root))
    try:
        for stage in STAGES:
            if stage.name in run.chain:
                plans = [stage.plan(settings, context) for settings in run.chain[stage.name]]
                for result in stage.run(plans, context):
                    run.results.append(result)
                    report(result)
    except BaseException:
        if stores.is_remote(context.root) or os.path.isdir(context.root):
            _write_failure(run)
        raise
    run.write_manifest("done")
    seconds = round(time.time() - run.began, 3)
    _log.debug("run %s: done", run.run_id, extra=progress.fields("run_done", manifest=run.manifest, seconds=seconds))
    return run


def _write_failure(run: Run) -> None:
    """State in the run's manifest that it failed, if that can still be written; the error itself matters more."""
    try:
        run.write_manifest("failed")
    except ConcordError as error:
        _log.info("the run's manifest could not be written: %s", error)


@dataclass(frozen=True)
class StagePlan:
    """What one stage of a chain will do.

    Attributes:
        products: empty where it cannot be planned.
        problem: why a run would fail there; empty for none.
    """

    stage: str
    products: tuple[Product, ...]
    problem: str = ""


def plan_chain(chain: Chain, context: Context, silent: Collection[str] = ()) -> Iterator[StagePlan]:
    """What each stage will do, in order; nothing is written.

    A stage that reads what an earlier one has still to make waits for it: more of it is not known before.

    Args:
        chain: the settings of each stage.
        context: where, with which of Beam's flags.
        silent: buckets from which no answer comes; a stage that needs one of them has no products.
    """
    pending: dict[str, str] = {}  # stage by the path that it will make
    for stage in STAGES:
        for settings in chain.get(stage.name, ()):
            reads, writes = stage.driver.reads(settings, context.root), stage.driver.writes(settings, context.root)
            waits = dict.fromkeys(
                name for path in reads for written, name in pending.items() if _overlap(path, written)
            )
            plan = partial(_wait, stage, settings, waits) if waits else partial(stage.plan, settings, context)
            unknown = any(_overlap(path, bucket) for path in (context.root, *reads) for bucket in silent)
            planned = StagePlan(stage.name, ()) if unknown else _plan_stage(plan, stage.name)
            if not planned.products or any(not product.is_done for product in planned.products):
                pending |= dict.fromkeys(writes, stage.name)
            yield planned


def _wait(stage: Stage, settings: Any, waits: Iterable[str]) -> Plan:
    """What is known of a stage that waits; InputError where it would fail whatever it waits for."""
    stage.driver.check(settings)
    return Plan(settings, (Product(stage.label(settings), State.WAITS, waits_for=", ".join(waits)),))


def _plan_stage(plan: Callable[[], Plan], stage: str) -> StagePlan:
    try:
        return StagePlan(stage, plan().products)
    except ConcordError as error:
        return StagePlan(stage, (), str(error).partition("\n")[0])
    except Exception as error:  # of a library, at an input that nobody thought of: the other stages are planned
        return StagePlan(stage, (), f"unexpected {type(error).__name__}: {error}")


def _overlap(path: str, other: str) -> bool:
    """Whether one of two paths lies in the other, or is it."""
    first, second = path.rstrip("/"), other.rstrip("/")
    return f"{first}/".startswith(f"{second}/") or f"{second}/".startswith(f"{first}/")
