"""Plans for the tests: made as the command does, to be compared with what a run did."""

import contextlib
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from concord import cli


def plan(files: Sequence[str | Path], root: str | Path, *flags: str) -> dict[str, Any]:
    """What `concord plan --json` prints."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        cli.main(["plan", *map(str, files), "--root", str(root), "--json", *flags])
    found: dict[str, Any] = json.loads(printed.getvalue())
    return found


def products(found: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    """The products of all chains, by stage and name."""
    stages = [stage for chain in found["chains"] for stage in chain["stages"]]
    return {(stage["stage"], one["name"]): one for stage in stages for one in stage["products"]}


def problems(found: dict[str, Any]) -> list[str]:
    """What would fail, each with its stage."""
    return [f"{one['stage']}: {one['message']}" for one in found["problems"] if one["fails"]]


def tree(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file and folder below, with the size and time of files."""
    return {
        str(path.relative_to(folder)): (path.stat().st_size, path.stat().st_mtime_ns) if path.is_file() else (0, 0)
        for path in folder.rglob("*")
    }


def done(root: Path) -> list[dict[str, Any]]:
    """What the stages of all runs of a root made."""
    runs = [json.loads(path.read_text()) for path in sorted((root / "runs").glob("*.json"))]
    return [result for run in runs for result in run["stages"] if result["built"]]
