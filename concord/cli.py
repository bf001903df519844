"""The command `concord`: one verb per stage, `run` for a whole chain, and verbs that only read a root.

concord run --root out --runner=DirectRunner
concord convert --source svhn_h5 --input SVHN_single_grey1.h5 --dataset svhn --root out
"""

import logging
import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

import schemas
from concord.command_line import Verb, VerbGroup, cli_name, stated_values
from pipelines.stages import STAGES
from schemas.errors import ConcordError
from schemas.stage import Stage

if TYPE_CHECKING:  # `concord --help` does without pydantic
    from schemas.settings.base import Settings

_log = logging.getLogger("concord")
_CHAINS, _STAGES, _READING = "Chains of stages", "Stages", "Reading a root"
_COMPLETION = """Completion of verbs, flags and choices in the shell: add
eval "$(_CONCORD_COMPLETE=bash_source concord)" to ~/.bashrc (zsh_source in ~/.zshrc, fish_source in fish)."""


def _verb_of_stage(stage: Stage) -> Verb:
    """The verb that runs one stage by its flags."""

    def load() -> tuple[tuple["type[Settings]", ...], Callable[..., Any]]:
        from concord.flags import RunFlags
        from concord.verbs.run import run_chains

        def run(flags: RunFlags, settings: "Settings", beam_flags: tuple[str, ...]) -> None:
            run_chains(cli_name(stage.name), {"": {stage.name: (settings,)}}, flags, beam_flags)

        return (RunFlags, stage.settings), run

    return Verb(cli_name(stage.name), _STAGES, stage.settings_module, load)


_OWN_VERBS = (
    Verb.of_module("run", _CHAINS, "concord.verbs.run"),
    Verb.of_module("plan", _CHAINS, "concord.verbs.plan"),
    Verb.of_module("generations", _CHAINS, "concord.verbs.generations"),
    Verb.of_module("status", _READING, "concord.verbs.status", takes_beam_flags=False),
    Verb.of_module("verify", _READING, "concord.verbs.verify", takes_beam_flags=False),
    Verb.of_module("query", _READING, "concord.verbs.query", takes_beam_flags=False),
)


def build_group() -> VerbGroup:
    """The whole command line."""
    own = {verb.name: verb for verb in _OWN_VERBS}
    stages = [_verb_of_stage(stage) for stage in STAGES if cli_name(stage.name) not in own]
    chains = [verb for verb in _OWN_VERBS if verb.heading == _CHAINS]
    group = VerbGroup(
        [*chains, *stages, *(verb for verb in _OWN_VERBS if verb.heading == _READING)],
        name="concord",
        help="Label images with several machines; see how much they agree.",
        epilog=_COMPLETION,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    )
    return click.version_option(schemas.__version__, prog_name="concord", message="%(prog)s %(version)s")(group)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; exit status 1 means that it failed, with one line that says why (2: no such verb)."""
    args = list(sys.argv[1:] if arguments is None else arguments)
    group = build_group()
    if not args or args[0] not in group.commands:
        _show_help(group, args)
        return
    from pipelines import progress

    verb, verbose = args[0], "--verbose" in args
    progress.set_up(verb, verbose, stated_values(args).get("log-format"))
    try:
        with group.make_context("concord", args) as context:
            group.invoke(context)
        sys.stdout.flush()
    except click.exceptions.Exit:  # of --help
        return
    except BrokenPipeError:  # whoever reads has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (ConcordError, click.ClickException) as error:
        _fail(verb, error.format_message() if isinstance(error, click.ClickException) else str(error), verbose)
    except KeyboardInterrupt:
        _fail(verb, "interrupted; the same command goes on from here", verbose)
    except Exception as error:
        _fail(verb, f"unexpected {type(error).__name__}: {error}; --verbose shows where", verbose, unexpected=True)


def entry() -> None:
    """The command as it is installed: `main`, and then straight out.

    A pipeline that failed and an object store's client leave threads behind, which abort the interpreter while it is
    being torn down.
    """
    code: object = 0
    try:
        main()
    except SystemExit as ended:
        code = ended.code
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 0)


def _show_help(group: VerbGroup, args: list[str]) -> None:
    """What the command does without a verb: its help, its version, completion; a mistyped verb is refused."""
    try:
        group.main(args, prog_name="concord", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(error.exit_code)
    except click.ClickException as error:
        print(f"concord: {error.format_message().splitlines()[0]}", file=sys.stderr)
        sys.exit(error.exit_code)


def _fail(verb: str, message: str, verbose: bool, unexpected: bool = False) -> None:
    from pipelines import progress

    if verbose:
        _log.exception("full traceback")
    text = message if unexpected and verbose else message.splitlines()[0]
    if progress.for_machines():
        _log.error(text, extra=progress.fields("failed"))
    else:
        print(f"concord {verb}: {text}", file=sys.stderr)
    sys.stderr.flush()
    sys.exit(1)
