"""What a file from outside might have a process do: `python -m tests.support.confined_reader PATH DEED PORT`."""

import ctypes
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from storage import sandbox


def _kernel(name: str, *arguments: object) -> None:
    """A call of C, which Python does not see."""
    library = ctypes.CDLL(None, use_errno=True)
    if getattr(library, name)(*arguments) < 0:
        raise OSError(ctypes.get_errno(), f"C: {os.strerror(ctypes.get_errno())}")


def _deed(path: str, deed: str, port: int) -> object:
    address = struct.pack("=H", socket.AF_INET) + struct.pack("!H", port) + bytes([127, 0, 0, 1]) + bytes(8)
    sender = [sys.executable, "-c", f"open({path + '.new'!r}, 'w')"]
    deeds: dict[str, Callable[[], object]] = {
        "read": lambda: Path(path).read_text(),
        "null": lambda: Path(os.devnull).write_text("x"),
        "write": lambda: Path(path).write_text("x"),
        "append": lambda: os.write(os.open(path, os.O_WRONLY | os.O_APPEND), b"x"),
        "create": lambda: Path(f"{path}.new").touch(),
        "remove": lambda: os.remove(path),
        "rename": lambda: os.rename(path, f"{path}.new"),
        "folder": lambda: os.mkdir(f"{path}.new"),
        "link": lambda: os.symlink(path, f"{path}.new"),
        "program": lambda: subprocess.run(sender, check=True),
        "shell": lambda: os.system(f"touch {path}.new"),
        "connect": lambda: socket.create_connection(("127.0.0.1", port)),
        "c_create": lambda: _kernel("creat", f"{path}.new".encode(), 0o644),
        "c_cut": lambda: _kernel("truncate", path.encode(), ctypes.c_long(0)),
        "c_remove": lambda: _kernel("unlink", path.encode()),
        "c_folder": lambda: _kernel("mkdir", f"{path}.new".encode(), 0o755),
        "c_program": lambda: _kernel("execv", b"/bin/touch", _texts("touch", f"{path}.new")),
        "c_connect": lambda: _kernel("connect", socket.socket().detach(), address, 16),
    }
    return deeds[deed]()


def _texts(*each: str) -> ctypes.Array[ctypes.c_char_p]:
    return (ctypes.c_char_p * (len(each) + 1))(*(one.encode() for one in each), None)


def read(path: str, deed: str, port: str) -> str:
    try:
        return f"done: {_deed(path, deed, int(port))}"
    except OSError as error:
        return f"refused: {error}"


if __name__ == "__main__":
    sandbox.report_answer(read)
