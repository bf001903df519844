"""`model.json`, the card of a model folder: written last, it declares the model whole."""

from typing import Any

from schemas import layout
from schemas.errors import IncompleteError, InputError
from storage import small_files, stores
from storage.products import ImageSet

MODEL_FILE = "model.keras"
CARD_FILE = "model.json"
CHECKPOINT_FILE = "checkpoint.npz"  # of a training that is not done
_TYPES = {"fingerprint": str, "files": dict, "members": dict, "classes": list, "task": str, "foreign": dict}


def write_card(folder: str, card: dict[str, Any]) -> None:
    """Write the card, last of all."""
    small_files.write_json(stores.join(folder, CARD_FILE), card)


def find_card(folder: str) -> dict[str, Any] | None:
    """What `model.json` says, or None where there is no whole model.

    Raises:
        InputError: it names files elsewhere than in its folder.
        StorageError: it is no card.
    """
    path = stores.join(folder, CARD_FILE)
    card = small_files.find_json(path)
    if card is None:
        return None
    small_files.check_types(path, card, _TYPES)
    for name, stated in card.get("files", {}).items():
        layout.check_inside(path, name)
        small_files.check_types(path, stated, {"sha256": str, "size": int}, ("size",))
    for member in card.get("members", ()):
        layout.check_inside(path, member)
    return card


def require_card(folder: str) -> dict[str, Any]:
    """What `model.json` says.

    Raises:
        IncompleteError: there is no whole model.
    """
    card = find_card(folder)
    if card is None:
        raise IncompleteError(f"there is no complete model in {folder}: run concord train first")
    return card


def fitting_card(images: ImageSet, model: str) -> dict[str, Any]:
    """The card of a model that is to look at the images of a dataset.

    Raises:
        InputError: it does not fit.
        IncompleteError: it is not there.
    """
    card = require_card(layout.model(images.root, images.dataset, model))
    if card["classes"] != images.classes or card["task"] != images.manifest.task:
        raise InputError(
            f"model {model!r} was trained for {len(card['classes'])} classes ({card['task']}), but "
            f"{images.dataset!r} has {len(images.classes)} ({images.manifest.task}): train it again"
        )
    return card


def is_current(folder: str, fingerprint: str) -> bool:
    """Whether the folder holds a whole model made from just what it would be made from now."""
    card = find_card(folder)
    if card is None or card.get("fingerprint") != fingerprint:
        return False
    for name, stated in card.get("files", {}).items():
        found = stores.stat(stores.join(folder, name))
        if found is None or found.size != stated["size"]:
            return False
    return True
