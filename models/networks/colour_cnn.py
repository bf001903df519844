"""Network `colour_cnn`: our own best small network, made for 32x32 colour crops; 298,986 parameters there.

A convolution, then stages that each widen, halve the sides and convolve once more, every convolution normalised; the
mean of the last maps goes through dropout into the scores. Images of more than 40 pixels get a fourth stage. Chosen on
real crops and faces for accuracy a CPU second: two convolutions a stage did as well as three, and 32 filters to begin
with as well as 48 at half the cost.
"""

from typing import Any

import keras
from keras import layers

from models.heads import Head

FILTERS = 32
LARGE = 40  # pixels: what is larger than this is halved once more


def build(image_shape: tuple[int, int, int], head: Head, width: float = 1.0, dropout: float = 0.3) -> keras.Model:
    """The untrained network.

    Args:
        image_shape: height, width, channels.
        head: what it ends in.
        width: of every layer, relative to 32, 64 and 128 filters.
        dropout: before the scores.

    Returns:
        a model from uint8 pixels (n, *image_shape) to scores.
    """
    pixels = keras.Input(image_shape, dtype="uint8", name="pixels")
    x = layers.Rescaling(1 / 127.5, offset=-1)(pixels)
    filters = round(FILTERS * width)
    x = _normalised(_convolution(x, filters))
    for stage in range(4 if min(image_shape[:2]) > LARGE else 3):
        x = _normalised(layers.MaxPooling2D(2)(_convolution(x, filters << stage)))
        x = _normalised(_convolution(x, filters << stage))
    x = layers.Dropout(dropout)(layers.GlobalAveragePooling2D()(x))
    return keras.Model(pixels, head(x), name="colour_cnn")


def _convolution(x: Any, filters: int) -> Any:
    return layers.Conv2D(filters, 3, padding="same", use_bias=False, kernel_initializer="he_normal")(x)


def _normalised(x: Any) -> Any:
    return layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))
