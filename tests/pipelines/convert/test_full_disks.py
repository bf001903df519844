"""Every stage on disks that do not take it: one line says why, nothing is declared, and the rerun goes on."""

import errno
import json
import os
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from concord import cli
from tests.support import label_files, small_dataset
from tests.support.course_files import halves

# What a process that training starts does, too: Python runs it as it begins.
CHILD = """
import os
from tests.pipelines.convert import test_full_disks
number, which = os.environ["CONCORD_TEST_DISK"].split(":")
os.replace = test_full_disks.failing(int(number), which)
"""
SMALL = ["--dataset", "small"]
STAGES = {  # each with its command, and what it writes
    "confirm": (
        ["--dataset", "photos", "--machine", "{root}/machine.csv", "--human", "{root}/human.csv", "--shards", "2"],
        ["labels/dataset=photos", "statistics", "rejects/confirm"],
    ),
    "train": ([*SMALL, "--network", "cnn1", "--epochs", "1"], ["models"]),
    "label": (
        [*SMALL, "--models", "cnn1", "--splits", "test"],
        ["labels/dataset=small/annotator=cnn1", "rejects/label"],
    ),
    "agree": ([*SMALL, "--annotators", "cnn1,human", "--splits", "test"], ["agreement"]),
    "report": (SMALL, ["report"]),
}
REMEDIES = {
    errno.ENOSPC: "no space left there; free some, or choose another place",
    errno.EROFS: "the file system is read-only; choose another place",
}
CASES = [
    ("confirm", "annotator=confirmed", errno.ENOSPC),
    ("confirm", "_concord.json", errno.EROFS),
    ("train", "model.keras", errno.ENOSPC),
    ("label", "annotator=cnn1/split=test/part-00005", errno.ENOSPC),
    ("label", "rejects/label", errno.EROFS),
    ("agree", "pairs/dataset=small/annotator_a=cnn1/annotator_b=human/split=test/part-00003", errno.ENOSPC),
    ("agree", "agreement/summary", errno.EROFS),
    ("report", "report/small/index.html", errno.ENOSPC),
    ("report", "_concord.json", errno.EROFS),
]


def failing(number: int, which: str) -> Callable[[str, str], None]:
    """`os.replace`, but that no file whose path holds `which` gets its name."""
    replace = os.replace

    def fail(scratch: str, target: str) -> None:
        if which in str(target):
            raise OSError(number, os.strerror(number))
        replace(scratch, target)

    return fail


def run(root: Path, stage: str) -> None:
    cli.main([stage, *(part.format(root=root) for part in STAGES[stage][0]), "--root", str(root)])


def written(root: Path, stage: str) -> dict[str, Any]:
    """The rows that a stage has written, and which weights; in what else it writes stand times."""
    found: dict[str, Any] = {}
    for path in (path for folder in STAGES[stage][1] for path in (root / folder).rglob("*")):
        if path.suffix == ".parquet":
            found[str(path.relative_to(root))] = path.read_bytes()
        elif path.name == "model.json":
            found[str(path.relative_to(root))] = json.loads(path.read_text())["weights_sha256"]
    return found


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root in which every stage has run. Read it only."""
    root = tmp_path_factory.mktemp("disks") / "root"
    small_dataset.write_learnable(root, sizes={"train": 64, "validation": 32, "test": 48})
    for name, rows in zip(("machine", "human"), label_files.draw(), strict=True):
        label_files.write(root / f"{name}.csv", rows)
    for stage in STAGES:
        run(root, stage)
    return root


@pytest.fixture
def child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int, str], None]:
    """Lets writes fail in this process, and in those that it starts."""

    def fail(number: int, which: str) -> None:
        (tmp_path / "child").mkdir()
        (tmp_path / "child" / "sitecustomize.py").write_text(CHILD)
        monkeypatch.syspath_prepend(tmp_path / "child")
        monkeypatch.setenv("CONCORD_TEST_DISK", f"{number}:{which}")
        monkeypatch.setattr(os, "replace", failing(number, which))

    return fail


@pytest.mark.parametrize(("stage", "which", "number"), CASES, ids=str)
def test_a_stage_on_a_full_or_read_only_disk(
    done: Path,
    tmp_path: Path,
    child: Callable[[int, str], None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    stage: str,
    which: str,
    number: int,
) -> None:
    root = tmp_path / "root"
    shutil.copytree(done, root, copy_function=shutil.copy2)
    for folder in STAGES[stage][1]:
        shutil.rmtree(root / folder, ignore_errors=True)
    child(number, which)
    with pytest.raises(SystemExit) as ended:
        run(root, stage)
    monkeypatch.undo()
    assert ended.value.code == 1
    [line] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("concord ")]
    assert re.fullmatch(rf"concord {stage}: cannot write {root}/.*: {REMEDIES[number]}", line), line
    assert which in line
    for _ in range(100):  # a failed run's other workers end what they are at
        if not halves(root):
            break
        time.sleep(0.05)
    assert halves(root) == []
    manifests = [path for folder in STAGES[stage][1] for path in (root / folder).rglob("*")]
    assert not [path for path in manifests if path.name in ("_concord.json", "model.json")], "declared whole"
    expected, left = written(done, stage), written(root, stage)
    assert left == {path: content for path, content in expected.items() if path in left}, "half a file"
    times = {path: (root / path).stat().st_mtime_ns for path in left if "part-" in path and "rejects/" not in path}
    run(root, stage)
    assert written(root, stage) == expected
    assert {path: (root / path).stat().st_mtime_ns for path in times} == times
    told = (json.loads(path.read_text()) for path in sorted((root / "runs").glob("*.json"), key=os.path.getmtime))
    assert [manifest["status"] for manifest in told][-2:] == ["failed", "done"]
