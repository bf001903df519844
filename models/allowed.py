"""What the configuration of a network from outside may name: Keras' own layers and their like, and nothing else.

Keras joins a module and a name before it looks them up, so that `layers.Lambda` of the module `keras` is a Lambda
layer. So each name is looked up here as `keras.saving.deserialize_keras_object` does it, also as it does for legacy
`.h5` files, whose objects have no module; and what is found has to be on the lists below, by where it is defined.
"""

import sys
from collections.abc import Iterator
from types import FunctionType
from typing import Any

from models.tensorflow_setup import keras
from schemas.errors import InputError

_SOURCE = "keras.src"
_MODULES = (  # within `keras.src`, with all that lies below them
    *("constraints", "dtype_policies", "initializers", "losses", "metrics", "optimizers", "regularizers"),
    *("quantizers.quantizers", "quantizers.quantization_config", "random.seed_generator"),
    *("layers.activations", "layers.attention", "layers.convolutional", "layers.merging", "layers.normalization"),
    *("layers.pooling", "layers.regularization", "layers.reshaping", "layers.rnn"),
    *("layers.core.dense", "layers.core.einsum_dense", "layers.core.embedding", "layers.core.identity"),
    *("layers.core.input_layer", "layers.core.masking", "layers.core.reversible_embedding", "layers.core.wrapper"),
    *("layers.preprocessing.category_encoding", "layers.preprocessing.discretization"),
    *("layers.preprocessing.image_preprocessing", "layers.preprocessing.normalization"),
    *("layers.preprocessing.pipeline", "layers.preprocessing.rescaling"),
    *("models.functional", "models.model", "models.sequential"),
    *("ops.einops", "ops.image", "ops.math", "ops.nn", "ops.numpy"),
)
_CLASSES = {  # of modules that also hold classes which call a function of the file
    "ops.core": "Cast ConvertToTensor SaturateCast Scatter ScatterUpdate Slice SliceUpdate StopGradient Unstack",
    "ops.linalg": "Cholesky Det Eigh Inv Norm Qr Solve SolveTriangular SVD",
    "applications.convnext": "LayerScale StochasticDepth",
    "applications.inception_resnet_v2": "CustomScaleLayer",
}
_FUNCTIONS = ("activations.activations", "losses.losses", "metrics.accuracy_metrics")  # take tensors alone
_KINDS = (
    *(keras.Operation, keras.Initializer, keras.Regularizer, keras.constraints.Constraint, keras.Loss, keras.Metric),
    *(keras.Optimizer, keras.optimizers.schedules.LearningRateSchedule, keras.DTypePolicy),
    *(keras.dtype_policies.DTypePolicyMap, keras.Quantizer, keras.quantizers.QuantizationConfig),
    keras.random.SeedGenerator,
)
_VALUES = {"__keras_tensor__", "__bytes__", "__ellipsis__", "__slice__", "__tuple__", "TensorShape"}
_VALUE_KEYS = {"class_name", "config", "items", "value"}
_ARRAYS = {"__tensor__", "__numpy__"}
_TYPES = keras.src.backend.common.dtypes.ALLOWED_DTYPES
# Keras looks for functions of `builtins` in these; for objects without a module in all of them, and in the layers
_BUILTIN = sorted(keras.src.saving.serialization_lib.BUILTIN_MODULES)
_LISTS = [
    vars(keras.src.layers),
    {"Functional": keras.src.models.Functional, "Model": keras.Model, "Sequential": keras.Sequential},
    *(getattr(keras.src, one).ALL_OBJECTS_DICT for one in (*_BUILTIN, "dtype_policies", "quantizers")),
]
_WHY = {
    **dict.fromkeys(
        ("Lambda", "__lambda__", "TFSMLayer", "TorchModuleWrapper", "FlaxLayer", "JaxLayer"), "run code of"
    ),
    **dict.fromkeys(("StringLookup", "IntegerLookup", "TextVectorization"), "read files of"),
}


def check(shown: str, config: Any, training: Any = None) -> None:
    """Check every name in a configuration.

    Args:
        shown: what to call the file.
        config: what Keras makes a network of.
        training: what it was compiled with; nothing is made of that (`compile=False`), so that Keras need not know it.

    Raises:
        InputError: it names something that it may not.
    """
    for one in _objects(config):
        _check_object(shown, one)
    for one in _objects(training):
        if _find_objects(one) or str(one.get("module") or "builtins").split(".")[0] not in ("builtins", "keras"):
            _check_object(shown, one)


def _objects(config: Any) -> Iterator[dict[str, Any]]:
    """Every object within a configuration: whatever has a `class_name`."""
    waiting = [config]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            if "class_name" in one:
                yield one
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one


def _check_object(shown: str, one: dict[str, Any]) -> None:
    name, module = one["class_name"], one.get("module")
    if isinstance(name, str) and one.keys() <= _VALUE_KEYS:
        settings = one.get("config")
        if name in _VALUES:
            return
        # of types that are not Keras' own, a short text makes an array of any size
        if name in _ARRAYS and isinstance(settings, dict) and settings.get("dtype") in _TYPES:
            return
    objects = _find_objects(one)
    if objects and all(_is_allowed(each, one["class_name"] == "function") for each in objects):
        return
    name = str(one.get("config") if name == "function" else name)
    if why := _WHY.get(name.rpartition(".")[2]):
        raise InputError(f"Keras cannot load {shown}: a {name[:60]} layer can {why} its own; save it without")
    raise InputError(
        f"Keras cannot load {shown}: it names {name[:60]!r} of the module {str(module)[:60]!r}, and may name "
        "Keras' own layers and their like alone; save it without"
    )


def _find_objects(one: dict[str, Any]) -> list[Any]:
    """All that Keras may take a name for, wherever it stands; nothing if it is not where the object says that it is."""
    name, module = one["class_name"], one.get("module")
    registered = one.get("registered_name", name)
    function = name == "function"
    sought = one.get("config") if function else name
    if not isinstance(sought, str) or not isinstance(module, str | None) or not isinstance(registered, str | None):
        return []
    by_name = [each[sought] for each in _LISTS if sought in each and not function]
    objects = _in_module(module, sought, function) if module else by_name
    if not objects:
        return []
    customs = [keras.saving.get_registered_object(each) for each in (sought, registered)]
    return [*objects, *by_name, *(each for each in customs if each is not None)]


def _in_module(module: str, name: str, function: bool) -> list[Any]:
    """What Keras finds by a module and a name, which may not be split otherwise than Keras itself splits them."""
    symbol = keras.src.api_export.get_symbol_from_name
    if "." in name:
        return []
    if module == "builtins" and function:
        objects = [symbol(f"keras.{each}.{name}") for each in _BUILTIN]
    else:
        objects = [symbol(f"{module}.{name}")]
        if objects == [None] and module in sys.modules:  # Keras has loaded all that is on the lists
            objects = [vars(sys.modules[module]).get(name)]
            objects = [each for each in objects if getattr(each, "__module__", None) == module]
    return [each for each in objects if each is not None]


def _is_allowed(one: Any, function: bool) -> bool:
    """Whether a network may consist of this."""
    package, _, module = str(getattr(one, "__module__", None)).partition(f"{_SOURCE}.")
    if package:
        return False
    if function:
        return isinstance(one, FunctionType) and module in _FUNCTIONS
    listed = any(module == each or module.startswith(f"{each}.") for each in _MODULES)
    return (
        isinstance(one, type)
        and issubclass(one, _KINDS)
        and (listed or one.__name__ in _CLASSES.get(module, "").split())
    )
