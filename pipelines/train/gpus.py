"""One training a GPU: the processes of a machine share its GPUs out among themselves, by locks on small files."""

import fcntl
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

_DRIVER = Path("/proc/driver/nvidia/gpus")
_WAIT = 1.0  # seconds between two looks for a free GPU


def available() -> list[int]:
    """The GPUs that this process may use, by number: those that it is shown, or all of the machine's."""
    shown = os.environ.get("CUDA_VISIBLE_DEVICES")
    if shown is not None:
        return [int(number) for number in shown.split(",") if number.strip().isdigit()]
    return list(range(len(list(_DRIVER.iterdir())))) if _DRIVER.exists() else []


@contextmanager
def claimed(count: int) -> Iterator[list[int]]:
    """So many GPUs, or as many as there are, for no other process's training; waits until they are free.

    Where there is none, or none is asked for, nothing is waited for. A process that dies lets go of its own.
    """
    known = available()
    wanted = min(count, len(known))
    while True:
        with ExitStack() as held:
            found: list[int] = []
            for number in known:
                if len(found) < wanted and _lock(number, held):
                    found.append(number)
            if len(found) == wanted:
                yield found
                return
        time.sleep(_WAIT)


def _lock(number: int, held: ExitStack) -> bool:
    """Try to lock a GPU; the lock is let go with `held`."""
    path = Path(tempfile.gettempdir(), f"concord-gpu-{number}-{os.getuid()}.lock")
    file = held.enter_context(path.open("w"))
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
