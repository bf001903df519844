"""The command line of verbs, made from their settings: each field is a flag, and flags that are not ours go to Beam.

A verb's module is imported only when the verb is used, so that `concord --help` starts at once.
"""

import inspect
import logging
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal, get_args

import click
from click.shell_completion import CompletionItem

from schemas import plugins
from schemas.errors import InputError, suggest

if TYPE_CHECKING:  # importing pydantic takes a tenth of a second, which `concord --help` saves
    from pydantic.fields import FieldInfo

    from schemas.settings.base import Settings

BEAM_NOTE = "Any other flag goes to Beam, such as --runner=FlinkRunner or --direct_num_workers=4."
LIKENESS = 0.75  # a flag that Beam does not know and that is at least so like one of ours is taken for a mistake
_LAST_GROUPS = ("Machines", "Command", "Other")


@dataclass(frozen=True)
class Verb:
    """One verb of the command line.

    Attributes:
        name: as it is typed.
        heading: under which `concord --help` lists it.
        module: the first line of its docstring states what the verb does.
        load: imports the verb: the settings classes whose fields are its flags, and the function that takes one of
            each, and Beam's flags.
        takes_beam_flags: whether unknown flags go to Beam.
    """

    name: str
    heading: str
    module: str
    load: Callable[[], tuple[tuple["type[Settings]", ...], Callable[..., Any]]]
    takes_beam_flags: bool = True

    @staticmethod
    def of_module(name: str, heading: str, module: str, takes_beam_flags: bool = True) -> "Verb":
        """A verb whose module has `SETTINGS` and `run`."""

        def load() -> tuple[tuple["type[Settings]", ...], Callable[..., Any]]:
            verb = import_module(module)
            return verb.SETTINGS, verb.run

        return Verb(name, heading, module, load, takes_beam_flags)

    @property
    def purpose(self) -> str:
        """What it does, read without importing its module."""
        spec = find_spec(self.module)
        with open(str(spec and spec.origin), encoding="utf-8") as lines:
            return next(lines).strip().strip('"')


def cli_name(key: str) -> str:
    """A key as it is written on the command line."""
    return key.replace("_", "-")


class Value(click.ParamType[Any]):
    """The text of a flag, split at commas where its field has several values; pydantic makes numbers of them."""

    def __init__(self, info: "FieldInfo") -> None:
        from schemas.settings.base import facts_of, plain_type

        self.kind, facts = plain_type(info.annotation), facts_of(info)
        self.is_path = facts["path"]
        literals = get_args(info.annotation) if self.kind is Literal else ()
        self.choices = plugins.names(facts["plugins"]) if facts["plugins"] else [one for one in literals if one]
        shapes = {tuple: "A,B,...", Mapping: "NAME=X,...", int: "N", float: "X"}
        by_shape = "PATH" if self.is_path else shapes.get(self.kind, "TEXT")
        self.name = facts["metavar"] or "|".join(map(str, self.choices)) or by_shape

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        """What stands for the value in `--help`."""
        return self.name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The parts of a text."""
        parts = [part.strip() for part in str(value).split(",") if part.strip()]
        if self.kind is tuple and not self.is_path:
            return parts
        if self.kind is not Mapping:
            return value
        if not all("=" in part for part in parts):
            raise InputError(f"{param.opts[0] if param else 'it'} must be {self.name}, got {value!r}")
        return {key.strip(): text.strip() for key, _, text in (part.partition("=") for part in parts)}

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """The choices that begin so; files where a path is expected."""
        choices = [CompletionItem(one) for one in self.choices if str(one).startswith(incomplete)]
        return choices or ([CompletionItem(incomplete, type="file")] if self.is_path else [])


class Flag(click.Option):
    """The flag of a field, with the heading under which `--help` shows it; `old_name` where it was renamed."""

    def __init__(self, key: str, info: "FieldInfo", old_name: str = "", group: str = "") -> None:
        from schemas.settings.base import facts_of, plain_type

        facts, kind = facts_of(info), plain_type(info.annotation)
        self.group, self.is_switch = group or facts["group"], kind is bool
        self.takes_words = facts["path"] and kind is tuple  # --input a b c, as a shell's * gives them
        self.singular = "" if facts["path"] or kind is not tuple else f"--{cli_name(key.removesuffix('s'))}"
        more: dict[str, Any] = {"is_flag": True} if self.is_switch else {"type": Value(info)}
        super().__init__(
            [f"--{cli_name(old_name or facts['flag'] or key)}", old_name or key],
            default=None,
            hidden=bool(old_name),
            multiple=self.takes_words,
            help=_help_text(info),
            **more,
        )


class Words(click.Argument):
    """The words of the command line that need no flag."""

    group = "Arguments"

    def __init__(self, key: str, info: "FieldInfo") -> None:
        from schemas.settings.base import facts_of, plain_type

        self.help_text = _help_text(info)
        metavar = facts_of(info)["metavar"] or key.upper()
        nargs = -1 if plain_type(info.annotation) is tuple else 1
        super().__init__([key], nargs=nargs, required=False, type=str, metavar=metavar)

    def get_help_record(self, ctx: click.Context) -> tuple[str, str]:
        """Its line in `--help`."""
        return self.make_metavar(ctx), self.help_text


class VerbCommand(click.Command):
    """A verb, which is imported when more than its name and purpose is needed."""

    def __init__(self, verb: Verb) -> None:
        self.verb = verb
        self.kinds: tuple[type[Settings], ...] = ()
        loose = {"ignore_unknown_options": True, "allow_extra_args": True}  # for completion, which parses by itself
        epilog = BEAM_NOTE if verb.takes_beam_flags else None
        settings = {**loose, "help_option_names": ["-h", "--help"], "max_content_width": 110}
        super().__init__(verb.name, help=verb.purpose, epilog=epilog, context_settings=settings)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep our flags, and put Beam's into `ctx.obj`."""
        bases, ctx.meta["run"] = self.verb.load()
        stated = stated_values(args)
        try:
            self.kinds = tuple(kind.variant(stated.get(cli_name(kind.VARIES_BY))) for kind in bases)
        except InputError:
            if not ctx.resilient_parsing:
                raise
            self.kinds = bases  # completion of half a name
        self.params = [param for kind in self.kinds for param in _params(kind)]
        if ctx.resilient_parsing:
            return super().parse_args(ctx, args)
        if "--help" in args or "-h" in args:
            self.params += [flag for kind in bases if kind in self.kinds for flag in _variant_flags(kind)]
            return super().parse_args(ctx, ["--help"])
        own, ctx.obj = self._sort_out(args, bases)
        return super().parse_args(ctx, own)

    def _sort_out(self, args: list[str], bases: Sequence["type[Settings]"]) -> tuple[list[str], list[str]]:
        """Our flags, each with its value in one word, and Beam's."""
        flags = {name: one for one in self.params if isinstance(one, Flag) for name in one.opts}
        flags = {one.singular: one for one in flags.values() if one.singular} | flags
        arguments = [one for one in self.params if isinstance(one, Words)]
        most_words = None if any(one.nargs < 0 for one in arguments) else len(arguments)
        own, beam, words, rest = list[str](), list[str](), list[str](), deque(args)
        while rest:
            word = rest.popleft()
            name, equals, value = word.partition("=")
            flag = flags.get(cli_name(name))
            if not word.startswith("-"):
                if len(words) == most_words:
                    hint = f"put the {str(arguments[0].name).upper()} in quotes, and " if arguments else ""
                    raise InputError(f"unexpected argument {word!r}; {hint}see concord {self.verb.name} --help")
                words.append(word)
            elif flag is None:
                self._check_unknown(cli_name(name), flags, bases)
                beam += [word, *_words(rest, 0 if equals else 1)]
            elif flag.is_switch:
                own.append(flag.opts[0])
            elif equals:
                own.append(f"{flag.opts[0]}={value}")
            elif not rest or rest[0].startswith("--"):
                raise InputError(f"{name} needs a value")
            else:
                values = [rest.popleft(), *_words(rest, len(rest) if flag.takes_words else 0)]
                own += [f"{flag.opts[0]}={value}" for value in values]
        return [*own, *words], beam

    def _check_unknown(self, name: str, own: Mapping[str, Flag], bases: Sequence["type[Settings]"]) -> None:
        """Raise InputError where a flag is not Beam's, but one of ours misspelt, or one that another source has."""
        for kind in bases:
            owners = {flag.group for flag in _variant_flags(kind) if name in flag.opts}
            if owners:
                raise InputError(
                    f"{name} belongs to {' and '.join(sorted(owners))}; see concord {self.verb.name} --help"
                )
        hint = suggest(name, [flag for flag, param in own.items() if not param.hidden], LIKENESS)
        is_near = hint.startswith("did")
        if not self.verb.takes_beam_flags:
            raise InputError(f"unknown flag {name}; {hint if is_near else f'see concord {self.verb.name} --help'}")
        if is_near and not _is_known_to_beam(name.removeprefix("--")):
            raise InputError(f"unknown flag {name}; {hint}")

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the flags under their headings, what all verbs have last."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record:
                groups.setdefault(getattr(param, "group", "Other"), []).append(record)
        last = [name for name in _LAST_GROUPS if name in groups]
        for heading in [*(name for name in groups if name not in last), *last]:
            with formatter.section(heading):
                formatter.write_dl(groups[heading], col_max=34)

    def invoke(self, ctx: click.Context) -> Any:
        """Make the settings, and run the verb."""
        stated = {key: value for key, value in ctx.params.items() if value not in (None, ())}
        try:
            settings = [kind.from_table(_own_keys(kind, stated), spell=_speller(kind), lax=True) for kind in self.kinds]
        except InputError as error:
            more = f"; see concord {self.verb.name} --help" if str(error).startswith("needs ") else ""
            raise InputError(f"{error}{more}") from None
        return ctx.meta["run"](*settings, tuple(ctx.obj))


class VerbGroup(click.Group):
    """All verbs, none of them imported."""

    def __init__(self, verbs: Sequence[Verb], **more: Any) -> None:
        super().__init__(commands={verb.name: VerbCommand(verb) for verb in verbs}, **more)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the verbs under their headings, in order."""
        headings: dict[str, list[tuple[str, str]]] = {}
        for command in self.commands.values():
            assert isinstance(command, VerbCommand)
            headings.setdefault(command.verb.heading, []).append((command.verb.name, command.verb.purpose))
        for heading, rows in headings.items():
            with formatter.section(heading):
                formatter.write_dl(rows)


def stated_values(args: Sequence[str]) -> dict[str, str]:
    """What follows each flag, be it after = or a blank."""
    values = {}
    for word, after in zip(args, [*args[1:], ""], strict=False):
        name, equals, value = word.partition("=")
        if name.startswith("--"):
            values[cli_name(name.removeprefix("--"))] = value if equals else after
    return values


def _is_known_to_beam(name: str) -> bool:
    """Whether Beam has a flag; imports Beam, and so is called only where a flag is like one of ours."""
    from apache_beam.options.pipeline_options import PipelineOptions

    logging.getLogger("apache_beam.options.pipeline_options").setLevel(logging.ERROR)
    return name.replace("-", "_") in PipelineOptions([]).get_all_options()


def _params(kind: "type[Settings]") -> Iterator[click.Parameter]:
    """The flags and arguments of a settings class; tables stand in run files alone."""
    from schemas.settings.base import facts_of

    for key, info in kind.model_fields.items():
        if facts_of(info)["positional"]:
            yield Words(key, info)
        elif not _holds_tables(info):
            yield Flag(key, info)
            yield from (Flag(key, info, old) for old in facts_of(info)["renamed_from"])


def _variant_flags(kind: "type[Settings]") -> Iterator[Flag]:
    """The flags that only some plugins' settings have, under a heading that names the plugins."""
    owners: dict[str, list[str]] = {}
    fields: dict[str, FieldInfo] = {}
    for name in kind.variant_names():
        for key, info in kind.variant(name).model_fields.items():
            if key not in kind.model_fields:
                owners.setdefault(key, []).append(name)
                fields[key] = info
    for key, names in sorted(owners.items(), key=lambda item: item[1]):
        yield Flag(key, fields[key], group=f"--{cli_name(kind.VARIES_BY)} {', '.join(names)}")


def _holds_tables(info: "FieldInfo") -> bool:
    from schemas.settings.base import plain_type

    inner = get_args(info.annotation)
    return bool(inner) and (inner[-1] is Any or plain_type(inner[0]) is Mapping)


def _own_keys(kind: "type[Settings]", stated: Mapping[str, Any]) -> dict[str, Any]:
    names = {param.name for param in _params(kind)}
    return {key: value for key, value in stated.items() if key in names}


def _speller(kind: "type[Settings]") -> Callable[[str], str]:
    """How a key was written: as a flag, or as an argument."""
    params = {str(param.name): param for param in _params(kind)}
    return lambda key: params[key].opts[0] if isinstance(params.get(key), Flag) else key.upper()


def _words(rest: deque[str], most: int) -> Iterator[str]:
    while most and rest and not rest[0].startswith("-"):
        most -= 1
        yield rest.popleft()


def _help_text(info: "FieldInfo") -> str:
    """A field's help, with its bounds and its default."""
    bounds = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
    limits = [
        f"{text} {getattr(one, name)}" for one in info.metadata for name, text in bounds.items() if hasattr(one, name)
    ]
    text = inspect.cleandoc(info.description or "")
    required = ["required"] if info.is_required() else []
    default = "" if required or "(default" in text else _shown(info.default)
    notes = ", ".join([*required, *limits, *([f"default: {default}"] if default else [])])
    return text + (f" ({notes})" if notes else "")


def _shown(default: Any) -> str:
    if default is None or default is False or "Undefined" in type(default).__name__:
        return ""
    if isinstance(default, Mapping):
        return ",".join(f"{key}={_shown(value)}" for key, value in default.items())
    if isinstance(default, tuple):
        return ",".join(map(_shown, default))
    return f"{default:g}" if isinstance(default, float) else str(default)
