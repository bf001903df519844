"""Rows of an image and label each, as a comparison of several labels keeps them, as rows of an image."""

from collections.abc import Iterable
from typing import Any

Row = dict[str, Any]
_NONE = "none"


def by_image(rows: Iterable[Row]) -> list[Row]:
    """Rows of an image and a label each as rows of an image: each one's labels in one text, without a confidence."""
    grouped: dict[str, list[Row]] = {}
    for row in rows:
        grouped.setdefault(row["image_id"], []).append(row)
    return [
        {
            "image_id": image_id,
            "truth": _joined(found, "truth") if any(row["correct_a"] is not None for row in found) else None,
            **{f"label_{side}": _joined(found, f"label_{side}") for side in "ab"},
            **{f"confidence_{side}": None for side in "ab"},
        }
        for image_id, found in grouped.items()
    ]


def _joined(rows: Iterable[Row], column: str) -> str:
    return ", ".join(sorted(row[column] for row in rows if row[column] is not None)) or _NONE
