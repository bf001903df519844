"""The architecture as figures: which way imports run, how many files a flow takes, how much code there is.

    python -m tests.architecture            every figure beside its target
    python -m tests.architecture agree      the files that somebody opens who follows a verb, with their lines

`tests/test_architecture.py` holds the code to the targets.
"""

import ast
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_READING = {"schemas", "storage", "metrics"}
MAY_IMPORT: Mapping[str, set[str]] = {  # package -> those of our packages that its files may import, besides itself
    "schemas": set(),
    "storage": {"schemas"},
    "metrics": {"schemas", "storage"},
    "samples": {"schemas", "storage"},
    "models": _READING,
    "pipelines": {*_READING, "models", "samples"},
    "analysis": _READING,
    "concord": {*_READING, "models", "samples", "pipelines", "analysis"},
    "deploy": set(),
}
_NETWORKS = {"tensorflow", "tensorflow_datasets", "keras"}
MAY_NOT_IMPORT: Mapping[str, set[str]] = {  # package -> libraries that are too heavy for it
    **{name: {"apache_beam", *_NETWORKS} for name in (*_READING, "samples", "analysis", "deploy")},
    "models": {"apache_beam"},
    "concord": _NETWORKS,
}
EXCEPTIONS: Mapping[tuple[str, str], str] = {  # file and what it imports all the same -> why it has to
    ("deploy/dataflow/launch.py", "pipelines"): "it is what a flex template runs, and completes the flags as a run does"
}
PLUG_INS = (  # packages of which every file is found by its name, or is one verb's
    "concord/verbs",
    "schemas/settings",
    "models/networks",
    "models/tasks",
    "metrics/measures",
    "pipelines/convert/sources",
    "analysis/exports",
    "analysis/report",
    "samples",
)
FACES = ("__init__.py", "__main__.py")
MAY_BE_SHORT: Mapping[str, str] = {  # file -> why it stands alone
    "pipelines/stages.py": "it is the list of verbs, in which a new one is a line",
    "deploy/dataflow/launch.py": "it is what a flex template runs",
}
PLAN = ("pipelines/plan.py", "pipelines/checks.py")
SHORT = 40

LINES_TARGET, FILES_TARGET = 28_500, 200
FLOW_TARGETS = {"confirm, agree": 40, "convert": 30, "label": 32, "train": 42}
SHORT_FILES_TARGET = 0
PLAN_LINES_TARGET = 900


@dataclass(frozen=True)
class Figure:
    """A figure, and the most that it should be."""

    name: str
    value: int
    target: int

    @property
    def is_met(self) -> bool:
        """Whether the target is met."""
        return self.value <= self.target


# --- Imports ------------------------------------------------------------------------------------


def find_sources() -> list[Path]:
    """Every Python file of our packages, relative to the repository."""
    return sorted(path.relative_to(ROOT) for package in MAY_IMPORT for path in (ROOT / package).rglob("*.py"))


@cache
def parse(path: Path) -> ast.Module:
    """The syntax tree of a file of the repository."""
    return ast.parse((ROOT / path).read_text())


def find_imports(tree: ast.AST) -> Iterator[str]:
    """Every module that a file imports, also within its functions; of `from a import b`, which may be one, `a.b`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                raise ValueError(f"a relative import in line {node.lineno} hides where it comes from")
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def find_forbidden_imports(path: Path, tree: ast.AST) -> set[str]:
    """Packages and libraries that a file imports, and may not."""
    package = path.parts[0]
    imported = {name.partition(".")[0] for name in find_imports(tree)}
    ours = (imported & set(MAY_IMPORT)) - MAY_IMPORT[package] - {package}
    found = ours | (imported & MAY_NOT_IMPORT.get(package, set()))
    return {name for name in found if (path.as_posix(), name) not in EXCEPTIONS}


def find_file(module: str) -> Path | None:
    """The file of one of our modules, or of the module that a name is of; None where it is not ours."""
    parts = module.split(".")
    while parts and parts[0] in MAY_IMPORT:
        for path in (Path(*parts).with_suffix(".py"), Path(*parts) / "__init__.py"):
            if (ROOT / path).exists():
                return path
        parts.pop()
    return None


def imported_files(path: Path) -> set[Path]:
    """Our files that a file imports by name."""
    return {file for name in find_imports(parse(path)) if (file := find_file(name)) and file != path}


def order_files(files: Iterable[Path], needs: Mapping[Path, set[Path]]) -> list[Path]:
    """Files from what needs no other to what needs the others; graphlib.CycleError where some need each other."""
    return list(TopologicalSorter({path: needs[path] for path in files}).static_order())


def _has_code(path: Path) -> bool:
    """Whether there is more in a file than its docstring."""
    return any(not isinstance(node, ast.Expr) or not isinstance(node.value, ast.Constant) for node in parse(path).body)


def follow_imports(*starts: Path) -> set[Path]:
    """The files that somebody opens who follows the imports of some files; packages' faces only if they have code."""
    found: set[Path] = set()
    left = [*starts]
    while left:
        path = left.pop()
        if path not in found:
            found.add(path)
            faces = [parent / "__init__.py" for parent in path.parents[:-1]]
            left += [*imported_files(path), *(face for face in faces if (ROOT / face).exists())]
    return {path for path in found if path.name != "__init__.py" or _has_code(path)}


# --- Figures ------------------------------------------------------------------------------------


def count_lines(path: Path) -> int:
    """Lines of a file."""
    return len((ROOT / path).read_text().splitlines())


def find_short_files() -> list[Path]:
    """Short files that are neither plug-ins nor packages' faces."""
    short = [path for path in find_sources() if count_lines(path) < SHORT and path.name not in FACES]
    return [path for path in short if path.parent.as_posix() not in PLUG_INS and path.as_posix() not in MAY_BE_SHORT]


def find_driver(verb: str) -> Path:
    """The file of a verb's driver, by the list of stages."""
    for node in ast.walk(parse(Path("pipelines/stages.py"))):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "Stage":
            name, *others = [part.value for part in node.args if isinstance(part, ast.Constant)]
            files = [path for other in others if isinstance(other, str) and (path := find_file(other))]
            if name == verb and files:
                return files[-1]
    raise ValueError(f"pipelines/stages.py has no verb {verb!r}")


def measure() -> list[Figure]:
    """Every figure that has a target."""
    files = find_sources()
    flows = {verbs: len(follow_imports(*map(find_driver, verbs.split(", ")))) for verbs in FLOW_TARGETS}
    return [
        Figure("lines", sum(map(count_lines, files)), LINES_TARGET),
        Figure("files", len(files), FILES_TARGET),
        *(Figure(f"files of {verbs}", count, FLOW_TARGETS[verbs]) for verbs, count in flows.items()),
        Figure(f"files under {SHORT} lines", len(find_short_files()), SHORT_FILES_TARGET),
        Figure("lines of plan", sum(count_lines(Path(path)) for path in PLAN), PLAN_LINES_TARGET),
    ]


def main(*verbs: str) -> None:
    """Print every figure beside its target, and what breaks a rule; or the files of some verbs."""
    if verbs:
        for path in sorted(follow_imports(*map(find_driver, verbs))):
            print(f"{count_lines(path):>6}  {path}")
        return
    for figure in measure():
        mark = "" if figure.is_met else "  missed"
        print(f"{figure.name:24} {figure.value:>8,}   at most {figure.target:>6,}{mark}")
    for path in find_short_files():
        print(f"  short: {path} ({count_lines(path)} lines)")
    for path in find_sources():
        for name in sorted(find_forbidden_imports(path, parse(path))):
            print(f"  may not import {name}: {path}")


if __name__ == "__main__":
    main(*sys.argv[1:])
