"""Transfer networks: a backbone of `keras.applications` up to its features, and a head of our own, in plain Keras 3.

The backbone's layers and its preprocessing stand in the network one by one, not as a network within the network, so
that each can be named: to stop at it, to train from it on, or to explain its output.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
from keras import layers

from models import archives
from models.tasks import Head
from schemas.errors import ConcordError, InputError
from schemas.layout import IMAGENET

FEATURES, POOLED = "features", "pooled"


@dataclass(frozen=True)
class Transfer:
    """A backbone, and the study's head on it.

    Attributes:
        application: makes the backbone, one of `keras.applications`.
        preprocessing: pixels, as float32 in [0, 255], to what the backbone was trained on.
        flatten: whether all features are kept, position by position, or their mean.
        hidden: units of the layer before the scores.
    """

    name: str
    application: Callable[..., keras.Model]
    preprocessing: Callable[[Any], Any]
    flatten: bool
    hidden: int

    def backbone(self, image_shape: Sequence[int], weights: str = "", features_from: str = "") -> keras.Model:
        """The part that is not trained at first: from uint8 pixels to features (n, k).

        Args:
            image_shape: height, width, 3.
            weights: `imagenet`, a local file of weights, or nothing: random ones.
            features_from: the layer whose output (or input: `LAYER.input`) the features are; the last one if empty.
        """
        height, width, channels = image_shape
        if channels != 3:
            raise InputError(f"{self.name} takes colour images (3 channels), got {channels}")
        pixels = keras.Input((height, width, channels), dtype="uint8", name="pixels")
        prepared = self.preprocessing(keras.ops.cast(pixels, keras.config.floatx()))
        whole = self.application(
            include_top=False, weights=IMAGENET if weights == IMAGENET else None, input_tensor=prepared
        )
        cut = keras.Model(pixels, find_tensor(whole, features_from))
        if weights not in ("", IMAGENET):
            load_weights(weights, whole, cut)
        pool = layers.Flatten(name=POOLED) if self.flatten else layers.GlobalAveragePooling2D(name=POOLED)
        features = pool(cut.output) if len(cut.output.shape) == 4 else cut.output
        return keras.Model(pixels, layers.Activation("linear", dtype="float32", name=FEATURES)(features))

    def top(self, features: Any, head: Head, dropout: float = 0.5) -> Any:
        """Features (n, k) to scores, through one hidden layer."""
        hidden = layers.Dense(self.hidden, activation="relu", name="hidden")(features)
        return head(layers.Dropout(dropout, name="dropout")(hidden))

    def build(
        self,
        image_shape: Sequence[int],
        head: Head,
        weights: str = "",
        features_from: str = "",
        dropout: float = 0.5,
    ) -> keras.Model:
        """The whole network, its backbone frozen."""
        backbone = self.backbone(image_shape, weights, features_from)
        freeze(backbone)
        return keras.Model(backbone.input, self.top(backbone.output, head, dropout), name=self.name)


def find_tensor(model: keras.Model, place: str) -> Any:
    """A tensor within a network: the output of a layer, or with `.input` behind its name, its input.

    Raises:
        InputError: there is no such layer; the message names the last ones.
    """
    if not place:
        return model.output
    name, mark, _ = place.partition(".input")
    layer = find_layer(model, name)
    return layer.input if mark else layer.output


def find_layer(model: keras.Model, name: str) -> keras.layers.Layer:
    """A layer by its name.

    Raises:
        InputError: there is none.
    """
    names = [layer.name for layer in model.layers]
    if name not in names:
        raise InputError(f"{model.name} has no layer {name!r}; its last ones are {', '.join(names[-8:])}")
    return model.get_layer(name)


def load_weights(path: str, whole: keras.Model, cut: keras.Model) -> None:
    """Load a `.weights.h5` file, of the whole backbone or of the part up to the features.

    Raises:
        InputError: it fits neither; the message says why.
    """
    problems = []
    try:
        archives.check_weights(path)
    except ConcordError as error:
        raise InputError(f"{path} does not hold the weights of {whole.name}: {error}") from error
    for model in (cut, whole):
        try:
            model.load_weights(path)
            return
        except (ValueError, OSError, KeyError) as error:
            problems.append(str(error).splitlines()[0])
    raise InputError(f"{path} does not hold the weights of {whole.name}: {problems[0]}")


def split_head(model: keras.Model) -> keras.Model:
    """The part of a transfer network behind its features, sharing its layers: from features (n, k) to scores."""
    return keras.Model(model.get_layer(FEATURES).output, model.output, name=f"{model.name}_head")


def split_backbone(model: keras.Model) -> keras.Model:
    """The part of a transfer network up to its features, sharing its layers."""
    return keras.Model(model.input, model.get_layer(FEATURES).output, name=f"{model.name}_backbone")


def freeze(model: keras.Model) -> None:
    """Train none of its layers."""
    for layer in model.layers:
        layer.trainable = False


def unfreeze(model: keras.Model, place: str) -> None:
    """Train the layers from one on (`all`: every one), but for batch normalisation, whose statistics stay.

    (https://keras.io/guides/transfer_learning/)
    """
    first = 0 if place == "all" else model.layers.index(find_layer(model, place))
    for layer in model.layers[first:]:
        layer.trainable = not isinstance(layer, layers.BatchNormalization)
