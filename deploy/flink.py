"""A real Flink cluster on this machine: a job manager, task managers and Beam's job server, each a process of its own.

The first half composes configuration and commands, and runs nothing; `Cluster` starts, watches and ends the processes.

python -m deploy.flink {up,down,install}
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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy import processes, tools
from deploy.processes import Daemon
from deploy.tools import ClusterError

JOB_MANAGER = "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint"
TASK_MANAGER = "org.apache.flink.runtime.taskexecutor.TaskManagerRunner"
JOB_SERVER = "org.apache.beam.runners.flink.FlinkJobServerDriver"
MEMORY_TOOL = "org.apache.flink.runtime.util.bash.BashJavaUtils"
_RESULT = "BASH_JAVA_UTILS_EXEC_RESULT:"
_OPENED = (  # internals of Java that Flink accesses, as its own start scripts list them
    "java.lang java.lang.reflect java.net java.io java.nio sun.nio.ch java.text java.time java.util "
    "java.util.concurrent java.util.concurrent.atomic java.util.concurrent.locks"
)
OPENS = (
    "--add-exports=java.base/sun.net.util=ALL-UNNAMED",
    *(f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in _OPENED.split()),
)
_HEAP = "-Xmx512m"
_CONFIGURATION = """\
jobmanager.rpc.address: localhost
jobmanager.rpc.port: {ports.rpc}
jobmanager.bind-host: localhost
jobmanager.memory.process.size: 1024m
taskmanager.bind-host: localhost
taskmanager.host: localhost
taskmanager.memory.process.size: {memory}
taskmanager.numberOfTaskSlots: 1
# steps that pass whole results on keep buffers each; the default minimum of 512 is for larger machines
taskmanager.memory.network.min: 128m
taskmanager.memory.network.max: 128m
taskmanager.network.sort-shuffle.min-buffers: 64
rest.address: localhost
rest.bind-address: localhost
rest.port: {ports.rest}
io.tmp.dirs: {home}/tmp
blob.storage.directory: {home}/tmp
# a lost task manager is noticed in seconds; its tasks, and those that need its results, start again on others; tasks
# that fail each time are abandoned after seven seconds
heartbeat.interval: 1000
heartbeat.timeout: 10000
heartbeat.rpc-failure-threshold: 2
restart-strategy.type: exponential-delay
restart-strategy.exponential-delay.initial-backoff: 1 s
restart-strategy.exponential-delay.backoff-multiplier: 2.0
restart-strategy.exponential-delay.jitter-factor: 0.0
restart-strategy.exponential-delay.attempts-before-reset-backoff: 3
jobmanager.execution.failover-strategy: region
# the jars of a job are those of the cluster: loaded twice, their classes would differ
classloader.resolve-order: parent-first
"""


@dataclass(frozen=True)
class Ports:
    """Ports on loopback: Flink's REST and RPC, Beam's jobs, artifacts and expansion."""

    rest: int = 8081
    rpc: int = 6123
    jobs: int = 8099
    artifacts: int = 8098
    expansion: int = 8097

    def by_service(self) -> dict[str, int]:
        """Each port by what needs it."""
        return {
            "Flink's web page": self.rest,
            "Flink's job manager": self.rpc,
            "Beam's job server": self.jobs,
            "its store of artifacts": self.artifacts,
            "its expansion service": self.expansion,
        }


@dataclass(frozen=True)
class Plan:
    """The settings of a cluster.

    Attributes:
        home: folder of everything that it writes.
        jars: folder of its jars.
        task_managers: processes with one slot each.
        one_core: whether each task manager and its workers have one core, and one thread of TensorFlow.
        memory: of each task manager's Java part, as Flink writes it; its workers need more.
    """

    home: Path
    jars: Path
    ports: Ports = Ports()
    task_managers: int = 2
    one_core: bool = False
    memory: str = "1280m"

    @property
    def master(self) -> str:
        """The address that jobs name by `--flink_master`."""
        return f"localhost:{self.ports.rest}"

    @property
    def conf(self) -> Path:
        """Folder of Flink's configuration, which also identifies this cluster's processes."""
        return self.home / "conf"

    @property
    def logs(self) -> Path:
        """Folder of a log for each process."""
        return self.home / "logs"


def configuration(plan: Plan) -> str:
    """The content of Flink's configuration file."""
    return _CONFIGURATION.format(ports=plan.ports, home=plan.home, memory=plan.memory)


def job_manager(plan: Plan, java: str) -> list[str]:
    """The command of the job manager."""
    return [*_java(plan, java, _HEAP), JOB_MANAGER, "--configDir", str(plan.conf)]


def memory_tool(plan: Plan, java: str) -> list[str]:
    """The command that reports how a task manager divides its memory."""
    return [java, "-cp", f"{plan.jars}/*", MEMORY_TOOL, "GET_TM_RESOURCE_PARAMS", "--configDir", str(plan.conf)]


def memory_flags(output: str) -> tuple[list[str], list[str]]:
    """Java's flags and Flink's properties in the output of the memory tool; ClusterError if they are missing."""
    lines = [line.removeprefix(_RESULT).split() for line in output.splitlines() if line.startswith(_RESULT)]
    if len(lines) != 2:
        raise ClusterError(f"Flink does not report how to divide the memory of a task manager: {output.strip()[-300:]}")
    return lines[0], lines[1]


def task_manager(plan: Plan, java: str, number: int, memory: tuple[list[str], list[str]]) -> list[str]:
    """The command of a task manager."""
    flags, properties = memory
    cores = sorted(os.sched_getaffinity(0)) if plan.one_core else []
    pinned = ["taskset", "-c", str(cores[number % len(cores)])] if cores else []
    command = [*_java(plan, java, *flags), TASK_MANAGER, "--configDir", str(plan.conf)]
    return [*pinned, *command, *properties]


def job_server(plan: Plan, java: str) -> list[str]:
    """The command of Beam's job server."""
    ports = plan.ports
    options = {
        "job-host": "localhost",
        "job-port": ports.jobs,
        "artifact-port": ports.artifacts,
        "expansion-port": ports.expansion,
        "artifacts-dir": plan.home / "artifacts",
        "flink-master": plan.master,
        "flink-conf-dir": plan.conf,
    }
    return [*_java(plan, java, _HEAP), JOB_SERVER, *(f"--{name}={value}" for name, value in options.items())]


def worker_environment(plan: Plan, project: Path, inherited: Mapping[str, str]) -> dict[str, str]:
    """Variables of the task managers' environment, which Python workers inherit as their children."""
    paths = [str(project), *filter(None, [inherited.get("PYTHONPATH", "")])]
    threads = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")
    return {"PYTHONPATH": os.pathsep.join(paths), **(dict.fromkeys(threads, "1") if plan.one_core else {})}


def _java(plan: Plan, java: str, *flags: str) -> Sequence[str]:
    own = [f"-Djava.io.tmpdir={plan.home / 'tmp'}", "-Dorg.slf4j.simpleLogger.showDateTime=true"]
    return [java, *flags, *OPENS, *own, "-cp", f"{plan.jars}/*"]


# --- The cluster ---------------------------------------------------------------------------------

PROJECT = Path(__file__).resolve().parents[1]
HOME = PROJECT / ".flink"
STATE = "cluster.json"
READY_SECONDS = 120.0


class Cluster:
    """A cluster that was started, whether by this process or by an earlier one.

    Attributes:
        plan: its settings.
        daemons: its processes, in the order in which they were started.
    """

    def __init__(self, plan: Plan, daemons: Sequence[Daemon] = ()) -> None:
        self.plan, self.daemons = plan, list(daemons)

    @property
    def task_managers(self) -> list[Daemon]:
        """The processes that run tasks."""
        return [one for one in self.daemons if one.name.startswith("taskmanager")]

    def overview(self) -> dict[str, Any]:
        """Flink's own figures: task managers, slots, jobs; empty if it does not answer."""
        return overview(self.plan.master)

    def start(self) -> None:
        """Start every process, and wait until all are ready; if one fails, end those that were started.

        Raises:
            MissingToolError: Java is missing.
            ClusterError: a port is taken, or a process does not start.
        """
        java = tools.java()
        self._check_ports()
        self._write_configuration()
        try:
            self._start("jobmanager", job_manager(self.plan, java))
            self._start("jobserver", job_server(self.plan, java))
            for _ in range(self.plan.task_managers):
                self.add_task_manager()
            self._wait()
        except BaseException:
            self.stop()
            raise
        self.save()

    def add_task_manager(self) -> Daemon:
        """Start one more task manager, such as instead of a lost one."""
        java, number = tools.java(), len(self.task_managers)
        result = subprocess.run(memory_tool(self.plan, java), capture_output=True, text=True, check=False)
        command = task_manager(self.plan, java, number, memory_flags(result.stdout))
        return self._start(f"taskmanager-{number}", command)

    def stop(self) -> None:
        """End every process, and everything that they started."""
        processes.stop(self.daemons)
        self.daemons = []
        (self.plan.home / STATE).unlink(missing_ok=True)
        shutil.rmtree(self.plan.home / "tmp", ignore_errors=True)

    def is_up(self) -> bool:
        """Whether all its processes run, and Flink answers."""
        return bool(self.daemons) and all(one.alive for one in self.daemons) and bool(self.overview())

    def save(self) -> None:
        """Record the processes for later commands."""
        plan = {**dataclasses.asdict(self.plan), "home": str(self.plan.home), "jars": str(self.plan.jars)}
        endpoints = {"master": self.plan.master, "job_endpoint": f"localhost:{self.plan.ports.jobs}"}
        content = {**endpoints, "plan": plan, "daemons": [dataclasses.asdict(one) for one in self.daemons]}
        (self.plan.home / STATE).write_text(json.dumps(content, indent=2) + "\n")

    @classmethod
    def load(cls, home: Path) -> "Cluster | None":
        """The cluster that was started in a folder; None if there is none."""
        try:
            content = json.loads((home / STATE).read_text())
            paths = {"home": home, "jars": Path(content["plan"]["jars"])}
            plan = {**content["plan"], **paths, "ports": Ports(**content["plan"]["ports"])}
            return cls(Plan(**plan), [Daemon(**one) for one in content["daemons"]])
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as error:
            raise ClusterError(f"{home / STATE} cannot be read ({error}): end its processes, and remove it") from error

    def _start(self, name: str, command: Sequence[str]) -> Daemon:
        environment = worker_environment(self.plan, PROJECT, os.environ)
        log = self.plan.logs / f"{name}.log"
        log.unlink(missing_ok=True)
        daemon = processes.start(name, command, log, str(self.plan.home), environment)
        self.daemons.append(daemon)
        return daemon

    def _check_ports(self) -> None:
        for name, port in self.plan.ports.by_service().items():
            if processes.is_taken(port):
                raise ClusterError(
                    f"port {port}, which {name} needs, is taken: end what listens there, or set another first port "
                    "(FLINK_PORT=9081)"
                )

    def _write_configuration(self) -> None:
        for folder in (self.plan.conf, self.plan.logs, self.plan.home / "tmp"):
            folder.mkdir(parents=True, exist_ok=True)
        (self.plan.conf / "flink-conf.yaml").write_text(configuration(self.plan))

    def _wait(self) -> None:
        def ready() -> bool:
            complete = self.overview().get("taskmanagers", 0) >= self.plan.task_managers
            return complete and processes.is_taken(self.plan.ports.jobs)

        processes.wait_until(ready, self.daemons, READY_SECONDS, "Flink", self.plan.logs)


def overview(master: str) -> dict[str, Any]:
    """The figures of the Flink cluster at an address; empty if none answers."""
    try:
        with urllib.request.urlopen(f"http://{master}/overview", timeout=5) as answer:
            figures: dict[str, Any] = json.load(answer)
            return figures
    except (urllib.error.URLError, OSError, ValueError):
        return {}


def ports_starting_at(first: int) -> Ports:
    """Flink's usual ports, all moved so that the web page has this one."""
    offset = first - Ports().rest
    return Ports(**{name: port + offset for name, port in dataclasses.asdict(Ports()).items()})


def ensure_up(plan: Plan) -> tuple[Cluster, bool]:
    """A cluster that is up, and whether it was started now; the processes of a broken one are ended first.

    Raises:
        ClusterError: another one is up, or it cannot be started.
    """
    cluster = Cluster.load(plan.home)
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
    """Start a cluster, end it, or download its jars; exit status 1 and a line with the reason mean that it failed."""
    parser = argparse.ArgumentParser(prog="python -m deploy.flink", description=str(__doc__).partition("\n")[0])
    parser.add_argument("what", choices=("up", "down", "install"))
    parser.add_argument("--task-managers", type=int, default=Plan.task_managers, metavar="N")
    parser.add_argument("--port", type=int, default=Ports.rest, help="of Flink's web page; the others follow it")
    parser.add_argument("--one-core", action="store_true", help="one core and one TensorFlow thread a task manager")
    parser.add_argument("--home", type=Path, default=HOME, help="where its jars, logs and process ids lie")
    options = parser.parse_args(arguments)
    home = options.home.resolve()
    plan = Plan(home, home / "lib", ports_starting_at(options.port), options.task_managers, options.one_core)
    try:
        _do(options.what, plan)
    except ClusterError as error:
        sys.exit(f"flink-{options.what}: {error}")


def _do(what: str, plan: Plan) -> None:
    if what == "install":
        print(f"Flink's jars are in {tools.install_jars(plan.home)}")
    elif what == "down":
        cluster = Cluster.load(plan.home)
        if cluster is not None:
            cluster.stop()
        print(f"the Flink cluster at {cluster.plan.master} is down" if cluster else "no Flink cluster is up")
    else:
        cluster, new = ensure_up(plan)
        slots = cluster.overview().get("slots-total", 0)
        print(f"Flink is up{'' if new else ' already'} at http://{cluster.plan.master} with {slots} slots; now run")
        print(f"  make run-pipeline RUNNER=FlinkRunner FLINK_MASTER={cluster.plan.master}")


if __name__ == "__main__":
    main()
