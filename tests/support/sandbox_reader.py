"""A reader that does to its process what a damaged file makes a library do (python -m tests.support.sandbox_reader)."""

import os
import signal
import time

from schemas.errors import InputError
from storage import sandbox


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
    sandbox.report_answer(read)
