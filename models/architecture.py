"""What a saved network is made of, read from its file without loading it; no TensorFlow is needed."""

import json
import zipfile
from typing import Any

from schemas import storage
from schemas.errors import InputError

CONVOLUTIONS = ("Conv2D", "SeparableConv2D", "DepthwiseConv2D")
_CONFIG = "config.json"


def convolves(path: str) -> bool:
    """Whether the network of a `.keras` file has a convolution, at any depth.

    Raises:
        InputError: it is no such file.
    """
    try:
        with storage.open_input(path) as file, zipfile.ZipFile(file) as parts:
            config = json.loads(parts.read(_CONFIG))
    except (zipfile.BadZipFile, KeyError, ValueError) as error:
        raise InputError(f"{path} is no .keras file ({error}): train the model again") from error
    return _has_convolution(config)


def _has_convolution(config: Any) -> bool:
    if isinstance(config, dict):
        return config.get("class_name") in CONVOLUTIONS or any(map(_has_convolution, config.values()))
    return isinstance(config, list) and any(map(_has_convolution, config))
