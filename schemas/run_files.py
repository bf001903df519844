"""Run files: a chain of stages in TOML. Unknown keys fail and name the nearest known one."""

import dataclasses
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from schemas.errors import InputError, one_line, suggest
from schemas.settings.agree import AgreeSettings
from schemas.settings.base import Settings
from schemas.settings.confirm import ConfirmSettings
from schemas.settings.convert import ConvertSettings
from schemas.settings.draw import DrawSettings
from schemas.settings.explain import ExplainSettings
from schemas.settings.features import FeatureSettings
from schemas.settings.generations import GenerationsSettings
from schemas.settings.import_labels import ImportSettings
from schemas.settings.label import LabelSettings
from schemas.settings.label_errors import LabelErrorSettings
from schemas.settings.queue import QueueSettings
from schemas.settings.report import ReportSettings
from schemas.settings.train import TrainSettings

MOST_BYTES = 1 << 20
_KEYS = {"imports": "import"}  # the chain's field of each key of a run file that is a word of Python's


@dataclass(frozen=True)
class RunFile:
    """The stages of a chain, in the order in which they run; None or empty where the file leaves one out."""

    draw: DrawSettings | None
    confirm: ConfirmSettings | None
    convert: ConvertSettings | None
    imports: tuple[ImportSettings, ...]
    train: tuple[TrainSettings, ...]
    features: FeatureSettings | None
    label: LabelSettings | None
    agree: AgreeSettings | None
    explain: ExplainSettings | None
    label_errors: LabelErrorSettings | None
    queue: QueueSettings | None
    generations: GenerationsSettings | None
    report: ReportSettings | None


def parse_toml(path: str, content: bytes, root: str, data: str = "") -> RunFile:
    """The chain that a run file describes; `{root}` and `{data}` in its texts stand for the folders given.

    Raises:
        InputError: it is no TOML, or a key or value in it is wrong.
    """
    try:
        tables = tomllib.loads(content.decode())
    except (ValueError, RecursionError) as error:  # a number of too many digits, lists in lists in lists
        raise InputError(f"{path} is not a TOML file: {one_line(error)}") from error
    try:
        return parse(_placed(tables, {"{root}": root.rstrip("/"), **({"{data}": data.rstrip("/")} if data else {})}))
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def parse(content: Mapping[str, Any]) -> RunFile:
    """The chain that the content of a run file describes.

    What a stage does not state it takes from `dataset`, and from what the stages before pass on: the names of models to
    label with, of annotators to compare.
    """
    kinds = {_KEYS.get(field, field): (field, kind) for field, kind in stage_kinds().items()}
    for key in content:
        if key not in kinds and key != "dataset":
            raise InputError(f"unknown key {key}; {suggest(key, ['dataset', *kinds])}")
    shared = {"dataset": content["dataset"]} if "dataset" in content else {}
    chain: dict[str, Any] = {field: () if field in SEVERAL else None for field, _ in kinds.values()}
    for stage, (field, kind) in kinds.items():
        stated = content.get(stage, [])
        tables = stated if isinstance(stated, list) else [stated]
        if not all(isinstance(table, dict) for table in tables):
            raise InputError(f"[{stage}] must be a table, got {stated!r}")
        if isinstance(stated, list) != (field in SEVERAL) and stage in content:
            raise InputError(f"write {f'[[{stage}]], with two brackets' if field in SEVERAL else f'[{stage}]'}")
        inherited = {key: value for key, value in shared.items() if key in kind.model_fields}
        made = tuple(kind.from_table({**inherited, **table}, stage) for table in tables)
        for one in made:
            shared |= one.passes_on(shared)
        if made:
            chain[field] = made if field in SEVERAL else made[0]
    return RunFile(**chain)


SEVERAL = ("imports", "train")  # the stages that a run file may state several times


def stage_kinds() -> dict[str, type[Settings]]:
    """The settings class of each field of a chain, in the order in which the stages run."""
    return {
        "draw": DrawSettings,
        "confirm": ConfirmSettings,
        "convert": ConvertSettings,
        "imports": ImportSettings,
        "features": FeatureSettings,
        "train": TrainSettings,
        "label": LabelSettings,
        "agree": AgreeSettings,
        "explain": ExplainSettings,
        "label_errors": LabelErrorSettings,
        "queue": QueueSettings,
        "generations": GenerationsSettings,
        "report": ReportSettings,
    }


def _each(chain: RunFile, change: Callable[[Any], Any]) -> RunFile:
    """The same chain with the settings of each stage changed."""
    changed: dict[str, Any] = {}
    for entry in dataclasses.fields(chain):
        found = getattr(chain, entry.name)
        changed[entry.name] = tuple(map(change, found)) if isinstance(found, tuple) else found and change(found)
    return RunFile(**changed)


def hinted(chain: RunFile, hints: Mapping[str, Any]) -> RunFile:
    """The same chain, every step that computes with a network requesting this accelerator and memory."""
    return _each(chain, lambda settings: settings.with_hints(hints))


def placed(chain: RunFile) -> RunFile:
    """The same chain, every local path absolute: workers may have another working directory."""
    return _each(chain, lambda settings: settings.with_resolved_paths())


def field(verb: str) -> str:
    """The chain's field that holds the settings of a verb."""
    return next((name for name, key in _KEYS.items() if key == verb), verb)


def _placed(value: Any, folders: Mapping[str, str]) -> Any:
    """A value of the file, with the folders that its texts name by a placeholder."""
    if isinstance(value, str):
        for name, folder in folders.items():
            value = value.replace(name, folder)
        if "{data}" in value:
            raise InputError(f"{value!r}: say with --data which folder {{data}} stands for")
        return value
    if isinstance(value, list):
        return [_placed(item, folders) for item in value]
    if isinstance(value, dict):
        return {key: _placed(item, folders) for key, item in value.items()}
    return value
