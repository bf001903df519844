"""Whole commands as sides of a benchmark: each a process of its own, on two processors, with its time and memory."""

import os
import resource
import subprocess
import sys
import time
from dataclasses import dataclass

from benchmarks.common import PROCESSORS

GIB = 2**30


@dataclass(frozen=True)
class Run:
    """A process that has ended: its wall time in seconds, and the most memory it held, in bytes."""

    seconds: float
    memory: int


def run(*command: str) -> Run:
    """Run a command on two processors."""
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, preexec_fn=_pin)  # noqa: PLW1509
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{' '.join(command[:4])} failed:\n{process.stderr.read().decode()[-3000:] if process.stderr else ''}")
    return Run(time.perf_counter() - began, usage.ru_maxrss * 1024)


def _pin() -> None:
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:PROCESSORS])
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
