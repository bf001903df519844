"""A real Flink cluster on this machine: a job manager, task managers and Beam's job server, each a process of its own.

    python -m clusters.flink up --task-managers 2
    python -m clusters.flink down

Python workers are started by the task managers (Beam's environment PROCESS, not a pool that all would share): a task
manager's workers are its children, run on its core where it has one of its own, and end with it.
"""

import argparse
import dataclasses
import json
import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from clusters import flink_parts, processes, tools
from clusters.errors import ClusterError
from clusters.flink_parts import Plan, Ports
from clusters.processes import Daemon

PROJECT = Path(__file__).resolve().parents[1]
HOME = PROJECT / ".flink"
STATE = "cluster.json"
READY_SECONDS = 120.0


class Cluster:
    """A cluster that was started, whether by this process or by an earlier one.

    Attributes:
        plan: what it is.
        daemons: its processes, in the order in which they were started.
    """

    def __init__(self, plan: Plan, daemons: Sequence[Daemon] = ()) -> None:
        self.plan, self.daemons = plan, list(daemons)

    @property
    def task_managers(self) -> list[Daemon]:
        """Those of its processes that run tasks."""
        return [one for one in self.daemons if one.name.startswith("taskmanager")]

    def overview(self) -> dict[str, Any]:
        """What Flink says of itself: task managers, slots, jobs; empty where it does not answer."""
        return overview(self.plan.master)

    def start(self) -> None:
        """Start every part, and wait until all are ready; what was started is ended again if one fails.

        Raises:
            MissingToolError: Java is not there.
            ClusterError: a port is taken, or a part does not start.
        """
        java = tools.java()
        self._check_ports()
        self._write_configuration()
        try:
            self._start("jobmanager", flink_parts.job_manager(self.plan, java))
            self._start("jobserver", flink_parts.job_server(self.plan, java))
            for _ in range(self.plan.task_managers):
                self.add_task_manager()
            self._wait()
        except BaseException:
            self.stop()
            raise
        self.save()

    def add_task_manager(self) -> Daemon:
        """Start one more task manager, such as in the place of one that was lost."""
        java, number = tools.java(), len(self.task_managers)
        said = subprocess.run(flink_parts.memory_tool(self.plan, java), capture_output=True, text=True, check=False)
        command = flink_parts.task_manager(self.plan, java, number, flink_parts.memory_flags(said.stdout))
        return self._start(f"taskmanager-{number}", command)

    def stop(self) -> None:
        """End every part, and all that they started."""
        processes.stop(self.daemons)
        self.daemons = []
        (self.plan.home / STATE).unlink(missing_ok=True)
        shutil.rmtree(self.plan.home / "tmp", ignore_errors=True)

    def is_up(self) -> bool:
        """Whether all its processes run, and Flink answers."""
        return bool(self.daemons) and all(one.alive for one in self.daemons) and bool(self.overview())

    def save(self) -> None:
        """Write down what runs, for the commands that come after."""
        plan = {**dataclasses.asdict(self.plan), "home": str(self.plan.home), "jars": str(self.plan.jars)}
        endpoints = {"master": self.plan.master, "job_endpoint": f"localhost:{self.plan.ports.jobs}"}
        content = {**endpoints, "plan": plan, "daemons": [dataclasses.asdict(one) for one in self.daemons]}
        (self.plan.home / STATE).write_text(json.dumps(content, indent=2) + "\n")

    @classmethod
    def found(cls, home: Path) -> "Cluster | None":
        """The cluster that was started in a folder; None where there is none."""
        try:
            content = json.loads((home / STATE).read_text())
            paths = {"home": home, "jars": Path(content["plan"]["jars"])}
            plan = {**content["plan"], **paths, "ports": Ports(**content["plan"]["ports"])}
            return cls(Plan(**plan), [Daemon(**one) for one in content["daemons"]])
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as error:
            raise ClusterError(
                f"{home / STATE} cannot be read ({error}): end what it started, and remove it"
            ) from error

    def _start(self, name: str, command: Sequence[str]) -> Daemon:
        environment = flink_parts.worker_environment(self.plan, PROJECT, os.environ)
        log = self.plan.logs / f"{name}.log"
        log.unlink(missing_ok=True)
        daemon = processes.start(name, command, log, str(self.plan.home), environment)
        self.daemons.append(daemon)
        return daemon

    def _check_ports(self) -> None:
        for name, port in self.plan.ports.named().items():
            if processes.is_taken(port):
                raise ClusterError(
                    f"port {port}, which {name} needs, is taken: end what listens there, or give another first port "
                    "(FLINK_PORT=9081)"
                )

    def _write_configuration(self) -> None:
        for folder in (self.plan.conf, self.plan.logs, self.plan.home / "tmp"):
            folder.mkdir(parents=True, exist_ok=True)
        (self.plan.conf / "flink-conf.yaml").write_text(flink_parts.configuration(self.plan))

    def _wait(self) -> None:
        def ready() -> bool:
            complete = self.overview().get("taskmanagers", 0) >= self.plan.task_managers
            return complete and processes.is_taken(self.plan.ports.jobs)

        processes.wait_until(ready, self.daemons, READY_SECONDS, "Flink", self.plan.logs)


def overview(master: str) -> dict[str, Any]:
    """What the Flink cluster at an address says of itself; empty where none answers."""
    try:
        with urllib.request.urlopen(f"http://{master}/overview", timeout=5) as answer:
            found: dict[str, Any] = json.load(answer)
            return found
    except (urllib.error.URLError, OSError, ValueError):
        return {}


def ports_from(first: int) -> Ports:
    """The ports of a cluster whose web page is at a port: Flink's usual ones, moved together."""
    moved = first - Ports().rest
    return Ports(**{name: port + moved for name, port in dataclasses.asdict(Ports()).items()})


def up(plan: Plan) -> tuple[Cluster, bool]:
    """A cluster that is up, and whether it was started now; the parts of one that broke are ended first.

    Raises:
        ClusterError: another one is up, or it cannot be started.
    """
    cluster = Cluster.found(plan.home)
    if cluster is not None and cluster.is_up():
        if cluster.plan != plan:
            raise ClusterError(f"another one is up at {cluster.plan.master}: end it first (make flink-down)")
        return cluster, False
    if cluster is not None:
        cluster.stop()
    tools.install_jars(plan.home)
    cluster = Cluster(plan)
    cluster.start()
    return cluster, True


def main(arguments: Sequence[str] | None = None) -> None:
    """Start a cluster, end it, or fetch what it needs; exit status 1 means that it failed, with a line saying why."""
    parser = argparse.ArgumentParser(prog="python -m clusters.flink", description=str(__doc__).partition("\n")[0])
    parser.add_argument("what", choices=("up", "down", "install"))
    parser.add_argument("--task-managers", type=int, default=Plan.task_managers, metavar="N")
    parser.add_argument("--port", type=int, default=Ports.rest, help="of Flink's web page; the others follow it")
    parser.add_argument("--one-core", action="store_true", help="one core and one TensorFlow thread a task manager")
    parser.add_argument("--home", type=Path, default=HOME, help="where its jars, logs and process ids lie")
    given = parser.parse_args(arguments)
    home = given.home.resolve()
    plan = Plan(home, home / "lib", ports_from(given.port), given.task_managers, given.one_core)
    try:
        _do(given.what, plan)
    except ClusterError as error:
        sys.exit(f"flink-{given.what}: {error}")


def _do(what: str, plan: Plan) -> None:
    if what == "install":
        print(f"Flink's jars are in {tools.install_jars(plan.home)}")
    elif what == "down":
        cluster = Cluster.found(plan.home)
        if cluster is not None:
            cluster.stop()
        print(f"the Flink cluster at {cluster.plan.master} is down" if cluster else "no Flink cluster is up")
    else:
        cluster, new = up(plan)
        slots = cluster.overview().get("slots-total", 0)
        print(f"Flink is up{'' if new else ' already'} at http://{cluster.plan.master} with {slots} slots; now run")
        print(f"  make run-pipeline RUNNER=FlinkRunner FLINK_MASTER={cluster.plan.master}")


if __name__ == "__main__":
    main()
