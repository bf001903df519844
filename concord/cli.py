"""The command `concord`: one verb a stage, and `run` for a whole chain.

concord run --root out --runner=DirectRunner
concord convert --source svhn_h5 --input SVHN_single_grey1.h5 --dataset svhn --root out

The verbs that only read a root are those of `concord.readers`.
"""

import argparse
import dataclasses
import logging
import os
import sys
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import schemas
from concord import flags, messages, readers
from pipelines import progress
from pipelines.stages import STAGES
from schemas import layout, run_files
from schemas.errors import ConcordError
from schemas.fields import ACCELERATOR_HELP, HINTS, MIN_RAM_HELP, make
from schemas.run_files import Chain
from schemas.stage import Context

_log = logging.getLogger("concord")
VERBS: dict[str, type] = {stage.name: stage.settings for stage in STAGES if stage.name != "generations"}
REQUIRED = {
    "draw": ("output",),
    "confirm": ("dataset", "machine", "human"),
    "convert": ("dataset", "source"),
    "import": ("dataset", "annotator", "split", "input"),
    "train": ("dataset", "network"),
    "features": ("dataset", "network"),
    "label": ("dataset",),
    "agree": ("dataset", "annotators"),
    "explain": ("dataset", "models"),
    "label_errors": ("dataset", "annotator"),
    "queue": ("dataset", "annotators"),
    "report": ("dataset",),
}
BEAM_NOTE = "Any other flag goes to Beam, such as --runner=FlinkRunner or --direct_num_workers=4."


def build_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="concord", description="Label images with several machines; see how far they agree."
    )
    parser.add_argument("--version", action="version", version=f"concord {schemas.__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    run = _add_verb(verbs, "run", "Run the chains of stages that TOML run files describe, one after the other.")
    run.add_argument(
        "files", nargs="*", metavar="FILE.toml", help="run files (default: the samples drawn by the project itself)"
    )
    _add_chain_flags(run)
    study = _add_verb(verbs, "generations", "Run run files that have [generations]: networks that teach each other.")
    study.add_argument("files", nargs="+", metavar="FILE.toml", help="run files")
    _add_chain_flags(study)
    plan = _add_verb(verbs, "plan", "Check and estimate what a run would take, before anything is started.")
    plan.add_argument("files", nargs="*", metavar="FILE.toml", help="run files (default: the project's own samples)")
    plan.add_argument("--json", action="store_true", help="print the plan as JSON, for machines")
    plan.add_argument("--no-write", action="store_true", help="skip the write test of the root")
    _add_chain_flags(plan)
    for verb, kind in VERBS.items():
        flags.add(_add_verb(verbs, spelt(verb), str(kind.__doc__)), kind, REQUIRED[verb])
    readers.add(verbs)
    return parser


def _add_chain_flags(own: argparse.ArgumentParser) -> None:
    own.add_argument("--data", default="", metavar="DIR", help="what {data} in run files stands for")
    for name, text in (("accelerator", ACCELERATOR_HELP), ("min_ram", MIN_RAM_HELP)):
        meaning = text.partition(" (default")[0].replace("this step's", "every network's")
        flag, meaning = f"--{name.replace('_', '-')}", f"{meaning} (default: the run file's)"
        own.add_argument(flag, metavar=name.upper(), help=meaning)


def spelt(verb: str) -> str:
    """A verb as it is written on the command line."""
    return verb.replace("_", "-")


def _add_verb(verbs: Any, verb: str, purpose: str) -> argparse.ArgumentParser:
    own: argparse.ArgumentParser = verbs.add_parser(
        verb, help=purpose, description=purpose, epilog=BEAM_NOTE, allow_abbrev=False
    )
    readers.add_root(own)
    own.add_argument("--force", action="store_true", help="make everything again, even what is already there")
    progress.add(own, "show Beam's log and full tracebacks")
    return own


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; exit status 1 means that it failed, with one line that says why."""
    parser = build_parser()
    given, rest = parser.parse_known_args(arguments)
    progress.set_up(given)
    try:
        if given.verb in readers.VERBS:
            readers.run(given, rest)
            return
        own = parser._subparsers._group_actions[0].choices[given.verb]  # type: ignore[union-attr, index, call-overload]
        beam_flags = flags.check_beam_flags(rest, own) if rest else ()
        if given.verb == "plan":
            sys.exit(_plan(given, beam_flags))
        _run(given, beam_flags)
    except ConcordError as error:
        _fail(given, str(error))
    except KeyboardInterrupt:
        _fail(given, "interrupted; the same command goes on from here")
    except Exception as error:
        _fail(given, f"unexpected {type(error).__name__}: {error}; --verbose shows where", unexpected=True)


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


def _fail(given: argparse.Namespace, message: str, unexpected: bool = False) -> None:
    if given.verbose:
        _log.exception("full traceback")
    text = message if unexpected and given.verbose else message.splitlines()[0]
    if progress.for_machines():
        _log.error(text, extra=progress.fields("failed"))
    else:
        print(f"concord {given.verb}: {text}", file=sys.stderr)
    sys.stderr.flush()
    sys.exit(1)


def _run(given: argparse.Namespace, beam_flags: tuple[str, ...]) -> None:
    from pipelines.chain import run_chain
    from pipelines.runners import dataflow

    chains = list(_chains(given).values())
    for chain in chains if dataflow.is_asked(beam_flags) else ():
        dataflow.check_places(given.root, chain)
    context = Context(layout.absolute(given.root), beam_flags, given.force)
    runs = [run_chain(given.verb, chain, context, messages.print_result) for chain in chains]
    messages.print_summary(given.root, runs, _headline)


def _plan(given: argparse.Namespace, beam_flags: tuple[str, ...]) -> int:
    """Print the plan, and return the exit status: 1 where a run would fail, else 0."""
    from pipelines import plan
    from pipelines.checks import Problems

    problems, chains = Problems(), {}
    for file in given.files or _sample_files():
        try:
            chains[file] = _load(file, given)
        except ConcordError as error:
            problems.add("run file", str(error))
    context = Context(given.root, beam_flags, given.force)
    planned = plan.plan_run(chains, context, problems, write=not given.no_write)
    print(plan.as_json(planned) if given.json else plan.as_text(planned))
    return 1 if planned.fails else 0


def _chains(given: argparse.Namespace) -> dict[str, Chain]:
    """The chains that the command line states: those of run files, or one stage by its flags."""
    if given.verb.replace("-", "_") in VERBS:
        return {"": _stage(given)}
    chains = {file: _load(file, given) for file in given.files or _sample_files()}
    without = [file for file, chain in chains.items() if given.verb == "generations" and "generations" not in chain]
    if without:
        raise ConcordError(f"{without[0]} has no [generations]: name there the network that is taught; see README.md")
    return chains


def _load(file: str, given: argparse.Namespace) -> Chain:
    from pipelines.chain import load_run_file

    hints = {name: value for name in HINTS if (value := getattr(given, name)) is not None}
    return run_files.with_hints(load_run_file(file, given.root, given.data), hints)


def _sample_files() -> list[str]:
    """The run files of the samples that the project draws by itself."""
    folder = Path(str(resources.files("samples")))
    return [str(path) for path in sorted(folder.glob("*.toml"))]


def _stage(given: argparse.Namespace) -> Chain:
    """A chain of one stage, by its flags."""
    verb = given.verb.replace("-", "_")
    kind = VERBS[verb]
    known = {entry.name for entry in dataclasses.fields(kind)}
    values = {name: value for name, value in vars(given).items() if name in known}
    absent = ["--" + name for name in REQUIRED[verb] if name not in values]
    if absent:
        raise ConcordError(f"needs {', '.join(absent)}; see concord {given.verb} --help")
    return {verb: (make(kind, values, verb),)}


def _headline(root: str, dataset: str) -> list[str]:
    from analysis import report as page

    return page.headline(root, dataset)
