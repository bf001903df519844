"""Network `logistic`: softmax regression on pixels, the baseline; 10,250 parameters at 32x32x1 and 10 classes."""

import keras
from keras import layers

from models.tasks import Head

HINT = {"shape": (32, 32, 1), "scored_per_second": 12_000, "learnt_per_second": 7_000, "parameters": 10_250}


def build(image_shape: tuple[int, int, int], head: Head) -> keras.Model:
    """The untrained network.

    Args:
        image_shape: height, width, channels.
        head: what it ends in.

    Returns:
        a model from uint8 pixels (n, *image_shape) to scores.
    """
    pixels = keras.Input(image_shape, dtype="uint8", name="pixels")
    flat = layers.Flatten()(layers.Rescaling(1 / 255)(pixels))
    return keras.Model(pixels, head(flat), name="logistic")
