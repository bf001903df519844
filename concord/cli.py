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
import time
from collections.abc import Callable, Sequence
from importlib import resources
from typing import Any

import schemas
from concord import flags, messages, readers
from pipelines import progress
from pipelines.preflight import command as preflight
from schemas import run_files, settings
from schemas.errors import ConcordError
from schemas.fields import ACCELERATOR_HELP, HINTS, MIN_RAM_HELP
from schemas.queue_settings import LabelErrorSettings, QueueSettings
from schemas.run_files import RunFile
from schemas.train_settings import FeatureSettings, TrainSettings
from storage import stores

_log = logging.getLogger("concord")
VERBS: dict[str, type] = {
    "draw": settings.DrawSettings,
    "confirm": settings.ConfirmSettings,
    "convert": settings.ConvertSettings,
    "import": settings.ImportSettings,
    "train": TrainSettings,
    "features": FeatureSettings,
    "label": settings.LabelSettings,
    "agree": settings.AgreeSettings,
    "explain": settings.ExplainSettings,
    "label_errors": LabelErrorSettings,
    "queue": QueueSettings,
    "report": settings.ReportSettings,
}
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
    preflight.add(plan)
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
            sys.exit(preflight.run(given, beam_flags, _IS_DONE))
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
    from pipelines.runner import Context
    from pipelines.runners import dataflow

    chains = _chains(given)
    for chain in chains if dataflow.is_asked(beam_flags) else ():
        dataflow.check_places(given.root, chain)
    context = Context(stores.absolute(given.root), beam_flags, given.force)
    runs = [(chain, *_run_chain(given, chain, context)) for chain in map(run_files.placed, chains)]
    messages.print_summary(given.root, runs, _headline)


def _run_chain(given: argparse.Namespace, chain: RunFile, context: Any) -> tuple[Any, str]:
    """Run one chain; return the run, and the path of its manifest."""
    from pipelines.chain import Run, stages

    configuration = {name: value for name, value in dataclasses.asdict(chain).items() if value}
    run = Run(given.root, given.verb, {**configuration, "beam_flags": Run.shown(context.beam_flags)})
    progress.name_run(run.run_id)
    _log.debug("run %s", run.run_id, extra=progress.fields("run_started", root=given.root))
    try:
        for stage in stages(chain, context, _READERS):
            for result in run.add(stage):
                messages.print_result(result)
    except BaseException:
        with_manifest = os.path.isdir(given.root) or "://" in given.root
        if with_manifest:
            _try_manifest(run)
        raise
    manifest, seconds = run.write_manifest("done"), round(time.time() - run.began, 3)
    _log.debug("run %s: done", run.run_id, extra=progress.fields("run_done", manifest=manifest, seconds=seconds))
    return run, manifest


def _try_manifest(run: Any) -> None:
    """Say in the run's manifest that it failed, if that can still be written; the error itself matters more."""
    try:
        run.write_manifest("failed")
    except ConcordError as error:
        _log.info("the run's manifest could not be written: %s", error)


def _chains(given: argparse.Namespace) -> list[RunFile]:
    """The chains that the command line asks for: those of run files, or one stage by its flags."""
    from pipelines.chain import load_run_file

    if given.verb.replace("-", "_") in VERBS:
        return [_stage(given)]
    hints = {name: value for name in HINTS if (value := getattr(given, name)) is not None}
    if given.files:
        chains = {path: run_files.hinted(load_run_file(path, given.root, given.data), hints) for path in given.files}
        without = [path for path, chain in chains.items() if given.verb == "generations" and not chain.generations]
        if without:
            raise ConcordError(f"{without[0]} has no [generations]: say there which network is taught; see README.md")
        return list(chains.values())
    with resources.as_file(resources.files("samples")) as folder:
        return [run_files.hinted(load_run_file(str(path), given.root), hints) for path in sorted(folder.glob("*.toml"))]


def _stage(given: argparse.Namespace) -> RunFile:
    """A chain of one stage, by its flags."""
    verb = given.verb.replace("-", "_")
    kind = VERBS[verb]
    known = {entry.name for entry in dataclasses.fields(kind)}
    values = {name: value for name, value in vars(given).items() if name in known}
    absent = ["--" + name for name in REQUIRED[verb] if name not in values]
    if absent:
        raise ConcordError(f"needs {', '.join(absent)}; see concord {given.verb} --help")
    made: Any = run_files.make(kind, values, verb)
    stages: dict[str, Any] = {entry.name: None for entry in dataclasses.fields(RunFile)} | {"train": (), "imports": ()}
    field = run_files.field(verb)
    return RunFile(**{**stages, field: made if stages[field] is None else (made,)})


def _headline(root: str, dataset: str) -> list[str]:
    from analysis.report import page

    return page.list_headlines(root, dataset)


def _write_report(report: settings.ReportSettings, context: Any) -> Any:
    from analysis.report import page
    from pipelines.runner import StageResult

    if page.is_current(report, context.root) and not context.force:
        return StageResult("report", report.dataset, made=False)
    began = time.monotonic()
    counts = page.write_report(report, context.root)
    return StageResult("report", report.dataset, True, time.monotonic() - began, counts)


def _find_label_errors(asked: LabelErrorSettings, context: Any) -> Any:
    from analysis import label_errors
    from pipelines.runner import StageResult

    plan = label_errors.plan_label_errors(asked, context.root)
    product = f"{asked.dataset}/{asked.annotator}/{asked.split}"
    if plan.is_done and not context.force:
        return StageResult("label_errors", product, made=False)
    began = time.monotonic()
    counts = label_errors.write_label_errors(plan)
    return StageResult("label_errors", product, True, time.monotonic() - began, counts)


def _write_queue(asked: QueueSettings, context: Any) -> list[Any]:
    from analysis import exports, queue
    from pipelines.runner import StageResult

    plan = queue.plan_queue(asked, context.root)
    product, began = f"{asked.dataset}/{asked.split}", time.monotonic()
    done = plan.is_done and not context.force
    counts = {} if done else queue.write_queue(plan)
    results = [StageResult("queue", product, not done, time.monotonic() - began, counts)]
    if asked.export:
        began = time.monotonic()
        done = exports.is_current(asked, context.root, plan.fingerprint) and not context.force
        counts = {} if done else exports.write_export(asked, context.root, plan.fingerprint)
        results.append(StageResult("queue", f"{product}/{asked.export}", not done, time.monotonic() - began, counts))
    return results


_READERS: dict[str, Callable[..., Any]] = {  # the stages that run no Beam
    "label_errors": _find_label_errors,
    "queue": _write_queue,
    "report": _write_report,
}


def _is_drawn(report: settings.ReportSettings, root: str) -> bool:
    from analysis.report import page

    return page.is_current(report, root)


def _is_judged(asked: LabelErrorSettings, root: str) -> bool:
    from analysis import label_errors

    return label_errors.plan_label_errors(asked, root).is_done


def _is_queued(asked: QueueSettings, root: str) -> bool:
    from analysis import exports, queue

    plan = queue.plan_queue(asked, root)
    return plan.is_done and (not asked.export or exports.is_current(asked, root, plan.fingerprint))


_IS_DONE: dict[str, Callable[[Any, str], bool]] = {"label_errors": _is_judged, "queue": _is_queued, "report": _is_drawn}
