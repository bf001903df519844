"""Numbers and tables as the report writes them."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

UNDEFINED = "\N{EN DASH}"


def count(number: int) -> str:
    """A whole number, its thousands set apart."""
    return f"{number:,}"


def brief(number: float) -> str:
    """A number with three digits at most and k, M or bn for thousands, millions and thousand millions."""
    rounded = float(f"{number:.3g}")
    for unit, name in ((1e9, "bn"), (1e6, "M"), (1e3, "k")):
        if rounded >= unit:
            return f"{rounded / unit:g} {name}"
    return f"{rounded:g}"


def plural(number: int, one: str, more: str = "") -> str:
    """So many of something: 1 image, 2 images."""
    return f"{count(number)} {one if number == 1 else more or one + 's'}"


def decile_range(decile: int) -> str:
    """The confidences of a decile."""
    return f"{decile / 10:.1f}\N{EN DASH}{(decile + 1) / 10:.1f}"


def interval(low: float | None, high: float | None, digits: int = 3) -> str:
    """An interval, from its lower to its upper end; where one may be negative, a dash could be taken for a minus."""
    if low is None:
        return UNDEFINED
    return f"{decimal(low, digits)}{' to ' if low < 0 else UNDEFINED}{decimal(high, digits)}"


def plain_interval(low: float | None, high: float | None, digits: int = 3) -> str:
    """An interval in a sentence."""
    return UNDEFINED if low is None else f"{decimal(low, digits)} to {decimal(high, digits)}"


def moment(text: str) -> str:
    """A time in ISO 8601, spelt out in UTC."""
    if not text:
        return UNDEFINED
    time = datetime.fromisoformat(text).astimezone(UTC)
    return f"{time.day} {time:%B %Y, %H:%M} UTC"


def decimal(figure: float | None, digits: int = 3) -> str:
    """A figure with so many decimals; a dash where it is not defined."""
    if figure is None:
        return UNDEFINED
    text = f"{figure:.{digits}f}"
    return text if float(text) else text.removeprefix("-")


def threshold(confidence: float) -> str:
    """A threshold of confidence with four decimals, or as many as it takes to differ from 1."""
    distance = abs(1 - confidence)
    digits = 4 if distance == 0 else max(4, -math.floor(math.log10(distance)))
    return f"{confidence:.{digits}f}"


def percent(share: float | None) -> str:
    """A share in percent, with one decimal; it reads 100.0 % or 0.0 % only where that is exact."""
    if share is None:
        return UNDEFINED
    rounded = round(100 * share, 1)
    if 0 < share < 1:
        rounded = min(max(rounded, 0.1), 99.9)
    return f"{rounded:.1f} %"


def setting(value: Any) -> str:
    """A setting as one would write it by hand."""
    if value is None or value in ("", [], {}):
        return UNDEFINED
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, dict):
        return ", ".join(f"{key}: {entry}" for key, entry in value.items())
    return str(value)


def markdown_table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; what comes after the first column is set to the right."""
    lines = [names, ["---", *["---:"] * (len(names) - 1)], *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


FILTERS = {
    one.__name__: one
    for one in (brief, count, decile_range, decimal, interval, moment, percent, plural, setting, threshold)
}
