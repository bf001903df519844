"""A process that can write nowhere but where it is told to: its working directory and its home are read-only."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDER = "/sys"  # not even root can make a file there, whatever the permissions say


def run(arguments: Sequence[str]) -> "subprocess.CompletedProcess[str]":
    """Run Python with these arguments in such a process, the project's modules within reach."""
    if not os.path.isdir(FOLDER):
        pytest.skip(f"this system has no {FOLDER}")
    environment = {**os.environ, "HOME": FOLDER, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    kept = {name: value for name, value in environment.items() if not name.startswith("XDG_")}
    return subprocess.run(
        [sys.executable, *arguments], cwd=FOLDER, env=kept, capture_output=True, text=True, timeout=240, check=False
    )
