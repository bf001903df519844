"""The rows of a query, written as an aligned table, CSV, JSON or Markdown."""

import base64
import csv
import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import IO, Any

import numpy as np

Values = tuple[Any, ...]
_NUMBER = re.compile(r"U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?|FLOAT|DOUBLE|DECIMAL\(.*\)")
_DIGITS = 6  # significant ones of a figure in a table


@dataclass(frozen=True)
class Column:
    """A column: its name, and DuckDB's name of its type."""

    name: str
    kind: str

    @property
    def is_number(self) -> bool:
        """Whether its values stand at the right."""
        return _NUMBER.fullmatch(self.kind) is not None


class Limited:
    """The first rows of batches.

    Attributes:
        taken: how many rows have been yielded.
        more: whether there were more than that.
    """

    def __init__(self, batches: Iterable[Sequence[Values]], most: int) -> None:
        """Yield so many rows at most; 0 for all."""
        self._batches, self._most = batches, most
        self.taken, self.more = 0, False

    def __iter__(self) -> Iterator[Values]:
        for batch in self._batches:
            for row in batch:
                if self._most and self.taken == self._most:
                    self.more = True
                    return
                self.taken += 1
                yield row


def write_table(columns: Sequence[Column], rows: Iterable[Values], out: IO[str]) -> None:
    """An aligned table: figures rounded to six digits, numbers at the right."""
    names = [_line(column.name) for column in columns]
    cells = [[_read(value) for value in row] for row in rows]
    widths = [max(map(_width, column)) for column in zip(names, *cells, strict=True)]
    at_right = [column.is_number for column in columns]
    for row in (names, ["-" * width for width in widths], *cells):
        print("  ".join(map(_pad, row, widths, at_right)).rstrip(), file=out)


def write_markdown(columns: Sequence[Column], rows: Iterable[Values], out: IO[str]) -> None:
    """A table of Markdown, its figures as `write_table` rounds them."""
    print("|", " | ".join(_cell(column.name) for column in columns), "|", file=out)
    print("|" + "|".join("--:" if column.is_number else "---" for column in columns) + "|", file=out)
    for row in rows:
        print("|", " | ".join(_cell(_read(value)) for value in row), "|", file=out)


def write_csv(columns: Sequence[Column], rows: Iterable[Values], out: IO[str]) -> None:
    """CSV with a header: figures in full, null as nothing, bytes in base64, lists as JSON."""
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([column.name for column in columns])
    for row in rows:
        plain = [_plain(value, column.kind) for value, column in zip(row, columns, strict=True)]
        writer.writerow([_json(value) if isinstance(value, list | dict | bool) else value for value in plain])


def write_json(columns: Sequence[Column], rows: Iterable[Values], out: IO[str]) -> None:
    """A JSON array, one object per row and line; NaN and infinity as null, bytes in base64."""
    names, between = [column.name for column in columns], "[\n"
    for row in rows:
        plain = [_finite(_plain(value, column.kind)) for value, column in zip(row, columns, strict=True)]
        out.write(between + _json(dict(zip(names, plain, strict=True))))
        between = ",\n"
    out.write("[]\n" if between == "[\n" else "\n]\n")


FORMS: dict[str, Callable[[Sequence[Column], Iterable[Values], IO[str]], None]] = {
    "table": write_table,
    "csv": write_csv,
    "json": write_json,
    "markdown": write_markdown,
}
READ = ("table", "markdown")  # by humans


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _plain(value: Any, kind: str) -> Any:
    """A value as JSON can hold it, a FLOAT with the few digits that distinguish it from others."""
    if isinstance(value, float):
        return float(str(np.float32(value))) if kind.startswith("FLOAT") else value
    if isinstance(value, list):
        return [_plain(one, kind) for one in value]
    if isinstance(value, dict):
        return {str(key): _plain(one, "") for key, one in value.items()}
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, Decimal):
        return int(value) if value == int(value) else float(value)
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def _finite(value: Any) -> Any:
    if isinstance(value, list):
        return [_finite(one) for one in value]
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _read(value: Any) -> str:
    """A value in one line, as a table has it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.{_DIGITS}g}"
    if isinstance(value, bytes):
        return f"{len(value):,} bytes"
    if isinstance(value, list):
        return "[" + ", ".join(map(_read, value)) + "]"
    return _line(str(value))


def _line(text: str) -> str:
    """A text without what would break a line or drive a terminal."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def _cell(text: str) -> str:
    return _line(text).replace("\\", "\\\\").replace("|", "\\|")


def _width(text: str) -> int:
    """How many columns of a terminal a text takes."""
    wide = sum(unicodedata.east_asian_width(char) in "WF" for char in text)
    return len(text) + wide - sum(unicodedata.combining(char) > 0 for char in text)


def _pad(text: str, width: int, at_right: bool) -> str:
    space = " " * (width - _width(text))
    return space + text if at_right else text + space
