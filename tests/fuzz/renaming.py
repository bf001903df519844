"""Names and modules in networks' configurations, exchanged at random for others that Keras has, or that look like them.

Whatever Keras then resolves has to be on the list (`models/allowed.py`), and nothing may be written, called or reached
while the network is built and tried.
"""

import functools
import json
import random
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FunctionType
from typing import Any

from storage import confinement
from tests.fuzz import seeds

_MODULES = (
    *("keras", "keras.layers", "keras.src", "keras.src.layers", "keras.src.ops.core", "keras.src.ops.numpy"),
    *("keras.src.layers.core.lambda_layer", "keras.visualization", "keras.utils", "builtins", "os", "numpy", "", None),
)
_NAMES = (
    "Lambda",
    "function",
    "__lambda__",
    "__numpy__",
    "TypeSpec",
    "deserialize",
    "get_file",
    "load_model",
    "system",
)
_KEYS = (
    "registered_name",
    "module",
    "class_name",
    "config",
    "build_config",
    "compile_config",
    "__passive_serialization__",
)
_watching: list[list[str]] = []  # what happened, while somebody looks; Python has no way to take a hook away again


def renamed(content: bytes) -> bytes:
    """A `.keras` file, in whose configuration one to four names are exchanged, the same ones for the same content."""
    return seeds.zipped(_renamed(content, seeds.configs()[0]))


def renamed_h5(content: bytes) -> bytes:
    """A legacy file, likewise."""
    return seeds.in_h5(_renamed(content, seeds.h5_configs()[0]))


def _renamed(content: bytes, otherwise: bytes) -> bytes:
    rng = random.Random(zlib.crc32(content))
    try:
        config = json.loads(content)
    except ValueError:
        config = json.loads(otherwise)
    objects = list(_objects(config))
    for _ in range(rng.randint(1, 4) if objects else 0):
        _exchange(rng, rng.choice(objects))
    return json.dumps(config).encode()


def _objects(config: Any) -> Iterator[dict[str, Any]]:
    if isinstance(config, dict):
        if "class_name" in config:
            yield config
        config = list(config.values())
    for one in config if isinstance(config, list) else ():
        yield from _objects(one)


def _exchange(rng: random.Random, one: dict[str, Any]) -> None:
    """Another name for an object, whole or a part of it; or a layer that writes a file, by some spelling."""
    module, name = _spelt(rng)
    kind = rng.randrange(5)
    if kind == 0:
        one.update(module=module, class_name=name, registered_name=rng.choice((None, name)))
    elif kind == 1:
        one.update(module=module, class_name="function", config=name, registered_name=name)
    elif kind == 2:
        one[rng.choice(_KEYS)] = rng.choice((module, name, None, {}, {"class_name": name, "config": {}}))
    elif kind == 3:
        one.pop(rng.choice(list(one)))
    else:
        function = {"module": module, "class_name": "function", "config": name, "registered_name": name}
        place = rng.choice(("keras", "keras.layers"))
        one.update(module=place, class_name="layers.Lambda"[0 if place == "keras" else 7 :], registered_name=None)
        one["config"] = {"function": function, "arguments": {"path": "/tmp/concord-ran"}, "output_shape": [4, 4, 1]}


def _spelt(rng: random.Random) -> tuple[Any, str]:
    """A module and a name: something of Keras, split at any dot, or anything else."""
    from models.tensorflow_setup import keras

    if rng.random() < 0.3:
        return rng.choice(_MODULES), rng.choice(_NAMES)
    found = keras.src.api_export.REGISTERED_NAMES_TO_OBJS
    name = rng.choice(list(found))
    if rng.random() < 0.3:  # where it is defined
        return getattr(found[name], "__module__", None), name.rpartition(".")[2]
    parts = name.split(".")
    place = rng.randint(1, len(parts) - 1)
    return ".".join(parts[:place]), ".".join(parts[place:])


@contextmanager
def watched() -> Iterator[None]:
    """Report what Keras resolves that is not on the list, and what a confined process would refuse."""
    from models import allowed
    from models.tensorflow_setup import keras

    happened: list[str] = []
    new, legacy = keras.src.saving.serialization_lib, keras.src.legacy.saving.serialization
    resolve, resolve_legacy = new._retrieve_class_or_fn, legacy.class_and_config_for_serialized_keras_object

    def look(found: Any) -> None:
        if not allowed._is_allowed(found, isinstance(found, FunctionType)):
            happened.append(f"Keras resolved {found!r}")

    def resolved(*given: Any, **more: Any) -> Any:
        look(found := resolve(*given, **more))
        return found

    def resolved_legacy(*given: Any, **more: Any) -> Any:
        look((found := resolve_legacy(*given, **more))[0])
        return found

    new._retrieve_class_or_fn, legacy.class_and_config_for_serialized_keras_object = resolved, resolved_legacy
    _watching.append(happened)
    try:
        yield
    finally:
        _watching.remove(happened)
        new._retrieve_class_or_fn, legacy.class_and_config_for_serialized_keras_object = resolve, resolve_legacy
        assert not happened, happened  # also where Keras failed in the end


def _hear(event: str, details: tuple[Any, ...]) -> None:
    if _watching:
        try:
            confinement._refuse(event, details)
        except PermissionError:
            _watching[-1].append(f"{event} {details!r}"[:300])


@functools.cache
def _listen() -> None:
    sys.addaudithook(_hear)


def read(path: Path) -> None:
    """Check a network, and then, if it passes, build it and try it under the eyes of the watch."""
    from models import archives, external_models

    _listen()
    fit = external_models.Fit("multiclass", ["a", "b"], (4, 4, 1), (), (0, 1), "")
    archives.check(str(path), str(path))
    with watched():
        external_models.attempt(str(path), str(path), fit)
