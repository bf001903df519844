"""Halves of files, which killed processes leave beside the whole ones: hidden, and removed by who writes there next.

Only one command at a time makes a product, so that what lies there half is nobody's work any more. Object stores keep
no halves.
"""

import os

from schemas import storage

SUFFIX = ".partial"


def sweep(folder: str, beginning: str = "", below: bool = False) -> None:
    """Remove halves of the files in a folder, or of those whose names begin so; `below`, also in the folders in it."""
    for place, _, names in [] if storage.is_remote(folder) else os.walk(folder):
        for name in names if below or place == folder else ():
            if name.startswith(f".{beginning}") and name.endswith(SUFFIX):
                storage.remove(storage.join(place, name))


def sweep_of(path: str) -> None:
    """Remove halves of one file."""
    sweep(storage.parent(path) or ".", f"{path.rpartition('/')[2]}.")
