"""Read a file from outside in a process of its own: a library may break down on it, not end, or ask for all memory.

HDF5 does each of these on damaged files, and nothing inside a process can stop it. What comes through here once comes
through again: the same bytes take the library the same way.
"""

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from schemas.errors import ConcordError, InputError

MEMORY = 1 << 30  # bytes that reading may ask for, beside what the process has when it begins
_REFUSED = 3  # the status of a process that says what is wrong
_STATM = Path("/proc/self/statm")


def output(module: str, arguments: Sequence[str], shown: str, seconds: float, confined: bool = False) -> str:
    """What `python -m module arguments`, whose `__main__` is `answer`, prints.

    Args:
        module: that reads the file.
        arguments: for it, the file's path among them.
        shown: what to call the file.
        seconds: that it may take.
        confined: whether it can do without writing files, a network and other programs (`schemas/confinement.py`).

    Raises:
        InputError: it found something wrong, broke down, did not end, or asked for more memory than it may.
    """
    home = str(Path(__file__).resolve().parents[1])
    paths = os.pathsep.join([home, *filter(None, [os.environ.get("PYTHONPATH")])])
    runner = ["-B", "-m", "schemas.confinement"] if confined else ["-m"]
    command = [sys.executable, "-P", *runner, module, *arguments]  # -P: nothing of the folder that it runs in
    try:
        done = subprocess.run(
            command, capture_output=True, timeout=seconds, check=False, env={**os.environ, "PYTHONPATH": paths}
        )
    except subprocess.TimeoutExpired as error:
        raise InputError(
            f"{shown} is damaged: looking through it did not end in {seconds:g} s; copy it again"
        ) from error
    if done.returncode == _REFUSED:
        raise InputError(done.stdout.decode(errors="replace").strip())
    if done.returncode:
        raise InputError(f"{shown} is damaged: the library broke down on it ({_end(done)}); copy it again")
    return done.stdout.decode()


def _end(done: "subprocess.CompletedProcess[bytes]") -> str:
    """What ended a process: a signal, or an error that it prints in its last line."""
    if done.returncode < 0:
        return signal.Signals(-done.returncode).name
    last = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
    return ascii(last[:200])[1:-1] or f"status {done.returncode}"


def answer(read: Callable[..., str], memory: int = MEMORY) -> None:
    """Print what reading gives, or what is wrong; called with the arguments of this process, in its `__main__`."""
    if _STATM.exists():
        used = int(_STATM.read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + memory, resource.RLIM_INFINITY))
    try:
        print(read(*sys.argv[1:]))
    except ConcordError as error:
        print(error)
        sys.exit(_REFUSED)
    except MemoryError:
        print(f"{sys.argv[1]} asks for more than {memory:,} bytes of memory: it is damaged; copy it again")
        sys.exit(_REFUSED)
