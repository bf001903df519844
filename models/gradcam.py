"""Where a network looked: Grad-CAM (Selvaraju et al. 2017, https://arxiv.org/abs/1610.02391).

The gradient of a label's score before the softmax with regard to the last feature maps tells how much each map counts
for that label; the maps, weighted by it and added up, show which places of the image spoke for it. Where a network
does not show what stood before its softmax, the logarithm of its score stands in.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from models.quiet import keras
from models.quiet import tensorflow as tf
from models.tasks.sequence import LENGTHS, PLACES, most_probable
from schemas.errors import InputError
from schemas.products import SEQUENCE

_TINY = 1e-7
_CONVOLUTIONS = (keras.layers.Conv2D, keras.layers.SeparableConv2D, keras.layers.DepthwiseConv2D)
Pixels = npt.NDArray[np.uint8]
Heat = npt.NDArray[np.float32]


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
        self._to_maps, self._to_scores = parts(model)

    def heat(self, pixels: Pixels, wanted: Sequence[int] | None = None) -> tuple[Heat, npt.NDArray[np.float32]]:
        """How much each place of each image spoke for its label.

        Args:
            pixels: (n, height, width, channels).
            wanted: of each image the index of the class asked for; the network's own answer if None.

        Returns:
            heat (n, height, width), from 0 to 1, and the network's scores.
        """
        maps = self._to_maps(pixels)
        with tf.GradientTape() as tape:
            tape.watch(maps)
            scores, logits = self._to_scores(maps)
            spoken = self._spoken(scores, logits, wanted)
        gradient = tape.gradient(spoken, maps)
        weights = tf.reduce_mean(gradient, axis=(1, 2), keepdims=True)
        heat = tf.nn.relu(tf.reduce_sum(tf.cast(weights * maps, tf.float32), axis=-1, keepdims=True))
        sized = tf.image.resize(heat, pixels.shape[1:3])[..., 0].numpy()
        most = sized.max(axis=(1, 2), keepdims=True)
        return np.divide(sized, most, out=np.zeros_like(sized), where=most > 0), scores.numpy()

    def _spoken(self, scores: Any, logits: Any, wanted: Sequence[int] | None) -> Any:
        """How strongly each image speaks for the label asked about."""
        if self._task == SEQUENCE:
            return tf.reduce_sum(logits * tf.constant(_read(scores.numpy(), self._classes)), axis=1)
        chosen = tf.argmax(scores, axis=1) if wanted is None else tf.constant(list(wanted), tf.int64)
        return tf.gather(logits, chosen, axis=1, batch_dims=1)


def _read(scores: npt.NDArray[np.float32], classes: int) -> npt.NDArray[np.float32]:
    """Which scores make up the most probable reading of each image: 1 there, 0 elsewhere."""
    lengths, digits, _ = most_probable(scores, classes)
    found = np.zeros_like(scores)
    rows = np.arange(len(scores))
    found[rows, lengths] = 1
    for place in range(PLACES):
        there = lengths > place
        found[rows[there], LENGTHS + place * classes + digits[there, place]] = 1
    return found


def parts(model: keras.Model) -> tuple[Any, Any]:
    """A network in two: from pixels to its last feature maps, and from them to scores.

    A foreign network stands as one layer within what is wrapped around it.
    """
    maps = _last_maps(model)
    if maps is not None:
        return _inferring(keras.Model(model.inputs, maps)), _scoring(maps, model)
    for layer in model.layers:
        maps = _last_maps(layer) if isinstance(layer, keras.Model) else None
        if maps is not None:
            node = layer._inbound_nodes[-1]
            first = [keras.Model(model.inputs, node.input_tensors[0]), keras.Model(layer.inputs, maps)]
            last = [keras.Model(maps, layer.outputs[0]), keras.Model(node.output_tensors[0], model.outputs[0])]
            return _inferring(*first), _logged(_inferring(*last))
    raise InputError(f"{model.name} has no convolutions: where it looked cannot be said")


def _inferring(*models: keras.Model) -> Any:
    """Models one after the other, as they are when nothing is learnt."""

    def called(value: Any) -> Any:
        for model in models:
            value = model(value, training=False)
        return value

    return called


def _scoring(maps: Any, model: keras.Model) -> Any:
    """From feature maps to scores, and to what stands before their softmax or sigmoid."""
    last = model.layers[-1]
    if not isinstance(last, keras.layers.Dense):
        return _logged(_inferring(keras.Model(maps, model.outputs[0])))
    before = _inferring(keras.Model(maps, last.input))

    def scored(value: Any) -> tuple[Any, Any]:
        logits = tf.matmul(tf.cast(before(value), tf.float32), last.kernel) + last.bias
        return last.activation(logits), logits

    return scored


def _logged(to_scores: Any) -> Any:
    """From feature maps to scores and their logarithms."""

    def scored(value: Any) -> tuple[Any, Any]:
        scores = to_scores(value)
        return scores, tf.math.log(tf.clip_by_value(scores, _TINY, 1.0))

    return scored


def _last_maps(model: keras.Model) -> Any | None:
    """The output of the last layer, from the first convolution on, that still has places."""
    found, convolved = None, False
    for layer in model.layers:
        convolved |= isinstance(layer, _CONVOLUTIONS)
        output = getattr(layer, "output", None)
        if convolved and not isinstance(output, list) and output is not None and len(output.shape) == 4:
            found = output
    return found
