"""Network `efficientnet_v2`: EfficientNetV2-B0 (Tan and Le 2021, https://arxiv.org/abs/2104.00298), a transfer network.

A small modern backbone (5.9 million parameters); pooled features, 256 hidden units, dropout. Its preprocessing is the
one that `keras.applications` builds into it.
"""

import keras

from models.transfer import Transfer

HINT = {"shape": (224, 224, 3), "scored_per_second": 25, "learnt_per_second": 25, "parameters": 6_250_000}

IMAGE_SHAPE = (224, 224, 3)
TRANSFER = Transfer(
    name="efficientnet_v2",
    application=keras.applications.EfficientNetV2B0,
    preprocessing=lambda pixels: pixels,
    flatten=False,
    hidden=256,
)
build = TRANSFER.build
