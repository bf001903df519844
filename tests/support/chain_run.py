"""A small whole chain, run as a user runs it: the command in a process group of its own."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb

RUN_FILE = """
dataset = "drawn"
[draw]
output = "{root}/sample/drawn.h5"
train = 320
validation = 80
test = 160
[convert]
source = "svhn_h5"
input = "{root}/sample/drawn.h5"
shards = 32
[[train]]
network = "cnn1"
epochs = 2
[[train]]
network = "cnn2"
epochs = 2
[label]
splits = ["test", "validation"]
scores = true
[agree]
reference = "human"
splits = ["test", "validation"]
[report]
"""
TABLES = ("labels/**", "index/**", "agreement/pairs/**", "agreement/summary", "agreement/confusion", "rejects/**")


def write_run_file(folder: Path, **changes: str) -> Path:
    """The chain's run file, each change replacing a text in it."""
    text = RUN_FILE
    for old, new in changes.items():
        assert old in text, f"the run file has no {old!r}"
        text = text.replace(old, new)
    path = folder / "run.toml"
    path.write_text(text)
    return path


def start(root: Path, run_file: Path, *flags: str) -> "subprocess.Popen[str]":
    """Start the chain, in a process group of its own."""
    return start_verb(root, "run", str(run_file), *flags)


def start_verb(root: Path, *arguments: str) -> "subprocess.Popen[str]":
    """Start any command on a root, in a process group of its own."""
    command = [sys.executable, "-m", "concord", *arguments, "--root", str(root)]
    log = open(root.parent / f"{root.name}.log", "a")  # noqa: SIM115  (the process keeps it)
    return subprocess.Popen(command, stdout=log, stderr=log, text=True, start_new_session=True)


def finish(root: Path, run_file: Path, *flags: str) -> str:
    """Run the chain to its end, and return all that it has printed into this root's log."""
    code = start(root, run_file, *flags).wait(timeout=240)
    printed = (root.parent / f"{root.name}.log").read_text()
    assert code == 0, printed[-2000:]
    return printed


def kill_when(root: Path, run_file: Path, reached: Callable[[], bool]) -> None:
    """Start the chain, and kill its whole process group as soon as something is reached."""
    process = start(root, run_file)
    began = time.monotonic()
    while not reached():
        assert process.poll() is None, f"it ended by itself: {(root.parent / f'{root.name}.log').read_text()[-2000:]}"
        assert time.monotonic() - began < 120, "it was not reached"
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def rows(root: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table, sorted."""
    tables = {}
    for name in TABLES:
        query = f"SELECT * FROM read_parquet('{root}/{name}/*.parquet', union_by_name = true) ORDER BY ALL"
        tables[name] = duckdb.sql(query).fetchall()
    return tables


def modified(root: Path, pattern: str) -> dict[str, int]:
    """When each file of a pattern was last written."""
    return {str(path.relative_to(root)): path.stat().st_mtime_ns for path in root.glob(pattern) if path.is_file()}
