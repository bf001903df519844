"""A table of labels: a CSV file with a row an image, its name and its labels."""

import posixpath
import re

from schemas.csvfile import read_rows
from schemas.errors import InputError
from schemas.layout import check_inside

HEADER = (
    {"filename", "file_name", "file", "path", "image", "image_name", "image_id", "imageid", "name", "id"},
    {"labels", "label", "tags", "tag", "classes", "class"},
)
_SEPARATORS = re.compile(r"[;|]|\s+")


def read_label_table(path: str) -> dict[str, tuple[str, ...]]:
    """Labels of each file, in the file's order, each once.

    A row is `filename,labels`, the labels separated by spaces, `;` or `|`; the header may be left out, and may name its
    two columns as others do (`image_name,tags`).

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
            raise InputError(f"{path}, line {number}: {name} is there twice; put all its labels into one row")
        labels[name] = tuple(dict.fromkeys(label for label in _SEPARATORS.split(row[1]) if label))
    if not labels:
        raise InputError(f"{path} has no rows")
    return labels
