"""Plans for the tests: drawn up as the command does, and held against what a run did."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipelines.preflight import command, telling

from concord import cli


def plan(files: Sequence[str | Path], root: str | Path, *flags: str) -> dict[str, Any]:
    """What `concord plan --json` prints."""
    arguments = ["plan", *map(str, files), "--root", str(root), *flags]
    given, beam_flags = cli.build_parser().parse_known_args(arguments)
    found: dict[str, Any] = json.loads(telling.as_json(command.drawn_up(given, tuple(beam_flags), cli._IS_DONE)))
    return found


def steps(found: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    """The steps of all chains, by stage and product."""
    return {(one["stage"], one["product"]): one for chain in found["chains"] for one in chain["steps"]}


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
    return [result for run in runs for result in run["stages"] if result["made"]]


def written(root: Path, stage: str, product: str) -> int:
    """Bytes that one product of a stage takes in a root."""
    dataset, *rest = product.split("/")
    name, split = [*rest, "", ""][:2]
    labels = f"labels/dataset={dataset}/annotator="
    patterns = {
        "draw": ["sample"],
        "confirm": [f"{labels}{annotator}" for annotator in ("machine", "human", "confirmed")] + ["statistics"],
        "convert": [f"images/{dataset}", f"index/dataset={dataset}", f"rejects/convert/dataset={dataset}"]
        + ([f"{labels}human"] if not (root / "statistics").is_dir() else []),
        "train": [f"models/{dataset}/{name}"],
        "label": [f"{labels}{name}/split={split}", f"rejects/label/dataset={dataset}/annotator={name}/split={split}"],
        "report": [f"report/{dataset}"],
    }
    if stage == "draw":
        return sum(path.stat().st_size for path in Path(product).parent.glob(f"{Path(product).name}*"))
    folders = [root / pattern for pattern in patterns[stage]]
    return sum(path.stat().st_size for folder in folders for path in folder.rglob("*") if path.is_file())
