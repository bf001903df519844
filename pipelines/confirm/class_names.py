"""Class descriptions: the labels of a data set, and what people call them."""

from schemas.csvfile import read_rows
from schemas.errors import InputError

_HEADERS = ({"LabelName", "DisplayName"}, {"LabelName"})


def read_class_names(path: str) -> dict[str, str]:
    """Display name of each label, in the file's order; the label itself where the file has but one column.

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
            raise InputError(f"{path}, line {number}: {key!r} is there twice, as {names[key]!r} and {name!r}")
    if not names:
        raise InputError(f"{path} names no class")
    return names
