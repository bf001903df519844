"""Regions that drove the prediction: Grad-CAM (Selvaraju et al. 2017, https://arxiv.org/abs/1610.02391).

The gradient of a label's score before the softmax with regard to the last feature maps states how much each map counts
for that label; the maps, weighted by it and added up, show which regions of the image support it. After the softmax a
very confident network has no gradient left, so its last softmax or sigmoid is removed, wherever it stands.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from models import saved_models, tasks
from models.archives import CONVOLUTIONS
from models.inputs import decode_image, encoded_images
from models.scoring import FAILURES, BatchBisection, Fault
from models.tensorflow_setup import keras
from models.tensorflow_setup import tensorflow as tf
from schemas.errors import InputError, Reason
from storage import hashing, stores
from storage.model_cards import require_card

_SATURATING = ("softmax", "sigmoid")
Pixels = npt.NDArray[np.uint8]
HeatMaps = npt.NDArray[np.float32]
Scores = npt.NDArray[np.float32]


class GradCam:
    """A network whose predictions are explained; it is prepared once for many images.

    Args:
        model: from uint8 pixels (n, height, width, channels) to scores.
        task: of its labels.
        classes: how many.

    Raises:
        InputError: the network has no convolutions, and so no feature maps.
    """

    def __init__(self, model: keras.Model, task: str, classes: int) -> None:
        self._task, self._classes = tasks.load(task), classes
        self.image_shape: tuple[int, int, int] = tuple(model.input_shape[1:])
        self.score_count = int(model.output_shape[-1])
        parts = _split_at_maps(model)
        if parts is None:
            raise InputError(f"{model.name} has no convolutions: its predictions cannot be explained")
        first, last = parts
        ends = _saturating_layers(model.outputs[0])
        self._to_maps, self._to_scores = _chain(first), _chain(last)
        self._to_logits = _chain([_make_linear(part, ends) for part in last])

    def score(self, pixels: Pixels) -> Scores:
        """The network's scores of images (n, height, width, channels)."""
        scores: Scores = self._to_scores(self._to_maps(pixels)).numpy()
        return scores

    def explain(self, pixels: Pixels, scores: Scores | None = None) -> tuple[HeatMaps, Scores]:
        """How much each region of each image supports its label.

        Args:
            pixels: (n, height, width, channels).
            scores: whose label is explained; the network's own if None.

        Returns:
            heat maps (n, height, width), from 0 to 1, and the network's scores.
        """
        maps = self._to_maps(pixels)
        own_scores: Scores = self._to_scores(maps).numpy()
        marks = tf.constant(self._task.mark_label(own_scores if scores is None else scores, self._classes))
        with tf.GradientTape() as tape:
            tape.watch(maps)
            label_logits = tf.reduce_sum(tf.cast(self._to_logits(maps), tf.float32) * marks, axis=1)
        weights = tf.reduce_mean(tf.cast(tape.gradient(label_logits, maps), tf.float32), axis=(1, 2), keepdims=True)
        heat = tf.nn.relu(tf.reduce_sum(weights * tf.cast(maps, tf.float32), axis=-1, keepdims=True))
        return scale_heat(tf.image.resize(heat, pixels.shape[1:3])[..., 0].numpy()), own_scores


def scale_heat(heat: HeatMaps) -> HeatMaps:
    """The same with the maximum of each image at 1; an image without any heat stays at 0."""
    most = heat.max(axis=(1, 2), keepdims=True)
    scaled: HeatMaps = np.divide(heat, most, out=np.zeros_like(heat), where=most > 0)
    return scaled


def _split_at_maps(model: keras.Model) -> tuple[list[keras.Model], list[keras.Model]] | None:
    """A network in two: from pixels to its last feature maps, and from them to scores; None: it has no such maps.

    A network within the network, such as an external one within its wrapper, is split likewise.
    """
    maps = _last_maps(model)
    if maps is not None:
        return _between(model.inputs[0], maps), _between(maps, model.outputs[0])
    for node in reversed(_nodes(model)):
        inner = _split_at_maps(node.operation) if isinstance(node.operation, keras.Model) else None
        if inner is not None:
            before = _between(model.inputs[0], node.input_tensors[0])
            after = _between(node.output_tensors[0], model.outputs[0])
            return [*before, *inner[0]], [*inner[1], *after]
    return None


def _between(start: Any, end: Any) -> list[keras.Model]:
    """The part of a network from one tensor to another: none at all where they are the same."""
    return [] if start is end else [keras.Model(start, end)]


def _nodes(model: keras.Model) -> list[Any]:
    """Every call of a layer within a network, from its input to its output."""
    functional = getattr(model, "_functional", None) or model  # of a Sequential
    by_depth = functional._nodes_by_depth
    return [node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth]]


def _last_maps(model: keras.Model) -> Any | None:
    """The output of the last layer, from the first convolution on, that still has height and width."""
    maps, convolved = None, False
    for node in _nodes(model):
        convolved = convolved or _convolves(node.operation)
        if convolved and len(node.output_tensors) == 1 and len(node.output_tensors[0].shape) == 4:
            maps = node.output_tensors[0]
    return maps


def _convolves(layer: Any) -> bool:
    if isinstance(layer, keras.Model):
        return any(_convolves(inner) for inner in layer.layers)
    return type(layer).__name__ in CONVOLUTIONS


def _chain(models: Sequence[keras.Model]) -> Any:
    """Models one after the other, in inference mode."""

    def call(value: Any) -> Any:
        for model in models:
            value = model(value, training=False)
        return value

    return call


def _saturating_layers(tensor: Any) -> list[keras.layers.Layer]:
    """The layers that turn logits into scores: the last softmax or sigmoid, or several side by side."""
    operation, node, _ = tensor._keras_history
    if _saturates(operation):
        return [operation]
    if isinstance(operation, keras.Model):
        return _saturating_layers(operation.outputs[0])
    if getattr(operation, "weights", None):
        return []
    return [layer for one in operation._inbound_nodes[node].input_tensors for layer in _saturating_layers(one)]


def _saturates(operation: Any) -> bool:
    activation = getattr(getattr(operation, "activation", None), "__name__", "")
    return activation in _SATURATING or isinstance(operation, keras.layers.Softmax)


class _Linear(keras.layers.Layer):  # type: ignore[misc]
    """Replaces a softmax; unlike Keras' own it takes a mask as well, and ignores it."""

    def call(self, inputs: Any, mask: Any = None) -> Any:
        """The same."""
        return inputs


def _make_linear(model: keras.Model, ends: Sequence[keras.layers.Layer]) -> keras.Model:
    """The same network, sharing its layers, but for some whose activation is removed."""
    replaced: list[tuple[keras.layers.Layer, keras.layers.Layer]] = []

    def copy_layer(layer: Any) -> Any:
        if not any(layer is end for end in ends):
            return layer
        if not layer.weights:
            return _Linear()
        plain = type(layer).from_config({**layer.get_config(), "activation": "linear"})
        replaced.append((plain, layer))
        return plain

    linear = keras.models.clone_model(model, clone_function=copy_layer, recursive=True)
    for plain, layer in replaced:
        plain.set_weights(layer.get_weights())
    return linear


# Explain a model's labels: with its network, or of folds with the one that did not see the image.


class Explainer:
    """A model whose labels are explained; it is loaded once per worker and shared by its threads.

    Args:
        networks: its network, or one per fold, in order.
        fold_split: the split that was divided into folds.
        batch: images that a network sees at once.
    """

    failures = FAILURES  # what an undecodable image raises

    def __init__(self, networks: Sequence[GradCam], fold_split: str, batch: int) -> None:
        self._networks, self._fold_split = networks, fold_split
        self._bisection = BatchBisection(batch, Reason.MODEL_FAILED)

    def decode(self, payload: bytes) -> Pixels:
        """The image of a serialised example as the network takes it; one of `failures` where there is none."""
        encoded = encoded_images(tf.constant([payload]))[0]
        pixels: Pixels = decode_image(encoded, self._networks[0].image_shape).numpy()
        return pixels

    def explain(self, pixels: Pixels, ids: Sequence[str], split: str) -> tuple[HeatMaps, Scores, dict[int, Fault]]:
        """Heat maps of images of a split for the label that each gets, their scores, and where the network failed.

        Of folds an image is explained by the one that did not see it. Images of another split, which none of them saw,
        get the mean of their scores, and of their heat maps for the label of that mean. An image on which the network
        fails has no heat, and scores that are NaN.
        """
        result = self._bisection.run(
            len(ids), lambda part: self._explain(pixels[part.start : part.stop], ids[part.start : part.stop], split)
        )
        heat = np.zeros(pixels.shape[:3], np.float32)
        scores = np.full((len(ids), self._networks[0].score_count), np.nan, np.float32)
        for part, explained in result.parts:
            heat[part.start : part.stop], scores[part.start : part.stop] = explained
        return heat, scores, result.faults

    def _explain(self, pixels: Pixels, ids: Sequence[str], split: str) -> tuple[HeatMaps, Scores]:
        if len(self._networks) == 1:
            return self._networks[0].explain(pixels)
        if split == self._fold_split:
            folds = hashing.fold_of(ids, len(self._networks)).tolist()
            each = [self._networks[fold].explain(pixels[row : row + 1]) for row, fold in enumerate(folds)]
            return np.concatenate([heat for heat, _ in each]), np.concatenate([scores for _, scores in each])
        scores = np.asarray(np.stack([network.score(pixels) for network in self._networks]).mean(axis=0))
        heat = np.stack([network.explain(pixels, scores)[0] for network in self._networks])
        return scale_heat(np.asarray(heat.mean(axis=0))), scores


def load_explainer(folder: str, batch: int) -> Explainer:
    """The explainer of a model folder, or of the folds in it.

    Raises:
        InputError: it has no convolutions.
    """
    card = require_card(folder)
    members = [stores.join(folder, member) for member in card.members] or [folder]
    try:
        networks = [GradCam(saved_models.load(member), card.task, len(card.classes)) for member in members]
    except InputError as error:
        raise InputError(f"model {card.name!r}: {error}") from error
    return Explainer(networks, card.fold_split, batch)
