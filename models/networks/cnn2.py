"""Network `cnn2`: four convolutions, the second of the SVHN course; 164,362 parameters at 32x32x1 and 10 classes."""

import keras
from keras import layers

from models.tasks import Head

HINT = {"shape": (32, 32, 1), "scored_per_second": 5_600, "learnt_per_second": 1_100, "parameters": 164_362}


def build(image_shape: tuple[int, int, int], head: Head, dropout: float = 0.5) -> keras.Model:
    """The untrained network.

    Args:
        image_shape: height, width, channels.
        head: what it ends in.
        dropout: before the scores.

    Returns:
        a model from uint8 pixels (n, *image_shape) to scores.
    """
    pixels = keras.Input(image_shape, dtype="uint8", name="pixels")
    x = layers.Rescaling(1 / 255)(pixels)
    for block in ((16, 32), (32, 64)):
        for filters in block:
            x = layers.LeakyReLU(negative_slope=0.1)(layers.Conv2D(filters, 3, padding="same")(x))
        x = layers.BatchNormalization()(layers.MaxPooling2D(2)(x))
    x = layers.LeakyReLU(negative_slope=0.1)(layers.Dense(32)(layers.Flatten()(x)))
    return keras.Model(pixels, head(layers.Dropout(dropout)(x)), name="cnn2")
