"""Network `cnn1`: two convolutions, the first of the SVHN course; 267,306 parameters at 32x32x1 and 10 classes."""

import keras
from keras import layers

from models.tasks import Head

HINT = {"shape": (32, 32, 1), "scored_per_second": 8_000, "learnt_per_second": 1_600, "parameters": 267_306}


def build(image_shape: tuple[int, int, int], head: Head) -> keras.Model:
    """The untrained network.

    Args:
        image_shape: height, width, channels.
        head: what it ends in.

    Returns:
        a model from uint8 pixels (n, *image_shape) to scores.
    """
    pixels = keras.Input(image_shape, dtype="uint8", name="pixels")
    x = layers.Rescaling(1 / 255)(pixels)
    for filters in (16, 32):
        x = layers.LeakyReLU(negative_slope=0.1)(layers.Conv2D(filters, 3, padding="same")(x))
    x = layers.Flatten()(layers.MaxPooling2D(2)(x))
    x = layers.LeakyReLU(negative_slope=0.1)(layers.Dense(32)(x))
    return keras.Model(pixels, head(x), name="cnn1")
