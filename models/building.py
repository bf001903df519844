"""Build the network of a training's settings: its input, the settings that it takes, and its precision."""

import models.tensorflow_setup  # isort: skip  # noqa: F401  (before the networks import Keras, which logs as it starts)

import inspect
from collections.abc import Sequence
from contextlib import ExitStack
from types import ModuleType
from typing import Any

from models import networks, transfer
from models.tasks import Head
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


def load_network(settings: TrainSettings) -> ModuleType:
    """The network's module."""
    return plugins.load(networks, "network", settings.network)


def find_transfer(settings: TrainSettings) -> Transfer | None:
    """The network's backbone and head, if it is a transfer network."""
    transfer_network: Transfer | None = getattr(load_network(settings), "TRANSFER", None)
    return transfer_network


def image_shape(settings: TrainSettings, images: ImageSet) -> Shape:
    """Height, width and channels of the network's input: as set, else the network's own, else the dataset's.

    Raises:
        InputError: none of them states it.
    """
    own: Shape | None = getattr(load_network(settings), "IMAGE_SHAPE", None)
    if settings.image_size:
        channels = own[2] if own else (images.manifest.image_shape or (None, None, 3))[2]
        return settings.image_size, settings.image_size, channels or 3
    return own or images.image_shape


def network_options(settings: TrainSettings) -> dict[str, Any]:
    """The settings of the network itself, as far as they are set.

    Raises:
        InputError: the network does not take one of them.
    """
    unset = {"width": 0.0, "dropout": -1.0, "weights": "", "features_from": ""}
    options = {name: getattr(settings, name) for name, default in unset.items() if getattr(settings, name) != default}
    parameters = inspect.signature(load_network(settings).build).parameters
    for name in options:
        if name not in parameters:
            known = ", ".join(key for key in parameters if key in unset) or "none of these settings"
            raise InputError(f"network {settings.network!r} takes no {name}; it takes {known}")
    if settings.fine_tune_from and find_transfer(settings) is None:
        raise InputError(f"network {settings.network!r} has no backbone to fine-tune: remove fine_tune_from")
    return options


def build(settings: TrainSettings, shape: Sequence[int], head: Head) -> keras.Model:
    """The untrained network, at the precision of the settings.

    Raises:
        InputError: it cannot be built for images of this size, or its weights do not fit.
    """
    options = network_options(settings)
    keras.mixed_precision.set_dtype_policy(resolve_precision(settings.precision))
    try:
        with ExitStack() as stack:
            if options.get("weights", "") not in ("", IMAGENET):
                (options["weights"],) = stack.enter_context(stores.local_copies([options["weights"]]))
            model: keras.Model = load_network(settings).build(tuple(shape), head, **options)
    except InputError:
        raise
    except Exception as error:
        if options.get("weights") == IMAGENET:
            raise InputError(f"ImageNet's weights cannot be fetched ({error}): give a file with --weights") from error
        if not isinstance(error, ValueError):
            raise
        raise InputError(
            f"network {settings.network!r} cannot be built for images of {list(shape)} "
            f"({str(error).splitlines()[0]}): give another --image-size"
        ) from error
    return model


def build_backbone(settings: FeatureSettings) -> keras.Model:
    """The backbone of a transfer network as `build` makes it, with the same random weights where they are random.

    Raises:
        InputError: the network has no backbone, or its weights do not fit.
    """
    fields = ("dataset", "network", "image_size", "weights", "features_from", "precision", "seed")
    training = TrainSettings(**{key: getattr(settings, key) for key in fields})
    module = load_network(training)
    if find_transfer(training) is None:
        raise InputError(f"network {settings.network!r} has no backbone: features are of transfer networks")
    keras.utils.set_random_seed(settings.seed)
    shape = (settings.image_size, settings.image_size, 3) if settings.image_size else module.IMAGE_SHAPE
    return transfer.split_backbone(build(training, shape, Head(MULTICLASS, 2)))


def resolve_precision(precision: str) -> str:
    """The dtype policy: `auto` is mixed on GPUs that are fast at it, and float32 anywhere else."""
    if precision != "auto":
        return precision
    devices = tf.config.list_physical_devices("GPU")
    capabilities = [tf.config.experimental.get_device_details(gpu).get("compute_capability", (0, 0)) for gpu in devices]
    if capabilities and min(capabilities) >= _BFLOAT16:
        return "mixed_bfloat16"
    return "mixed_float16" if capabilities and min(capabilities) >= _FLOAT16 else "float32"
