"""SVHN's full numbers, drawn for tests: `digitStruct.mat` as MATLAB writes it, read back by the plainest means."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
import numpy.typing as npt

Box = tuple[float, float, float, float, float]  # label, left, top, width, height
KEYS = ("label", "left", "top", "width", "height")


def write_mat(path: Path, entries: Iterable[tuple[str, Sequence[Box]]]) -> Path:
    """A file of HDF5 below MATLAB's 512 bytes, every value by reference but those of one-digit entries."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w", userblock_size=512) as file:
        home = file.create_group("#refs#")

        def kept(values: npt.ArrayLike) -> Any:
            return home.create_dataset(f"r{len(home)}", data=np.asarray(values)).ref

        def group(boxes: Sequence[Box]) -> Any:
            made = home.create_group(f"g{len(home)}")
            for key, column in zip(KEYS, zip(*boxes, strict=True), strict=True):
                if len(column) == 1:
                    made[key] = np.array([column])
                else:
                    made.create_dataset(key, data=[[kept([[value]])] for value in column], dtype=h5py.ref_dtype)
            return made.ref

        pairs = [(kept(np.array([[ord(letter)] for letter in name], "u2")), group(boxes)) for name, boxes in entries]
        for key, column in zip(("name", "bbox"), zip(*pairs, strict=True), strict=True):
            file.create_dataset(f"digitStruct/{key}", data=[[one] for one in column], dtype=h5py.ref_dtype)
    return path


def walk(path: Path) -> dict[str, list[Box]]:
    """Every entry of such a file, one value after the other."""
    found: dict[str, list[Box]] = {}
    with h5py.File(path) as file:
        for name, boxes in zip(file["digitStruct/name"][:, 0], file["digitStruct/bbox"][:, 0], strict=True):
            columns = []
            for key in KEYS:
                values = file[boxes][key]
                in_place = values.shape == (1, 1)
                columns.append([values[0, 0]] if in_place else [file[one][0, 0] for one in values[:, 0]])
            found["".join(chr(code) for code in file[name][:, 0])] = list(zip(*columns, strict=True))
    return found


def write_csv(path: Path, entries: Iterable[tuple[str, Sequence[Box]]]) -> Path:
    """The same as a CSV file, its columns in the order of those that are passed around."""
    rows = [
        f"{name};{label:g};{top:g};{left:g};{height:g};{width:g}\n"
        for name, boxes in entries
        for label, left, top, width, height in boxes
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(["name;label;top;left;height;width\n", *rows]))
    return path


def row_of_boxes(number: str, left: float = 10, top: float = 8, width: float = 9, height: float = 16) -> list[Box]:
    """Boxes side by side, a digit each, 0 as 10."""
    return [(int(digit) or 10, left + place * width, top, width, height) for place, digit in enumerate(number)]


def picture(height: int, width: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    """A picture (height, width, 3) in RGB of which each part is its own."""
    rng = np.random.default_rng(seed)
    return np.asarray(cv2.resize(rng.integers(0, 256, (7, 9, 3), np.uint8), (width, height)), np.uint8)


def png(pixels: npt.NDArray[np.uint8]) -> bytes:
    """A PNG file of RGB pixels."""
    return bytes(cv2.imencode(".png", pixels[..., ::-1])[1].tobytes())
