"""What the parts of a Flink cluster are told."""

import os
import re
from pathlib import Path

import pytest

from deploy import flink
from deploy.flink import Plan, Ports
from deploy.tools import ClusterError

PLAN = Plan(Path("/home/of/flink"), Path("/jars"), Ports(9081, 7123, 9099, 9098, 9097))
SAID = """\
some log line
BASH_JAVA_UTILS_EXEC_RESULT:-Xmx100 -Xms100 -XX:MaxMetaspaceSize=268435456
BASH_JAVA_UTILS_EXEC_RESULT:-D taskmanager.cpu.cores=1.0 -D taskmanager.memory.task.heap.size=26b
"""


def settings(plan: Plan) -> dict[str, str]:
    lines = [line for line in flink.configuration(plan).splitlines() if not line.startswith("#")]
    return dict(line.split(": ", 1) for line in lines)


def test_everything_listens_on_loopback_alone_and_writes_at_home() -> None:
    found = settings(PLAN)
    assert found["rest.port"] == "9081"
    assert found["jobmanager.rpc.port"] == "7123"
    hosts = [name for name in found if name.endswith(("host", "address"))]
    assert len(hosts) == 6
    assert {found[name] for name in hosts} == {"localhost"}
    assert found["io.tmp.dirs"] == found["blob.storage.directory"] == "/home/of/flink/tmp"
    server = flink.job_server(PLAN, "java")
    assert {"--job-host=localhost", "--job-port=9099", "--artifact-port=9098", "--expansion-port=9097"} <= set(server)
    assert "--artifacts-dir=/home/of/flink/artifacts" in server
    assert "--flink-master=localhost:9081" in server


def test_a_task_manager_has_one_slot_and_lost_work_is_done_again() -> None:
    found = settings(PLAN)
    assert found["taskmanager.numberOfTaskSlots"] == "1"
    assert found["restart-strategy.type"] == "exponential-delay"
    assert found["jobmanager.execution.failover-strategy"] == "region"


def test_memory_is_divided_as_flink_says() -> None:
    flags, properties = flink.memory_flags(SAID)
    assert flags == ["-Xmx100", "-Xms100", "-XX:MaxMetaspaceSize=268435456"]
    command = flink.task_manager(PLAN, "java", 0, (flags, properties))
    assert command[:4] == ["java", *flags]
    assert command[-4:] == ["-D", "taskmanager.cpu.cores=1.0", "-D", "taskmanager.memory.task.heap.size=26b"]
    assert command[command.index("-cp") + 1] == "/jars/*"
    assert command[command.index("--configDir") + 1] == "/home/of/flink/conf"


@pytest.mark.parametrize("said", ["", "Exception in thread main", "BASH_JAVA_UTILS_EXEC_RESULT:-Xmx1"])
def test_memory_that_is_not_told_is_an_error(said: str) -> None:
    with pytest.raises(ClusterError, match="does not report how to divide the memory"):
        flink.memory_flags(said)


def test_each_task_manager_has_a_core_of_its_own_where_asked() -> None:
    plan = Plan(PLAN.home, PLAN.jars, one_core=True)
    cores = sorted(os.sched_getaffinity(0))
    for number in range(len(cores) + 1):
        command = flink.task_manager(plan, "java", number, ([], []))
        assert command[:4] == ["taskset", "-c", str(cores[number % len(cores)]), "java"]
    assert flink.job_manager(plan, "java")[0] == "java"


def test_workers_find_the_project_and_have_one_thread_where_asked() -> None:
    project, inherited = Path("/project"), {"PYTHONPATH": "/more", "HOME": "/home"}
    assert flink.worker_environment(PLAN, project, inherited) == {"PYTHONPATH": "/project:/more"}
    limited = flink.worker_environment(Plan(PLAN.home, PLAN.jars, one_core=True), project, {})
    assert limited.pop("PYTHONPATH") == "/project"
    assert set(limited.values()) == {"1"}
    assert {"TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"} <= set(limited)


def test_the_configuration_is_flat_yaml() -> None:
    for line in flink.configuration(PLAN).splitlines():
        assert line.startswith("#") or re.fullmatch(r"[A-Za-z.-]+: \S.*", line), line
