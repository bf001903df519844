"""What label rows are, told once more: slowly, a line at a time, with nothing of the project's own."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

import numpy as np

_DECIMAL = re.compile(rb"[ \t]*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?[ \t]*")
_HEX = re.compile(rb"[0-9a-fA-F]{16}")


@dataclass(frozen=True)
class Row:
    """A row that is in order."""

    image: int
    label: str
    confidence: float
    source: str


@dataclass(frozen=True)
class Reject:
    """A row that is not."""

    image_id: str
    reason: str
    offset: int


@dataclass(frozen=True)
class Columns:
    """How many fields a line has, and which of them are wanted; the source may be absent."""

    fields: int
    image: int
    label: int
    confidence: int
    source: int | None = None


def lines(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Offset and text of each line that is not empty."""
    at = 0
    for part in re.split(rb"(\r\n|\r|\n)", data):
        if part.strip(b"\r\n"):
            yield at, part
        at += len(part)


def split(line: bytes) -> list[bytes] | None:
    """The fields of a line, or None where a quote is left open."""
    fields, field, state = [], bytearray(), "start"
    for byte in line + b",":
        if state == "quoted":
            if byte == ord('"'):
                state = "closed"
            else:
                field.append(byte)
        elif byte == ord(","):
            fields.append(bytes(field))
            field.clear()
            state = "start"
        elif byte == ord('"') and state == "start":
            state = "quoted"
        else:
            field.append(byte)
            state = "quoted" if byte == ord('"') and state == "closed" else "open"
    return None if state == "quoted" else fields


def nearest(text: bytes) -> float:
    """The single-precision number that is nearest to a decimal one, exactly; of two, the one whose last bit is 0."""
    exact = Fraction(Decimal(text.decode()))
    if abs(exact) >= 2**128:
        return float("inf") if exact > 0 else float("-inf")
    guess = np.float32(float(exact))
    near = [guess, np.nextafter(guess, np.float32(np.inf)), np.nextafter(guess, np.float32(-np.inf))]
    finite = [one for one in near if np.isfinite(one)]
    best = min(finite, key=lambda one: (abs(Fraction(float(one)) - exact), int(one.view(np.uint32)) & 1))
    return float(best)


def fault(fields: list[bytes] | None, columns: Columns, verdicts: bool) -> str:
    """The first thing that is wrong with a line, or nothing."""
    if fields is None or len(fields) != columns.fields:
        return "row_malformed"
    label, confidence = fields[columns.label], fields[columns.confidence]
    if not _HEX.fullmatch(fields[columns.image]):
        return "image_id_not_hex"
    try:
        (label + (b"" if columns.source is None else b" " + fields[columns.source])).decode()
    except UnicodeDecodeError:
        return "row_not_utf8"
    if not label:
        return "label_missing"
    if not _DECIMAL.fullmatch(confidence):
        return "confidence_not_a_number"
    if not 0 <= nearest(confidence) <= 1:
        return "confidence_outside"
    return "verdict_not_clear" if verdicts and nearest(confidence) not in (0, 1) else ""


def read(data: bytes, columns: Columns, verdicts: bool) -> tuple[list[Row], list[Reject]]:
    """The rows of some lines, and what is wrong with the others, in order."""
    rows, rejects = [], []
    for offset, line in lines(data):
        fields = split(line)
        reason = fault(fields, columns, verdicts)
        if not reason:
            assert fields is not None
            source = "" if columns.source is None else fields[columns.source].decode()
            label, confidence = fields[columns.label].decode(), nearest(fields[columns.confidence])
            rows.append(Row(int(fields[columns.image], 16), label, confidence, source))
        else:
            known = fields if fields is not None and reason != "row_malformed" else None
            image_id = known[columns.image][:100].decode(errors="backslashreplace") if known else ""
            rejects.append(Reject(image_id, reason, offset))
    return rows, rejects
