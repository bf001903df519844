"""Convert on disks that do not take it: nothing is declared, and running again completes what was begun."""

import errno
import os
import time
from pathlib import Path

import pytest

from schemas.errors import StorageError
from tests.support.course_files import convert, course, declared, halves


@pytest.mark.parametrize(
    ("number", "remedy"),
    [(errno.ENOSPC, "no space left there"), (errno.EROFS, "read-only"), (errno.EACCES, "permission denied")],
)
@pytest.mark.parametrize("which", ["tfrecord-00003", "index", "dataset_info.json", "_concord.json"])
def test_a_failed_write_declares_nothing_and_the_rerun_completes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, remedy: str, which: str
) -> None:
    path, root = course(tmp_path / "input.h5"), tmp_path / "root"
    replace = os.replace

    def fail(scratch: str, target: str) -> None:
        if which in target.removeprefix(str(root)):
            raise OSError(number, os.strerror(number))
        replace(scratch, target)

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(StorageError) as raised:
        convert(path, root)
    monkeypatch.undo()
    assert str(raised.value).startswith(f"cannot write {root}/")
    assert which in str(raised.value)
    assert remedy in str(raised.value)
    assert "\n" not in str(raised.value)
    assert "while running" not in str(raised.value)
    assert not (root / "images/d/1.0.0/_concord.json").exists()
    for _ in range(100):  # a failed run's other workers end what they are at
        if not halves(root):
            break
        time.sleep(0.05)
    assert halves(root) == []
    kept = {file: file.stat().st_mtime_ns for file in root.glob("index/**/*.parquet")}
    time.sleep(0.01)
    result = convert(path, root)
    assert (result.counts["in"], result.counts["out"]) == (100, 100)
    assert len(declared(root)) == 4
    assert {file: file.stat().st_mtime_ns for file in kept} == kept  # what was finished is not made again


def test_the_product_after_a_failure_is_the_one_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = course(tmp_path / "input.h5")
    convert(path, tmp_path / "smooth")
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(errno.ENOSPC, "full")))
    with pytest.raises(StorageError):
        convert(path, tmp_path / "rough")
    monkeypatch.undo()
    convert(path, tmp_path / "rough")
    found = [
        {str(file.relative_to(root)): file.read_bytes() for file in root.rglob("*") if file.is_file()}
        for root in (tmp_path / "smooth", tmp_path / "rough")
    ]
    assert found[0] == found[1]
