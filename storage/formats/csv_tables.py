"""Small CSV files that are read whole: tables of labels, and class names."""

import csv
import io
import posixpath
import re

from schemas.errors import InputError
from schemas.layout import check_inside
from storage import stores

BOM = b"\xef\xbb\xbf"
MAX_BYTES = 256 << 20  # it is read whole; SVHN's half a million boxes take 16 MB


def read_rows(path: str, what: str, delimiters: str = ",") -> list[tuple[int, list[str]]]:
    """The rows of a CSV file in UTF-8 that are not empty, each with the number from 1 of its first line.

    Lines may end in any way; the fields are separated by the first of `delimiters` that occurs in the first line.

    Raises:
        InputError: it is missing, too large, no such file, or has no row.
    """
    status = stores.stat(path)
    if status is None:
        raise InputError(f"no such file: {path}")
    if status.size > MAX_BYTES:
        raise InputError(f"{path} has {status.size:,} bytes; a file of {what} may have {MAX_BYTES:,}: split it")
    rows, line = [], 1
    try:
        text = stores.read_bytes(path).removeprefix(BOM).decode()
        first = text.splitlines()[0] if text else ""
        delimiter = next((one for one in delimiters if one in first), delimiters[0])
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
        for row in reader:
            rows.append((line, row))
            line = reader.line_num + 1
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} is no CSV file of {what} in UTF-8: {error}") from error
    rows = [(number, row) for number, row in rows if row]
    if not rows:
        raise InputError(f"{path} is empty, but must hold {what}")
    return rows


# --- Tables of labels: one row per image, its name and its labels ---------------------------------

HEADER = (
    {"filename", "file_name", "file", "path", "image", "image_name", "image_id", "imageid", "name", "id"},
    {"labels", "label", "tags", "tag", "classes", "class"},
)
_SEPARATORS = re.compile(r"[;|]|\s+")


def read_label_table(path: str) -> dict[str, tuple[str, ...]]:
    """Labels of each image file, in order, without duplicates.

    A row is `filename,labels`, the labels separated by spaces, `;` or `|`; the header is optional, and may have other
    common names for its two columns (`image_name,tags`).

    Raises:
        InputError: it is no such file; the message names the line.
    """
    rows = read_rows(path, "labels")
    first = [name.strip().lower() for name in rows[0][1]]
    if len(first) == 2 and all(name in known for name, known in zip(first, HEADER, strict=True)):
        rows = rows[1:]
    labels: dict[str, tuple[str, ...]] = {}
    for number, row in rows:
        if len(row) != 2 or not row[0]:
            raise InputError(f"{path}, line {number}: a row is FILENAME,LABELS (labels separated by spaces or ;)")
        name = posixpath.normpath(row[0])  # `find` writes ./ before it
        check_inside(f"{path}, line {number}:", name)
        if name in labels:
            raise InputError(f"{path}, line {number}: {name} occurs twice; put all its labels into one row")
        labels[name] = tuple(dict.fromkeys(label for label in _SEPARATORS.split(row[1]) if label))
    if not labels:
        raise InputError(f"{path} has no rows")
    return labels


# --- Class descriptions: the labels of a data set, and their display names ------------------------

_HEADERS = ({"LabelName", "DisplayName"}, {"LabelName"})


def read_class_names(path: str) -> dict[str, str]:
    """Display name of each label, in the file's order; the label itself if the file has only one column.

    The file is `label,display name` in UTF-8, with or without a header; fields may be quoted, and lines end in any way.

    Raises:
        InputError: it is no such file; the message names the line.
    """
    rows = read_rows(path, "classes")
    label = 0
    if set(rows[0][1]) in _HEADERS:
        label = rows[0][1].index("LabelName")
        rows = rows[1:]
    names: dict[str, str] = {}
    for number, row in rows:
        if not label < len(row) <= 2 or not row[label]:
            raise InputError(
                f"{path}, line {number}: a class is LABEL,NAME (quote a name with commas); got {row!r:.100}"
            )
        key, name = row[label], row[-1 - label]
        if names.setdefault(key, name) != name:
            raise InputError(f"{path}, line {number}: {key!r} occurs twice, as {names[key]!r} and {name!r}")
    if not names:
        raise InputError(f"{path} names no class")
    return names
