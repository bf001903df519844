"""Every stage of the sample chain, its root in a folder, on S3 and on GCS, in a process that can write nowhere else."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pytest

from storage import stores
from tests.support import plans, read_only
from tests.support.markdown import ROOT
from tests.support.sample_runs import table_rows, write_small_runs

pytestmark = [pytest.mark.chains, pytest.mark.timeout(600)]

STAGES = {"draw", "convert", "train", "label", "agree", "explain", "report", "confirm"}


@pytest.fixture(scope="module")
def run_files(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The sample's run files, made small."""
    return write_small_runs(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def local_root(run_files: list[str], tmp_path_factory: pytest.TempPathFactory) -> str:
    """A root in a folder, its chain done."""
    root = str(tmp_path_factory.mktemp("here") / "root")
    _check_stages(_chain(run_files, root))
    return root


def _chain(run_files: list[str], root: str) -> str:
    ended = read_only.run(["-m", "concord", "run", *run_files, "--root", root, "--direct_num_workers=2"])
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert "Traceback" not in ended.stderr
    return ended.stderr + ended.stdout


def _check_stages(said: str) -> None:
    assert set(re.findall(r"^(\w+) \S+: done", said, re.MULTILINE)) == STAGES, said


@pytest.mark.parametrize("store", ["s3", "gs"])
def test_every_stage_runs_in_an_object_store(
    store: str, run_files: list[str], local_root: str, request: pytest.FixtureRequest
) -> None:
    root = f"{request.getfixturevalue(f'{store}_place')}/root"
    _check_stages(_chain(run_files, root))
    found, expected = table_rows(root), table_rows(local_root)
    assert set(found) == set(expected)
    for path, table in expected.items():
        assert found[path] == table, path
    for page in ("index.html", "house_numbers/index.html", "scenes/summary.md"):
        assert stores.stat(f"{root}/report/{page}"), page


def test_a_folder_may_have_packages_of_our_names(run_files: list[str], local_root: str, tmp_path: Path) -> None:
    for name in ("analysis", "metrics", "models", "pipelines", "schemas", "storage"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(f"raise RuntimeError('theirs: {name}')")
    command = [sys.executable, "-m", "concord", "run", *run_files, "--root", "out", "--direct_num_workers=2"]
    environment = {**os.environ, "PYTHONPATH": "."}
    flags = ["--direct_running_mode=multi_processing"]  # whose workers are processes of their own, as trainings are
    ended = subprocess.run(
        [*command, *flags], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    _check_stages(ended.stderr + ended.stdout)
    assert table_rows(str(tmp_path / "out")) == table_rows(local_root)


def test_a_finished_chain_is_not_run_again(run_files: list[str], local_root: str) -> None:
    assert "Everything was already there" in _chain(run_files, local_root)


def test_a_plan_of_both_chains_begins_with_what_is_drawn_and_ends_with_all_done(
    run_files: list[str], local_root: str, tmp_path: Path
) -> None:
    found = plans.plan(run_files, tmp_path / "root")
    assert found["ok"], found["problems"]
    assert not (tmp_path / "root").exists()
    states = {(stage, one["state"]) for (stage, _), one in plans.products(found).items()}
    assert states == {("draw", "to do")} | {(stage, "waits") for stage in STAGES - {"draw"}}
    done = plans.products(plans.plan(run_files, local_root))
    assert {one["state"] for one in done.values()} == {"done"}
    made = {(one["stage"], one["product"]): one["counts"] for one in plans.done(Path(local_root))}
    assert {key: one["counts"] for key, one in done.items()} == made


def test_the_notebook_reads_the_sample(local_root: str) -> None:
    cells = json.loads((ROOT / "docs/analysis.ipynb").read_text())["cells"]
    code = "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    names: dict[str, Any] = {}
    with plt.rc_context({"backend": "agg"}):
        exec(code.replace('"out"', repr(local_root)), names)
        assert len(plt.get_fignums()) == 3
        plt.close("all")
    assert set(names["summary"].split) == {"validation", "test"}
    assert int(names["counts"].n.sum()) == len(names["pairs"]) == 160
    assert (names["first"].label_a != names["first"].label_b).all()
    assert all(cell["outputs"] for cell in cells[3:] if cell["cell_type"] == "code"), "a cell was not run"
