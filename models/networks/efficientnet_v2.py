"""Network `efficientnet_v2`: EfficientNetV2-B0 (Tan and Le 2021, https://arxiv.org/abs/2104.00298), a transfer network.

A small modern backbone (5.9 million parameters); pooled features, 256 hidden units, dropout. Its preprocessing is the
one that `keras.applications` builds into it.
"""

import keras

from models.transfer import Transfer

IMAGE_SHAPE = (224, 224, 3)
TRANSFER = Transfer(
    name="efficientnet_v2",
    application=keras.applications.EfficientNetV2B0,
    preprocessing=lambda pixels: pixels,
    flatten=False,
    hidden=256,
)
build = TRANSFER.build
