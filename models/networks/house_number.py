"""Network `house_number`: reads a whole number at once, after Goodfellow et al. 2013 (https://arxiv.org/abs/1312.6082).

Eight convolutions of 48, 64, 128, 160 and four times 192 filters, every other one followed by a reduction, and two
dense layers; `width` makes all of them narrower. Batch normalisation stands in for the paper's subtractive one, and
3x3 kernels for 5x5 but in the first layer, which halves the work. For the task `sequence` it ends in a softmax for the
length and one for each of five digits.
"""

import keras
from keras import layers

from models.tasks import Head

HINT = {"shape": (48, 128, 1), "scored_per_second": 900, "learnt_per_second": 250, "parameters": 1_624_041}

FILTERS = (48, 64, 128, 160, 192, 192, 192, 192)
DENSE = 3072


def build(image_shape: tuple[int, int, int], head: Head, width: float = 1.0, dropout: float = 0.5) -> keras.Model:
    """The untrained network.

    Args:
        image_shape: height, width, channels.
        head: what it ends in.
        width: of every layer, relative to the paper's.
        dropout: before each dense layer, and before the scores.

    Returns:
        a model from uint8 pixels (n, *image_shape) to scores.
    """
    pixels = keras.Input(image_shape, dtype="uint8", name="pixels")
    x = layers.Rescaling(1 / 127.5, offset=-1)(pixels)
    for number, filters in enumerate(FILTERS):
        units = max(8, round(filters * width / 8) * 8)
        x = layers.Conv2D(units, 3 if number else 5, padding="same", use_bias=False)(x)
        if not number % 2:  # before the normalisation, which then has a quarter of the work
            x = layers.MaxPooling2D(2, padding="same")(x)
        x = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))
    x = layers.Flatten()(x)
    for _ in range(2):
        x = layers.Dense(round(DENSE * width), use_bias=False)(layers.Dropout(dropout)(x))
        x = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))
    x = layers.Dropout(dropout)(x)
    return keras.Model(pixels, head(x), name="house_number")
