"""Starting a Flink cluster, finding it again, and ending it; with a Java that only pretends."""

import dataclasses
import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from deploy import flink, prepare, processes, tools
from deploy.flink import Cluster, Plan, Ports
from deploy.tools import ClusterError, MissingToolError

JAVA = """#!/bin/sh
case "$*" in
    -version) echo 'openjdk version "17.0.1"' >&2;;
    *GET_TM_RESOURCE_PARAMS*) echo BASH_JAVA_UTILS_EXEC_RESULT:-Xmx1m; echo BASH_JAVA_UTILS_EXEC_RESULT:-D a=1;;
    *FlinkJobServerDriver*) {server};;
    *) exec sh -c "sleep 60; : $*";;
esac
"""
SLEEP = 'exec sh -c "sleep 60; : $*"'


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    """A cluster on free ports."""
    jars = tmp_path / "home" / "lib"
    jars.mkdir(parents=True)
    return Plan(tmp_path / "home", jars, Ports(*(processes.free_port() for _ in range(5))))


@pytest.fixture
def java(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Java whose every program sleeps."""
    path = tmp_path / "jdk" / "bin" / "java"
    path.parent.mkdir(parents=True)
    path.write_text(JAVA.format(server=SLEEP))
    path.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "jdk"))
    monkeypatch.setattr(tools, "install_jars", lambda home: home / "lib")
    return path


@pytest.fixture
def answering(plan: Plan) -> Iterator[None]:
    """What Flink's web page and the job server's port would say, once the ports were found free."""
    stopped = threading.Event()

    class Overview(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"taskmanagers": 2, "slots-total": 2}).encode())

        def log_message(self, format: str, *args: object) -> None:
            pass

    def serve() -> None:
        while not (plan.logs / "taskmanager-1.log").exists() and not stopped.is_set():
            stopped.wait(0.05)
        with HTTPServer(("127.0.0.1", plan.ports.rest), Overview) as page, socket.socket() as jobs:
            jobs.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            jobs.bind(("127.0.0.1", plan.ports.jobs))
            jobs.listen(100)
            page.timeout = 0.05
            while not stopped.is_set():
                page.handle_request()

    thread = threading.Thread(target=serve)
    thread.start()
    yield
    stopped.set()
    thread.join()


def running(plan: Plan) -> list[str]:
    """The command lines that name a cluster's home."""
    lines = [processes.command_line(int(path.name)) or "" for path in Path("/proc").glob("[0-9]*")]
    return [line for line in lines if str(plan.conf) in line]


def test_it_comes_up_is_found_again_and_goes(plan: Plan, java: Path, answering: None) -> None:
    cluster, new = flink.ensure_up(plan)
    try:
        assert new
        assert [one.name for one in cluster.daemons] == ["jobmanager", "jobserver", "taskmanager-0", "taskmanager-1"]
        found = Cluster.load(plan.home)
        assert found is not None
        assert (found.plan, found.daemons) == (plan, cluster.daemons)
        assert found.is_up()
        assert flink.ensure_up(plan)[1] is False
        with pytest.raises(ClusterError, match=r"^another one is up at localhost:\d+: end it first \(make flink-down"):
            flink.ensure_up(dataclasses.replace(plan, task_managers=3))
        state = json.loads((plan.home / flink.STATE).read_text())
        assert state["master"] == plan.master
        assert state["job_endpoint"] == f"localhost:{plan.ports.jobs}"
        assert len(running(plan)) >= 4
    finally:
        cluster.stop()
    assert not running(plan)
    assert Cluster.load(plan.home) is None


def test_one_of_which_a_part_is_gone_is_not_up(plan: Plan, java: Path, answering: None) -> None:
    cluster, _ = flink.ensure_up(plan)
    try:
        cluster.task_managers[0].kill()
        assert not cluster.is_up()
    finally:
        cluster.stop()


def test_a_part_that_fails_ends_all_that_was_started(plan: Plan, java: Path) -> None:
    java.write_text(JAVA.format(server="echo 'java.lang.IllegalStateException: no such jar'; exit 1"))
    with pytest.raises(ClusterError, match=r"^jobserver ended by itself: java.lang.IllegalStateException: no such jar"):
        flink.ensure_up(plan)
    assert not running(plan)
    assert Cluster.load(plan.home) is None


@pytest.mark.parametrize("port", ["rest", "rpc", "jobs", "artifacts", "expansion"])
def test_a_port_that_is_taken_is_named(plan: Plan, java: Path, port: str) -> None:
    number = getattr(plan.ports, port)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", number))
        taken.listen()
        with pytest.raises(ClusterError, match=rf"^port {number}, which .* needs, is taken: .*FLINK_PORT"):
            flink.ensure_up(plan)
    assert not running(plan)


def test_a_state_that_cannot_be_read_is_named(plan: Plan) -> None:
    (plan.home / flink.STATE).write_text('{"plan": {}}')
    with pytest.raises(ClusterError, match=r"cluster.json cannot be read"):
        Cluster.load(plan.home)


def test_the_ports_move_together() -> None:
    assert flink.ports_starting_at(8081) == Ports()
    assert flink.ports_starting_at(9081) == Ports(9081, 7123, 9099, 9098, 9097)


def test_down_where_nothing_is_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flink.main(["down", "--home", str(tmp_path)])
    assert capsys.readouterr().out == "no Flink cluster is up\n"


def test_without_java_there_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(SystemExit, match=r"^flink-up: Flink needs Java: install Java 11 or 17"):
        flink.main(["up", "--home", str(tmp_path)])


def test_what_cannot_be_prepared_is_said_and_no_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def absent(home: Path) -> Path:
        raise MissingToolError("Flink needs Java: install it")

    assert not prepare.prepare("Flink", absent, tmp_path)
    assert capsys.readouterr().out == "SKIPPED: no tests on Flink: Flink needs Java: install it\n"
    assert prepare.prepare("Flink", lambda home: home, tmp_path)
