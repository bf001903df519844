"""Running pipelines: the errors of workers come back as themselves, counters add up, and progress is told."""

import functools
import io
import logging
import os
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import DirectOptions, StandardOptions

from pipelines import progress
from pipelines import runner as execution
from schemas import layout
from schemas.errors import ConcordError, IncompleteError, InputError, StorageError

BAD_NAME = r"^dataset must be lower-case letters, digits and _, beginning with a letter; got 'Bad Name'$"


def check_names(pipeline: beam.Pipeline) -> None:
    """A step that fails on its second element, with a function that every worker process can import."""
    pipeline | beam.Create(["good", "Bad Name"]) | beam.Map(functools.partial(layout.check_name, "dataset"))


@pytest.mark.parametrize(
    "flags",
    [
        ("--direct_num_workers=1",),
        ("--direct_num_workers=2",),
        ("--runner=DirectRunner", "--direct_num_workers=2", "--direct_running_mode=multi_processing"),
    ],
)
def test_a_workers_error_comes_back_as_itself(flags: tuple[str, ...]) -> None:
    with pytest.raises(InputError, match=BAD_NAME) as caught:
        execution.run("concord test", check_names, flags)
    assert type(caught.value) is InputError


def test_an_unforeseen_error_is_not_hidden() -> None:
    def divide(pipeline: beam.Pipeline) -> None:
        pipeline | beam.Create([1, 0]) | beam.Map(lambda number: 1 / number)

    with pytest.raises(ZeroDivisionError, match="division by zero"):
        execution.run("concord test", divide, ("--direct_num_workers=1",))


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        (
            "Traceback (most recent call last):\n  File ...\nschemas.errors.InputError: no such file: x.h5 "
            "[while running 'Convert/Read-ptransform-12']\n\nDuring handling ...",
            InputError,
            "no such file: x.h5",
        ),
        ("'...\\nschemas.errors.StorageError: cannot write a b\\n'", StorageError, "cannot write a b"),
        ("schemas.errors.IncompleteError: unfinished", IncompleteError, "unfinished"),
        ("schemas.errors.LaterError: of a newer worker\n", ConcordError, "of a newer worker"),
    ],
)
def test_a_workers_traceback_is_read(text: str, kind: type[ConcordError], message: str) -> None:
    found = execution.worker_error(text)
    assert type(found) is kind
    assert str(found) == message


@pytest.mark.parametrize("text", ["", "ValueError: schemas.errors is a module", "builtins.KeyError: 'x'"])
def test_other_tracebacks_are_not_ours(text: str) -> None:
    assert execution.worker_error(text) is None


@pytest.mark.parametrize("flags", [(), ("--runner=DirectRunner",), ("--runner", "FnApiRunner")])
def test_a_local_run_has_one_worker_a_core_in_process(flags: tuple[str, ...]) -> None:
    options = execution.pipeline_options(flags, "concord label house_numbers")
    assert options.view_as(StandardOptions).runner == "FnApiRunner"
    assert options.view_as(DirectOptions).direct_num_workers == os.cpu_count()
    assert options.get_all_options()["job_name"] == "concord-label-house-numbers"


@pytest.mark.parametrize("flags", [("--direct_num_workers=3",), ("--direct_num_workers", "3")])
def test_a_stated_number_of_workers_is_kept(flags: tuple[str, ...]) -> None:
    options = execution.pipeline_options(flags, "concord label")
    assert options.view_as(DirectOptions).direct_num_workers == 3


@pytest.mark.parametrize("runner", ["PrismRunner", "FlinkRunner"])
def test_another_runner_is_left_as_named(runner: str) -> None:
    options = execution.pipeline_options((f"--runner={runner}",), "concord label")
    assert options.view_as(StandardOptions).runner == runner
    assert options.view_as(DirectOptions).direct_num_workers == 1


def test_a_runner_that_there_is_not_is_named() -> None:
    with pytest.raises(InputError, match=r"Beam does not take these flags: .*FlonkRunner"):
        execution.run("concord test", check_names, ("--runner=FlonkRunner",))


def weigh(number: int) -> int:
    execution.count_element("weigh", number * 100)
    execution.count("weigh.even", int(number % 2 == 0))
    execution.count("weigh.never", 0)
    beam.metrics.Metrics.counter("another", "weigh.elements").inc(1000)
    return number


def test_counters_are_summed_and_distributions_have_their_ends_and_mean() -> None:
    def build(pipeline: beam.Pipeline) -> None:
        numbers = pipeline | beam.Create(range(1, 8))
        numbers | "One" >> beam.Map(weigh)
        numbers | "Two" >> beam.Map(weigh)

    found = execution.run("concord test", build, ("--direct_num_workers=2",))
    weights = {"weigh.element_bytes.min": 100, "weigh.element_bytes.mean": 400, "weigh.element_bytes.max": 700}
    assert found == {**weights, "weigh.elements": 14, "weigh.even": 6}


@pytest.mark.parametrize(
    ("done", "shards", "images", "seconds", "expected"),
    [
        (0, 8, 160, 3.0, "label cnn1: 0/8 shards committed"),
        (1, 8, 160, 0.0, "label cnn1: 1/8 shards committed"),
        (2, 8, 1600, 4.0, "label cnn1: 2/8 shards committed, 100 images/s, 12 s left"),
        (1, 4, 1_000_000, 50.0, "label cnn1: 1/4 shards committed, 5,000 images/s, 150 s left"),
        (8, 8, 1600, 4.0, "label cnn1: 8/8 shards committed, 400 images/s, 0 s left"),
    ],
)
def test_a_line_of_progress(done: int, shards: int, images: int, seconds: float, expected: str) -> None:
    assert progress.line("label cnn1", done, shards, images, seconds) == expected


def shards_appear(folder: Path, names: Iterable[str]) -> None:
    for name in names:
        (folder / name).touch()
        time.sleep(0.15)


def test_progress_counts_what_is_committed_while_it_runs(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.02)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    shards_appear(tmp_path, ["there before"])
    caplog.set_level(logging.INFO, "concord")
    with progress.shown("agree", 3, 30, lambda: len(list(tmp_path.iterdir()))):
        shards_appear(tmp_path, "abc")
    told = [record.getMessage().partition(" committed")[0] for record in caplog.records]
    assert list(dict.fromkeys(told))[-3:] == ["agree: 1/3 shards", "agree: 2/3 shards", "agree: 3/3 shards"]


def test_progress_is_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(progress, "BAR_SECONDS", 0.05)
    with progress.shown("label cnn1", 2, 20, lambda: len(list(tmp_path.iterdir()))):
        shards_appear(tmp_path, "ab")
    assert "label cnn1: 2/2 shards" in terminal.getvalue()
    assert "images/s" in terminal.getvalue()


def test_progress_ends_with_an_error() -> None:
    before = threading.active_count()
    with pytest.raises(InputError, match="bad"), progress.shown("agree", 3, 30, lambda: 0):
        raise InputError("bad")
    assert threading.active_count() == before
