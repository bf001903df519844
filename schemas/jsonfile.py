"""Small JSON files: manifests, cards, notes; whole or not at all, and readable by people."""

import json
from collections.abc import Mapping
from typing import Any

from schemas import storage
from schemas.errors import StorageError


def write(path: str, content: Mapping[str, Any]) -> None:
    """Write an object; keys sorted, so that the same content gives the same bytes."""
    storage.write_bytes(path, json.dumps(content, indent=2, sort_keys=True, default=str).encode())


def find(path: str) -> dict[str, Any] | None:
    """The object that a file holds, or None where there is no file.

    Raises:
        StorageError: the file holds no JSON object.
    """
    if storage.stat(path) is None:
        return None
    try:
        content = json.loads(storage.read_bytes(path))
    except ValueError as error:
        raise StorageError(f"{path} is damaged ({error}): remove it, and run the stage that writes it again") from error
    if not isinstance(content, dict):
        raise StorageError(f"{path} holds no JSON object: remove it, and run the stage that writes it again")
    return content
