"""Adopt a network that Concord did not train: from its file to a model folder like any other.

concord label --model-file lenet.keras --annotator lenet --value-range 0,1 --dataset svhn --splits test --root out
"""

import hashlib
from typing import Any

from schemas import cards, halves, layout, products, storage
from schemas.errors import InputError
from schemas.products import ImageSet
from schemas.settings import LabelSettings

_TELLING = ("value_range", "classes", "activation", "trust_model")


def adopt(settings: LabelSettings, root: str, images: ImageSet, afresh: bool) -> None:
    """Write the model folder of a foreign network, if it is not there yet.

    Raises:
        InputError: there is no such file, or it does not fit the dataset.
    """
    files = _files(settings.model_file)
    contents = {name: hashlib.sha256(storage.read_bytes(path)).hexdigest() for name, path in files.items()}
    told = {key: getattr(settings, key) for key in _TELLING}
    identity = {"files": contents, "told": told, "images": images.fingerprint}
    fingerprint = products.fingerprint("adopt", **identity)
    folder = layout.model(root, images.dataset, settings.annotator)
    there = cards.find_card(folder)
    if there and "foreign" not in there:
        raise InputError(f"{settings.annotator!r} is a model that was trained here: give the annotator another name")
    if not afresh and cards.is_current(folder, fingerprint):
        return
    card = {
        "fingerprint": fingerprint,
        "name": settings.annotator,
        "network": "foreign",
        "dataset": images.dataset,
        "images": images.fingerprint,
        "task": images.manifest["task"],
        "classes": images.classes,
        "foreign": {"file": settings.model_file.rstrip("/").rsplit("/", 1)[-1], "sha256": contents, **told},
    }
    _write(settings, images, folder, card, files)


def _files(path: str) -> dict[str, str]:
    """The files of a model: one, or all of a SavedModel's folder."""
    if storage.stat(path) is not None:
        return {path.rsplit("/", 1)[-1]: path}
    found = {name: storage.join(path, name) for name in storage.list_tree(path)}
    if "saved_model.pb" not in found:
        raise InputError(f"no such model: {path}; give a .keras or .h5 file, or a SavedModel's folder")
    return found


def _write(settings: LabelSettings, images: ImageSet, folder: str, card: dict[str, Any], files: dict[str, str]) -> None:
    from models import foreign, saved  # TensorFlow is imported where it is needed

    halves.sweep(folder, below=True)
    with storage.scratch_folder() as scratch:
        for name, path in files.items():
            storage.write_bytes(storage.join(scratch, name), storage.read_bytes(path))
        local = scratch if "saved_model.pb" in files else storage.join(scratch, next(iter(files)))
        fit = foreign.Fit.of(card, images.manifest["image_shape"])
        network = foreign.load(local, settings.trust_model, settings.model_file, fit)
        model = foreign.wrapped(network, fit, settings.model_file)
        card = {**card, "image_shape": list(model.input_shape[1:])}
        if "saved_model.pb" not in files:
            saved.save(model, folder, card)
            return
        storage.remove(storage.join(folder, cards.CARD_FILE))
        stated = {}
        for name in files:  # kept as it is: what runs code of its own cannot be saved as a network that does not
            content = storage.read_bytes(storage.join(scratch, name))
            storage.write_bytes(storage.join(folder, foreign.FOLDER, name), content)
            stated[f"{foreign.FOLDER}/{name}"] = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
    facts = {"parameters": model.count_params(), "weights_sha256": card["fingerprint"], "files": stated}
    cards.write_card(folder, {**card, **facts})
