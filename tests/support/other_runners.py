"""What tests on other runners share: a Flink cluster of their own on free ports, and the flags that name a runner."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deploy import flink, prepare, processes, tools
from deploy.flink import Cluster, Plan, Ports
from deploy.processes import Daemon
from deploy.tools import MissingToolError

WORKER_SECONDS = 5.0
WATCH = """
import os, pathlib, sys, time
from deploy.flink import Cluster
while os.getppid() == int(sys.argv[2]):
    time.sleep(0.5)
Cluster.load(pathlib.Path(sys.argv[1])).stop()  # the tests were killed
"""


def prism_flags() -> list[str]:
    """Beam's flags for Prism; the test is skipped where it cannot be built."""
    with _skipped("Prism"):
        return ["--runner=PrismRunner", f"--prism_location={tools.build_prism(prepare.PRISM_HOME)}"]


@contextlib.contextmanager
def flink_cluster(home: Path, task_managers: int = 2, one_core: bool = False) -> Iterator[Cluster]:
    """A cluster that is up while the block runs; the test is skipped where it cannot be had."""
    with _skipped("Flink"):
        tools.java()
        jars = tools.install_jars(flink.HOME)
    ports = Ports(*(processes.free_port() for _ in range(5)))
    cluster = Cluster(Plan(home, jars, ports, task_managers, one_core))
    cluster.start()
    command = [sys.executable, "-c", WATCH, str(home), str(os.getpid())]
    watch = subprocess.Popen(command, cwd=flink.PROJECT, start_new_session=True)
    try:
        yield cluster
    finally:
        cluster.stop()
        watch.kill()
        watch.wait()


def flink_flags(cluster: Cluster) -> list[str]:
    """Beam's flags for a cluster; its job server is named, since it is not the one of `make flink-up`."""
    endpoint = f"--job_endpoint=localhost:{cluster.plan.ports.jobs}"
    return ["--runner=FlinkRunner", f"--flink_master={cluster.plan.master}", endpoint]


def lose(task_manager: Daemon) -> None:
    """Kill a task manager by itself, and see its workers end with it."""
    os.kill(task_manager.pid, signal.SIGKILL)
    within(WORKER_SECONDS, lambda: not members(task_manager.pid), "its workers live on")


def members(group: int) -> list[int]:
    """The processes of a group that run."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, process_group = path.read_text().rpartition(")")[2].split()[:3]
            found += [int(path.parent.name)] if int(process_group) == group and state not in "ZX" else []
    return found


def within(seconds: float, reached: Callable[[], bool], otherwise: str) -> None:
    """Wait until something is so, and fail where it takes too long."""
    deadline = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.05)


@contextlib.contextmanager
def _skipped(what: str) -> Iterator[None]:
    try:
        yield
    except MissingToolError as error:
        pytest.skip(f"no tests on {what}: {error}")
