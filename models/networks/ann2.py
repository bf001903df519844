"""Network `ann2`: five hidden layers, the second of the SVHN course; 310,250 parameters at 32x32x1 and 10 classes."""

import keras
from keras import layers

from models.tasks import Head

HINT = {"shape": (32, 32, 1), "scored_per_second": 11_000, "learnt_per_second": 5_900, "parameters": 310_250}


def build(image_shape: tuple[int, int, int], head: Head) -> keras.Model:
    """The untrained network.

    Args:
        image_shape: height, width, channels.
        head: what it ends in.

    Returns:
        a model from uint8 pixels (n, *image_shape) to scores.
    """
    pixels = keras.Input(image_shape, dtype="uint8", name="pixels")
    x = layers.Flatten()(layers.Rescaling(1 / 255)(pixels))
    for units in (256, 128):
        x = layers.Dense(units, activation="relu")(x)
    x = layers.Dropout(0.2)(x)
    for units in (64, 64, 32):
        x = layers.Dense(units, activation="relu")(x)
    return keras.Model(pixels, head(layers.BatchNormalization()(x)), name="ann2")
