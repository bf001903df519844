"""A small root, and the page made from it."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from schemas.settings.report import ReportSettings
from tests.support import verdict_root
from tests.support.comparisons import MACHINES, SETS, compare
from tests.support.label_sets import write_label_set
from tests.support.pages import page_of
from tests.support.small_root import DATASET, SmallRoot, build
from tests.support.verdict_root import VerdictRoot


@pytest.fixture(scope="session")
def settings() -> ReportSettings:
    return ReportSettings(dataset=DATASET)


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> SmallRoot:
    """A root to be read only."""
    return build(str(tmp_path_factory.mktemp("small")))


@pytest.fixture
def small(pristine: SmallRoot, tmp_path: Path) -> SmallRoot:
    """A root of the test's own, without a report."""
    root = tmp_path / "root"
    shutil.copytree(pristine.root, root, ignore=shutil.ignore_patterns("report"))
    return replace(pristine, root=str(root))


@pytest.fixture(scope="session")
def page(pristine: SmallRoot) -> str:
    """The page of the small root."""
    return page_of(pristine.root, DATASET)


@pytest.fixture(scope="session")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> VerdictRoot:
    """A root to be read only, with machine labels that people looked at and photographs."""
    made = verdict_root.build(tmp_path_factory.mktemp("verdicts"))
    verdict_root.add_photographs(made, shards=4)
    return made


@pytest.fixture
def own_verdicts(verdicts: VerdictRoot, tmp_path: Path) -> VerdictRoot:
    """The same as a test's own, without a report."""
    root = tmp_path / "verdicts"
    shutil.copytree(verdicts.root, root, ignore=shutil.ignore_patterns("report"))
    return replace(verdicts, root=str(root))


@pytest.fixture(scope="session")
def verdict_page(verdicts: VerdictRoot) -> str:
    """The page of what people confirmed."""
    return page_of(verdicts.root, verdict_root.DATASET)


@pytest.fixture(scope="session")
def compared(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A root in which three machines were compared. Read it only."""
    root = str(tmp_path_factory.mktemp("three"))
    for name, frame in SETS["test"].items():
        write_label_set(root, "drawn", name, frame)
    compare(root, *MACHINES)
    return root
