"""Run a Beam pipeline: which runner, its counters, and its errors as a user should see them."""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions, StandardOptions

from pipelines import progress
from pipelines.runners import dataflow, portable
from schemas import errors
from schemas.errors import REJECT_HINTS, ConcordError, InputError, Reason, TooManyRejectsError
from schemas.stage import Context
from storage.products import ShardFolder, ShardReport

LOCAL_RUNNERS = ("DirectRunner", "FnApiRunner")
_RAISED = re.compile(r"schemas\.errors\.(\w+): ([^\n]+?)(?: \[while running|\n|\\n|$)")


def pipeline_options(flags: tuple[str, ...], job: str) -> PipelineOptions:
    """Beam's options; a local run uses Beam's in-process FnApiRunner, with one worker a core.

    Beam's own `DirectRunner` would first try to download the Prism runner, so that first runs would differ from
    machine to machine; name `--runner=PrismRunner` to use it.
    """
    options = PipelineOptions([*flags, *portable.defaults(flags)], job_name=job.replace("_", "-").replace(" ", "-"))
    standard = options.view_as(StandardOptions)
    if standard.runner in (None, *LOCAL_RUNNERS):
        standard.runner = "FnApiRunner"
        if not any(flag.startswith("--direct_num_workers") for flag in flags):
            options.view_as(DirectOptions).direct_num_workers = os.cpu_count() or 1
    elif dataflow.is_runner(standard.runner):
        dataflow.defaults(options)
    return options


def run(job: str, build: Callable[[beam.Pipeline], None], flags: tuple[str, ...]) -> dict[str, int]:
    """Build a pipeline, run it to its end, and return its counters.

    Raises:
        InputError: the flags name no runner, or one that is not installed.
        ConcordError: a worker raised one; it comes back as itself from every runner.
    """
    with _flags_taken():
        options = pipeline_options(flags, job)
    with portable.serving(options) as runner:
        with _flags_taken():
            pipeline = beam.Pipeline(runner, options)
        return counters(_finished(pipeline, build))


def run_job(
    title: str,
    steps: Mapping[str, beam.PTransform],
    context: Context,
    shards: int,
    committed: Callable[[], int],
    records: int = 0,
    job: str = "",
) -> dict[str, int]:
    """Run a stage's transforms as one job, show its progress, and return its counters; without steps nothing runs.

    Args:
        title: the stage and what it makes.
        steps: its transforms, by their names in the job.
        context: where, and with which of Beam's flags.
        shards: how many are to be made; 0 where none is written before the end.
        committed: counts those that are there.
        records: how many the shards hold in all, 0 where that is not known.
        job: its name at the runner, where that is not the title.
    """

    def build(pipeline: beam.Pipeline) -> None:
        for name, transform in steps.items():
            pipeline | name >> transform

    if not steps:
        return {}
    watched = progress.shown(title, shards, records, committed) if shards else nullcontext()
    with watched:
        return run(f"concord {job or title}", build, context.beam_flags)


@contextmanager
def _flags_taken() -> Iterator[None]:
    try:
        yield
    except (ValueError, ImportError) as error:
        raise InputError(f"Beam does not take these flags: {error}") from error


def _finished(pipeline: beam.Pipeline, build: Callable[[beam.Pipeline], None]) -> Any:
    try:
        build(pipeline)
        dataflow.share_gpus(pipeline)
        result = pipeline.run()
        with dataflow.watched(result):
            result.wait_until_finish()
    except ConcordError as error:
        raise type(error)(str(error).partition(" [while running")[0]) from error
    except Exception as error:
        raised = worker_error(str(error))
        if raised is None:
            raise
        raise raised from error
    return result


def worker_error(text: str) -> ConcordError | None:
    """The Concord error whose traceback a runner handed over as text, if there is one."""
    match = _RAISED.search(text)
    if match is None:
        return None
    kind = getattr(errors, match[1], ConcordError)
    error: ConcordError = kind(match[2])
    return error


def counters(result: Any) -> dict[str, int]:
    """Beam's counters of a finished pipeline; of a distribution its ends and its mean: `NAME.min`, `.mean`, `.max`."""
    metrics = result.metrics().query()
    values: dict[str, int] = {}
    for entry in metrics["counters"]:
        if entry.key.metric.namespace == "concord":
            values[entry.key.metric.name] = values.get(entry.key.metric.name, 0) + entry.result
    measured: dict[str, list[Any]] = {}
    for entry in metrics["distributions"]:
        if entry.key.metric.namespace == "concord":
            measured.setdefault(entry.key.metric.name, []).append(entry.result)
    for name, parts in measured.items():
        values[f"{name}.min"] = min(part.min for part in parts)
        values[f"{name}.mean"] = round(sum(part.sum for part in parts) / sum(part.count for part in parts))
        values[f"{name}.max"] = max(part.max for part in parts)
    return dict(sorted(values.items()))


def count_element(step: str, payload_bytes: int) -> None:
    """Count one element of a step, and the bytes of input that it stands for."""
    Metrics.counter("concord", f"{step}.elements").inc()
    Metrics.distribution("concord", f"{step}.element_bytes").update(payload_bytes)


def count_records(stage: str, report: ShardReport, gone: str = "rejected") -> None:
    """Count the records of a shard: `STAGE.in`, `STAGE.out`, and `STAGE.rejected`, also by reason.

    Args:
        stage: which counts them.
        report: of the shard.
        gone: what became of those that are not in the product.
    """
    count(f"{stage}.in", report.records_in)
    count(f"{stage}.out", report.records_out)
    count(f"{stage}.{gone}", sum(report.rejected.values()))
    for reason, records in report.rejected.items():
        count(f"{stage}.{gone}.{reason}", records)


def count(name: str, n: int) -> None:
    """Add to a counter."""
    if n:
        Metrics.counter("concord", name).inc(n)


def measure(name: str, value: int) -> None:
    """Add a value to a distribution."""
    Metrics.distribution("concord", name).update(value)


# What a stage does about the records that it rejected: nothing, or stop where they are too many.


def check_rejects(stage: str, folders: list[ShardFolder], counts: dict[str, Any], most: float) -> None:
    """Stop a stage that rejected more than `most`, a share of the records that came in.

    Raises:
        TooManyRejectsError: it shows the first rejected record and says what to do.
    """
    rejected = sum(counts["rejected"].values())
    if rejected <= most * counts["in"]:
        return
    reasons = ", ".join(f"{reason} {count}" for reason, count in counts["rejected"].items())
    raise TooManyRejectsError(
        f"{stage} rejected {rejected} of {counts['in']} records ({reasons}), more than --max-reject-fraction {most:g}. "
        f"{_first_reject(folders)} All of them: {', '.join(folder.folder for folder in folders)}"
    )


def _first_reject(folders: list[ShardFolder]) -> str:
    for folder in folders:
        for shard, report in sorted(folder.done().items()):
            if report.rejected:
                row = folder.read(shard).slice(0, 1).to_pylist()[0]
                remedy = REJECT_HINTS[Reason(row["reason"])]
                return f"The first: {row['source']}, {row['position']}: {row['detail']} ({remedy})."
    return ""
