"""Small JSON files: manifests, cards, notes; whole or not at all, and readable by people."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from schemas.errors import StorageError, one_line
from storage import stores

MOST_BYTES = 64 << 20  # of any: the names of 20,000 classes take one or two
_REMEDY = "remove it, and run the stage that writes it again"


def write(path: str, content: Mapping[str, Any]) -> None:
    """Write an object; keys sorted, so that the same content gives the same bytes."""
    stores.write_bytes(path, json.dumps(content, indent=2, sort_keys=True, default=str).encode())


def find(path: str) -> dict[str, Any] | None:
    """The object that a file holds, or None where there is no file.

    Raises:
        StorageError: the file holds no JSON object, or more than `MOST_BYTES`.
    """
    status = stores.stat(path)
    if status is None:
        return None
    if status.size > MOST_BYTES:
        raise StorageError(f"{path} has {status.size:,} bytes, and may have {MOST_BYTES:,}: it is none of Concord's")
    try:
        content = json.loads(stores.read_bytes(path))
    except (ValueError, RecursionError) as error:  # lists in lists in lists
        raise StorageError(f"{path} is damaged ({one_line(error)}): {_REMEDY}") from error
    if not isinstance(content, dict):
        raise StorageError(f"{path} holds no JSON object: {_REMEDY}")
    return content


def check_types(path: str, content: Any, types: Mapping[str, type], wanted: Sequence[str] = ()) -> None:
    """Raise StorageError where a file lacks an entry, or has one of another type than it is of."""
    if not isinstance(content, dict):
        raise StorageError(f"{path} has {str(content)[:40]!r} in the place of an object: {_REMEDY}")
    for key in wanted:
        if content.get(key) is None:
            raise StorageError(f"{path} has no entry {key!r}: {_REMEDY}")
    for key, kind in types.items():
        value = content.get(key)
        if value is not None and (not isinstance(value, kind) or isinstance(value, bool)):
            raise StorageError(f"{path} has {key!r} as {ascii(value)[:40]}: {_REMEDY}")
