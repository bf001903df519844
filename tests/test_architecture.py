"""The rules of the architecture: which way imports run, how much there is to read, what tests do."""

import ast
from graphlib import CycleError
from pathlib import Path

import pytest

from tests import architecture
from tests.architecture import MAY_IMPORT, find_forbidden_imports, find_imports, find_sources, order_files, parse

NOT_YET_MET = {"lines", "files", "files under 40 lines", *(f"files of {verbs}" for verbs in architecture.FLOW_TARGETS)}
FILES = find_sources()
NEEDS = {path: architecture.imported_files(path) for path in FILES}


def test_there_is_something_to_check() -> None:
    assert len(FILES) > 100
    assert {path.parts[0] for path in FILES} == set(MAY_IMPORT)


@pytest.mark.parametrize(
    ("path", "source", "expected"),
    [
        ("schemas/a.py", "def f():\n    from apache_beam.io import x", {"apache_beam"}),
        ("schemas/a.py", "import schemas.layout, storage.stores as stores", {"storage"}),
        ("analysis/a.py", "import pipelines.label.driver as label\nfrom metrics import kappa", {"pipelines"}),
        ("metrics/a.py", "from models import tasks\nimport keras", {"models", "keras"}),
        ("models/a.py", "import tensorflow, apache_beam\nfrom metrics import x", {"apache_beam"}),
        ("pipelines/a.py", "import tensorflow, apache_beam, analysis, models.tasks", {"analysis"}),
        ("samples/a.py", "from pipelines import x\nfrom storage import y", {"pipelines"}),
        ("deploy/dataflow/launch.py", "from pipelines.runners import x\nimport storage", {"storage"}),
        ("deploy/flink.py", "from pipelines.runners import x", {"pipelines"}),
        ("concord/a.py", "import analysis, pipelines, deploy.flink, tensorflow", {"deploy", "tensorflow"}),
    ],
)
def test_a_forbidden_import_is_detected(path: str, source: str, expected: set[str]) -> None:
    assert find_forbidden_imports(Path(path), ast.parse(source)) == expected


def test_relative_imports_are_refused() -> None:
    with pytest.raises(ValueError, match="a relative import in line 2"):
        list(find_imports(ast.parse("import a\nfrom . import b")))


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_imports_run_one_way(package: str) -> None:
    files = [path for path in FILES if path.parts[0] == package]
    assert {path: found for path in files if (found := find_forbidden_imports(path, parse(path)))} == {}


@pytest.mark.parametrize(("file", "name"), architecture.EXCEPTIONS)
def test_every_exception_is_needed(file: str, name: str) -> None:
    assert any(one.partition(".")[0] == name for one in find_imports(parse(Path(file))))


@pytest.mark.parametrize("file", architecture.MAY_BE_SHORT)
def test_every_file_that_may_be_short_is(file: str) -> None:
    assert architecture.count_lines(Path(file)) < architecture.SHORT


def test_a_cycle_is_detected() -> None:
    a, b, c = (Path(f"p/{name}.py") for name in "abc")
    assert order_files([a, b, c], {a: {b, c}, b: {c}, c: set()}) == [c, b, a]
    with pytest.raises(CycleError):
        order_files([a, b, c], {a: {b}, b: {c}, c: {a}})


def test_no_files_import_each_other() -> None:
    assert set(order_files(FILES, NEEDS)) == set(FILES)


def test_a_flow_is_followed_through_functions_and_faces() -> None:
    found = {path.as_posix() for path in architecture.follow_imports(Path("pipelines/label/driver.py"))}
    assert {"pipelines/label/driver.py", "schemas/stage.py", "storage/products.py", "schemas/layout.py"} <= found
    assert "models/scoring.py" in found, "which a function imports"
    assert "pipelines/label/__init__.py" not in found, "it has nothing but a docstring"
    assert not any(path.startswith(("analysis/", "concord/", "tests/")) for path in found)


def test_drivers_are_those_of_the_stages() -> None:
    from pipelines.stages import STAGES

    for stage in STAGES:
        assert architecture.find_driver(stage.name) == architecture.find_file(stage.module)


@pytest.mark.parametrize("figure", architecture.measure(), ids=lambda figure: figure.name)
def test_a_figure_meets_its_target(figure: architecture.Figure) -> None:
    assert figure.value > 0 or figure.target == 0
    assert figure.is_met or figure.name in NOT_YET_MET, f"{figure.value:,}, more than {figure.target:,}"


# --- Tests --------------------------------------------------------------------------------------

TESTS = sorted(path.relative_to(architecture.ROOT) for path in (architecture.ROOT / "tests").rglob("*.py"))


def find_tests_without_assertion(tree: ast.Module) -> list[str]:
    """Tests of a file that can only fail by accident: neither they nor the file's functions that they call assert."""
    functions = {node.name: node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}

    def asserts(node: ast.AST, seen: frozenset[str] = frozenset()) -> bool:
        if isinstance(node, ast.Assert):
            return True
        name = ast.unparse(node.func).rpartition(".")[2] if isinstance(node, ast.Call) else ""
        if name in ("raises", "fail") or name.startswith("assert_"):
            return True
        if name in functions and name not in seen and asserts(functions[name], seen | {name}):
            return True
        return any(asserts(child, seen) for child in ast.iter_child_nodes(node))

    return [name for name, node in functions.items() if name.startswith("test_") and not asserts(node)]


def test_a_test_without_an_assertion_is_detected() -> None:
    helpers = "def check(x):\n    assert x\ndef run(x):\n    return x\n"
    tests = "def test_a():\n    check(1)\ndef test_b():\n    run(1)\ndef test_c():\n    with pytest.raises(A): run(1)\n"
    assert find_tests_without_assertion(ast.parse(helpers + tests)) == ["test_b"]


@pytest.mark.parametrize("path", TESTS, ids=str)
def test_every_test_asserts_and_borrows_from_no_other_test(path: Path) -> None:
    assert find_tests_without_assertion(parse(path)) == []
    borrowed = {name for name in find_imports(parse(path)) if ".test_" in name and name.startswith("tests.")}
    assert borrowed == set()
