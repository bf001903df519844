"""Import a network that Concord did not train: from its file to a model folder like any other.

concord label --model-file lenet.keras --annotator lenet --value-range 0,1 --dataset svhn --splits test --root out
"""

import hashlib

from schemas import layout
from schemas.errors import InputError
from schemas.manifests import ExternalModel, ModelCard, ModelFile
from schemas.settings.label import LabelSettings
from storage import model_cards, products, stores
from storage.products import ImageSet

_FITTING = ("value_range", "classes", "activation", "trust_model")


def is_imported(settings: LabelSettings, root: str, images: ImageSet) -> bool:
    """Whether the model folder is there, built from exactly this file and these settings.

    Raises:
        InputError: there is no such file, or a model that was trained here has that name.
    """
    folder = layout.model(root, images.dataset, settings.annotator)
    card = model_cards.find_card(folder)
    if card and card.external is None:
        raise InputError(f"{settings.annotator!r} is a model that was trained here: give the annotator another name")
    return model_cards.is_current(folder, _identify(settings, images)[0])


def import_model(settings: LabelSettings, root: str, images: ImageSet, force: bool) -> None:
    """Write the model folder of an external network, if it is not there yet; raises as `is_imported`.

    Raises:
        InputError: the network does not fit the dataset.
    """
    if is_imported(settings, root, images) and not force:
        return
    fingerprint, contents = _identify(settings, images)
    name = settings.model_file.rstrip("/").rsplit("/", 1)[-1]
    fitting = {key: getattr(settings, key) for key in _FITTING}
    card = ModelCard(
        stage="label",
        product=f"{images.dataset}/{settings.annotator}",
        fingerprint=fingerprint,
        name=settings.annotator,
        network="external",
        dataset=images.dataset,
        images=images.fingerprint,
        task=images.manifest.task,
        classes=images.classes,
        external=ExternalModel(file=name, sha256=contents, **fitting),
    )
    folder = layout.model(root, images.dataset, settings.annotator)
    _write(settings, images, folder, card, _list_files(settings.model_file))


def _identify(settings: LabelSettings, images: ImageSet) -> tuple[str, dict[str, str]]:
    """The fingerprint of what is imported, and the SHA-256 of each of its files."""
    files = _list_files(settings.model_file)
    contents = {name: hashlib.sha256(stores.read_bytes(path)).hexdigest() for name, path in files.items()}
    fitting = {key: getattr(settings, key) for key in _FITTING}
    identity = {"files": contents, "settings": fitting, "images": images.fingerprint}
    return products.fingerprint("import_model", **identity), contents


def _list_files(path: str) -> dict[str, str]:
    """The files of a model: one, or all of a SavedModel's folder."""
    if stores.stat(path) is not None:
        return {path.rsplit("/", 1)[-1]: path}
    files = {name: stores.join(path, name) for name in stores.list_tree(path)}
    if "saved_model.pb" not in files:
        raise InputError(f"no such model: {path}; name a .keras or .h5 file, or a SavedModel's folder")
    return files


def _write(settings: LabelSettings, images: ImageSet, folder: str, card: ModelCard, files: dict[str, str]) -> None:
    from models import external_models, saved_models  # TensorFlow is imported where it is needed

    stores.remove_partial_files(folder, below=True)
    with stores.scratch_folder() as scratch:
        for name, path in files.items():
            stores.write_bytes(stores.join(scratch, name), stores.read_bytes(path))
        local = scratch if "saved_model.pb" in files else stores.join(scratch, next(iter(files)))
        fit = external_models.Fit.of(card, images.manifest.image_shape or (None, None, 3))
        network = external_models.load(local, settings.trust_model, settings.model_file, fit)
        model = external_models.wrapped(network, fit, settings.model_file)
        card = card.model_copy(update={"image_shape": tuple(model.input_shape[1:])})
        if "saved_model.pb" not in files:
            saved_models.save(model, folder, card)
            return
        stores.remove(stores.join(folder, model_cards.CARD_FILE))
        stated = {}
        for name in files:  # kept as it is: what runs code of its own cannot be saved as a network that does not
            content = stores.read_bytes(stores.join(scratch, name))
            stores.write_bytes(stores.join(folder, external_models.FOLDER, name), content)
            stated[f"{external_models.FOLDER}/{name}"] = ModelFile(
                sha256=hashlib.sha256(content).hexdigest(), size=len(content)
            )
    facts = {"parameters": model.count_params(), "weights_sha256": card.fingerprint, "files": stated}
    model_cards.write_card(folder, card.model_copy(update=facts))
