"""HDF5 files from outside: nothing of another file is read, and nothing that cannot be in the file."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from pipelines.convert.sources.svhn_h5 import H5Source
from schemas.errors import InputError
from storage import hdf5
from storage.formats import digit_struct as digit_boxes
from tests.support import digit_struct

SECRET = b"what another file holds: 0123456789abcdef" * 10
Make = Callable[[h5py.File, Path], Any]


def external_link(file: h5py.File, folder: Path) -> None:
    file["x"] = h5py.ExternalLink(str(folder / "other.h5"), "/x")


def external_group(file: h5py.File, folder: Path) -> None:
    file["g"] = h5py.ExternalLink(str(folder / "other.h5"), "/")
    file["x"] = h5py.SoftLink("/g/x")


def raw_data(file: h5py.File, folder: Path) -> None:
    file.create_dataset("x", (20, 4), "u1", external=[(str(folder / "secret"), 0, 80)])


def virtual(file: h5py.File, folder: Path) -> None:
    layout = h5py.VirtualLayout((20, 4), "u1")
    layout[:] = h5py.VirtualSource(str(folder / "other.h5"), "x", (20, 4))
    file.create_virtual_dataset("x", layout)


ELSEWHERE: dict[str, Make] = {
    "external link": external_link,
    "soft link to an external one": external_group,
    "raw data elsewhere": raw_data,
    "virtual dataset": virtual,
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with files that are nobody's business."""
    (tmp_path / "secret").write_bytes(SECRET)
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = np.frombuffer(SECRET[:80], np.uint8).reshape(20, 4)
    return tmp_path


@pytest.mark.parametrize("kind", ELSEWHERE)
def test_nothing_of_another_file_is_read(folder: Path, kind: str) -> None:
    path = folder / "given.h5"
    with h5py.File(path, "w") as file:
        ELSEWHERE[kind](file, folder)
        file["y"] = np.zeros(20, np.uint8)
    with h5py.File(path) as file:  # HDF5 itself would
        assert bytes(np.asarray(file["x"]).tobytes()) == SECRET[:80]
    with pytest.raises(InputError, match="x lies in another file, which is not read: copy all data into one"):
        H5Source(str(path), (("train", "x:y"),), (2, 2, 1), (0.0, 255.0)).plan()
    with pytest.raises(InputError, match="lies in another file"), hdf5.open_file(str(path)) as file:
        hdf5.check_whole(str(path), file)


@pytest.mark.parametrize("packed", ["gzip", "lzf"])
def test_filters_that_compute_with_numbers_of_the_file_are_refused(tmp_path: Path, packed: str) -> None:
    path = tmp_path / "given.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("x", (20,), "u1", chunks=(5,), compression=packed)
        file.create_dataset("y", (20,), "u1", chunks=(5,), scaleoffset=4)
    with hdf5.open_file(str(path)) as file:
        assert hdf5.open_dataset(str(path), file, "x") is not None
        with pytest.raises(InputError, match="y is packed with scaleoffset; pack it with gzip"):
            hdf5.open_dataset(str(path), file, "y")


def test_links_within_a_file_are_followed(tmp_path: Path) -> None:
    path = tmp_path / "given.h5"
    with h5py.File(path, "w") as file:
        file["deep/er/x"] = np.arange(6)
        file["deep/one"] = h5py.SoftLink("er/./x")  # from where the link lies
        file["two"] = h5py.SoftLink("/deep/one")
        file["round"] = h5py.SoftLink("/round")
        file["nowhere"] = h5py.SoftLink("/not/there")
    with hdf5.open_file(str(path)) as file:
        for key in ("deep/er/x", "/deep/one", "two"):
            found = hdf5.open_dataset(str(path), file, key)
            assert found is not None and found[:].tolist() == list(range(6))
        for key in ("deep", "nowhere", "deep/er/x/y", ""):
            assert hdf5.open_dataset(str(path), file, key) is None
        with pytest.raises(InputError, match="round is a link in a circle"):
            hdf5.open_dataset(str(path), file, "round")
        assert hdf5.dataset_names(str(path), file) == ["deep/er/x"]


def values_elsewhere(file: h5py.File, folder: Path) -> None:
    entry = file["digitStruct/bbox"][0, 0]
    del file[entry]["left"]
    file[entry].create_dataset("left", (1, 1), "f8", external=[(str(folder / "secret"), 0, 8)])


def linked_values(file: h5py.File, folder: Path) -> None:
    entry = file["digitStruct/bbox"][0, 0]
    del file[entry]["left"]
    file[entry]["left"] = h5py.ExternalLink(str(folder / "other.h5"), "/x")


def very_many(file: h5py.File, folder: Path) -> None:
    entry = file["digitStruct/bbox"][0, 0]
    del file[entry]["left"]
    file[entry].create_dataset("left", (1 << 40, 1), "f8", chunks=(1024, 1))


@pytest.mark.parametrize("change", [values_elsewhere, linked_values, very_many])
def test_boxes_stand_in_their_own_file(folder: Path, change: Make) -> None:
    path = digit_struct.write_mat(folder / "digitStruct.mat", [("1.png", digit_struct.row_of_boxes("7"))])
    assert digit_boxes.read_mat(str(path), 0, 1)[0].number() == "7"
    with h5py.File(path, "r+") as file:
        change(file, folder)
    with pytest.raises(InputError, match=f"^{path}: .*(lies in another file|link to elsewhere|more than 256)"):
        digit_boxes.read_mat(str(path), 0, 1)


ABSURD: dict[str, tuple[dict[str, Any], str]] = {
    "many": ({"shape": (1 << 50, 4), "chunks": (1024, 4)}, "x states .* bytes, but only 0 are stored"),
    "large": ({"shape": (20, 1 << 20, 1 << 20), "chunks": (1, 64, 64)}, "states"),
    "chunks": ({"shape": (20, 30_000, 20_000), "chunks": (1, 30_000, 20_000)}, "x has chunks of 600,000,000 bytes"),
}


@pytest.mark.parametrize("case", ABSURD)
def test_absurd_shapes_are_refused_before_anything_is_read(tmp_path: Path, case: str) -> None:
    how, told = ABSURD[case]
    path = tmp_path / "given.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("x", dtype="u1", compression="gzip", **how)
        file["y"] = np.zeros(20, np.uint8)
    with pytest.raises(InputError, match=told):
        H5Source(str(path), (("train", "x:y"),), (), (0.0, 255.0)).plan()


@pytest.mark.parametrize("size", [0, 3])
def test_chunks_that_cannot_be_are_refused(tmp_path: Path, size: int) -> None:
    """Found by fuzzing: HDF5 1.14 breaks down, and the process with it, where a chunk has no bytes."""
    path = tmp_path / "given.h5"
    with h5py.File(path, "w") as file:
        values = np.arange(320, dtype=np.float32).reshape(20, 4, 4)
        how: dict[str, Any] = {"compression": "gzip", "shuffle": True, "fletcher32": True}
        made = file.create_dataset("x", data=values, chunks=(5, 4, 4), **how)
        file["y"] = np.zeros(20, np.uint8)
        chunk = made.id.get_chunk_info(1)
    content = path.read_bytes()
    key = chunk.size.to_bytes(4, "little") + bytes(4) + (5).to_bytes(8, "little")  # of the tree of chunks
    assert content.count(key) == 1
    H5Source(str(path), (("train", "x:y"),), (), (0.0, 255.0)).plan()
    path.write_bytes(content.replace(key, size.to_bytes(4, "little") + key[4:]))
    with pytest.raises(InputError, match=r"cannot read x \(chunk \(5, 0, 0\) has [03] bytes"):
        H5Source(str(path), (("train", "x:y"),), (), (0.0, 255.0)).plan()


def test_what_is_packed_well_is_no_bomb(tmp_path: Path) -> None:
    path = tmp_path / "given.h5"
    with h5py.File(path, "w") as file:  # a thousand to one, which is all that zlib can do
        file.create_dataset("x", data=np.zeros((100, 1000, 1000), np.uint8), chunks=(1, 1000, 1000), compression="gzip")
        file["y"] = np.zeros(100, np.uint8)
    assert math.log10(path.stat().st_size) < 5.4
    plan = H5Source(str(path), (("train", "x:y"),), (), (0.0, 255.0)).plan()
    assert plan.records() == {"train": 100}


def test_deep_groups_and_circles_end(tmp_path: Path) -> None:
    path = tmp_path / "given.h5"
    with h5py.File(path, "w") as file:
        here = file.create_group("top")
        here["again"] = here  # a group in itself
        for _ in range(20_000):
            here = here.create_group("a")
        here["x"] = [1]
    with hdf5.open_file(str(path)) as file:
        for look in (hdf5.dataset_names, hdf5.check_whole):
            with pytest.raises(InputError, match="more than 64 groups in one"):
                look(str(path), file)
        assert hdf5.open_dataset(str(path), file, "top/again/again/a") is None
        assert hdf5.open_dataset(str(path), file, "/".join(["top", *"a" * 20_000, "x"])) is not None


@pytest.mark.parametrize("block", [0, 512, 2048])
def test_a_file_that_asks_for_a_driver_is_refused_and_a_block_before_it_is_not(tmp_path: Path, block: int) -> None:
    path = tmp_path / "x.h5"
    with h5py.File(path, "w", libver="earliest", userblock_size=block) as file:
        file["x"] = np.arange(4)
    with hdf5.open_file(str(path)) as file:
        assert file["x"][:].tolist() == [0, 1, 2, 3]
    content = bytearray(path.read_bytes())
    assert content[block + 48 : block + 56] == b"\xff" * 8  # where the driver's block would lie
    content[block + 48 : block + 56] = (255).to_bytes(8, "little")
    path.write_bytes(content)
    with pytest.raises(InputError, match="spread over several files"), hdf5.open_file(str(path)):
        pass


@pytest.mark.parametrize("length", [8, 9, 13, 14, 40])
def test_a_file_cut_off_within_its_superblock_is_refused(tmp_path: Path, length: int) -> None:
    path = tmp_path / "x.h5"
    with h5py.File(path, "w", libver="earliest") as file:
        file["x"] = np.arange(4)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(InputError, match=str(path)), hdf5.open_file(str(path)):
        pass


def test_a_chunk_that_cannot_have_come_from_what_is_stored_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("empty", (0, 1 << 24), "u1", chunks=(8, 1 << 24), maxshape=(None, 1 << 24))
        found = file.create_dataset("x", (4,), "u1", maxshape=(None,), chunks=(200 << 20,), compression="gzip")
        found.id.write_direct_chunk((0,), b"x" * 100)
    with hdf5.open_file(str(path)) as file:
        assert hdf5.open_dataset(str(path), file, "empty") is not None
        with pytest.raises(InputError, match="but only 100 are stored"):
            hdf5.open_dataset(str(path), file, "x")
