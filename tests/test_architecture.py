"""The rules of the house that code can check: which way imports run, and how long a function or file may be."""

import ast
from collections.abc import Iterable, Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("schemas", "models", "pipelines", "analysis", "clusters")
FORBIDDEN = {
    "schemas": {"models", "pipelines", "analysis", "apache_beam", "tensorflow", "tensorflow_datasets", "keras"},
    "models": {"pipelines", "analysis", "apache_beam"},
    "pipelines": {"analysis"},
    "analysis": {"models", "pipelines", "apache_beam", "tensorflow"},
    "clusters": {"schemas", "models", "pipelines", "analysis", "apache_beam", "tensorflow"},
}
COMMAND_LINE = {ROOT / "pipelines" / name for name in ("cli.py", "cli_readers.py")}
FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
STAGES = {  # whose functions the chain calls; `train` has features computed first, and so imports that one
    "pipelines.draw",
    "pipelines.confirm.driver",
    "pipelines.convert.driver",
    "pipelines.import_labels.driver",
    "pipelines.train.driver",
    "pipelines.label.driver",
    "pipelines.explain.driver",
    "pipelines.agree.driver",
    "pipelines.generations.driver",
}


def imported(tree: ast.AST) -> Iterator[str]:
    """Every module that a file imports, also within its functions, by its full name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide where they come from"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def broken_rules(package: str, source: str) -> set[str]:
    return {name.partition(".")[0] for name in imported(ast.parse(source))} & FORBIDDEN[package]


def long_functions(source: str, most: int = 40) -> list[str]:
    functions = [n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    return [n.name for n in functions if (n.end_lineno or n.lineno) - n.lineno + 1 > most]


def other_stages(path: Path, source: str) -> set[str]:
    """Stages that a file imports, or parts of them; what it is itself of does not count."""
    own = ".".join(path.with_suffix("").parts)
    found = imported(ast.parse(source))
    return {stage for name in found for stage in STAGES - {own} if f"{name}.".startswith(f"{stage}.")}


def order_of_rooms(files: Iterable[tuple[str, str]]) -> list[str]:
    """The rooms of a package (its files and folders) from what needs none to what needs the others.

    Args:
        files: dotted name, such as `pipelines.agree.driver`, and source of each.

    Raises:
        CycleError: two rooms need each other.
    """
    needs: dict[str, set[str]] = {}
    for name, source in files:
        package, room, *_ = name.split(".")
        others = {tuple(one.split(".")[:2]) for one in imported(ast.parse(source)) if one.startswith(f"{package}.")}
        needs.setdefault(room, set()).update(other for _, other in others if other != room)
    return list(TopologicalSorter(needs).static_order())


def test_there_is_something_to_check() -> None:
    assert len(FILES) > 40
    assert {path.relative_to(ROOT).parts[0] for path in FILES} == set(PACKAGES)


def test_a_broken_rule_is_seen() -> None:
    assert broken_rules("schemas", "def f():\n    from apache_beam.io import x") == {"apache_beam"}
    assert broken_rules("analysis", "import pipelines.label.driver as label") == {"pipelines"}
    theirs = "from pipelines.agree import stage\nfrom pipelines.train.driver import train"
    both = {"pipelines.agree.driver", "pipelines.train.driver"}
    assert other_stages(Path("pipelines/confirm/join.py"), theirs) == both
    assert other_stages(Path("pipelines/train/driver.py"), theirs) == both - {"pipelines.train.driver"}
    assert all((ROOT / f"{stage.replace('.', '/')}.py").exists() for stage in STAGES)
    assert long_functions("def f():\n" + "    x = 1\n" * 40) == ["f"]
    assert long_functions("def f():\n" + "    x = 1\n" * 39) == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_run_one_way(path: Path) -> None:
    package = path.relative_to(ROOT).parts[0]
    found = broken_rules(package, path.read_text())
    if path in COMMAND_LINE:
        found -= {"analysis"}  # only the command line's own files may import both sides
    assert found == set()


def test_a_circle_is_seen() -> None:
    one_way = [("p.a.x", "from p.b import y"), ("p.b", "import p.c.z"), ("p.a.w", "from p.a import x")]
    assert order_of_rooms(one_way) == ["c", "b", "a"]
    with pytest.raises(CycleError):
        order_of_rooms([*one_way, ("p.c.z", "def f():\n    from p.a.w import g")])


@pytest.mark.parametrize("package", PACKAGES)
def test_the_rooms_of_a_package_import_one_way(package: str) -> None:
    names = {path: ".".join(path.relative_to(ROOT).with_suffix("").parts) for path in FILES}
    files = [(name, path.read_text()) for path, name in names.items() if name.startswith(f"{package}.")]
    assert len(order_of_rooms(files)) > 5


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_stages_never_import_each_other(path: Path) -> None:
    assert not other_stages(path.relative_to(ROOT), path.read_text()) or path.parent.name == "preflight"  # to plan all


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_functions_and_files_are_short(path: Path) -> None:
    source = path.read_text()
    assert len(source.splitlines()) <= 400
    assert long_functions(source) == []
