"""Numbers as people read them."""

import math
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


def several(number: int, one: str, more: str = "") -> str:
    """So many of something: 1 image, 2 images."""
    return f"{count(number)} {one if number == 1 else more or one + 's'}"


def tenth(decile: int) -> str:
    """The confidences of a decile."""
    return f"{decile / 10:.1f}\N{EN DASH}{(decile + 1) / 10:.1f}"


def interval(low: float | None, high: float | None, digits: int = 3) -> str:
    """An interval, from its lower to its upper end."""
    return UNDEFINED if low is None else f"{decimal(low, digits)}\N{EN DASH}{decimal(high, digits)}"


def moment(written: str) -> str:
    """A time in ISO 8601, as people read it; in UTC."""
    if not written:
        return UNDEFINED
    time = datetime.fromisoformat(written).astimezone(UTC)
    return f"{time.day} {time:%B %Y, %H:%M} UTC"


def decimal(figure: float | None, digits: int = 3) -> str:
    """A figure with so many decimals; a dash where it is not defined."""
    if figure is None:
        return UNDEFINED
    written = f"{figure:.{digits}f}"
    return written if float(written) else written.removeprefix("-")


def threshold(confidence: float) -> str:
    """A threshold of confidence: four decimals, or as many as distinguish it from 1."""
    distance = 1 - confidence
    return f"{confidence:.{max(4, -math.floor(math.log10(distance)))}f}" if 0 < distance < 1 else f"{confidence:g}"


def percent(share: float | None) -> str:
    """A share in percent, with one decimal; it reads 100.0 % or 0.0 % only where that is exact."""
    if share is None:
        return UNDEFINED
    rounded = round(100 * share, 1)
    if 0 < share < 1:
        rounded = min(max(rounded, 0.1), 99.9)
    return f"{rounded:.1f} %"


def setting(value: Any) -> str:
    """A setting as a person would write it."""
    if value is None or value in ("", [], {}):
        return UNDEFINED
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, dict):
        return ", ".join(f"{key}: {entry}" for key, entry in value.items())
    return str(value)


FILTERS = {
    "brief": brief,
    "count": count,
    "decimal": decimal,
    "interval": interval,
    "moment": moment,
    "percent": percent,
    "setting": setting,
    "several": several,
    "tenth": tenth,
    "threshold": threshold,
}
