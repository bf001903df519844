"""A reader that does to its process what a damaged file makes a library do: `python -m tests.schemas.apart_reader`."""

import os
import signal
import time

from schemas import apart
from schemas.errors import InputError


def read(path: str, trouble: str) -> str:
    """What a whole file holds, or the trouble."""
    match trouble:
        case "refuse":
            raise InputError(f"{path}: row 7 is bad; mend it")
        case "break":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "raise":
            raise RuntimeError("a mistake of ours")
        case "wait":
            time.sleep(60)
        case "grow":
            return bytes(8 << 30).decode()
    return f"all of {path}"


if __name__ == "__main__":
    apart.answer(read)
