"""Processes that outlive the command that starts them."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy import processes
from deploy.processes import Daemon
from deploy.tools import ClusterError
from tests.support import other_runners

SLEEPS = "import time; time.sleep(60)  # {marker}"
WITH_CHILD = "import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('on', flush=True); time.sleep(60)"


@pytest.fixture
def started(tmp_path: Path) -> Iterator[list[Daemon]]:
    """Processes that are ended after the test, whatever happens in it."""
    found: list[Daemon] = []
    yield found
    for one in found:
        one.kill()


def begin(started: list[Daemon], folder: Path, code: str, name: str = "part") -> Daemon:
    daemon = processes.start(name, [sys.executable, "-c", code], folder / f"{name}.log", "-c", {"TOLD": "yes"})
    started.append(daemon)
    return daemon


def test_a_process_is_ended_with_all_that_it_started(started: list[Daemon], tmp_path: Path) -> None:
    daemon = begin(started, tmp_path, WITH_CHILD.format(child=SLEEPS.format(marker="child")))
    other_runners.within(10, lambda: len(other_runners.members(daemon.pid)) == 2, "no child")
    assert daemon.alive
    processes.stop([daemon])
    assert not daemon.alive
    other_runners.within(2, lambda: not other_runners.members(daemon.pid), "something lives on")


def test_what_does_not_go_when_asked_is_killed(
    started: list[Daemon], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "_GRACE_SECONDS", 0.5)
    daemon = begin(started, tmp_path, STUBBORN)
    other_runners.within(10, lambda: "on" in (tmp_path / "part.log").read_text(), "not started")
    began = time.monotonic()
    processes.stop([daemon])
    assert time.monotonic() - began >= 0.5
    other_runners.within(2, lambda: not other_runners.members(daemon.pid), "it lives on")


def test_another_process_of_the_same_number_is_left_alone() -> None:
    other = subprocess.Popen([sys.executable, "-c", SLEEPS.format(marker="another")], start_new_session=True)
    try:
        mistaken = Daemon("part", other.pid, "/home/of/flink")
        other_runners.within(10, lambda: "another" in (processes.command_line(other.pid) or ""), "not started")
        assert not mistaken.alive
        mistaken.kill()
        processes.stop([mistaken])
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_one_that_is_gone_is_not_alive(started: list[Daemon], tmp_path: Path) -> None:
    daemon = begin(started, tmp_path, "pass")
    other_runners.within(10, lambda: not daemon.alive, "it lives on")
    assert processes.command_line(daemon.pid) is None
    processes.stop([daemon])


def test_a_process_that_ends_by_itself_is_told_with_what_it_said(started: list[Daemon], tmp_path: Path) -> None:
    code = "import os; print(os.environ['TOLD']); print('java.net.BindException: taken'); print('bye')"
    daemon = begin(started, tmp_path, code)
    told = rf"^part ended by itself: java.net.BindException: taken; its whole output is in {tmp_path}/part.log$"
    with pytest.raises(ClusterError, match=told):
        processes.wait_until(lambda: False, [daemon], 20, "all", tmp_path)
    assert (tmp_path / "part.log").read_text().startswith("yes\n")


def test_waiting_ends(started: list[Daemon], tmp_path: Path) -> None:
    daemon = begin(started, tmp_path, SLEEPS.format(marker=""))
    with pytest.raises(ClusterError, match=r"^Flink was not ready in 0 s; see the logs in"):
        processes.wait_until(lambda: False, [daemon], 0.3, "Flink", tmp_path)
    processes.wait_until(lambda: True, [daemon], 0.3, "Flink", tmp_path)


def test_a_free_port_is_not_taken_until_something_listens() -> None:
    import socket

    port = processes.free_port()
    assert not processes.is_taken(port)
    with socket.socket() as server:
        server.bind((processes.LOOPBACK, port))
        server.listen()
        assert processes.is_taken(port)
