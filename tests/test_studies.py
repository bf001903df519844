"""The run files that are kept: each can be read, names what is there, and says at its top how to run it."""

from pathlib import Path

import pytest

from models import networks
from pipelines.chain import load_run_file
from pipelines.convert import sources
from pipelines.generations import students
from schemas import plugins, sweeps
from schemas.errors import InputError

ROOT = Path(__file__).resolve().parents[1]
STUDIES = sorted((ROOT / "studies").glob("*.toml"))


def test_there_are_studies() -> None:
    assert len(STUDIES) >= 8


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_a_study_can_be_run_as_it_says(path: Path) -> None:
    found = load_run_file(str(path), "out", "data")
    [convert] = found["convert"]
    plugins.check(sources, "source", convert.source)
    for training in found.get("train", ()):
        plugins.check(networks, "network", training.network)
        assert not training.sweep or len(sweeps.members(training)) == 3
    for study in found.get("generations", ()):
        for student in students.everyone(study):
            plugins.check(networks, "network", students.training(study, student).network)
    said = path.read_text()
    data = "--data DATA " if "{data}" in said else ""
    assert f"#     concord run studies/{path.name} {data}--root out/{path.stem}\n" in said
    assert "{data}" not in str(found)
    assert f"`{path.stem}`" in (ROOT / "docs" / "studies.md").read_text()


def test_a_study_on_data_asks_for_the_folder() -> None:
    with pytest.raises(InputError, match=r"colour\.toml: .*state with --data which folder \{data\} stands for"):
        load_run_file(str(ROOT / "studies" / "colour.toml"), "out")
