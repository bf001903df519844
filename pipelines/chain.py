"""A chain of stages, each made only where it is missing, and the manifest of the run."""

import dataclasses
import importlib
import re
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any

import schemas
from pipelines.runner import Context, Stage, StageResult
from schemas import layout, run_files
from schemas.errors import InputError
from schemas.run_files import RunFile
from storage import json_files, products, stores

_SECRET = re.compile(r"--[\w-]*(?:key|secret|token|password|credential)[\w-]*", re.IGNORECASE)

_STAGES = {  # in order, each with the module whose function of the same name it is
    "draw": "pipelines.draw",
    "confirm": "pipelines.confirm.driver",
    "convert": "pipelines.convert.driver",
    "imports": "pipelines.import_labels.driver",
    "features": "pipelines.features",
    "train": "pipelines.train.driver",
    "label": "pipelines.label.driver",
    "agree": "pipelines.agree.driver",
    "explain": "pipelines.explain.driver",
}


def load_run_file(path: str, root: str, data: str = "") -> RunFile:
    """The chain of a run file, wherever it lies; see `run_files.parse_toml`."""
    status = stores.stat(path)
    if status and status.size > run_files.MOST_BYTES:
        raise InputError(
            f"{path} is not a run file: it has {status.size:,} bytes, and may have {run_files.MOST_BYTES:,}"
        )
    return run_files.parse_toml(path, stores.read_bytes(path), root, data)


@dataclass
class Run:
    """One run of one command: what it was asked, and what its stages did."""

    root: str
    command: str
    configuration: dict[str, Any]
    run_id: str = field(default_factory=lambda: f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{uuid.uuid4().hex[:4]}")
    results: list[StageResult] = field(default_factory=list)
    began: float = field(default_factory=time.time)

    @staticmethod
    def shown(beam_flags: tuple[str, ...]) -> list[str]:
        """Beam's flags as they may be kept: without the values of secrets."""
        shown, hidden = [], False  # a value may follow its flag as a word of its own
        for flag in beam_flags:
            name, mark, _ = flag.partition("=")
            secret = _SECRET.fullmatch(name) is not None
            covered = "***" if hidden and not flag.startswith("--") else flag
            shown.append(f"{name}=***" if secret and mark else covered)
            hidden = secret and not mark
        return shown

    def add(self, stage: Stage) -> list[StageResult]:
        """Run a stage and keep what it did."""
        found = stage()
        results = found if isinstance(found, list) else [found]
        self.results += results
        return results

    def write_manifest(self, status: str) -> str:
        """Write `runs/<run id>.json`, and return its path."""
        paths = [path for path in _inputs(self.configuration) if (found := stores.stat(path)) and found.size]
        inputs = [{"path": path, **products.input_identity(path)} for path in paths]
        content = {
            "run_id": self.run_id,
            "command": self.command,
            "status": status,
            "began": datetime.fromtimestamp(self.began, UTC).isoformat(timespec="seconds"),
            "seconds": round(time.time() - self.began, 3),
            "code": schemas.__version__,
            "configuration": self.configuration,
            "inputs": inputs,
            "stages": [dataclasses.asdict(result) for result in self.results],
        }
        path = layout.run_manifest(self.root, self.run_id)
        json_files.write(path, content)
        return path


def _inputs(configuration: dict[str, Any]) -> list[str]:
    """The input files of a run's stages."""
    convert, confirm = (configuration.get(stage) or {} for stage in ("convert", "confirm"))
    patterns = [*confirm.get("machine", ()), *confirm.get("human", ()), confirm.get("classes"), confirm.get("images")]
    patterns += [pattern for one in configuration.get("imports") or () for pattern in one["input"]]
    return [*convert.get("input", ()), *(path for pattern in patterns if pattern for path in stores.glob(pattern))]


def stages(run_file: RunFile, context: Context, readers: Mapping[str, Callable[..., Any]]) -> Iterator[Stage]:
    """The stages that a run file asks for, in order; each imports what it needs only when it is run.

    Args:
        run_file: the chain.
        context: where, and with which Beam flags.
        readers: the stages that run no Beam, by name and in order, such as the one that draws the report; handed in,
            since the others never import what analysts read.
    """
    for name, module in _STAGES.items():
        asked = getattr(run_file, name)
        if asked:
            settings = [asked] if name == "features" else asked
            yield partial(getattr(importlib.import_module(module), name), settings, context)
    if run_file.generations:
        generations = importlib.import_module("pipelines.generations.driver")
        verbs = {name: getattr(importlib.import_module(_STAGES[name]), name) for name in ("train", "label", "agree")}
        yield from generations.steps(run_file.generations, context, generations.Verbs(**verbs))
    for name, make in readers.items():
        if getattr(run_file, name):
            yield partial(make, getattr(run_file, name), context)
