"""The sample chains on Prism and on a Flink cluster: the same rows as in one process, also when a machine is lost."""

import contextlib
import functools
import json
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest

from deploy.flink import Cluster
from pipelines import runner
from schemas import layout
from schemas.errors import InputError
from tests.support import chain_run, other_runners
from tests.support.sample_runs import table_rows, write_small_runs

pytestmark = [pytest.mark.chains, pytest.mark.timeout(1200)]
COUNTED = (".elements", ".in", ".out", ".rejected")
CHAIN_SECONDS = 900
BOTH = ["--splits", "test,validation"]


@dataclass(frozen=True)
class Stage:
    """A stage to be disturbed: what it is asked, its files, how many make it the middle, and how many are all."""

    asked: list[str]
    pattern: str
    middle: int
    every: int


STAGES = {
    "label": Stage(["--models", "cnn1,cnn2", "--scores", *BOTH], "labels/**/annotator=cnn*/**/*", 8, 128),
    "agree": Stage(["--annotators", "cnn1,cnn2", "--reference", "human", *BOTH], "agreement/pairs/**/*", 4, 64),
    "confirm": Stage(["--shards", "64"], "statistics/joined/**/*", 2, 64),
}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A Flink cluster of two task managers."""
    with other_runners.flink_cluster(tmp_path_factory.mktemp("flink")) as found:
        yield found


@pytest.fixture
def flags(request: pytest.FixtureRequest) -> list[str]:
    """The flags of a runner, by its name."""
    if request.param == "prism":
        return other_runners.prism_flags()
    return other_runners.flink_flags(request.getfixturevalue("cluster"))


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Path], Path]:
    """The sample's run files, made small, and the root of their chains, run in one process."""
    folder = tmp_path_factory.mktemp("samples")
    run_files = [Path(path) for path in write_small_runs(folder)]
    return run_files, finished(folder, run_files, ["--direct_num_workers=2"])


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of a chain with many shards, run in one process."""
    folder = tmp_path_factory.mktemp("chain")
    return finished(folder, [chain_run.write_run_file(folder)], ["--direct_num_workers=2"])


def finished(folder: Path, run_files: list[Path], flags: list[str]) -> Path:
    """The root of chains that were run to their end."""
    root = folder / "root"
    root.mkdir()
    relative = Path(os.path.relpath(root))  # workers have another working directory
    process = chain_run.start(relative, run_files[0], *map(str, run_files[1:]), *flags)
    try:
        code = process.wait(timeout=CHAIN_SECONDS)
    finally:
        process.kill()
    said = (folder / "root.log").read_text()
    assert code == 0, said[-3000:]
    assert "Traceback" not in said
    return root


def counted(root: Path) -> dict[str, dict[str, int]]:
    """What the stages of a root counted: elements, images, rows and rejects."""
    found = {}
    for manifest in sorted((root / "runs").glob("*.json")):
        for stage in json.loads(manifest.read_text())["stages"]:
            kept = {name: n for name, n in stage["counters"].items() if name.endswith(COUNTED)}
            if kept:
                found[f"{stage['stage']} {stage['product']}"] = kept
    return found


@pytest.mark.parametrize("flags", ["prism", "flink"], indirect=True)
def test_both_sample_chains_give_the_same_rows_and_counters(
    flags: list[str], samples: tuple[list[Path], Path], tmp_path: Path
) -> None:
    run_files, expected = samples
    root = finished(tmp_path, run_files, flags)
    found, wanted = table_rows(str(root)), table_rows(str(expected))
    assert set(found) == set(wanted)
    for path, table in wanted.items():
        assert found[path] == table, path
    assert len(counted(expected)) > 10
    assert counted(root) == counted(expected)
    assert checksum(root) == checksum(expected)


def checksum(root: Path) -> str:
    """What `concord verify` prints last, after it has found nothing missing or altered."""
    assert chain_run.start_verb(root, "verify").wait(timeout=120) == 0
    last = (root.parent / "root.log").read_text().splitlines()[-1]
    assert last.startswith("checksum: ")
    return last


def check_names(pipeline: beam.Pipeline) -> None:
    """A step that fails on its second element, with a function that every worker can import."""
    pipeline | beam.Create(["good", "Bad Name"]) | beam.Map(functools.partial(layout.check_name, "dataset"))


@pytest.mark.parametrize("flags", ["prism", "flink"], indirect=True)
def test_a_workers_error_comes_back_as_itself_in_one_line(flags: list[str]) -> None:
    message = r"^dataset must be lower-case letters, digits and _, beginning with a letter; got 'Bad Name'$"
    with pytest.raises(InputError, match=message) as caught:
        runner.run("concord test", check_names, tuple(flags))
    assert type(caught.value) is InputError


def fresh(root: Path, pattern: str, since: int) -> int:
    """How many files of a pattern were written since then."""
    found = 0
    for path in root.glob(pattern + ".parquet"):
        with contextlib.suppress(FileNotFoundError):  # it is being replaced
            found += path.stat().st_mtime_ns > since
    return found


def lose_one_in_the_middle(cluster: Cluster, root: Path, stage: Stage, arguments: list[str]) -> None:
    """Run a stage, kill a task manager as soon as so many files are written, and see the stage end by itself."""
    victim, began = cluster.task_managers[-1], time.time_ns()
    process = chain_run.start_verb(root, *arguments, *stage.asked, "--force", *other_runners.flink_flags(cluster))
    try:
        there = functools.partial(fresh, root, stage.pattern, began)
        other_runners.within(120, lambda: there() >= stage.middle or process.poll() is not None, "slow")
        done = there()
        other_runners.lose(victim)
        assert process.wait(timeout=300) == 0, (root.parent / "root.log").read_text()[-3000:]
    finally:
        process.kill()
        replace(cluster, victim)
    assert stage.middle <= done < stage.every, "it was lost too late to show anything"


@pytest.mark.parametrize("stage", ["label", "agree"])
def test_a_task_manager_is_lost_in_the_middle_and_the_job_ends_with_the_same_rows(
    stage: str, chain: Path, cluster: Cluster, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    shutil.copytree(chain, root, copy_function=shutil.copy2)
    before, whole = chain_run.rows(root), checksum(root)
    lose_one_in_the_middle(cluster, root, STAGES[stage], [stage, "--dataset", "drawn"])
    found = chain_run.rows(root)
    for name, table in before.items():
        assert found[name] == table, name
    assert checksum(root) == whole


def test_a_task_manager_is_lost_while_labels_are_confirmed(
    samples: tuple[list[Path], Path], cluster: Cluster, tmp_path: Path
) -> None:
    drawn = samples[1] / "sample" / "scenes"
    files = {"machine": "machine.csv", "human": "human.csv", "classes": "class-descriptions.csv"}
    given = [word for flag, name in files.items() for word in (f"--{flag}", str(drawn / name))]
    roots = [tmp_path / name / "root" for name in ("here", "there")]
    for root in roots:
        root.mkdir(parents=True)
    stage, arguments = STAGES["confirm"], ["confirm", "--dataset", "scenes", *given]
    assert chain_run.start_verb(roots[0], *arguments, *stage.asked).wait(timeout=120) == 0
    lose_one_in_the_middle(cluster, roots[1], stage, arguments)
    expected, found = table_rows(str(roots[0])), table_rows(str(roots[1]))
    assert len(expected) > 64
    assert found == expected


def replace(cluster: Cluster, lost: Any) -> None:
    """Start a task manager in the place of one that is gone."""
    cluster.daemons.remove(lost)
    cluster.add_task_manager()
    cluster.save()
    other_runners.within(60, lambda: cluster.overview().get("slots-total") == 2, "no task manager in its place")
