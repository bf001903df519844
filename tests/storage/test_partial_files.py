"""Partial files that killed processes leave are removed, and nothing else."""

from pathlib import Path

import pytest

from storage import stores

NAMES = (".a.json.1f.partial", ".ab.json.2f.partial", "a.json", ".hidden", "odd.partial", "deep/er/.b.3f.partial")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in NAMES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"1")
    return tmp_path


def gone(folder: Path) -> set[str]:
    return {name for name in NAMES if not (folder / name).exists()}


def test_only_partial_files_are_removed(folder: Path) -> None:
    stores.remove_partial_files(str(folder))
    assert gone(folder) == set(NAMES[:2])
    stores.remove_partial_files(str(folder), below=True)
    assert gone(folder) == {*NAMES[:2], NAMES[5]}


def test_those_of_one_file_are_removed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stores.remove_partial_file(str(folder / "a.json"))
    assert gone(folder) == {NAMES[0]}
    monkeypatch.chdir(folder)
    stores.remove_partial_file("ab.json")
    assert gone(folder) == set(NAMES[:2])


def test_a_missing_folder_and_a_store_have_no_partial_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stores.remove_partial_files(str(tmp_path / "none"), below=True)
    assert not list(tmp_path.iterdir())
    monkeypatch.chdir(tmp_path)
    partial = tmp_path / "s3:" / "bucket" / ".a.json.1f.partial"
    partial.parent.mkdir(parents=True)
    partial.touch()
    stores.remove_partial_files("s3://bucket")  # a store's writes are whole: no folder of that name is looked into
    assert partial.exists()
