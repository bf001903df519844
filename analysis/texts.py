"""Numbers as people read them."""

from typing import Any

UNDEFINED = "\N{EN DASH}"


def count(number: int) -> str:
    """A whole number, its thousands set apart."""
    return f"{number:,}"


def decimal(figure: float | None, digits: int = 3) -> str:
    """A figure with so many decimals; a dash where it is not defined."""
    return UNDEFINED if figure is None else f"{figure:.{digits}f}"


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


FILTERS = {"count": count, "decimal": decimal, "percent": percent, "setting": setting}
