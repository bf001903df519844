"""Network `cnn1`: two convolutions, the first of the SVHN course; 267,306 parameters at 32x32x1."""

import keras
from keras import layers


def build(image_shape: tuple[int, int, int], classes: int) -> keras.Model:
    """The untrained network.

    Args:
        image_shape: height, width, channels.
        classes: how many.

    Returns:
        a model from uint8 pixels (n, *image_shape) to softmax scores (n, classes).
    """
    return keras.Sequential(
        [
            keras.Input(image_shape, dtype="uint8", name="pixels"),
            layers.Rescaling(1 / 255),
            layers.Conv2D(16, 3, padding="same"),
            layers.LeakyReLU(negative_slope=0.1),
            layers.Conv2D(32, 3, padding="same"),
            layers.LeakyReLU(negative_slope=0.1),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dense(32),
            layers.LeakyReLU(negative_slope=0.1),
            layers.Dense(classes, activation="softmax", dtype="float32", name="scores"),
        ],
        name="cnn1",
    )
