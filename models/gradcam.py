"""Where a network looked: Grad-CAM (Selvaraju et al. 2017, https://arxiv.org/abs/1610.02391).

The gradient of a label's score before the softmax with regard to the last feature maps tells how much each map counts
for that label; the maps, weighted by it and added up, show which places of the image spoke for it. After the softmax a
network that is quite sure has no gradient left, so its last softmax or sigmoid is left out, wherever it stands.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from models import saved_models
from models.archives import CONVOLUTIONS
from models.inputs import decode_image, images_of
from models.scoring import FAILURES, Fault, Halving
from models.tasks.sequence import LENGTHS, PLACES, most_probable
from models.tensorflow_setup import keras
from models.tensorflow_setup import tensorflow as tf
from schemas.errors import InputError
from schemas.manifests import SEQUENCE
from schemas.rejects import Reason
from storage import hashing, stores
from storage.model_cards import require_card

_SATURATING = ("softmax", "sigmoid")
Pixels = npt.NDArray[np.uint8]
Heat = npt.NDArray[np.float32]
Scores = npt.NDArray[np.float32]


class Looker:
    """A network that is asked where it looked; it is prepared once and asked for many images.

    Args:
        model: from uint8 pixels (n, height, width, channels) to scores.
        task: of its labels.
        classes: how many.

    Raises:
        InputError: the network has no convolutions, and so no places to speak of.
    """

    def __init__(self, model: keras.Model, task: str, classes: int) -> None:
        self._task, self._classes = task, classes
        self.image_shape: tuple[int, int, int] = tuple(model.input_shape[1:])
        self.scored = int(model.output_shape[-1])
        found = _halves(model)
        if found is None:
            raise InputError(f"{model.name} has no convolutions: where it looked cannot be said")
        first, last = found
        ends = _ends(model.outputs[0])
        self._to_maps, self._to_scores = _inferring(first), _inferring(last)
        self._to_logits = _inferring([_without(part, ends) for part in last])

    def scores(self, pixels: Pixels) -> Scores:
        """The network's scores of images (n, height, width, channels)."""
        found: Scores = self._to_scores(self._to_maps(pixels)).numpy()
        return found

    def heat(self, pixels: Pixels, said: Scores | None = None) -> tuple[Heat, Scores]:
        """How much each place of each image spoke for its label.

        Args:
            pixels: (n, height, width, channels).
            said: the scores whose label is asked about; the network's own if None.

        Returns:
            heat (n, height, width), from 0 to 1, and the network's scores.
        """
        maps = self._to_maps(pixels)
        scores: Scores = self._to_scores(maps).numpy()
        asked = tf.constant(label_places(scores if said is None else said, self._task, self._classes))
        with tf.GradientTape() as tape:
            tape.watch(maps)
            spoken = tf.reduce_sum(tf.cast(self._to_logits(maps), tf.float32) * asked, axis=1)
        weights = tf.reduce_mean(tf.cast(tape.gradient(spoken, maps), tf.float32), axis=(1, 2), keepdims=True)
        heat = tf.nn.relu(tf.reduce_sum(weights * tf.cast(maps, tf.float32), axis=-1, keepdims=True))
        return scaled(tf.image.resize(heat, pixels.shape[1:3])[..., 0].numpy()), scores


def scaled(heat: Heat) -> Heat:
    """The same with the hottest place of each image at 1; an image without any heat stays at 0."""
    most = heat.max(axis=(1, 2), keepdims=True)
    found: Heat = np.divide(heat, most, out=np.zeros_like(heat), where=most > 0)
    return found


def label_places(scores: Scores, task: str, classes: int) -> Scores:
    """Which scores make up the most probable label of each image: 1 there, 0 elsewhere."""
    found, rows = np.zeros_like(scores), np.arange(len(scores))
    if task != SEQUENCE:
        found[rows, scores.argmax(axis=1)] = 1
        return found
    lengths, digits, _ = most_probable(scores, classes)
    found[rows, lengths] = 1
    for place in range(PLACES):
        there = lengths > place
        found[rows[there], LENGTHS + place * classes + digits[there, place]] = 1
    return found


def _halves(model: keras.Model) -> tuple[list[keras.Model], list[keras.Model]] | None:
    """A network in two: from pixels to its last feature maps, and from them to scores; None: it has no such maps.

    A network within the network, such as a foreign one in what is wrapped around it, is taken apart likewise.
    """
    maps = _last_maps(model)
    if maps is not None:
        return _between(model.inputs[0], maps), _between(maps, model.outputs[0])
    for node in reversed(_nodes(model)):
        found = _halves(node.operation) if isinstance(node.operation, keras.Model) else None
        if found is not None:
            before = _between(model.inputs[0], node.input_tensors[0])
            after = _between(node.output_tensors[0], model.outputs[0])
            return [*before, *found[0]], [*found[1], *after]
    return None


def _between(given: Any, found: Any) -> list[keras.Model]:
    """The part of a network from one tensor to another: none at all where they are the same."""
    return [] if given is found else [keras.Model(given, found)]


def _nodes(model: keras.Model) -> list[Any]:
    """Every call of a layer within a network, from its input to its output."""
    functional = getattr(model, "_functional", None) or model  # of a Sequential
    by_depth = functional._nodes_by_depth
    return [node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth]]


def _last_maps(model: keras.Model) -> Any | None:
    """The output of the last layer, from the first convolution on, that still has places."""
    found, convolved = None, False
    for node in _nodes(model):
        convolved = convolved or _convolves(node.operation)
        if convolved and len(node.output_tensors) == 1 and len(node.output_tensors[0].shape) == 4:
            found = node.output_tensors[0]
    return found


def _convolves(layer: Any) -> bool:
    if isinstance(layer, keras.Model):
        return any(_convolves(inner) for inner in layer.layers)
    return type(layer).__name__ in CONVOLUTIONS


def _inferring(models: Sequence[keras.Model]) -> Any:
    """Models one after the other, as they are when nothing is learnt."""

    def called(value: Any) -> Any:
        for model in models:
            value = model(value, training=False)
        return value

    return called


def _ends(tensor: Any) -> list[keras.layers.Layer]:
    """The layers that turn what a network found into scores: its last softmax or sigmoid, or several side by side."""
    operation, node, _ = tensor._keras_history
    if _saturates(operation):
        return [operation]
    if isinstance(operation, keras.Model):
        return _ends(operation.outputs[0])
    if getattr(operation, "weights", None):
        return []
    return [layer for given in operation._inbound_nodes[node].input_tensors for layer in _ends(given)]


def _saturates(operation: Any) -> bool:
    activation = getattr(getattr(operation, "activation", None), "__name__", "")
    return activation in _SATURATING or isinstance(operation, keras.layers.Softmax)


class _Linear(keras.layers.Layer):  # type: ignore[misc]
    """What stands in for a softmax; unlike Keras' own it takes a mask as well, and ignores it."""

    def call(self, inputs: Any, mask: Any = None) -> Any:
        """The same."""
        return inputs


def _without(model: keras.Model, ends: Sequence[keras.layers.Layer]) -> keras.Model:
    """The same network, sharing its layers, but for some whose activation is left out."""
    made: list[tuple[keras.layers.Layer, keras.layers.Layer]] = []

    def linear(layer: Any) -> Any:
        if not any(layer is end for end in ends):
            return layer
        if not layer.weights:
            return _Linear()
        plain = type(layer).from_config({**layer.get_config(), "activation": "linear"})
        made.append((plain, layer))
        return plain

    found = keras.models.clone_model(model, clone_function=linear, recursive=True)
    for plain, layer in made:
        plain.set_weights(layer.get_weights())
    return found


# Ask a model where it looked: its network, or of folds the one that did not see the image.


class Explainer:
    """A model, ready to be asked; it is loaded once a worker and shared by its threads.

    Args:
        lookers: its network, or one a fold, in order.
        folded: the split that was divided into folds.
        batch: images that a network sees at once.
    """

    failures = FAILURES  # what an undecodable image raises

    def __init__(self, lookers: Sequence[Looker], folded: str, batch: int) -> None:
        self._lookers, self._folded, self._halving = lookers, folded, Halving(batch, Reason.MODEL_FAILED)

    def decode(self, payload: bytes) -> Pixels:
        """The image of a serialised example as the network takes it; one of `failures` where there is none."""
        encoded = images_of(tf.constant([payload]))[0]
        pixels: Pixels = decode_image(encoded, self._lookers[0].image_shape).numpy()
        return pixels

    def look(self, pixels: Pixels, ids: Sequence[str], split: str) -> tuple[Heat, Scores, dict[int, Fault]]:
        """Where it looked in images of a split, for the label that it gives each, its scores, and where it failed.

        Of folds an image is shown to the one that did not see it. Images of another split, which none of them saw, get
        the mean of their scores, and of where they looked for the label that it stands for. An image on which it fails
        has no heat, and scores that are NaN.
        """
        worked = self._halving.over(
            len(ids), lambda part: self._look_at(pixels[part.start : part.stop], ids[part.start : part.stop], split)
        )
        heats = np.zeros(pixels.shape[:3], np.float32)
        scores = np.full((len(ids), self._lookers[0].scored), np.nan, np.float32)
        for part, found in worked.parts:
            heats[part.start : part.stop], scores[part.start : part.stop] = found
        return heats, scores, worked.faults

    def _look_at(self, pixels: Pixels, ids: Sequence[str], split: str) -> tuple[Heat, Scores]:
        if len(self._lookers) == 1:
            return self._lookers[0].heat(pixels)
        if split == self._folded:
            folds = hashing.fold_of(ids, len(self._lookers)).tolist()
            return _joined([self._lookers[fold].heat(pixels[row : row + 1]) for row, fold in enumerate(folds)])
        said = np.asarray(np.stack([looker.scores(pixels) for looker in self._lookers]).mean(axis=0))
        heats = np.stack([looker.heat(pixels, said)[0] for looker in self._lookers])
        return scaled(np.asarray(heats.mean(axis=0))), said


def _joined(found: Sequence[tuple[Heat, Scores]]) -> tuple[Heat, Scores]:
    return np.concatenate([heat for heat, _ in found]), np.concatenate([scores for _, scores in found])


def load_explainer(folder: str, batch: int) -> Explainer:
    """What explains a model folder, or the folds in it.

    Raises:
        InputError: it has no convolutions.
    """
    card = require_card(folder)
    members = [stores.join(folder, member) for member in card.get("members", ())] or [folder]
    try:
        lookers = [Looker(saved_models.load(member), card["task"], len(card["classes"])) for member in members]
    except InputError as error:
        raise InputError(f"model {card['name']!r}: {error}") from error
    return Explainer(lookers, card.get("settings", {}).get("split", ""), batch)
