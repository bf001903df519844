"""A process that reads a file from outside, and is confined, does nothing else."""

import ctypes
import socket
import sys
from pathlib import Path

import pytest

from storage import confinement, sandbox

READER = "tests.support.confined_reader"
PYTHONS = ["write", "append", "create", "remove", "rename", "folder", "link", "program", "shell", "connect"]
KERNELS = ["c_create", "c_cut", "c_remove", "c_folder", "c_program", "c_connect"]


def kernel_confines() -> bool:
    """Whether Landlock is there, in a version that knows of TCP."""
    if sys.platform != "linux":
        return False
    version: int = ctypes.CDLL(None).syscall(confinement._CREATE_RULESET, None, ctypes.c_size_t(0), 1)
    return version >= 4


def deed(tmp_path: Path, name: str, confined: bool) -> tuple[str, bool]:
    """What a process says of a deed, and whether anything came of it."""
    path = tmp_path / "file"
    path.write_text("as it was")
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        told = sandbox.run_module(READER, [str(path), name, str(server.getsockname()[1])], "file", 30.0, confined)
        try:
            server.accept()[0].close()
            connected = True
        except TimeoutError:
            connected = False
    there = [one.name for one in tmp_path.iterdir()]
    return told, connected or there != ["file"] or path.read_text() != "as it was"


@pytest.mark.parametrize(
    "name",
    [
        *PYTHONS,
        *(pytest.param(one, marks=pytest.mark.skipif(not kernel_confines(), reason="no Landlock")) for one in KERNELS),
    ],
)
def test_it_writes_no_file_reaches_no_network_and_starts_no_program(tmp_path: Path, name: str) -> None:
    told, changed = deed(tmp_path, name, confined=True)
    assert told.startswith("refused: ") and not changed
    assert ("C: " in told) == name.startswith("c_")


@pytest.mark.parametrize("name", [one for one in (*PYTHONS, *KERNELS) if "program" not in one])
def test_without_that_it_would(tmp_path: Path, name: str) -> None:
    assert deed(tmp_path, name, confined=False)[1]


def test_it_reads_and_is_heard(tmp_path: Path) -> None:
    assert deed(tmp_path, "read", confined=True) == ("done: as it was\n", False)
    assert deed(tmp_path, "null", confined=True) == ("done: 1\n", False)
