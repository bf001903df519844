"""The one place that opens files: round trips on a disk and an S3 server, and every way a write can fail."""

import errno
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from schemas.errors import InputError, StorageError
from storage import stores

# --- The same on a local disk and on S3 ---------------------------------------------------------


@pytest.mark.parametrize("data", [b"", b"digits", bytes(range(256)) * 30_000], ids=["empty", "small", "8MB"])
def test_round_trip(place: str, data: bytes) -> None:
    path = stores.join(place, "dataset=d/split=train/part-0")  # = in keys, folders that are not there yet
    stores.write_bytes(path, data)
    assert stores.read_bytes(path) == data
    found = stores.stat(path)
    assert found is not None
    assert found.size == len(data)
    assert found.modified > 0


def test_what_a_file_is_called_does_not_change_its_content(place: str) -> None:
    for name in ("labels.csv.gz", "labels.csv.bz2", "labels.csv.zst"):  # Arrow by itself would pack what is called so
        stores.write_bytes(stores.join(place, name), b"digits")
        assert stores.read_bytes(stores.join(place, name)) == b"digits"


def test_writing_again_replaces(place: str) -> None:
    path = stores.join(place, "file")
    stores.write_bytes(path, b"a longer first content")
    stores.write_bytes(path, memoryview(b"second"))
    assert stores.read_bytes(path) == b"second"
    assert stores.list_files(place) == {"file": 6}


def test_listing_names_only_what_lies_directly_there(place: str) -> None:
    for name, data in (("b", b"12"), ("a", b"1"), ("deep/c", b"123"), ("deeper/d/e", b"")):
        stores.write_bytes(stores.join(place, name), data)
    assert stores.list_files(place) == {"a": 1, "b": 2}
    assert stores.list_folders(place) == ["deep", "deeper"]
    assert stores.list_files(stores.join(place, "deep")) == {"c": 3}


def test_a_tree_names_everything_below_a_folder(place: str) -> None:
    names = {"b": 2, "a b/ä #1?.jpg": 3, "a b/c/d": 0, "a b/c/.hidden": 1, "a b/50%+.jpg": 4}
    for name, size in names.items():
        stores.write_bytes(stores.join(place, name), bytes(size))
    stores.write_bytes(f"{place}-too/not/below", b"1")
    for folder in (place, f"{place}/"):
        found = stores.list_tree(folder)
        assert {name: status.size for name, status in found.items()} == names
        assert found == {name: stores.stat(stores.join(place, name)) for name in names}
        assert min(status.modified for status in found.values()) > 0
    assert {name: one.size for name, one in stores.list_tree(f"{place}/a b/c").items()} == {"d": 0, ".hidden": 1}
    assert stores.list_tree(stores.join(place, "b")) == {}  # a file is no folder


def test_a_tree_follows_links_once_and_shows_links_to_nothing(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a").write_bytes(b"1")
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "linked").symlink_to(tmp_path / "real")
    (tmp_path / "tree" / "gone").symlink_to(tmp_path / "nothing")
    (tmp_path / "real" / "round").symlink_to(tmp_path / "real")
    found = stores.list_tree(str(tmp_path / "tree"))
    assert {name: (one.size, one.modified > 0) for name, one in found.items()} == {
        "linked/a": (1, True),
        "gone": (0, False),
    }


def test_parts_that_fail_leave_what_was_there(place: str) -> None:
    path = stores.join(place, "file")
    stores.write_bytes(path, b"old")

    def parts() -> Iterator[bytes]:
        yield b"new"
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        stores.write_parts(path, parts())
    assert stores.read_bytes(path) == b"old"


def test_a_tree_of_folders_alone_is_empty(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    assert stores.list_tree(str(tmp_path)) == {}


@pytest.mark.parametrize(
    ("parts", "whole"),
    [
        ([], b""),
        ([b"", b""], b""),
        ([b"one", memoryview(b" two"), bytearray(b" three")], b"one two three"),
        ([b"x" * 100_000] * 90, b"x" * 9_000_000),
    ],
    ids=["nothing", "empty", "three kinds", "9MB"],
)
def test_parts_make_one_file(place: str, parts: Any, whole: bytes) -> None:
    path = stores.join(place, "folder/file")
    stores.write_bytes(path, b"what was there before, and is longer" * 9)
    stores.write_parts(path, (part for part in parts))
    assert stores.read_bytes(path) == whole
    assert stores.list_files(stores.join(place, "folder")) == {"file": len(whole)}


def test_parts_that_fail_midway_leave_the_old_file(tmp_path: Path) -> None:
    def parts() -> Iterator[bytes]:
        yield b"half"
        raise RuntimeError("out of memory")

    (tmp_path / "file").write_bytes(b"old")
    with pytest.raises(RuntimeError, match="out of memory"):
        stores.write_parts(str(tmp_path / "file"), parts())
    assert stores.list_files(str(tmp_path)) == {"file": 3}


def test_parent() -> None:
    for path in ("s3://bucket/a/b", "gs://bucket/a/b c/", "/a/b", "a/b", "/a"):
        last = path.rstrip("/").rpartition("/")[2]
        assert stores.join(stores.parent(path), last) in (path.rstrip("/"), f"/{last}")
    assert stores.parent("s3://bucket/a/b=c/") == "s3://bucket/a"
    assert stores.parent("file") == ""


def test_what_is_not_there(place: str) -> None:
    absent = stores.join(place, "absent")
    assert stores.stat(absent) is None
    assert stores.list_files(absent) == {}
    assert stores.list_tree(absent) == {}
    assert stores.list_folders(absent) == []
    stores.remove(absent)
    with pytest.raises(StorageError, match=f"cannot read {absent}: no such file"):
        stores.read_bytes(absent)
    with pytest.raises(StorageError, match=f"cannot read {absent}: no such file"):
        stores.open_input(absent)


def test_a_folder_is_no_file(place: str) -> None:
    stores.write_bytes(stores.join(place, "folder/file"), b"1")
    assert stores.stat(stores.join(place, "folder")) is None


def test_remove(place: str) -> None:
    for name in ("kept", "gone"):
        stores.write_bytes(stores.join(place, name), b"1")
    stores.remove(stores.join(place, "gone"))
    assert stores.list_files(place) == {"kept": 1}


def test_input_is_read_in_pieces_from_anywhere(place: str) -> None:
    path = stores.join(place, "file")
    data = bytes(range(256)) * 8192  # more than one buffer
    stores.write_bytes(path, data)
    with stores.open_input(path) as file:
        assert file.readable()
        assert file.seekable()
        file.seek(-3, os.SEEK_END)
        assert file.read() == b"\xfd\xfe\xff"
        file.seek(1_500_000)
        assert file.read(5) == data[1_500_000:1_500_005]
        assert file.tell() == 1_500_005
        file.seek(2, os.SEEK_CUR)
        assert file.read(1) == data[1_500_007:1_500_008]


def test_local_copies_can_be_read_and_keep_their_names(place: str, tmp_path: Path) -> None:
    paths = [stores.join(place, name) for name in ("one/part", "two/part")]  # the same name twice
    for number, path in enumerate(paths):
        stores.write_bytes(path, bytes([number]))
    with stores.local_copies(paths) as copies:
        assert [Path(copy).read_bytes() for copy in copies] == [b"\0", b"\1"]
        assert [Path(copy).name for copy in copies] == ["part", "part"]
        assert (copies == paths) == (not stores.is_remote(place))
    assert [Path(copy).exists() for copy in copies] == [not stores.is_remote(place)] * 2


def test_local_output_goes_to_its_place(place: str) -> None:
    path = stores.join(place, "model.keras")
    with stores.local_output(path) as scratch:
        Path(scratch).write_bytes(b"weights")
        assert stores.stat(path) is None
    assert stores.list_files(place) == {"model.keras": 7}


def test_local_output_that_fails_leaves_the_old_file(place: str) -> None:
    path = stores.join(place, "model.keras")
    stores.write_bytes(path, b"old")

    def fail(scratch: str) -> None:
        Path(scratch).write_bytes(b"half")
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"), stores.local_output(path) as scratch:
        fail(scratch)
    assert stores.read_bytes(path) == b"old"
    assert stores.list_files(place) == {"model.keras": 3}
    assert not Path(scratch).exists()


@pytest.mark.parametrize("path", ["ftp://host/file", "hdfs://host/file", "https://host/file"])
def test_unknown_scheme_is_an_error(path: str) -> None:
    scheme = path.partition(":")[0]
    for action in (stores.read_bytes, stores.stat, stores.list_files, lambda path: stores.write_bytes(path, b"")):
        with pytest.raises(InputError, match=f"cannot open {scheme}://...: paths may be local, gs:// or s3://"):
            action(path)


def test_a_bucket_that_is_not_there_is_an_error(s3_place: str) -> None:
    stores.write_bytes(stores.join(s3_place, "file"), b"1")  # the server itself answers
    with pytest.raises(StorageError, match="cannot read s3://no-such-bucket/file"):
        stores.read_bytes("s3://no-such-bucket/file")
    with pytest.raises(StorageError, match="cannot write s3://no-such-bucket/file"):
        stores.write_bytes("s3://no-such-bucket/file", b"1")


def test_join_keeps_the_scheme() -> None:
    assert stores.join("s3://bucket/", "/a/", "b") == "s3://bucket/a/b"
    assert stores.join("/", "a") == "/a"
    assert [stores.is_remote(path) for path in ("gs://b/k", "s3://b/k", "/a/b", "a")] == [True, True, False, False]


# --- Whole or not at all ------------------------------------------------------------------------

REMEDIES = {
    errno.ENOSPC: "no space left there; free some",
    errno.EDQUOT: "quota is used up",
    errno.EROFS: "the file system is read-only; choose another place",
    errno.EACCES: "permission denied; choose another place",
    errno.EIO: "Input/output error",
}


def _failing(number: int, after: Callable[..., Any] | None = None) -> Callable[..., Any]:
    """A stand-in that does what `after` does, then fails as the system would."""

    def fail(*arguments: Any, **_: Any) -> None:
        if after is not None:
            after(*arguments)
        raise OSError(number, os.strerror(number))

    return fail


@pytest.mark.parametrize("step", ["open", "fsync", "replace", "makedirs"])
@pytest.mark.parametrize("number", REMEDIES, ids=errno.errorcode.get)
def test_a_failed_write_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, number: int
) -> None:
    path = tmp_path / "shard"
    path.write_bytes(b"old")
    if step == "open":
        monkeypatch.setattr(stores, "open", _failing(number), raising=False)
    else:
        monkeypatch.setattr(os, step, _failing(number))
    with pytest.raises(StorageError) as raised:
        stores.write_bytes(str(path), b"new")
    assert str(raised.value).startswith(f"cannot write {path}: ")
    assert REMEDIES[number] in str(raised.value)
    assert isinstance(raised.value.__cause__, OSError)
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["shard"]


def test_a_write_interrupted_midway_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not an OSError: the user's Ctrl-C between writing and renaming."""

    def interrupt(*_: Any) -> None:
        assert len(os.listdir(tmp_path)) == 1  # the half is there by now
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        stores.write_bytes(str(tmp_path / "shard"), b"new")
    assert os.listdir(tmp_path) == []


def test_data_is_on_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []

    def noted(name: str) -> Callable[..., Any]:
        action = getattr(os, name)

        def act(*arguments: Any) -> Any:
            steps.append(name)
            return action(*arguments)

        return act

    for name in ("fsync", "replace"):
        monkeypatch.setattr(os, name, noted(name))
    stores.write_bytes(str(tmp_path / "shard"), b"new")
    assert steps == ["fsync", "replace"]


def test_a_real_file_size_limit(tmp_path: Path) -> None:
    """`ulimit -f`: the system itself cuts the write off midway."""
    path = tmp_path / "shard"
    path.write_bytes(b"old")
    code = (
        "import resource, sys\n"
        "from storage import stores\n"
        "from schemas.errors import StorageError\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))\n"
        "stores.write_bytes(sys.argv[1] + '.fits', bytes(65536))\n"
        "try:\n"
        "    stores.write_bytes(sys.argv[1], bytes(65537))\n"
        "except StorageError as error:\n"
        "    print(error)\n"
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", code, str(path)], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"cannot write {path}: the file would be larger than this system allows")
    assert "ulimit -f" in done.stdout
    assert path.read_bytes() == b"old"
    assert sorted(os.listdir(tmp_path)) == ["shard", "shard.fits"]


def test_a_file_where_a_folder_is_needed(tmp_path: Path) -> None:
    (tmp_path / "images").write_bytes(b"a file")
    for path in (tmp_path / "images" / "shard", tmp_path / "images" / "dataset" / "shard"):
        with pytest.raises(StorageError, match=f"cannot write {path}: .*"):
            stores.write_bytes(str(path), b"new")
    assert (tmp_path / "images").read_bytes() == b"a file"


def test_a_folder_that_cannot_be_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "scandir", _failing(errno.EACCES))
    with pytest.raises(StorageError, match=f"cannot list {tmp_path}: permission denied"):
        stores.list_files(str(tmp_path))


def test_a_file_that_cannot_be_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "unlink", _failing(errno.EROFS))
    with pytest.raises(StorageError, match=f"cannot remove {tmp_path}/x: the file system is read-only"):
        stores.remove(str(tmp_path / "x"))


def test_the_scratch_folder_goes_even_after_an_error() -> None:
    def use(folder: str) -> None:
        Path(folder, "file").write_bytes(b"1")
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"), stores.scratch_folder() as folder:
        use(folder)
    assert not os.path.exists(folder)
