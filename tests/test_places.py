"""Every stage of the sample chain, its root in a folder, on S3 and on GCS, in a process that can write nowhere else."""

import re
from pathlib import Path

import pytest

from storage import parquet, stores
from tests.support import plans, read_only

pytestmark = [pytest.mark.chains, pytest.mark.timeout(600)]

RUNS = Path(__file__).resolve().parents[1] / "samples"
SMALLER = {  # the sample's own run files, made small
    "house_numbers.toml": {
        "6000": "320",
        "1000": "80",
        "2000": "160",
        "epochs = 12": "epochs = 1",
        "epochs = 16": "epochs = 1",
    },
    "scenes.toml": {"1200": "100", '"open_images"': '"open_images"\nmax_reject_fraction = 0.1'},
}
STAGES = {"draw", "convert", "train", "label", "agree", "explain", "report", "confirm"}


def small_runs(folder: Path) -> list[str]:
    """The sample's run files, made small."""
    paths = []
    for name, changes in SMALLER.items():
        text = (RUNS / name).read_text()
        for old, new in changes.items():
            assert old in text, f"{name} has no {old!r}"
            text = text.replace(old, new)
        path = folder / name
        path.write_text(text)
        paths.append(str(path))
    return paths


def rows(root: str) -> dict[str, list[dict[str, object]]]:
    """The rows of every table of a root, by the place of its shard."""
    found = {}
    for path in stores.glob(f"{root}/**/*.parquet"):
        table = [{name: _placed(value, root) for name, value in row.items()} for row in parquet.read(path).to_pylist()]
        found[path.removeprefix(root)] = table
    return found


def _placed(value: object, root: str) -> object:
    """A value, without where the root lies."""
    return value.replace(root, "ROOT") if isinstance(value, str) else value


@pytest.fixture(scope="module")
def run_files(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The sample's run files, made small."""
    return small_runs(tmp_path_factory.mktemp("runs"))


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
    found, expected = rows(root), rows(local_root)
    assert set(found) == set(expected)
    for path, table in expected.items():
        assert found[path] == table, path
    for page in ("index.html", "house_numbers/index.html", "scenes/summary.md"):
        assert stores.stat(f"{root}/report/{page}"), page


def test_a_finished_chain_is_not_run_again(run_files: list[str], local_root: str) -> None:
    assert "Everything was already there" in _chain(run_files, local_root)


def test_a_plan_comes_close_to_both_chains(run_files: list[str], local_root: str, tmp_path: Path) -> None:
    found = plans.plan(run_files, tmp_path / "root")
    assert found["ok"], found["problems"]
    assert not (tmp_path / "root").exists()
    root = Path(local_root)
    expected = {
        (key[0], key[1].replace(f"{tmp_path}/root", local_root)): one for key, one in plans.products(found).items()
    }
    results = [one for one in plans.done(root) if one["stage"] != "explain"]
    assert {(one["stage"], one["product"]) for one in results} == {key for key in expected if key[0] != "explain"}
    for one in results:
        step = expected[one["stage"], one["product"]]
        if "in" in one["counts"]:
            close = 0 if step["exact"] else 0.25 * one["counts"]["in"]
            assert step["records_in"] == pytest.approx(one["counts"]["in"], abs=close), one["product"]
        assert step["exact"] == (not (one["product"] == "scenes" and one["stage"] in ("confirm", "convert")))
    assert expected["convert", "scenes"]["elements"] == {"convert.fetch": 24}
    done = plans.plan(run_files, local_root)
    assert {one["state"] for one in plans.products(done).values()} == {"done"}
