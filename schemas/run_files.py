"""Run files: a chain of stages in TOML. Unknown keys fail and name the nearest known one."""

import dataclasses
import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, get_type_hints

from schemas import layout, settings
from schemas.errors import InputError, one_line
from schemas.generation_settings import GenerationsSettings
from schemas.queue_settings import LabelErrorSettings, QueueSettings
from schemas.train_settings import FeatureSettings, TrainSettings

MOST_BYTES = 1 << 20
Settings = TypeVar("Settings")
_KEYS = {"imports": "import"}  # the chain's field of each key of a run file that is a word of Python's


@dataclass(frozen=True)
class RunFile:
    """The stages of a chain, in the order in which they run; None or empty where the file leaves one out."""

    draw: settings.DrawSettings | None
    confirm: settings.ConfirmSettings | None
    convert: settings.ConvertSettings | None
    imports: tuple[settings.ImportSettings, ...]
    train: tuple[TrainSettings, ...]
    features: FeatureSettings | None
    label: settings.LabelSettings | None
    agree: settings.AgreeSettings | None
    explain: settings.ExplainSettings | None
    label_errors: LabelErrorSettings | None
    queue: QueueSettings | None
    generations: GenerationsSettings | None
    report: settings.ReportSettings | None


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
    """The chain that the content of a run file describes; stages inherit `dataset` and what follows from others."""
    stages = [_KEYS.get(entry.name, entry.name) for entry in dataclasses.fields(RunFile)]
    _check_keys("the run file", content, ["dataset", *stages])
    dataset = {"dataset": content["dataset"]} if "dataset" in content else {}
    train = _several(TrainSettings, content, "train", dataset, "models")
    imports = _several(settings.ImportSettings, content, "import", dataset, "label sets")
    models = {"models": [one.name for one in train]} if train else {}
    label = _optional(settings.LabelSettings, content, "label", {**dataset, **models})
    named = [*label.models, *([label.annotator] if label.annotator else [])] if label else []
    theirs = dict.fromkeys(one.annotator for one in imports)
    annotators = {"annotators": [*theirs, *named]} if theirs or named else {}
    asked = {"models": named} if named else models
    return RunFile(
        draw=_optional(settings.DrawSettings, content, "draw", {}),
        confirm=_optional(settings.ConfirmSettings, content, "confirm", dataset),
        convert=_optional(settings.ConvertSettings, content, "convert", dataset),
        imports=imports,
        train=train,
        features=_optional(FeatureSettings, content, "features", dataset),
        label=label,
        agree=_optional(settings.AgreeSettings, content, "agree", {**dataset, **annotators}),
        explain=_optional(settings.ExplainSettings, content, "explain", {**dataset, **asked}),
        label_errors=_optional(LabelErrorSettings, content, "label_errors", dataset),
        queue=_optional(QueueSettings, content, "queue", {**dataset, **annotators}),
        generations=_generations(content, dataset),
        report=_optional(settings.ReportSettings, content, "report", {**dataset, **models}),
    )


def hinted(chain: RunFile, hints: Mapping[str, Any]) -> RunFile:
    """The same chain, every step that computes with a network asking for this accelerator and memory."""
    if not hints:
        return chain
    changed: dict[str, Any] = {"train": tuple(dataclasses.replace(one, **hints) for one in chain.train)}
    for stage in ("features", "label", "explain"):
        if getattr(chain, stage):
            changed[stage] = dataclasses.replace(getattr(chain, stage), **hints)
    study = chain.generations
    if study:
        tables = {"train": study.train, **({"teacher_train": study.teacher_train} if study.teacher else {})}
        trained: Any = {key: {**(table or {}), **hints} for key, table in tables.items()}
        changed["generations"] = dataclasses.replace(study, **trained)
    return dataclasses.replace(chain, **changed)


def placed(chain: RunFile) -> RunFile:
    """The same chain, every local path absolute: workers may have another working directory."""
    changed: dict[str, Any] = {}
    for entry in dataclasses.fields(chain):
        asked = getattr(chain, entry.name)
        changed[entry.name] = tuple(map(_absolute, asked)) if isinstance(asked, tuple) else asked and _absolute(asked)
    return RunFile(**changed)


def _absolute(one: Any) -> Any:
    """The settings of a stage, with absolute paths."""
    changed: dict[str, Any] = {}
    for entry in dataclasses.fields(one):
        value, shape = getattr(one, entry.name), entry.metadata["flag"]
        if shape == "path":
            changed[entry.name] = layout.absolute(value) if value not in ("", layout.IMAGENET) else value
        elif shape == "paths":
            changed[entry.name] = tuple(map(layout.absolute, value))
    return dataclasses.replace(one, **changed)


def make(kind: type[Settings], values: Mapping[str, Any], where: str) -> Settings:
    """Settings from plain values, each checked against the field's type.

    Raises:
        InputError: a key is unknown, or a value has the wrong type.
    """
    hints = get_type_hints(kind)
    _check_keys(f"[{where}]", values, list(hints))
    return kind(**{key: _fit(f"{where}.{key}", value, hints[key]) for key, value in values.items()})


def field(verb: str) -> str:
    """The chain's field that holds what a verb is asked to do."""
    return next((name for name, key in _KEYS.items() if key == verb), verb)


def _several(
    kind: type[Settings], content: Mapping[str, Any], stage: str, given: Mapping[str, Any], what: str
) -> tuple[Settings, ...]:
    """The settings of a stage that a run file may ask for several times."""
    asked = content.get(stage, [])
    if not isinstance(asked, list) or not all(isinstance(one, dict) for one in asked):
        raise InputError(f"{stage} is a list of {what}: write [[{stage}]], with two brackets")
    return tuple(make(kind, {**given, **one}, stage) for one in asked)


def _optional(
    kind: type[Settings], content: Mapping[str, Any], stage: str, given: Mapping[str, Any]
) -> Settings | None:
    if stage not in content:
        return None
    if not isinstance(content[stage], dict):
        raise InputError(f"[{stage}] must be a table, got {content[stage]!r}")
    return make(kind, {**given, **content[stage]}, stage)


def _generations(content: Mapping[str, Any], given: Mapping[str, Any]) -> GenerationsSettings | None:
    """The settings of a study, how its networks are trained checked as well."""
    found = _optional(GenerationsSettings, content, "generations", given)
    if found:
        for key, network in (("train", found.network), ("teacher_train", found.first)):
            make(TrainSettings, {**given, **(getattr(found, key) or {}), "network": network}, f"generations.{key}")
    return found


def _check_keys(where: str, values: Mapping[str, Any], known: list[str]) -> None:
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
