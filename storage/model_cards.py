"""`model.json`, the card of a model folder: written last, it declares the model complete."""

from typing import Any

from schemas import layout
from schemas.errors import IncompleteError, InputError
from schemas.manifests import ModelCard
from storage import small_files, stores
from storage.products import ImageSet, parse_manifest

MODEL_FILE = "model.keras"
CARD_FILE = "model.json"
CHECKPOINT_FILE = "checkpoint.npz"  # of an unfinished training


def write_card(folder: str, card: ModelCard) -> None:
    """Write the card, last of all."""
    small_files.write_json(stores.join(folder, CARD_FILE), card.model_dump(mode="json"))


def find_card(folder: str) -> ModelCard | None:
    """A model's card, or None where there is no complete model.

    Raises:
        InputError: it names files outside its folder.
        StorageError: it is no card, or an earlier version wrote it.
    """
    path = stores.join(folder, CARD_FILE)
    content = small_files.find_json(path)
    return None if content is None else parse_card(path, content)


def parse_card(path: str, content: dict[str, Any]) -> ModelCard:
    """The card that a JSON object states; raises as `find_card`."""
    card = parse_manifest(path, content, ModelCard)
    for name in (*card.files, *card.members):
        layout.check_inside(path, name)
    return card


def require_card(folder: str) -> ModelCard:
    """A model's card.

    Raises:
        IncompleteError: there is no complete model.
    """
    card = find_card(folder)
    if card is None:
        raise IncompleteError(f"there is no complete model in {folder}: run concord train first")
    return card


def require_fitting_card(images: ImageSet, model: str) -> ModelCard:
    """The card of a model that fits the classes of a dataset.

    Raises:
        InputError: it does not fit.
        IncompleteError: it is not there.
    """
    card = require_card(layout.model(images.root, images.dataset, model))
    if card.classes != images.classes or card.task != images.manifest.task:
        raise InputError(
            f"model {model!r} was trained for {len(card.classes)} classes ({card.task}), but "
            f"{images.dataset!r} has {len(images.classes)} ({images.manifest.task}): train it again"
        )
    return card


def is_current(folder: str, fingerprint: str) -> bool:
    """Whether the folder contains a complete model built from exactly what it would be built from now."""
    card = find_card(folder)
    if card is None or card.fingerprint != fingerprint:
        return False
    sizes = {name: stores.stat(stores.join(folder, name)) for name in card.files}
    return all(stat is not None and stat.size == card.files[name].size for name, stat in sizes.items())


def summarize(card: ModelCard) -> dict[str, Any]:
    """What is reported of a finished model: its metrics, its evaluation, its sweep, and what was excluded."""
    reported = {key for key in ("evaluation", "sweep", "excluded") if getattr(card, key)}
    return {**card.metrics, **card.model_dump(mode="json", include=reported)}
