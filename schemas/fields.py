"""What all settings are made of: fields with their help, and the checks that several stages share."""

import dataclasses
import difflib
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import field
from typing import Any, TypeVar, get_type_hints

from schemas.errors import InputError
from schemas.layout import IMAGENET, absolute, check_address, check_name, check_split

Settings = TypeVar("Settings")
_VERSION = re.compile(r"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*)){2}")  # as tensorflow_datasets wants it
GPU_HINT = "type:nvidia-l4;count:1;machine_type:g2-standard-8;install-nvidia-driver"
ACCELERATOR_HELP = "GPU of this step's workers on Dataflow: a kind such as nvidia-tesla-t4, a whole Beam hint, or none"
MIN_RAM_HELP = "least memory of this step's workers on Dataflow, such as 32GB (default: their machine's)"
_MACHINES = {"nvidia-l4": "g2-standard-8", "nvidia-tesla-a100": "a2-highgpu-1g", "nvidia-a100-80gb": "a2-ultragpu-1g"}
_KIND = re.compile(r"[a-z][a-z0-9-]*")
_HINT = re.compile(r"type:[a-z][a-z0-9-]*;count:[1-9][0-9]*(;[a-z_-]+(:[a-z0-9-]+)?)*")
_RAM = re.compile(r"[1-9][0-9]*(\.[0-9]+)? ?([KMGTP]i?)?B")

HINTS = ("accelerator", "min_ram")  # the settings that say what a step that computes with a network runs on
_NO_PART_OF_THE_RESULT = (
    "max_reject_fraction",
    "accelerator",
    "min_ram",
    "one_model",
    "in_flight",
    "attempts",
    "timeout",
    "signed",
)

_DRIVER_PATHS = ("model_file", "classes", "output")  # what is in them is handed to the workers
_AT_LEAST_ONE = (
    *("epochs", "fine_tune_epochs", "patience", "batch_size", "threads", "gpus"),
    *("in_flight", "attempts", "max_pixels"),
)


def setting(default: Any, help_text: str, flag: str = "text") -> Any:
    """A field with its help; `flag` tells what it holds, and so how the command line reads it (`concord.flags`)."""
    metadata = {"help": help_text, "flag": flag}
    if isinstance(default, dict):
        return field(default_factory=lambda: dict(default), metadata={**metadata, "default": default})
    return field(default=default, metadata=metadata)


def _check_addresses(values: Iterable[Any]) -> None:
    """No text among the values is an address that names a password."""
    for value in values:
        for text in value if isinstance(value, tuple) else (value,):
            if isinstance(text, str):
                check_address(text)


class Checked:
    """Names and ranges are checked when settings are made, before anything runs."""

    def __post_init__(self) -> None:
        values = {entry.name: getattr(self, entry.name) for entry in dataclasses.fields(self)}  # type: ignore[arg-type]
        _check_addresses(values.values())
        for key in ("dataset", "name", "label_set"):
            if key in values:
                check_name(key, values[key])
        for key in ("models", "annotators", "splits"):
            for name in values.get(key) or ():
                check_name(key, name)
        if not _VERSION.fullmatch(values.get("version", "1.0.0")):
            raise InputError(f"version must be three numbers, such as 1.0.0; got {values['version']!r}")
        for key in _AT_LEAST_ONE:
            if values.get(key, 1) < 1:
                raise InputError(f"{key} must be at least 1, got {values[key]}")
        if "accelerator" in values:
            object.__setattr__(self, "accelerator", accelerator_hint(values["accelerator"]))
        if values.get("min_ram") and not _RAM.fullmatch(values["min_ram"]):
            raise InputError(f"min_ram must be an amount of memory such as 32GB, got {values['min_ram']!r}")
        for key in ("max_reject_fraction", "validation_fraction"):
            if not 0 <= values.get(key, 0.0) <= 1:
                raise InputError(f"{key} must lie in [0, 1], got {values[key]}")
        self.check()

    def check(self) -> None:
        """What only this stage's settings have to hold."""

    def passes_on(self, shared: Mapping[str, Any]) -> dict[str, Any]:
        """What later stages of a run file take from this one, where they do not say it themselves.

        Args:
            shared: what the stages before have passed on.
        """
        return {}

    def with_hints(self, hints: Mapping[str, Any]) -> Any:
        """The same settings, with this accelerator and memory where they are a step's that computes with a network."""
        own = {entry.name for entry in dataclasses.fields(self)} & set(hints)  # type: ignore[arg-type]
        return dataclasses.replace(self, **{key: hints[key] for key in own}) if own else self  # type: ignore[type-var]

    def paths(self) -> Iterator[tuple[str, str]]:
        """Every path that it names, with its field; neither empty ones nor the names of weights."""
        for entry in dataclasses.fields(self):  # type: ignore[arg-type]
            value, shape = getattr(self, entry.name), entry.metadata["flag"]
            if shape in ("path", "paths"):
                values = value if isinstance(value, tuple) else (value,)
                yield from ((entry.name, path) for path in values if path not in ("", IMAGENET))

    def worker_paths(self) -> Iterator[tuple[str, str]]:
        """Those of its paths that workers read, with their fields; the others are read by the driver alone."""
        yield from ((name, path) for name, path in self.paths() if name not in _DRIVER_PATHS)

    def with_resolved_paths(self) -> Any:
        """The same settings, every local path absolute."""
        changed: dict[str, Any] = {}
        for entry in dataclasses.fields(self):  # type: ignore[arg-type]
            value, shape = getattr(self, entry.name), entry.metadata["flag"]
            if shape == "path" and value not in ("", IMAGENET):
                changed[entry.name] = absolute(value)
            elif shape == "paths":
                changed[entry.name] = tuple(map(absolute, value))
        return dataclasses.replace(self, **changed) if changed else self  # type: ignore[type-var]

    def identity(self) -> dict[str, Any]:
        """Everything that can change the result, fit for a fingerprint.

        Where files lie is left out: a root that is moved whole stays what it is (`products.input_identity` tells one
        input from another).
        """
        values = dataclasses.asdict(self)  # type: ignore[call-overload]
        paths = {entry.name for entry in dataclasses.fields(self) if entry.metadata["flag"] in ("path", "paths")}  # type: ignore[arg-type]
        return {key: values[key] for key in sorted(values) if key not in {*paths, *_NO_PART_OF_THE_RESULT}}


def accelerator_hint(asked: str) -> str:
    """Beam's resource hint of one GPU of a kind, with its driver; empty for `none`.

    GPUs that are part of a machine (L4, A100) are asked for with the smallest of theirs that fits Concord's networks.

    Raises:
        InputError: it is neither a kind of GPU nor a hint.
    """
    if asked in ("", "none") or _HINT.fullmatch(asked):
        return asked.removeprefix("none")
    if not _KIND.fullmatch(asked):
        raise InputError(f"accelerator must be a kind of GPU, a hint such as {GPU_HINT}, or none; got {asked!r}")
    machine = f";machine_type:{_MACHINES[asked]}" if asked in _MACHINES else ""
    return f"type:{asked};count:1{machine};install-nvidia-driver"


def resource_hints(accelerator: str, min_ram: str) -> dict[str, str]:
    """What Beam's `with_resource_hints` takes; nothing for what is empty."""
    asked = {"accelerator": accelerator, "min_ram": min_ram}
    return {name: value for name, value in asked.items() if value}


def check_distinct(key: str, names: tuple[str, ...], least: int) -> None:
    """Raise InputError where these are too few names, or one of them twice."""
    if len(names) < least or len(set(names)) != len(names):
        raise InputError(f"{key} must be {least} or more distinct names, got {', '.join(names) or 'none'}")


def check_shards(shards: int) -> None:
    """Raise InputError where this is neither 0 nor a power of two."""
    if shards < 0 or shards & (shards - 1):
        raise InputError(f"shards must be a power of two, got {shards}")


def check_splits(splits: Mapping[str, float]) -> None:
    """Raise InputError where these are no splits and their shares."""
    for name in splits:
        check_split(name)
    if not (splits and min(splits.values()) >= 0 and abs(sum(splits.values()) - 1) <= 1e-9):
        raise InputError(f"the shares of splits must be 0 or more and add up to 1, got {json.dumps(dict(splits))}")


def check_value_range(given: tuple[float, ...]) -> None:
    """Raise InputError where this is no black and white."""
    if len(given) != 2 or not -math.inf < given[0] < given[1] < math.inf:
        raise InputError(f"value_range must be BLACK,WHITE with BLACK < WHITE, got {list(given)}")


def check_choice(key: str, value: str, choices: tuple[str, ...]) -> None:
    """Raise InputError where a value is none of those that there are."""
    if value not in choices:
        raise InputError(f"{key} must be one of {', '.join(filter(None, choices))}; got {value!r}")


def make(kind: type[Settings], values: Mapping[str, Any], where: str) -> Settings:
    """Settings from plain values, each checked against the field's type.

    Raises:
        InputError: a key is unknown, or a value has the wrong type.
    """
    hints = get_type_hints(kind)
    check_keys(f"[{where}]", values, list(hints))
    return kind(**{key: _fit(f"{where}.{key}", value, hints[key]) for key, value in values.items()})


def check_keys(where: str, values: Mapping[str, Any], known: list[str]) -> None:
    """Raise InputError at a key that is unknown, and name the nearest known one."""
    for key in values:
        if key not in known:
            near = difflib.get_close_matches(key, known, 1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(known)}"
            raise InputError(f"{where} has an unknown key {key!r}; {hint}")


def _fit(where: str, value: Any, hint: Any) -> Any:
    """The value as its field's type wants it: lists become tuples, whole numbers may stand for fractions."""
    name = str(hint)
    if hint is Any:
        return value
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if name.startswith("tuple"):
        items = value if isinstance(value, list | tuple) else [value]
        inner = hint.__args__[0]
        return tuple(_fit(where, item, inner) for item in items)
    expected = dict if "Mapping" in name else hint
    if not isinstance(value, expected) or (isinstance(value, bool) and expected is not bool):
        raise InputError(f"{where} must be {expected.__name__}, got {value!r}")
    if expected is dict:
        return {key: _fit(where, item, hint.__args__[1]) for key, item in value.items()}
    return value
