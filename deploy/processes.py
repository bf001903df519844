"""Processes that outlive the command that starts them: each has a log, is recognised later, and can be ended."""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy.tools import ClusterError

LOOPBACK = "127.0.0.1"
_POLL_SECONDS = 0.2
_GRACE_SECONDS = 5.0


@dataclass(frozen=True)
class Daemon:
    """A process that runs by itself, the leader of a process group.

    Attributes:
        name: for messages, and of its log.
        pid: of the process, and of its group.
        marker: a text in its command line, which a later process with the same number does not have.
    """

    name: str
    pid: int
    marker: str

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        line = command_line(self.pid)
        return line is not None and (self.marker in line or not line)  # empty while it becomes another program

    def kill(self) -> None:
        """End it and everything that it started, at once."""
        if self.alive:
            _signal(self.pid, signal.SIGKILL)
            _await_end([self])


def start(name: str, command: Sequence[str], log: Path, marker: str, environment: Mapping[str, str]) -> Daemon:
    """Start a process in a group of its own; its output goes into its log."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "ab") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd=log.parent,
            env={**os.environ, **environment},
        )
    process.returncode = 0  # it is meant to outlive this object, which would warn of it otherwise
    return Daemon(name, process.pid, marker)


def stop(daemons: Sequence[Daemon]) -> None:
    """End processes and everything that they started: terminated first, and killed if they do not end."""
    running = [one for one in daemons if one.alive]
    for one in running:
        _signal(one.pid, signal.SIGTERM)
    _await_end(running)
    for one in running:
        _signal(one.pid, signal.SIGKILL)  # the group may outlive its leader
    _await_end(running)


def _await_end(daemons: Sequence[Daemon]) -> None:
    """Wait until processes are gone, but not for ever."""
    deadline = time.monotonic() + _GRACE_SECONDS
    while any(_reap(one.pid) or one.alive for one in daemons) and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)


def command_line(pid: int) -> str | None:
    """The command line of a process; None if it does not exist or has ended."""
    if Path("/proc/self").exists():
        try:
            ended = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
            line = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            return None
        return None if ended else line.replace(b"\0", b" ").decode(errors="replace")
    listing = subprocess.run(["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return listing.stdout.strip() or None


def _signal(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _reap(pid: int) -> bool:
    """Collect the end of a process that is a child of this one; always False, for use in conditions."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    return False


def is_taken(port: int) -> bool:
    """Whether something listens on a port of this machine."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((LOOPBACK, port)) == 0


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def wait_until(ready: Callable[[], bool], daemons: Sequence[Daemon], seconds: float, what: str, logs: Path) -> None:
    """Wait until something is ready; ClusterError if a process ends meanwhile, or it takes too long."""
    deadline = time.monotonic() + seconds
    while not ready():
        for one in daemons:
            if _reap(one.pid) or not one.alive:
                log = logs / f"{one.name}.log"
                raise ClusterError(f"{one.name} ended by itself: {_last_line(log)}; its whole output is in {log}")
        if time.monotonic() > deadline:
            raise ClusterError(f"{what} was not ready in {seconds:.0f} s; see the logs in {logs}")
        time.sleep(_POLL_SECONDS)


def _last_line(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if "Exception" in line or "Error" in line]
    return (errors or lines or ["it reported nothing"])[-1][:300]
