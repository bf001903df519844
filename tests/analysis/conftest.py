"""A small root, and the page made from it."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from analysis.report import write_report
from schemas.settings import ReportSettings
from tests.analysis.small_root import DATASET, SmallRoot, build


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
def page(pristine: SmallRoot, settings: ReportSettings) -> str:
    """The page of the small root."""
    write_report(settings, pristine.root)
    return Path(pristine.root, "report", "index.html").read_text()
