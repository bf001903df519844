"""JSON files: found as they were written, and refused by name where they are damaged."""

from pathlib import Path

import pytest

from schemas.errors import StorageError
from storage import small_files


def test_an_object_is_found_as_it_was_written(tmp_path: Path) -> None:
    path = str(tmp_path / "a" / "note.json")
    assert small_files.find_json(path) is None
    small_files.write_json(path, {"b": [1, None, "ü"], "a": {"n": 0.5}})
    assert small_files.find_json(path) == {"a": {"n": 0.5}, "b": [1, None, "ü"]}
    assert Path(path).read_text().index('"a"') < Path(path).read_text().index('"b"')


@pytest.mark.parametrize("content", ["", '{"a": 1', "[1]", "\x00"])
def test_a_damaged_file_is_refused_by_name(tmp_path: Path, content: str) -> None:
    path = tmp_path / "note.json"
    path.write_text(content)
    with pytest.raises(StorageError, match=r"note\.json .*remove it, and run the stage"):
        small_files.find_json(str(path))
