"""Train models, each in a process of its own; the processes of a machine claim its GPUs by locks on small files."""

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
_WAIT = 1.0  # seconds until free GPUs are looked for again


def list_gpus() -> list[int]:
    """The GPUs that this process may use, by number: those of CUDA_VISIBLE_DEVICES, or all of the machine's."""
    shown = os.environ.get("CUDA_VISIBLE_DEVICES")
    if shown is not None:
        return [int(number) for number in shown.split(",") if number.strip().isdigit()]
    return list(range(len(list(_DRIVER.iterdir())))) if _DRIVER.exists() else []


@contextmanager
def claim_gpus(count: int) -> Iterator[list[int]]:
    """Claim so many GPUs, or as many as there are, for one training; waits until they are free.

    Where there is none, or none is required, it does not wait. A process that dies releases its own.
    """
    gpus = list_gpus()
    count = min(count, len(gpus))
    while True:
        with ExitStack() as locks:
            claimed: list[int] = []
            for number in gpus:
                if len(claimed) < count and _lock(number, locks):
                    claimed.append(number)
            if len(claimed) == count:
                yield claimed
                return
        time.sleep(_WAIT)


def _lock(number: int, locks: ExitStack) -> bool:
    """Try to lock a GPU; the lock is released with `locks`."""
    path = Path(tempfile.gettempdir(), f"concord-gpu-{number}-{os.getuid()}.lock")
    file = locks.enter_context(path.open("w"))
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


# Train models: one Beam element per model, or per few heads of one backbone; each in a process of its own, in parallel.

_log = logging.getLogger("concord")
ERROR_LINES = 15
_VALIDATION = "val_"


@dataclass(eq=False)
class TrainModels(beam.PTransform):  # type: ignore[misc]
    """Train each model, on a worker with the required accelerator; those of a group one after the other."""

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
        ConcordError: the error that the process reports, or the last lines that it wrote.
    """
    lines = "".join(job.to_json() + "\n" for job in jobs)
    runner.count_element("train", len(lines))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    with tempfile.TemporaryFile("w+") as stderr, claim_gpus(jobs[0].settings.gpus) as claimed:
        if claimed:
            environment["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, claimed))
        command = [sys.executable, "-P", "-m", "models.trainer"]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, text=True, env=environment
        )
        with process:
            process.stdin.write(lines + "\n")  # type: ignore[union-attr]
            process.stdin.flush()  # type: ignore[union-attr]
            last, done = _log_progress(jobs, process.stdout)  # type: ignore[arg-type]
            process.stdin.close()  # type: ignore[union-attr]
        if process.returncode != 0 or done < len(jobs):
            _raise_failure(jobs[min(done, len(jobs) - 1)], process.returncode, last, stderr)
    return [job.folder for job in jobs]


def _log_progress(jobs: Sequence[TrainJob], lines: IO[str]) -> tuple[dict[str, Any], int]:
    """Log what trainings report of each epoch; return the last report, and how many trainings are done."""
    report: dict[str, Any] = {}
    done = 0
    for text in lines:
        report = json.loads(text)
        if "epoch" in report:
            fields = progress.fields("epoch", **{**report, "model": jobs[done].title})
            _log.info("%s", format_epoch(jobs[done].title, report), extra=fields)
        done += "metrics" in report
    return report, done


def format_epoch(title: str, report: dict[str, Any]) -> str:
    """An epoch in one line: its loss, and the other metrics beside those of validation."""
    names = [name for name in report if name not in ("model", "epoch", "epochs", "phase")]
    ordered = sorted(names, key=lambda name: (name.removeprefix(_VALIDATION) != "loss", name.startswith(_VALIDATION)))
    metrics = [f"{name.replace(_VALIDATION, 'validation ').replace('_', ' ')} {report[name]:.3f}" for name in ordered]
    tuning = " of fine-tuning" if report.get("phase") else ""
    return f"train {title}: epoch {report['epoch']}/{report['epochs']}{tuning}, {', '.join(metrics)}"


def _raise_failure(job: TrainJob, code: int, last: dict[str, Any], stderr: IO[str]) -> None:
    if "error" in last:
        raise getattr(errors, last["kind"], ConcordError)(last["error"])
    stderr.seek(0)
    tail = " | ".join(line.strip() for line in stderr.readlines()[-ERROR_LINES:])
    raise ConcordError(f"training {job.title!r} ended with status {code}: {tail}")
