"""The digits' boxes of SVHN's full numbers (format 1): `digitStruct.mat`, or a CSV file of the same content.

`digitStruct.mat` is HDF5 as MATLAB 7.3 writes it: `digitStruct/name` and `digitStruct/bbox` have one reference per
entry, to the letters of a file's name and to a group of `label`, `left`, `top`, `width` and `height`. Each of these has
one reference per digit to a single number; or the number itself, if there is only one digit. The CSV has one row per
box: `name;label;top;left;height;width`.
"""

import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
from h5py import h5d, h5l, h5r, h5s, h5t

from schemas.errors import InputError, Reason, UnfitError
from storage import hdf5, sandbox
from storage.formats import csv_tables, svhn_digits

COLUMNS = ("label", "left", "top", "width", "height")
MAX_LETTERS = 1024  # of an image's name
MAX_DIGITS = 256  # of a number
_NAMES, _BOXES = "digitStruct/name", "digitStruct/bbox"

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Entry:
    """An image that a list of boxes names.

    Attributes:
        name: of its file, in the folder of the list.
        position: of the entry in the list, for messages.
        boxes: (digits, 5) in the list's order: label (10 is digit 0), left, top, width, height in pixels.
        problem: why there are no boxes, if this entry cannot be read.
    """

    name: str
    position: str
    boxes: Floats
    problem: tuple[Reason, str] | None = None

    def number(self) -> str:
        """The digits from left to right, by the left edges of their boxes; equal ones in the list's order.

        Of the 46,470 entries of the official train and test sets, 8 list their digits in another order. The list's
        order is that of the left edges even for numbers that run downwards.

        Raises:
            UnfitError: there is no box, or a box or its label is invalid.
        """
        if self.problem:
            raise UnfitError(*self.problem)
        if not len(self.boxes):
            raise UnfitError(Reason.LABEL_MISSING, "it has no box")
        if not np.isfinite(self.boxes[:, 1:]).all():
            bad = self.boxes[~np.isfinite(self.boxes[:, 1:]).all(axis=1)][0, 1:].tolist()
            raise UnfitError(Reason.BOX_NOT_A_NUMBER, f"a box has left, top, width, height {bad}")
        digits = svhn_digits(self.boxes[:, 0])
        if not ((digits >= 0) & (digits <= 9)).all():
            bad = self.boxes[(digits < 0) | (digits > 9)][0, 0]
            raise UnfitError(Reason.LABEL_OUTSIDE_CLASSES, f"the label is {bad:g}, but labels are 1 to 10 (digit 0)")
        return "".join(map(str, digits[np.argsort(self.boxes[:, 1], kind="stable")].tolist()))

    def rectangle(self, height: int, width: int, margin: float) -> tuple[int, int, int, int]:
        """Top, bottom, left and right of the crop, in whole pixels of an image of this size.

        It is the smallest rectangle around the digits' boxes, higher and wider by the fraction `margin`, as in
        Goodfellow et al., Multi-digit Number Recognition (https://arxiv.org/abs/1312.6082, section 5.1). Boxes and
        rectangle are clipped to the image.

        Raises:
            UnfitError: no part of the boxes lies in the image.
        """
        starts = np.clip(self.boxes[:, 1:3], 0, (width, height))
        stops = np.clip(self.boxes[:, 1:3] + self.boxes[:, 3:5], 0, (width, height))
        inside = (stops > starts).all(axis=1)
        if not inside.any():
            first = f"the first box has left, top, width, height {self.boxes[0, 1:].tolist()}"
            raise UnfitError(Reason.BOX_OUTSIDE, f"{first}, but the image is {width}x{height}")
        low, high = starts[inside].min(axis=0), stops[inside].max(axis=0)
        more = (high - low) * margin / 2
        left, top = np.maximum(np.floor(low - more), 0).astype(int).tolist()
        right, bottom = np.minimum(np.ceil(high + more), (width, height)).astype(int).tolist()
        return top, bottom, left, right


# --- digitStruct.mat ----------------------------------------------------------------------------


@contextmanager
def _open_lists(path: str) -> Iterator[tuple[h5py.File, Any, Any]]:
    """The file, its names and its boxes."""
    with hdf5.open_file(path) as file:
        lists = []
        for key in (_NAMES, _BOXES):
            dataset = hdf5.open_dataset(path, file, key)
            with hdf5.explain_errors(path, key):
                if dataset is None or h5py.check_ref_dtype(dataset.dtype) is not h5py.Reference:
                    raise InputError(f"{path} has no list of references {key}; it is no digitStruct.mat of SVHN")
            lists.append(dataset)
        names, boxes = lists
        if names.shape != boxes.shape or names.ndim != 2 or names.shape[1] != 1:
            raise InputError(f"{path}: {_NAMES} has shape {names.shape} and {_BOXES} {boxes.shape}; copy it again")
        yield file, names, boxes


def count_mat(path: str) -> int:
    """Number of entries of a `digitStruct.mat`; InputError if it is none."""
    hdf5.probe_datasets(path, [_NAMES, _BOXES])
    with _open_lists(path) as (_, names, _):
        if not len(names):
            raise InputError(f"{path} has no entries: copy it again")
        return len(names)


def read_mat(path: str, start: int, stop: int) -> list[Entry]:
    """Some entries of a `digitStruct.mat`, which is read in a process of its own: it is full of references."""
    arguments = [path, str(start), str(stop)]
    entries = json.loads(sandbox.run_module(__name__, arguments, path, hdf5.probe_seconds(path)))
    return [_decode_entry(*entry) for entry in entries]


def _encode_entries(path: str, start: str, stop: str) -> str:
    entries = _read(path, int(start), int(stop))
    return json.dumps([[one.name, one.position, one.boxes.tolist(), one.problem] for one in entries])


def _decode_entry(name: str, position: str, boxes: list[list[float]], problem: tuple[str, str] | None) -> Entry:
    matrix = np.array(boxes, np.float64).reshape(-1, len(COLUMNS))
    return Entry(name, position, matrix, (Reason(problem[0]), problem[1]) if problem else None)


def _read(path: str, start: int, stop: int) -> list[Entry]:
    """The entries; HDF5's own calls, without h5py's objects around them, take a quarter of the time."""
    with _open_lists(path) as (file, names, boxes), hdf5.explain_errors(path, f"entries {start} to {stop}"):
        pairs = zip(names[start:stop, 0], boxes[start:stop, 0], strict=True)
        return [_entry(_File(path, file.id), row, *pair) for row, pair in enumerate(pairs, start)]


@dataclass(frozen=True)
class _File:
    """An open file, and its path."""

    path: str
    id: Any

    def at(self, reference: Any) -> Any:
        """The target of a reference, which is always in the same file."""
        return h5r.dereference(reference, self.id)

    def values(self, dataset: Any, kind: Any, limit: int) -> npt.NDArray[Any]:
        """All values of a dataset that lie in this file; ValueError if there are more than `limit`."""
        hdf5.check_own(self.path, "a value of an entry", dataset)
        if math.prod(dataset.shape) > limit:
            raise ValueError(f"{dataset.shape} values, more than {limit}")
        values = np.empty(dataset.shape, kind)
        dataset.read(h5s.ALL, h5s.ALL, values)
        return values.reshape(-1)


def _entry(file: _File, row: int, name: Any, boxes: Any) -> Entry:
    codes = file.values(file.at(name), np.uint16, MAX_LETTERS)
    group = file.at(boxes)
    columns = [_values(file, group, key.encode()) for key in COLUMNS]
    count = {len(column) for column in columns}
    problem = None
    if len(count) > 1:
        lengths = ", ".join(f"{len(column)} of {key}" for key, column in zip(COLUMNS, columns, strict=True))
        problem = Reason.BOX_NOT_A_NUMBER, f"its boxes have {lengths}"
    matrix = np.empty((0, len(COLUMNS))) if problem else np.array(columns, np.float64).T
    text = codes.astype(np.uint16).tobytes().decode("utf-16-le", "replace")
    return Entry(text, f"digitStruct({row + 1})", matrix, problem)


def _values(file: _File, group: Any, key: bytes) -> list[float]:
    """The numbers of one field of an entry: one reference each, or a single number itself."""
    if group.links.get_info(key).type != h5l.TYPE_HARD:
        raise ValueError(f"{key.decode()} is a link to elsewhere")
    dataset = h5d.open(group, key)
    if dataset.get_type().get_class() != h5t.REFERENCE:
        return [float(value) for value in file.values(dataset, np.float64, MAX_DIGITS)]
    references = file.values(dataset, h5py.ref_dtype, MAX_DIGITS)
    return [float(file.values(file.at(one), np.float64, MAX_DIGITS)[0]) for one in references]


# --- CSV ----------------------------------------------------------------------------------------


def read_csv(path: str) -> list[Entry]:
    """The entries of a CSV file of boxes, in the order in which they first occur.

    Fields are separated by `;` or `,`; the columns may have any order, and be among others.

    Raises:
        InputError: it is no such file, or a row names no image.
    """
    rows = csv_tables.read_rows(path, "boxes", ";,")
    if len(rows) == 1:
        raise InputError(f"{path} has no rows below its header: copy it again")
    header = [name.strip().lower() for name in rows[0][1]]
    absent = [name for name in ("name", *COLUMNS) if name not in header]
    if absent:
        raise InputError(
            f"{path} has no column {', '.join(absent)}; it has {', '.join(header)}, but the boxes of SVHN are "
            "name;label;top;left;height;width"
        )
    columns = [header.index(name) for name in COLUMNS]
    name_column = header.index("name")
    entries: dict[str, list[tuple[int, list[str]]]] = {}
    for line, row in rows[1:]:
        name = row[name_column] if name_column < len(row) else ""
        if not name:
            raise InputError(f"{path}, line {line}: the row names no image: {row}; correct it")
        entries.setdefault(name, []).append((line, row))
    return [_read_entry(name, lines, columns, len(header)) for name, lines in entries.items()]


def _read_entry(name: str, lines: Sequence[tuple[int, list[str]]], columns: Sequence[int], fields: int) -> Entry:
    boxes = []
    position = f"line {lines[0][0]}"
    for line, row in lines:
        if len(row) != fields:
            detail = f"line {line} has {len(row)} fields, but the header has {fields}"
            return Entry(name, position, np.empty((0, len(COLUMNS))), (Reason.ROW_MALFORMED, detail))
        try:
            boxes.append([float(row[column]) for column in columns])
        except ValueError as error:
            detail = f"line {line}: {error}"
            return Entry(name, position, np.empty((0, len(COLUMNS))), (Reason.BOX_NOT_A_NUMBER, detail))
    return Entry(name, position, np.array(boxes))


if __name__ == "__main__":
    sandbox.report_answer(_encode_entries)
