"""One training a GPU: the processes of a machine share its GPUs out among themselves, by locks on small files."""

import fcntl
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import apache_beam as beam

from models.training_job import TrainJob
from pipelines import progress, runner
from schemas import errors
from schemas.errors import ConcordError
from schemas.settings.base import resource_hints

_DRIVER = Path("/proc/driver/nvidia/gpus")
_WAIT = 1.0  # seconds between two looks for a free GPU


def available() -> list[int]:
    """The GPUs that this process may use, by number: those that it is shown, or all of the machine's."""
    shown = os.environ.get("CUDA_VISIBLE_DEVICES")
    if shown is not None:
        return [int(number) for number in shown.split(",") if number.strip().isdigit()]
    return list(range(len(list(_DRIVER.iterdir())))) if _DRIVER.exists() else []


@contextmanager
def claim_gpus(count: int) -> Iterator[list[int]]:
    """So many GPUs, or as many as there are, for no other process's training; waits until they are free.

    Where there is none, or none is asked for, nothing is waited for. A process that dies lets go of its own.
    """
    known = available()
    wanted = min(count, len(known))
    while True:
        with ExitStack() as held:
            found: list[int] = []
            for number in known:
                if len(found) < wanted and _lock(number, held):
                    found.append(number)
            if len(found) == wanted:
                yield found
                return
        time.sleep(_WAIT)


def _lock(number: int, held: ExitStack) -> bool:
    """Try to lock a GPU; the lock is let go with `held`."""
    path = Path(tempfile.gettempdir(), f"concord-gpu-{number}-{os.getuid()}.lock")
    file = held.enter_context(path.open("w"))
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


# Train models: a Beam element a model, or a few heads of one backbone; each in a process of its own, side by side.

_log = logging.getLogger("concord")
ERROR_LINES = 15
_HELD = "val_"


@dataclass(eq=False)
class TrainModels(beam.PTransform):  # type: ignore[misc]
    """Train each model, on a worker with the accelerator asked for; those of a group one after the other."""

    groups: tuple[tuple[TrainJob, ...], ...]
    accelerator: str
    min_ram: str = ""

    def expand(self, begin: beam.Pipeline) -> beam.PCollection:
        """The folder of each model, as it is written."""
        hints = resource_hints(self.accelerator, self.min_ram)
        fit = beam.FlatMap(train_models).with_resource_hints(**hints)
        return begin | "Models" >> beam.Create(self.groups) | "Fit" >> fit


def train_models(jobs: Sequence[TrainJob]) -> list[str]:
    """Train models one after the other in a process of their own, and return their folders.

    All of them use the same number of GPUs and of threads.

    Raises:
        ConcordError: what the process says of itself, or the last lines that it wrote.
    """
    told = "".join(job.to_json() + "\n" for job in jobs)
    runner.count_element("train", len(told))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    with tempfile.TemporaryFile("w+") as noise, claim_gpus(jobs[0].settings.gpus) as claimed:
        if claimed:
            environment["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, claimed))
        command = [sys.executable, "-P", "-m", "models.trainer"]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=noise, text=True, env=environment
        )
        with process:
            process.stdin.write(told + "\n")  # type: ignore[union-attr]
            process.stdin.flush()  # type: ignore[union-attr]
            last, done = _follow(jobs, process.stdout)  # type: ignore[arg-type]
            process.stdin.close()  # type: ignore[union-attr]
        if process.returncode != 0 or done < len(jobs):
            _raise_failure(jobs[min(done, len(jobs) - 1)], process.returncode, last, noise)
    return [job.folder for job in jobs]


def _follow(jobs: Sequence[TrainJob], lines: IO[str]) -> tuple[dict[str, Any], int]:
    """Pass on what trainings say of each epoch; return the last thing that was said, and how many are done."""
    said: dict[str, Any] = {}
    done = 0
    for text in lines:
        said = json.loads(text)
        if "epoch" in said:
            told = progress.fields("epoch", **{**said, "model": jobs[done].title})
            _log.info("%s", epoch_line(jobs[done].title, said), extra=told)
        done += "metrics" in said
    return said, done


def epoch_line(title: str, said: dict[str, Any]) -> str:
    """What people read of an epoch: its loss, and the other figures with those of validation."""
    names = [name for name in said if name not in ("model", "epoch", "epochs", "phase")]
    shown = sorted(names, key=lambda name: (name.removeprefix(_HELD) != "loss", name.startswith(_HELD)))
    figures = [f"{name.replace(_HELD, 'validation ').replace('_', ' ')} {said[name]:.3f}" for name in shown]
    tuning = " of fine-tuning" if said.get("phase") else ""
    return f"train {title}: epoch {said['epoch']}/{said['epochs']}{tuning}, {', '.join(figures)}"


def _raise_failure(job: TrainJob, code: int, last: dict[str, Any], noise: IO[str]) -> None:
    if "error" in last:
        raise getattr(errors, last["kind"], ConcordError)(last["error"])
    noise.seek(0)
    tail = " | ".join(line.strip() for line in noise.readlines()[-ERROR_LINES:])
    raise ConcordError(f"training {job.title!r} ended with status {code}: {tail}")
