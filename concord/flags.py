"""The command line's flags, made from the settings of each stage."""

import argparse
import dataclasses
import difflib
import logging
import re
from collections.abc import Mapping, Sequence
from typing import Any, get_type_hints

from schemas.errors import InputError

_NEGATIVE = re.compile(r"-[\d.]+(,-?[\d.]+)*$")  # argparse by itself takes -1,1 for a flag


def add(parser: argparse.ArgumentParser, kind: type, required: Sequence[str] = ()) -> None:
    """Add a flag for each field of a settings dataclass; what is not given is left to the dataclass's own default."""
    hints = get_type_hints(kind)
    parser._negative_number_matcher = _NEGATIVE  # type: ignore[attr-defined]
    for entry in dataclasses.fields(kind):
        shape, help_text = entry.metadata["flag"], entry.metadata["help"]
        default = _shown(entry.metadata.get("default", entry.default))
        text = help_text + (" (required)" if entry.name in required else f" (default: {default})" if default else "")
        flag = "--" + entry.name.replace("_", "-")
        aliases = [flag, flag.removesuffix("s")] if entry.name in ("models", "splits") and shape == "list" else [flag]
        if shape == "tables":
            continue  # run files alone hold tables
        if shape == "paths":
            parser.add_argument(*aliases, nargs="+", default=argparse.SUPPRESS, metavar="PATH", help=text)
        elif hints[entry.name] is bool:
            parser.add_argument(*aliases, action="store_true", default=argparse.SUPPRESS, help=text)
        else:
            read = _READERS.get(shape) or hints[entry.name]
            metavar = {
                "list": "A,B,...",
                "shape": "N,N",
                "keys": "SPLIT=I:L",
                "columns": "NAME=COLUMN,...",
                "fractions": "SPLIT=SHARE",
                "amounts": "NAME=X",
                "counts": "SPLIT=N",
            }.get(shape)
            parser.add_argument(
                *aliases,
                dest=entry.name,
                type=read,
                default=argparse.SUPPRESS,
                metavar=metavar or entry.name.upper(),
                help=text,
            )


def _shown(default: Any) -> str:
    if default in ("", None, (), False):
        return ""
    if isinstance(default, Mapping):
        return ",".join(f"{key}={value}" for key, value in default.items())
    return ",".join(map(str, default)) if isinstance(default, tuple) else str(default)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _numbers(text: str) -> list[float | int]:
    return [float(part) if "." in part else int(part) for part in text.split(",")]


def _pairs(text: str) -> dict[str, str]:
    pairs = [part.partition("=") for part in text.split(",")]
    if any(not mark for _, mark, _ in pairs):
        raise ValueError(text)
    return {key.strip(): value.strip() for key, _, value in pairs}


def _fractions(text: str) -> dict[str, float]:
    return {key: float(value) for key, value in _pairs(text).items()}


def _counts(text: str) -> dict[str, int]:
    return {key: int(value) for key, value in _pairs(text).items()}


_READERS: Mapping[str, Any] = {
    "list": _names,
    "shape": _numbers,
    "keys": _pairs,
    "columns": _pairs,
    "fractions": _fractions,
    "amounts": _fractions,
    "counts": _counts,
}
for _read, _name in (
    (_names, "list"),
    (_numbers, "list of numbers"),
    (_pairs, "SPLIT=VALUE list"),
    (_fractions, "share list"),
    (_counts, "SPLIT=NUMBER list"),
):
    _read.__name__ = _name  # argparse names it in its errors


def check_beam_flags(flags: list[str], parser: argparse.ArgumentParser) -> tuple[str, ...]:
    """The flags that are not ours and go to Beam.

    Raises:
        InputError: one is a word without a flag, or looks like one of ours misspelt.
    """
    ours = [option for action in parser._actions for option in action.option_strings if option.startswith("--")]
    from apache_beam.options.pipeline_options import PipelineOptions

    logging.getLogger("apache_beam.options.pipeline_options").setLevel(logging.ERROR)
    known = {f"--{name}" for name in PipelineOptions([]).get_all_options()}
    for previous, flag in zip(["", *flags], flags, strict=False):
        name = flag.partition("=")[0]
        if not name.startswith("-"):
            if previous.startswith("--") and "=" not in previous:
                continue  # the value of the flag before it
            raise InputError(f"unexpected argument {flag!r}")
        near = difflib.get_close_matches(name, ours, 1, cutoff=0.75)
        if name not in known and near:
            raise InputError(f"unknown flag {name}; did you mean {near[0]}?")
    return tuple(flags)
