"""Network `vgg16`: Simonyan and Zisserman 2014 (https://arxiv.org/abs/1409.1556) as a transfer network.

The study's head: flattened features, 256 hidden units, dropout; at 150x150 it has 2,228,992 parameters for 512
classes. Pixels are blue, green, red, less the mean of ImageNet, as the weights of the Caffe model zoo want them.
"""

from typing import Any

import keras
from keras import layers

from models.transfer import Transfer

HINT = {"shape": (150, 150, 3), "scored_per_second": 8, "learnt_per_second": 8, "parameters": 16_812_610}

IMAGE_SHAPE = (150, 150, 3)
_MEAN = (103.939, 116.779, 123.68)  # blue, green, red


def _caffe(pixels: Any) -> Any:
    blue_first = keras.ops.flip(pixels, axis=-1)
    return layers.Normalization(axis=-1, mean=_MEAN, variance=(1.0, 1.0, 1.0), name="centred")(blue_first)


TRANSFER = Transfer(name="vgg16", application=keras.applications.VGG16, preprocessing=_caffe, flatten=True, hidden=256)
build = TRANSFER.build
