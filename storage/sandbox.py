"""Files from outside: size limits in proportion to the bytes that are stored, and a process of its own to read them."""

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from schemas.errors import ConcordError, InputError

SMALL = 64 << 20  # bytes that any file may state
ZLIB_RATIO = 1032  # bytes that zlib packs into one, at most (https://zlib.net/zlib_tech.html)
MAX_NESTING = 64  # groups in groups, folders in folders


def check_bytes(path: str, part: str, stated: int, stored: int, ratio: int = ZLIB_RATIO) -> None:
    """Raise InputError if more bytes are stated than can be unpacked from those that are stored.

    Args:
        path: of the file.
        part: of the file, for the message.
        stated: bytes that the file states for this part.
        stored: bytes that it stores.
        ratio: how many bytes can be unpacked from one.
    """
    if stated > max(SMALL, ratio * stored):
        raise InputError(
            f"{path}: {part} states {stated:,} bytes, but only {stored:,} are stored: the file is damaged, or "
            "designed to exhaust memory; copy it again, or exclude it"
        )


# --- A process of its own: on a damaged file a library may crash, never end, or allocate all memory ---

MEMORY = 1 << 30  # bytes that reading may allocate, besides what the process has when it begins
_REFUSED = 3  # the status of a process that reports what is wrong
_STATM = Path("/proc/self/statm")


def run_module(module: str, arguments: Sequence[str], shown: str, seconds: float, confined: bool = False) -> str:
    """What `python -m module arguments`, whose `__main__` is `answer`, prints.

    Args:
        module: that reads the file.
        arguments: for it, the file's path among them.
        shown: what to call the file.
        seconds: that it may take.
        confined: whether it can do without writing files, a network and other programs (`storage/confinement.py`).

    Raises:
        InputError: it found something wrong, broke down, did not end, or asked for more memory than it may.
    """
    home = str(Path(__file__).resolve().parents[1])
    paths = os.pathsep.join([home, *filter(None, [os.environ.get("PYTHONPATH")])])
    runner = ["-B", "-m", "storage.confinement"] if confined else ["-m"]
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


def report_answer(read: Callable[..., str], memory: int = MEMORY) -> None:
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
