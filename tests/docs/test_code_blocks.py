"""Every code block, path and link of the pages: commands parse, Python compiles, queries run, files are there."""

import ast
import importlib.util
import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import duckdb
import pytest

from concord.cli import build_group
from pipelines.stages import STAGES
from schemas import run_files
from schemas.errors import ConcordError
from storage.tables import TABLES
from tests.support.markdown import ROOT, Block, pages, read_blocks

PAGES = pages()
BLOCKS = [block for page in PAGES for block in read_blocks(page)]
LANGUAGES = {"", "sh", "python", "toml", "sql", "mermaid"}
OTHER_COMMANDS = {"source", "gcloud"}  # which the project does not bring
EXAMPLES = "CONTRIBUTING.md"  # whose examples another test writes and runs
OPTIONAL = {"fiftyone"}  # packages that the project does without
PACKAGES = {path.parent.name for path in ROOT.glob("*/__init__.py")} | {"docs", "tests", "studies"}


def of_language(*languages: str) -> list[Block]:
    return [block for block in BLOCKS if block.language in languages]


def commands(text: str) -> list[str]:
    """The commands of a shell block: continued lines joined, comments removed."""
    return [line for line in text.replace("\\\n", " ").splitlines() if line.strip() and not line.startswith("#")]


def parse_concord(words: list[str]) -> None:
    """Raise where the command line would refuse these words; nothing is run."""
    group = build_group()
    verb = group.commands[words[0]]
    with verb.make_context(words[0], words[1:]) as context:
        context.meta["run"] = lambda *made: made
        verb.invoke(context)


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def make_variables() -> set[str]:
    return set(re.findall(r"^([A-Z_]+) *\?=", (ROOT / "Makefile").read_text(), re.MULTILINE))


def check_command(line: str) -> None:
    """Raise where a command of a page names a verb, flag, target, variable or module that there is not."""
    words = shlex.split(line, comments=True)
    while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
        words.pop(0)
    if words[0] == "concord":
        parse_concord(words[1:])
    elif words[0] == "make":
        settings = [word.partition("=")[0] for word in words[1:] if "=" in word]
        targets = [word for word in words[1:] if "=" not in word]
        assert set(targets) <= make_targets(), f"no target {targets}"
        assert set(settings) <= make_variables(), f"no variable {settings}"
    elif words[:2] == ["python", "-m"]:
        assert importlib.util.find_spec(words[2]), f"no module {words[2]}"
    else:
        assert words[0] in OTHER_COMMANDS, f"unknown command {words[0]}"


def test_there_are_blocks_of_each_language() -> None:
    assert {block.language for block in BLOCKS} == LANGUAGES
    assert len(of_language("sh")) > 10 and len(of_language("python")) > 20


@pytest.mark.parametrize(
    "line",
    [
        "concord convrt --dataset x",
        "concord agree --annotators a,b --dataset x --threshold-splits y",
        "concord agree --annotators a --dataset x",
        "make run-pipelin",
        "make test RUNER=x",
        "python -m benchmarks.nothing",
        "rm -rf out",
    ],
)
def test_a_wrong_command_is_refused(line: str) -> None:
    with pytest.raises((KeyError, AssertionError, ConcordError, click.ClickException)):
        check_command(line)


@pytest.mark.parametrize("block", of_language("sh"), ids=str)
def test_shell_blocks_are_commands_that_there_are(block: Block) -> None:
    lines = commands(block.text)
    assert lines
    for line in lines:
        check_command(line)


@pytest.mark.parametrize("block", [block for block in of_language("toml") if block.page != EXAMPLES], ids=str)
def test_run_files_can_be_parsed(block: Block) -> None:
    content = tomllib.loads(block.text)
    chain = run_files.parse({"dataset": "any", **content}, STAGES)
    assert set(chain) == set(content) - {"dataset"}


@pytest.mark.parametrize("block", of_language("python"), ids=str)
def test_python_blocks_compile_and_import_what_there_is(block: Block) -> None:
    """Those of the cookbook and of CONTRIBUTING are run by tests of their own."""
    tree = compile(block.text, str(block), "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    assert isinstance(tree, ast.Module) and tree.body
    for name in imported(tree) if block.page != EXAMPLES else ():
        assert importlib.util.find_spec(name) or name in OPTIONAL, f"no module {name}"


def imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield str(node.module)


def queries() -> list[Any]:
    """The statements of `concord query` in the shell blocks, and those of SQL blocks outside the cookbook."""
    lines = [(block, shlex.split(line, comments=True)) for block in of_language("sh") for line in commands(block.text)]
    found = [(block, words[2]) for block, words in lines if words[:2] == ["concord", "query"] and words[2][0] != "-"]
    for block in of_language("sql"):
        if block.page != "docs/cookbook.md":
            found += [(block, statement) for statement in block.text.split(";") if statement.strip()]
    return [pytest.param(sql, id=f"{block}-{number}") for number, (block, sql) in enumerate(found)]


@pytest.mark.parametrize("sql", queries())
def test_queries_return_rows(sql: str, query_root: str) -> None:
    with duckdb.connect() as connection:
        connection.execute("SET VARIABLE root = $1", [query_root])
        connection.execute((ROOT / "analysis" / "views.sql").read_text())
        assert connection.execute(sql.replace("'out/", f"'{query_root}/")).fetchall()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_paths_lead_somewhere(page: Path) -> None:
    text = page.read_text()
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(\s*([^)\s]+)\s*\)", prose):
        if not re.match(r"[a-z]+:", target):
            path, _, anchor = target.partition("#")
            file = (page.parent / path).resolve() if path else page
            assert file.exists(), target
            assert not anchor or anchor in anchors(file), target
    tracked = tracked_files()
    for path in re.findall(r"`((?:[\w.]+/)+[\w.]+\.(?:py|toml|sql|md|j2|txt|xml))`", prose):
        if path.split("/")[0] in PACKAGES and page.name != "CHANGELOG.md":
            assert path in tracked or page.name == EXAMPLES, path


def anchors(page: Path) -> set[str]:
    """The names of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def tracked_files() -> set[str]:
    """The project's files: those in Git, or where there is no Git, those on disk."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode == 0:
        return set(listed.stdout.splitlines())
    return {str(path.relative_to(ROOT)) for path in ROOT.rglob("*") if path.is_file()}


def test_the_readme_is_short_and_begins_with_the_two_commands() -> None:
    lines = (ROOT / "README.md").read_text().splitlines()
    assert len(lines) <= 200
    code = [line.partition("#")[0].strip() for line in lines[:6] if line.startswith("make")]
    assert code == ["make run-pipeline RUNNER=DirectRunner", "make test"]


def test_every_page_is_reached_from_the_readme() -> None:
    text = (ROOT / "README.md").read_text()
    for page in PAGES:
        assert page.name == "README.md" or f"({page.relative_to(ROOT)})" in text, page.name


def test_every_verb_and_dependency_is_described() -> None:
    verbs = {
        name
        for line in re.findall(r"^\| (`.*?) \|", (ROOT / "README.md").read_text(), re.MULTILINE)
        for name in re.findall(r"`([a-z-]+)`", line)
    }
    assert {stage.name.replace("_", "-") for stage in STAGES} <= verbs
    described = (ROOT / "docs" / "architecture.md").read_text()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for requirement in project["dependencies"]:
        name = re.split(r"[<>=]", requirement)[0]
        assert f"\n| {name} | " in described, name


def test_every_table_of_agreement_is_in_the_layout_of_a_root() -> None:
    [layout] = [block.text for block in BLOCKS if block.page == "docs/agreement.md" and block.text.startswith("out/")]
    for table in TABLES.values():
        if table.folder.startswith("agreement/"):
            assert re.search(rf"\b{table.folder.split('/')[1]}/", layout), table.name
