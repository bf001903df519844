"""Small CSV files, read whole: class names, tables of labels."""

import csv
import io

from schemas import storage
from schemas.errors import InputError

BOM = b"\xef\xbb\xbf"
MOST_BYTES = 256 << 20  # it is read whole; SVHN's half a million boxes take 16 MB


def read_rows(path: str, what: str, delimiters: str = ",") -> list[tuple[int, list[str]]]:
    """The rows of a CSV file in UTF-8 that are not empty, each with the line from 1 that it begins in.

    Lines may end in any way; the fields are separated by the first of `delimiters` that is in the first line.

    Raises:
        InputError: it is no such file, or has no row.
    """
    status = storage.stat(path)
    if status is None:
        raise InputError(f"no such file: {path}")
    if status.size > MOST_BYTES:
        raise InputError(f"{path} has {status.size:,} bytes; a file of {what} may have {MOST_BYTES:,}: cut it up")
    rows, line = [], 1
    try:
        text = storage.read_bytes(path).removeprefix(BOM).decode()
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
