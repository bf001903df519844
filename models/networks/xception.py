"""Network `xception`: Chollet 2017 (https://arxiv.org/abs/1610.02357) as a transfer network, with the study's head.

Pooled features, 1,024 hidden units, dropout: the head has 2,622,976 parameters for 512 classes. Pixels go to [-1, 1].
"""

from typing import Any

import keras
from keras import layers

from models.transfer import Transfer

HINT = {"shape": (299, 299, 3), "scored_per_second": 5, "learnt_per_second": 5, "parameters": 22_961_706}

IMAGE_SHAPE = (299, 299, 3)


def _rescaled(pixels: Any) -> Any:
    return layers.Rescaling(1 / 127.5, offset=-1, name="rescaled")(pixels)


TRANSFER = Transfer(
    name="xception",
    application=keras.applications.Xception,
    preprocessing=_rescaled,
    flatten=False,
    hidden=1024,
)
build = TRANSFER.build
