"""Build the network that settings ask for: its input, the settings that it takes, and its precision."""

import models.tensorflow_setup  # isort: skip  # noqa: F401  (before the networks import Keras, which is not quiet by itself)

import inspect
from collections.abc import Sequence
from contextlib import ExitStack
from types import ModuleType
from typing import Any

from models import networks, transfer
from models.heads import Head
from models.tensorflow_setup import keras
from models.tensorflow_setup import tensorflow as tf
from models.transfer import Transfer
from schemas import plugins
from schemas.errors import InputError
from schemas.layout import IMAGENET
from schemas.manifests import MULTICLASS
from schemas.settings.features import FeatureSettings
from schemas.settings.train import TrainSettings
from storage import stores
from storage.products import ImageSet

_FLOAT16, _BFLOAT16 = (7, 0), (8, 0)  # compute capabilities from which on a GPU is fast at them
Shape = tuple[int, int, int]


def module_of(settings: TrainSettings) -> ModuleType:
    """The network's file."""
    return plugins.load(networks, "network", settings.network)


def transfer_of(settings: TrainSettings) -> Transfer | None:
    """The network's backbone and head, if it is a transfer network."""
    found: Transfer | None = getattr(module_of(settings), "TRANSFER", None)
    return found


def image_shape(settings: TrainSettings, images: ImageSet) -> Shape:
    """Height, width and channels of the network's input: as set, else the network's own, else the dataset's.

    Raises:
        InputError: nothing says it.
    """
    own: Shape | None = getattr(module_of(settings), "IMAGE_SHAPE", None)
    if settings.image_size:
        channels = own[2] if own else (images.manifest.image_shape or (None, None, 3))[2]
        return settings.image_size, settings.image_size, channels or 3
    return own or images.image_shape


def options(settings: TrainSettings) -> dict[str, Any]:
    """The settings that a network may take, and that are given.

    Raises:
        InputError: the network does not take one of them.
    """
    unset = {"width": 0.0, "dropout": -1.0, "weights": "", "features_from": ""}
    given = {name: getattr(settings, name) for name, default in unset.items() if getattr(settings, name) != default}
    taken = inspect.signature(module_of(settings).build).parameters
    for name in given:
        if name not in taken:
            able = ", ".join(key for key in taken if key in unset) or "none of these settings"
            raise InputError(f"network {settings.network!r} takes no {name}; it takes {able}")
    if settings.fine_tune_from and transfer_of(settings) is None:
        raise InputError(
            f"network {settings.network!r} has no backbone that could be fine-tuned: leave fine_tune_from out"
        )
    return given


def build(settings: TrainSettings, shape: Sequence[int], head: Head) -> keras.Model:
    """The untrained network, at the precision asked for.

    Raises:
        InputError: it cannot be built for images of this size, or its weights do not fit.
    """
    given = options(settings)
    keras.mixed_precision.set_dtype_policy(precision(settings.precision))
    try:
        with ExitStack() as stack:
            if given.get("weights", "") not in ("", IMAGENET):
                (given["weights"],) = stack.enter_context(stores.local_copies([given["weights"]]))
            model: keras.Model = module_of(settings).build(tuple(shape), head, **given)
    except InputError:
        raise
    except Exception as error:
        if given.get("weights") == IMAGENET:
            raise InputError(f"ImageNet's weights cannot be fetched ({error}): give a file with --weights") from error
        if not isinstance(error, ValueError):
            raise
        raise InputError(
            f"network {settings.network!r} cannot be built for images of {list(shape)} "
            f"({str(error).splitlines()[0]}): give another --image-size"
        ) from error
    return model


def backbone(settings: FeatureSettings) -> keras.Model:
    """The backbone of a transfer network as `build` makes it, with the same random weights where they are random.

    Raises:
        InputError: the network is none that has a backbone, or its weights do not fit.
    """
    fields = ("dataset", "network", "image_size", "weights", "features_from", "precision", "seed")
    training = TrainSettings(**{key: getattr(settings, key) for key in fields})
    module = module_of(training)
    if transfer_of(training) is None:
        raise InputError(f"network {settings.network!r} has no backbone: features are of transfer networks")
    keras.utils.set_random_seed(settings.seed)
    shape = (settings.image_size, settings.image_size, 3) if settings.image_size else module.IMAGE_SHAPE
    return transfer.backbone_of(build(training, shape, Head(MULTICLASS, 2)))


def precision(wanted: str) -> str:
    """The dtype policy: `auto` is mixed on GPUs that are fast at it, and float32 anywhere else."""
    if wanted != "auto":
        return wanted
    devices = tf.config.list_physical_devices("GPU")
    able = [tf.config.experimental.get_device_details(gpu).get("compute_capability", (0, 0)) for gpu in devices]
    if able and min(able) >= _BFLOAT16:
        return "mixed_bfloat16"
    return "mixed_float16" if able and min(able) >= _FLOAT16 else "float32"
