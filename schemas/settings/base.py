"""What all settings share: facts on each field, how settings are made and checked, and fields of many verbs."""

import json
import logging
import math
import re
from collections.abc import Callable, Iterator, Mapping
from types import UnionType
from typing import Annotated, Any, ClassVar, Self, TypedDict, cast, dataclass_transform, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    ValidationError,
    ValidationInfo,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from schemas import layout, plugins
from schemas.errors import InputError, suggest

GPU_HINT = "type:nvidia-l4;count:1;machine_type:g2-standard-8;install-nvidia-driver"
MACHINES = "Machines"  # the heading of flags that state what a step runs on
_VERSION = re.compile(r"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*)){2}")  # as tensorflow_datasets requires it
_GPU_MACHINES = {
    "nvidia-l4": "g2-standard-8",
    "nvidia-tesla-a100": "a2-highgpu-1g",
    "nvidia-a100-80gb": "a2-ultragpu-1g",
}
_GPU_KIND = re.compile(r"[a-z][a-z0-9-]*")
_GPU_HINT = re.compile(r"type:[a-z][a-z0-9-]*;count:[1-9][0-9]*(;[a-z_-]+(:[a-z0-9-]+)?)*")
_RAM = re.compile(r"[1-9][0-9]*(\.[0-9]+)? ?([KMGTP]i?)?B")
_log = logging.getLogger("concord")


class Facts(TypedDict):
    """What a field states beyond its type and bounds; plain values, so that the JSON schema holds them too."""

    group: str
    path: bool
    driver_path: bool
    changes_result: bool
    positional: bool
    flag: str
    renamed_from: list[str]
    plugins: str
    metavar: str


def setting(
    help_text: str,
    *,
    default: Any = ...,
    default_factory: Callable[..., Any] | None = None,
    group: str = "Settings",
    path: bool = False,
    driver_path: bool = False,
    changes_result: bool = True,
    positional: bool = False,
    flag: str = "",
    renamed_from: tuple[str, ...] = (),
    plugins: str = "",
    metavar: str = "",
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    lt: float | None = None,
    min_length: int | None = None,
) -> Any:
    """A field of a settings class; one without a default is required, and one with choices has a Literal type.

    Args:
        help_text: its meaning, for `--help` and the docs.
        default: its value where none is stated.
        default_factory: computes the default from the fields before it, which pydantic passes.
        group: heading of its flag in `--help`.
        path: it names files; local paths are made absolute, and it is not part of the identity.
        driver_path: such files are read by the driver alone, which hands what is in them to the workers.
        changes_result: it is part of the identity.
        positional: an argument of the command line without a flag.
        flag: name of its flag where it cannot be the key.
        renamed_from: its old names, which are still read, with a warning.
        plugins: package whose modules' names are its choices.
        metavar: stands for its value in `--help`.
        ge: least value.
        gt: lower bound that it must exceed.
        le: greatest value.
        lt: upper bound that it must stay below.
        min_length: least number of items.
    """
    facts = Facts(
        group=group,
        path=path or driver_path,
        driver_path=driver_path,
        changes_result=changes_result and not (path or driver_path),
        positional=positional,
        flag=flag,
        renamed_from=list(renamed_from),
        plugins=plugins,
        metavar=metavar,
    )
    stated: dict[str, Any] = {"default_factory": default_factory} if default_factory else {"default": default}
    bounds = {"ge": ge, "gt": gt, "le": le, "lt": lt, "min_length": min_length}
    stated |= {name: bound for name, bound in bounds.items() if bound is not None}
    return Field(**stated, description=help_text, json_schema_extra=cast(Any, facts))


def facts_of(info: FieldInfo) -> Facts:
    """What `setting` noted of a field."""
    return cast(Facts, info.json_schema_extra)


def plain_type(annotation: Any) -> Any:
    """A field's type without None and without parameters: tuple, Mapping, bool, Literal ..."""
    if get_origin(annotation) is UnionType:
        annotation = next(one for one in get_args(annotation) if one is not type(None))
    return get_origin(annotation) or annotation


@dataclass_transform(kw_only_default=True, field_specifiers=(setting,))
class Settings(BaseModel):
    """Settings of a stage: frozen, checked when they are made; what is wrong is an InputError of one line.

    Attributes:
        VARIES_BY: field that names a plugin; its module may have a `SourceSettings`, a subclass with further fields.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
    VARIES_BY: ClassVar[str] = ""

    def __new__(cls, **values: Any) -> Self:
        """An instance of the class that has the plugin's fields, where `VARIES_BY` names one."""
        kind = cls.variant(values.get(cls.VARIES_BY))
        return super().__new__(kind if issubclass(kind, cls) else cls)

    @model_validator(mode="wrap")
    @classmethod
    def _validate(cls, values: Any, handler: ModelWrapValidatorHandler[Self], info: ValidationInfo) -> Self:
        spell = _speller(info)
        try:
            settings = handler(values)
        except ValidationError as error:
            raise InputError(cls._explain(error.errors(include_url=False), spell)) from None
        if cls.variant(getattr(settings, cls.VARIES_BY, None)) is not cls:
            name = getattr(settings, cls.VARIES_BY)
            raise InputError(f"{cls.VARIES_BY} {name!r} has settings of its own: make them by from_table")
        for key, field in cls.model_fields.items():
            name, package = getattr(settings, key), facts_of(field)["plugins"]
            if package and name:
                plugins.check(package, key, name)
        for text in _texts(tuple(vars(settings).values())):
            layout.check_address(text)
        settings.check()
        return settings

    def check(self) -> None:
        """What only this stage's settings have to satisfy: raise InputError where they contradict each other."""

    @classmethod
    def from_table(
        cls, table: Mapping[str, Any], where: str = "", *, spell: Callable[[str], str] | None = None, lax: bool = False
    ) -> Self:
        """Settings from plain values, such as those of TOML.

        Args:
            table: keys and values; lists stand for tuples; old names are read, with a warning.
            where: the run file's table, for messages.
            spell: how the user wrote a key; `where.key` if not given.
            lax: values are strings of the command line, "3" being a number.
        """
        spell = spell or (lambda key: f"{where}.{key}" if where else key)
        kind = cls.variant(table.get(cls.VARIES_BY))
        values = kind.with_new_names(table, spell)
        types = {key: field.annotation for key, field in kind.model_fields.items()}
        fit = {key: _to_tuples(value, types.get(key)) for key, value in values.items()}
        return kind.model_validate(fit, strict=not lax, context={"spell": spell})

    @classmethod
    def variant(cls, name: Any) -> type[Self]:
        """The class with the fields that a plugin adds; the class itself where it adds none."""
        if not cls.VARIES_BY:
            return cls
        base = next(kind for kind in cls.__mro__ if "VARIES_BY" in kind.__dict__)
        if not name:
            return cls
        package = facts_of(cls.model_fields[cls.VARIES_BY])["plugins"]
        module = plugins.load(package, cls.VARIES_BY, str(name))
        return cast(type[Self], getattr(module, "SourceSettings", base))

    @classmethod
    def variant_names(cls) -> list[str]:
        """The plugins that may add fields."""
        return plugins.names(facts_of(cls.model_fields[cls.VARIES_BY])["plugins"]) if cls.VARIES_BY else []

    @classmethod
    def with_new_names(cls, table: Mapping[str, Any], spell: Callable[[str], str] = str) -> dict[str, Any]:
        """A table whose old keys are replaced by the new ones, with a warning."""
        new_names = {old: key for key, field in cls.model_fields.items() for old in facts_of(field)["renamed_from"]}
        for old in sorted(new_names.keys() & table.keys()):
            new = new_names[old]
            if new in table:
                raise InputError(f"{spell(old)} is the old name of {spell(new)}: state only {spell(new)}")
            _log.warning("%s is now called %s; the next version will not read the old name", spell(old), spell(new))
        return {new_names.get(key, key): value for key, value in table.items()}

    @classmethod
    def _explain(cls, errors: list[ErrorDetails], spell: Callable[[str], str]) -> str:
        """One line about the first error, or about every field that is missing."""
        missing = [spell(str(error["loc"][0])) for error in errors if _is_missing(error)]
        wrong = [error for error in errors if not _is_missing(error)]
        wrong = [error for error in wrong if error["type"] != "default_factory_not_called"]
        if not wrong:
            return f"needs {', '.join(missing)}"
        key, *inner = map(str, wrong[0]["loc"])
        if wrong[0]["type"] == "extra_forbidden":
            return f"unknown key {spell(key)}; {suggest(spell(key), map(spell, cls.model_fields))}"
        place = ".".join([spell(key), *(part for part in inner if not part.startswith("["))])
        return f"{place} {_phrase(wrong[0])}"

    def passes_on(self, shared: Mapping[str, Any]) -> dict[str, Any]:
        """What later stages of a run file take from this one, where they do not state it themselves.

        Args:
            shared: what the stages before have passed on.
        """
        return {}

    def identity(self) -> dict[str, Any]:
        """Everything that can change the result, fit for a fingerprint.

        Where files lie is excluded: a root that is moved whole stays what it is (`products.input_identity`
        distinguishes inputs).
        """
        fields = type(self).model_fields
        return {key: getattr(self, key) for key in sorted(fields) if facts_of(fields[key])["changes_result"]}

    def paths(self) -> Iterator[tuple[str, str]]:
        """Every path that the settings name, with its key; neither empty ones nor names of weights."""
        for key, field in type(self).model_fields.items():
            for text in _texts(getattr(self, key)) if facts_of(field)["path"] else ():
                if text not in ("", layout.IMAGENET):
                    yield key, text

    def worker_paths(self) -> Iterator[tuple[str, str]]:
        """Those of its paths that workers read, with their keys."""
        fields = type(self).model_fields
        yield from ((key, path) for key, path in self.paths() if not facts_of(fields[key])["driver_path"])

    def with_resolved_paths(self) -> Self:
        """The same settings, every local path absolute: workers may have another working directory."""
        keys = {key for key, _ in self.paths()}
        return self.model_copy(update={key: _resolve(getattr(self, key)) for key in keys})

    def with_hints(self, hints: Mapping[str, Any]) -> Self:
        """The same settings with this accelerator and memory, where they belong to a step that runs a network."""
        own = {key: value for key, value in hints.items() if key in type(self).model_fields}
        return self.changed(**own) if own else self

    def changed(self, **values: Any) -> Self:
        """The same settings but for these values, checked (`model_copy` checks nothing)."""
        return type(self).model_validate({**vars(self), **values})


def _speller(info: ValidationInfo) -> Callable[[str], str]:
    """How the user wrote a key: a flag, or a key of a run file's table."""
    spell: Callable[[str], str] = (info.context or {}).get("spell", str)
    return spell


def _texts(value: Any) -> Iterator[str]:
    """The strings of a value, those within tuples as well."""
    if isinstance(value, str):
        yield value
    for item in value if isinstance(value, tuple) else ():
        yield from _texts(item)


def _resolve(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(map(_resolve, value))
    return value if value in ("", layout.IMAGENET) else layout.absolute(value)


def _to_tuples(value: Any, annotation: Any = None) -> Any:
    """A value with tuples for lists; where a tuple is expected, a single item may stand for it."""
    if isinstance(value, list | tuple):
        return tuple(map(_to_tuples, value))
    if plain_type(annotation) is tuple:
        takes_tables = plain_type(get_args(annotation)[0]) is Mapping
        return (value,) if takes_tables or not isinstance(value, Mapping) else value
    return value


def _is_missing(error: ErrorDetails) -> bool:
    return error["type"] == "missing" and len(error["loc"]) == 1


_PHRASES = {  # by pydantic's type of error, or the part of it before the last underscore
    "int": "must be a whole number",
    "float": "must be a number",
    "bool": "must be true or false",
    "string": "must be text",
    "tuple": "must be a list",
    "mapping": "must be a table",
    "dict": "must be a table",
    "finite_number": "must be a finite number",
    "greater_than_equal": "must be at least {ge}",
    "greater_than": "must be above {gt}",
    "less_than_equal": "must be at most {le}",
    "less_than": "must be below {lt}",
    "string_too_short": "must not be empty",
    "too_short": "must have at least {min_length} value(s)",
    "literal_error": "must be one of {expected}",
    "missing": "must have more values",
    "too_long": "must have at most {max_length} values",
    "value_error": "{error}",
}


def _phrase(error: ErrorDetails) -> str:
    """What is wrong with a value, in our words."""
    kind, value = error["type"], error["input"]
    phrase = _PHRASES.get(kind) or _PHRASES.get(kind.rpartition("_")[0], error["msg"])
    values = {name: _short(bound) for name, bound in error.get("ctx", {}).items()}
    if kind == "literal_error":
        values["expected"] = ", ".join(filter(None, re.findall(r"'([^']*)'", values["expected"])))
    is_number = kind.startswith(("greater", "less"))  # if only as a string of the command line
    shown = str(value) if is_number else repr(list(value) if isinstance(value, tuple) else value)
    return f"{phrase.format(**values)}{';' if kind == 'literal_error' else ','} got {shown}"


def _short(bound: Any) -> Any:
    return int(bound) if isinstance(bound, float) and bound.is_integer() else bound


# Types that many settings have. A validator raises InputError with the key as the user wrote it.


def _validate_name(value: str, info: ValidationInfo) -> str:
    return layout.check_name(_speller(info)(str(info.field_name)), value)


def _validate_split(value: str, info: ValidationInfo) -> str:
    return layout.check_split(_validate_name(value, info))


def _validate_version(value: str, info: ValidationInfo) -> str:
    if not _VERSION.fullmatch(value):
        key = _speller(info)(str(info.field_name))
        raise InputError(f"{key} must be three numbers, such as 1.0.0; got {value!r}")
    return value


def _validate_distinct(values: tuple[Any, ...], info: ValidationInfo) -> tuple[Any, ...]:
    if len(set(values)) != len(values):
        raise InputError(f"{_speller(info)(str(info.field_name))} must be distinct, got {', '.join(map(str, values))}")
    return values


def _validate_shards(value: int, info: ValidationInfo) -> int:
    if value < 0 or value & (value - 1):
        raise InputError(f"{_speller(info)(str(info.field_name))} must be a power of two, got {value}")
    return value


def _validate_range(value: tuple[float, float], info: ValidationInfo) -> tuple[float, float]:
    if not value[0] < value[1]:
        key = _speller(info)(str(info.field_name))
        raise InputError(f"{key} must be BLACK,WHITE with BLACK < WHITE, got {list(value)}")
    return value


def _validate_shares(value: Mapping[str, float], info: ValidationInfo) -> Mapping[str, float]:
    for name in value:
        _validate_split(name, info)
    if value and not (min(value.values()) >= 0 and math.isclose(sum(value.values()), 1, abs_tol=1e-9)):
        raise InputError(f"the shares of splits must be 0 or more and add up to 1, got {json.dumps(dict(value))}")
    return value


def accelerator_hint(name: str) -> str:
    """Beam's resource hint of one GPU of a kind, with its driver; empty for `none`.

    GPUs that are part of a machine (L4, A100) are requested with the smallest machine that fits Concord's networks.

    Raises:
        InputError: it is neither a kind of GPU nor a hint.
    """
    if name in ("", "none") or _GPU_HINT.fullmatch(name):
        return name.removeprefix("none")
    if not _GPU_KIND.fullmatch(name):
        raise InputError(f"accelerator must be a kind of GPU, a hint such as {GPU_HINT}, or none; got {name!r}")
    machine = f";machine_type:{_GPU_MACHINES[name]}" if name in _GPU_MACHINES else ""
    return f"type:{name};count:1{machine};install-nvidia-driver"


def _validate_memory(value: str) -> str:
    if value and not _RAM.fullmatch(value):
        raise InputError(f"min_ram must be an amount of memory such as 32GB, got {value!r}")
    return value


Name = Annotated[str, AfterValidator(_validate_name)]
OptionalName = Annotated[str, AfterValidator(lambda value, info: value and _validate_name(value, info))]
Split = Annotated[str, AfterValidator(_validate_split)]
OptionalSplit = Annotated[str, AfterValidator(lambda value, info: value and _validate_split(value, info))]
Distinct = AfterValidator(_validate_distinct)
Names = Annotated[tuple[Name, ...], Distinct]
Splits = Annotated[tuple[Split, ...], Distinct]
Version = Annotated[str, AfterValidator(_validate_version)]
Shards = Annotated[int, AfterValidator(_validate_shards)]
Shares = Annotated[Mapping[str, float], AfterValidator(_validate_shares)]
ValueRange = Annotated[tuple[float, float], AfterValidator(_validate_range)]
Accelerator = Annotated[str, AfterValidator(accelerator_hint)]
Memory = Annotated[str, AfterValidator(_validate_memory)]


def reject_limit(records: str, default: float = 0.01, group: str = "Data") -> Any:
    """The field that bounds how many records may be rejected."""
    return setting(
        f"share of {records} that may be rejected before the stage fails",
        default=default,
        ge=0,
        le=1,
        changes_result=False,
        group=group,
    )


class DatasetSettings(Settings):
    """What every step on a dataset that is there has."""

    dataset: Name = setting("name of the dataset", group="Data")
    version: Version = setting("version of the dataset", default="1.0.0", group="Data")


class NetworkSettings(DatasetSettings):
    """What every step that runs a network over images has: what its workers on Dataflow are."""

    max_reject_fraction: float = reject_limit("images")
    accelerator: Accelerator = setting(
        "GPU of this step's workers on Dataflow: a kind such as nvidia-tesla-t4, a whole Beam hint, or none",
        default=GPU_HINT,
        changes_result=False,
        group=MACHINES,
    )
    min_ram: Memory = setting(
        "least memory of this step's workers on Dataflow, such as 32GB (default: their machine's)",
        default="",
        changes_result=False,
        group=MACHINES,
    )

    @staticmethod
    def hint_keys() -> tuple[str, ...]:
        """The settings that become Beam's resource hints."""
        fields = NetworkSettings.model_fields.items()
        return tuple(key for key, field in fields if facts_of(field)["group"] == MACHINES)

    def hints(self) -> dict[str, Any]:
        """Its accelerator and memory, for other settings."""
        return {key: getattr(self, key) for key in self.hint_keys()}


class SharedModelSettings(NetworkSettings):
    """What the steps have in which several processes of a worker use the same model."""

    share_model: bool = setting(
        "one model per worker, shared by its processes: for a GPU with memory for one only",
        default=False,
        changes_result=False,
        group=MACHINES,
        renamed_from=("one_model",),
    )


def resource_hints(accelerator: str, min_ram: str) -> dict[str, str]:
    """The arguments of Beam's `with_resource_hints`; nothing for what is empty."""
    hints = {"accelerator": accelerator, "min_ram": min_ram}
    return {name: value for name, value in hints.items() if value}
