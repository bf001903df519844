"""Adopt a network that Concord did not train: from its file to a model folder like any other.

concord label --model-file lenet.keras --annotator lenet --value-range 0,1 --dataset svhn --splits test --root out
"""

import hashlib
from typing import Any

from schemas import layout
from schemas.errors import InputError
from schemas.settings.label import LabelSettings
from storage import model_cards, products, stores
from storage.products import ImageSet

_TELLING = ("value_range", "classes", "activation", "trust_model")


def import_model(settings: LabelSettings, root: str, images: ImageSet, afresh: bool) -> None:
    """Write the model folder of a foreign network, if it is not there yet.

    Raises:
        InputError: there is no such file, or it does not fit the dataset.
    """
    files = _files(settings.model_file)
    contents = {name: hashlib.sha256(stores.read_bytes(path)).hexdigest() for name, path in files.items()}
    told = {key: getattr(settings, key) for key in _TELLING}
    identity = {"files": contents, "told": told, "images": images.fingerprint}
    fingerprint = products.fingerprint("adopt", **identity)
    folder = layout.model(root, images.dataset, settings.annotator)
    there = model_cards.find_card(folder)
    if there and "foreign" not in there:
        raise InputError(f"{settings.annotator!r} is a model that was trained here: give the annotator another name")
    if not afresh and model_cards.is_current(folder, fingerprint):
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
    if stores.stat(path) is not None:
        return {path.rsplit("/", 1)[-1]: path}
    found = {name: stores.join(path, name) for name in stores.list_tree(path)}
    if "saved_model.pb" not in found:
        raise InputError(f"no such model: {path}; give a .keras or .h5 file, or a SavedModel's folder")
    return found


def _write(settings: LabelSettings, images: ImageSet, folder: str, card: dict[str, Any], files: dict[str, str]) -> None:
    from models import external_models, saved_models  # TensorFlow is imported where it is needed

    stores.remove_partial_files(folder, below=True)
    with stores.scratch_folder() as scratch:
        for name, path in files.items():
            stores.write_bytes(stores.join(scratch, name), stores.read_bytes(path))
        local = scratch if "saved_model.pb" in files else stores.join(scratch, next(iter(files)))
        fit = external_models.Fit.of(card, images.manifest["image_shape"])
        network = external_models.load(local, settings.trust_model, settings.model_file)
        model = external_models.wrapped(network, fit, settings.model_file)
        card = {**card, "image_shape": list(model.input_shape[1:])}
        if "saved_model.pb" not in files:
            saved_models.save(model, folder, card)
            return
        stores.remove(stores.join(folder, model_cards.CARD_FILE))
        stated = {}
        for name in files:  # kept as it is: what runs code of its own cannot be saved as a network that does not
            content = stores.read_bytes(stores.join(scratch, name))
            stores.write_bytes(stores.join(folder, external_models.FOLDER, name), content)
            stated[f"{external_models.FOLDER}/{name}"] = {
                "sha256": hashlib.sha256(content).hexdigest(),
                "size": len(content),
            }
    facts = {"parameters": model.count_params(), "weights_sha256": card["fingerprint"], "files": stated}
    model_cards.write_card(folder, {**card, **facts})
