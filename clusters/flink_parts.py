"""The parts of a Flink cluster: what each is told, and the command that starts it. Nothing here runs anything."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from clusters.errors import ClusterError

JOB_MANAGER = "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint"
TASK_MANAGER = "org.apache.flink.runtime.taskexecutor.TaskManagerRunner"
JOB_SERVER = "org.apache.beam.runners.flink.FlinkJobServerDriver"
MEMORY_TOOL = "org.apache.flink.runtime.util.bash.BashJavaUtils"
_RESULT = "BASH_JAVA_UTILS_EXEC_RESULT:"
_OPENED = (  # inner parts of Java that Flink reaches into, as its own start scripts list them
    "java.lang",
    "java.lang.reflect",
    "java.net",
    "java.io",
    "java.nio",
    "sun.nio.ch",
    "java.text",
    "java.time",
    "java.util",
    "java.util.concurrent",
    "java.util.concurrent.atomic",
    "java.util.concurrent.locks",
)
OPENS = (
    "--add-exports=java.base/sun.net.util=ALL-UNNAMED",
    *(f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in _OPENED),
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
# steps that hand whole results on hold buffers each; the default minimum of 512 is for larger machines
taskmanager.memory.network.min: 128m
taskmanager.memory.network.max: 128m
taskmanager.network.sort-shuffle.min-buffers: 64
rest.address: localhost
rest.bind-address: localhost
rest.port: {ports.rest}
io.tmp.dirs: {home}/tmp
blob.storage.directory: {home}/tmp
# a task manager that is gone is noticed in seconds; its tasks, and those whose input it held, start again on others;
# what fails each time is given up after seven seconds
heartbeat.interval: 1000
heartbeat.timeout: 10000
heartbeat.rpc-failure-threshold: 2
restart-strategy.type: exponential-delay
restart-strategy.exponential-delay.initial-backoff: 1 s
restart-strategy.exponential-delay.backoff-multiplier: 2.0
restart-strategy.exponential-delay.jitter-factor: 0.0
restart-strategy.exponential-delay.attempts-before-reset-backoff: 3
jobmanager.execution.failover-strategy: region
# the jars of a job are those of the cluster: loaded twice, their parts do not know each other
classloader.resolve-order: parent-first
"""


@dataclass(frozen=True)
class Ports:
    """Where the parts listen, on loopback alone: Flink's REST and RPC, Beam's jobs, artifacts and expansion."""

    rest: int = 8081
    rpc: int = 6123
    jobs: int = 8099
    artifacts: int = 8098
    expansion: int = 8097

    def named(self) -> dict[str, int]:
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
    """What a cluster is to be.

    Attributes:
        home: folder of everything that it writes.
        jars: folder of what it is made of.
        task_managers: processes with one slot each.
        one_core: whether each task manager and its workers have one core, and one thread of TensorFlow.
        memory: of each task manager's Java part, as Flink writes it; its workers take their own besides.
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
        """Folder of Flink's configuration; it also tells this cluster's processes from others."""
        return self.home / "conf"

    @property
    def logs(self) -> Path:
        """Folder of a log for each process."""
        return self.home / "logs"


def configuration(plan: Plan) -> str:
    """Flink's own configuration file."""
    return _CONFIGURATION.format(ports=plan.ports, home=plan.home, memory=plan.memory)


def job_manager(plan: Plan, java: str) -> list[str]:
    """The command of the job manager."""
    return [*_java(plan, java, _HEAP), JOB_MANAGER, "--configDir", str(plan.conf)]


def memory_tool(plan: Plan, java: str) -> list[str]:
    """The command that tells how a task manager divides its memory."""
    return [java, "-cp", f"{plan.jars}/*", MEMORY_TOOL, "GET_TM_RESOURCE_PARAMS", "--configDir", str(plan.conf)]


def memory_flags(said: str) -> tuple[list[str], list[str]]:
    """Java's flags and Flink's properties in what the memory tool said.

    Raises:
        ClusterError: it said neither.
    """
    lines = [line.removeprefix(_RESULT).split() for line in said.splitlines() if line.startswith(_RESULT)]
    if len(lines) != 2:
        raise ClusterError(f"Flink does not say how to divide the memory of a task manager: {said.strip()[-300:]}")
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
    told = {
        "job-host": "localhost",
        "job-port": ports.jobs,
        "artifact-port": ports.artifacts,
        "expansion-port": ports.expansion,
        "artifacts-dir": plan.home / "artifacts",
        "flink-master": plan.master,
        "flink-conf-dir": plan.conf,
    }
    return [*_java(plan, java, _HEAP), JOB_SERVER, *(f"--{name}={value}" for name, value in told.items())]


def worker_environment(plan: Plan, project: Path, inherited: Mapping[str, str]) -> dict[str, str]:
    """What the task managers' environment says; Python workers are their children, and inherit it."""
    paths = [str(project), *filter(None, [inherited.get("PYTHONPATH", "")])]
    threads = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")
    return {"PYTHONPATH": os.pathsep.join(paths), **(dict.fromkeys(threads, "1") if plan.one_core else {})}


def _java(plan: Plan, java: str, *flags: str) -> Sequence[str]:
    own = [f"-Djava.io.tmpdir={plan.home / 'tmp'}", "-Dorg.slf4j.simpleLogger.showDateTime=true"]
    return [java, *flags, *OPENS, *own, "-cp", f"{plan.jars}/*"]
