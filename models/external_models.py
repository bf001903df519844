"""Take a network that Concord did not train as an annotator: fit its input and its scores to a dataset.

Its inputs and outputs differ from network to network: pixels from 0 to 1 or from -1 to 1, flat or as an
image, classes in another order, logits. All that is wrapped around it once, so that from then on it is a model like any
other. `.keras` and legacy `.h5` files are loaded in Keras' safe mode, and are first tried in a process that can do no
harm; a SavedModel can run code of its own, and is loaded only if it is trusted.
"""

import hashlib
import json
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from models import archives, tasks
from models.tensorflow_setup import keras
from schemas.errors import IncompleteError, InputError, one_line
from schemas.manifests import MULTICLASS, SEQUENCE, ModelCard
from storage import sandbox, stores
from storage.sandbox import check_bytes

FOLDER = "external"  # of a SavedModel, within the model folder
MOST_VALUES = 1 << 26  # that a layer may make of one image
_CLOSE = 0.01
_TRIAL_SECONDS = 600.0  # most of which pass while TensorFlow is imported and a large network is built
_TRIAL_MEMORY = 16 << 30  # bytes of addresses, of which TensorFlow asks for many more than it uses
Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Fit:
    """How an external network fits a dataset.

    Attributes:
        task: of the dataset.
        classes: of the dataset.
        image_shape: of the dataset's images; None where they differ.
        class_order: the classes in the order of the network's scores; empty: the dataset's own order.
        value_range: what black and white are to it.
        activation: softmax or sigmoid, where its scores are logits; otherwise empty.
    """

    task: str
    classes: Sequence[str]
    image_shape: tuple[int | None, int | None, int]
    class_order: Sequence[str]
    value_range: Sequence[float]
    activation: str

    @staticmethod
    def of(card: ModelCard, image_shape: Sequence[int | None]) -> "Fit":
        """As the card of an imported model states.

        Raises:
            IncompleteError: it is the card of another model.
        """
        height, width, channels = image_shape
        origin = card.external
        if origin is None:
            raise IncompleteError(f"the card of {card.name!r} does not state an external model: import it again")
        shape = (height, width, channels or 3)
        return Fit(card.task, card.classes, shape, origin.classes, origin.value_range, origin.activation)


def reload(folder: str, card: ModelCard, trusted: bool) -> keras.Model:
    """The network of a model folder that keeps a SavedModel; the card stating that it was trusted does not count.

    Raises:
        IncompleteError: a file is not the one that the card states.
        InputError: it is not trusted.
    """
    if not trusted:
        raise InputError(f"{folder} keeps a SavedModel, which can run code of its own: trust it with --trust-model")
    with stores.scratch_folder() as scratch:
        for name, stated in card.files.items():
            content = stores.read_bytes(stores.join(folder, name))
            if hashlib.sha256(content).hexdigest() != stated.sha256:
                raise IncompleteError(f"{stores.join(folder, name)} is not the file that was imported: import it again")
            stores.write_bytes(stores.join(scratch, name), content)
        path = stores.join(scratch, FOLDER)
        return wrapped(
            load(path, trusted=True, shown=folder), Fit.of(card, card.image_shape or (None, None, 3)), folder
        )


def load(path: str, trusted: bool, shown: str, trial: Fit | None = None) -> keras.Model:
    """A network from a local `.keras` or `.h5` file, or a SavedModel's folder.

    Args:
        path: of the file or folder.
        trusted: whether a SavedModel may be loaded.
        shown: what to call it.
        trial: the dataset that it has to fit, if it is first to be tried apart, which takes seconds.

    Raises:
        InputError: Keras cannot load it, or refuses to; or it is a SavedModel, and not trusted.
    """
    try:
        if Path(path, "saved_model.pb").exists():
            if not trusted:
                raise InputError(f"{shown} is a SavedModel, which can run code of its own: trust it with --trust-model")
            return _saved_model(path)
        archives.check(path, shown, apart=True)
        if trial:
            _try_apart(path, shown, trial)
        return _checked(path, shown)
    except InputError:
        raise
    except Exception as error:  # on damaged files, Keras raises a dozen types of error
        raise InputError(f"Keras cannot load {shown}: {_first_line(error)}") from error


def _try_apart(path: str, shown: str, fit: Fit) -> None:
    """Load, wrap and call a network in a process that writes no file, reaches no network and starts no program."""
    with stores.scratch_folder() as scratch:  # the names of thousands of classes are too long for an argument
        stated = Path(scratch, "fit.json")
        stated.write_text(json.dumps(asdict(fit)))
        sandbox.run_module(__name__, [shown, path, str(stated)], shown, _TRIAL_SECONDS, confined=True)


def attempt(shown: str, path: str, fit: Fit) -> None:
    """Load, wrap and call a network of a file whose names have been checked.

    Raises:
        InputError: that does not work.
    """
    try:
        wrapped(_checked(path, shown), fit, shown)
    except (InputError, MemoryError):
        raise
    except Exception as error:
        raise InputError(f"Keras cannot load {shown}: {one_line(error)}") from error


def _attempt(shown: str, path: str, stated: str) -> str:
    attempt(shown, path, Fit(**json.loads(Path(stated).read_text())))
    return ""


def _checked(path: str, shown: str) -> keras.Model:
    """A network of a file that has been looked at, once it is known to fit in memory."""
    with ThreadPoolExecutor(1) as aside:  # Keras keeps the variables for later, of each thread its own
        aside.submit(_check_size, path, shown).result()
    return keras.saving.load_model(path, compile=False, safe_mode=True)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _check_size(path: str, shown: str) -> None:
    """Make sure that a network has the weights that its file stores, and that one image fits in memory.

    It is built once without setting any memory aside: variables of a stateless scope have but a shape.
    """
    with keras.StatelessScope(initialize_variables=False):
        network = keras.saving.load_model(path, compile=False, safe_mode=True)
        needed = 4 * sum(math.prod(one.shape) for one in network.variables)
        check_bytes(shown, "its network", needed, Path(path).stat().st_size, archives.RATIO)
        for layer in network._flatten_layers():
            nodes = [node for one in (layer, *getattr(layer, "operations", ())) for node in one._inbound_nodes]
            for shape in [output.shape for node in nodes for output in node.outputs]:
                if math.prod(side or 1 for side in shape) > MOST_VALUES:
                    raise InputError(
                        f"{shown}: layer {layer.name!r} makes {shape} of an image, more than {MOST_VALUES:,} values"
                    )


def _saved_model(path: str) -> keras.Model:
    """A SavedModel's `serving_default` as a network of one input and one output."""
    layer = keras.layers.TFSMLayer(path, call_endpoint="serving_default")
    signature = layer._reloaded_obj.signatures["serving_default"]
    (_, inputs), outputs = signature.structured_input_signature, signature.structured_outputs
    if len(inputs) != 1 or len(outputs) != 1:
        raise InputError(f"{path} has {len(inputs)} inputs and {len(outputs)} outputs, but must have one of each")
    (spec,), (name,) = inputs.values(), outputs
    entry = keras.Input(tuple(spec.shape[1:]), dtype=spec.dtype.name)
    return keras.Model(entry, layer(entry)[name])


def wrapped(network: keras.Model, fit: Fit, path: str) -> keras.Model:
    """A model from uint8 pixels to the dataset's scores.

    Raises:
        InputError: its input or output does not fit the dataset; the message says what it has.
    """
    if len(network.inputs) != 1 or len(network.outputs) != 1:
        raise InputError(
            f"{path} has {len(network.inputs)} inputs and {len(network.outputs)} outputs, but must have one of each"
        )
    shape = pixel_shape(tuple(network.inputs[0].shape[1:]), fit.image_shape, path)
    pixels = keras.Input(shape, dtype="uint8", name="pixels")
    (outputs,) = keras.tree.flatten(network(_as_input(pixels, network, fit)))  # networks of Keras 2 give a list of one
    scores = _scores(outputs, fit, path)
    model = keras.Model(pixels, keras.layers.Activation("linear", dtype="float32", name="scores")(scores))
    _check_scores(model, shape, fit, path)
    return model


def pixel_shape(taken: tuple[int | None, ...], images: tuple[int | None, int | None, int], path: str) -> Shape:
    """Height, width and channels of the images that a network takes, from its input's shape.

    Raises:
        InputError: it takes no images, or images of any size, which the dataset does not settle.
    """
    height, width, channels = images
    if len(taken) == 1 and taken[0]:  # flat: the dataset's own size, grey or colour, or else a square
        for depth in (channels, 1, 3):
            if height and width and taken[0] == height * width * depth:
                return height, width, depth
        for depth in (1, 3):
            side = math.isqrt(taken[0] // depth)
            if side * side * depth == taken[0]:
                return side, side, depth
    if len(taken) == 2:
        taken = (*taken, 1)
    if len(taken) == 3 and taken[2] in (1, 3):
        size = (taken[0] or height, taken[1] or width)
        if size[0] and size[1]:
            return size[0], size[1], taken[2]
        raise InputError(
            f"{path} takes images of any size, and the dataset's differ: scale them with convert --max-side"
        )
    raise InputError(f"{path} takes {list(taken)}, which is no image: flat, or height, width and 1 or 3 channels")


def _as_input(pixels: Any, network: keras.Model, fit: Fit) -> Any:
    """The pixels as the network takes them."""
    low, high = fit.value_range
    entry = network.inputs[0]
    scaled = keras.layers.Rescaling((high - low) / 255, offset=low, dtype="float32")(pixels)
    if len(entry.shape) != 4:
        scaled = keras.layers.Reshape(entry.shape[1:] if None not in entry.shape[1:] else (-1,))(scaled)
    return keras.ops.cast(scaled, entry.dtype)


def _scores(outputs: Any, fit: Fit, path: str) -> Any:
    """What the network says, as the scores of the dataset's classes in their order."""
    ops = keras.ops
    names = list(fit.class_order or fit.classes)
    unknown = sorted(set(names) - set(fit.classes))
    if unknown or len(set(names)) < len(names):
        problem = repr(unknown[0]) if unknown else "a class twice"
        raise InputError(f"--classes names {problem}; the dataset has: {', '.join(fit.classes)}")
    if fit.task == SEQUENCE and names != list(fit.classes):
        raise InputError(
            "--classes: the scores of a number (task sequence) are of its length and of 0 to 9, in that order"
        )
    if fit.activation:
        outputs = keras.layers.Activation(fit.activation, dtype="float32")(outputs)
    if outputs.shape[1:] == (1,) and len(names) == 2 and fit.task == MULTICLASS:  # one score, of the second class
        outputs = ops.concatenate([1 - outputs, outputs], axis=-1)
    expected = tasks.load(fit.task).count_scores(len(names))
    if outputs.shape[1:] != (expected,):
        raise InputError(
            f"{path} gives scores of shape {list(outputs.shape[1:])}, but {len(names)} classes need [{expected}]: name "
            "the classes that it knows, in its order, with --classes"
        )
    if names == list(fit.classes):
        return outputs
    nothing = ops.zeros_like(outputs[:, :1])  # the score of a class that it does not know
    places = [names.index(name) if name in names else len(names) for name in fit.classes]
    return ops.take(ops.concatenate([outputs, nothing], axis=-1), np.array(places), axis=-1)


def _check_scores(model: keras.Model, shape: Shape, fit: Fit, path: str) -> None:
    """Make sure, on some noise, that scores are probabilities."""
    noise = np.random.default_rng(1).integers(0, 256, (8, *shape), dtype=np.uint8)
    scores = np.asarray(model(noise, training=False))
    inside = np.isfinite(scores).all() and scores.min() >= -_CLOSE and scores.max() <= 1 + _CLOSE
    if not inside or (fit.task == MULTICLASS and np.abs(scores.sum(axis=1) - 1).max() > _CLOSE):
        spread = f"from {scores.min():.3g} to {scores.max():.3g}, with sums from {scores.sum(axis=1).min():.3g}"
        raise InputError(
            f"{path} gives scores {spread}, which are no probabilities: if they are logits, say --activation softmax "
            "(one label per image) or sigmoid (several)"
        )


if __name__ == "__main__":
    sandbox.report_answer(_attempt, _TRIAL_MEMORY)
