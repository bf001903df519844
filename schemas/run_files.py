"""Run files: a chain of stages in TOML. Unknown keys fail and name the nearest known one."""

import tomllib
from collections.abc import Mapping, Sequence
from typing import Any

from schemas.errors import InputError, one_line, suggest
from schemas.stage import Chain, Stage

MOST_BYTES = 1 << 20


def parse_toml(path: str, content: bytes, stages: Sequence[Stage], root: str, data: str = "") -> Chain:
    """The chain that a run file describes; `{root}` and `{data}` in its texts stand for the folders given.

    Raises:
        InputError: it is no TOML, or a key or value in it is wrong.
    """
    try:
        tables = tomllib.loads(content.decode())
    except (ValueError, RecursionError) as error:  # a number of too many digits, lists in lists in lists
        raise InputError(f"{path} is not a TOML file: {one_line(error)}") from error
    folders = {"{root}": root.rstrip("/"), **({"{data}": data.rstrip("/")} if data else {})}
    try:
        return parse(_fill_in(tables, folders), stages)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def parse(content: Mapping[str, Any], stages: Sequence[Stage]) -> Chain:
    """The chain that the content of a run file describes.

    A stage may be a table, `[label]`, or several, `[[label]]`. What it does not state it takes from `dataset`, and from
    what the stages before pass on: the names of models to label with, of annotators to compare.
    """
    known = ["dataset", *(stage.name for stage in stages)]
    for key in content:
        if key not in known:
            raise InputError(f"unknown key {key}; {suggest(key, known)}")
    shared = {"dataset": content["dataset"]} if "dataset" in content else {}
    chain: dict[str, tuple[Any, ...]] = {}
    for stage in stages:
        tables = content.get(stage.name, [])
        tables = tables if isinstance(tables, list) else [tables]
        if not all(isinstance(table, dict) for table in tables):
            raise InputError(f"[{stage.name}] must be a table, got {content[stage.name]!r}")
        if not tables:
            continue
        inherited = {key: value for key, value in shared.items() if key in stage.settings.model_fields}
        settings = [stage.settings.from_table({**inherited, **table}, stage.name) for table in tables]
        chain[stage.name] = tuple(settings)
        for one in settings:
            shared |= one.passes_on(shared)
    return chain


def with_hints(chain: Chain, hints: Mapping[str, Any]) -> Chain:
    """The same chain, every step that computes with a network requesting this accelerator and memory."""
    return {name: tuple(one.with_hints(hints) for one in settings) for name, settings in chain.items()}


def with_resolved_paths(chain: Chain) -> Chain:
    """The same chain, every local path absolute: workers may have another working directory."""
    return {name: tuple(one.with_resolved_paths() for one in settings) for name, settings in chain.items()}


def _fill_in(value: Any, folders: Mapping[str, str]) -> Any:
    """A value of the file, with the folders that its texts name by a placeholder."""
    if isinstance(value, str):
        for name, folder in folders.items():
            value = value.replace(name, folder)
        if "{data}" in value:
            raise InputError(f"{value!r}: state with --data which folder {{data}} stands for")
        return value
    if isinstance(value, list):
        return [_fill_in(item, folders) for item in value]
    if isinstance(value, dict):
        return {key: _fill_in(item, folders) for key, item in value.items()}
    return value
