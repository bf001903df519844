"""The input files that a flag names."""

from collections.abc import Sequence

from schemas import storage
from schemas.errors import InputError


def input_files(flag: str, patterns: Sequence[str]) -> list[str]:
    """The files that some patterns name, in order.

    Raises:
        InputError: a pattern names no file, or a file is named twice.
    """
    matches = {pattern: storage.glob(pattern) for pattern in patterns}
    for pattern in patterns:
        if not matches[pattern]:
            raise InputError(f"--{flag}: no file {pattern}")
    found = [path for pattern in patterns for path in matches[pattern]]
    if len(set(found)) < len(found):
        twice = next(path for path in found if found.count(path) > 1)
        raise InputError(f"--{flag} names {twice} twice: its rows would all be duplicates")
    return found
