"""The command's log, on stderr: one line per message, or with `--log-format=json` one JSON object per line.

Objects have `timestamp` (ISO 8601, UTC), `severity` and `message`, names that Cloud Logging reads by itself; `logger`,
`verb` and, once there is one, `run`, the id of the run's manifest. What Concord says has an `event` as well, and what
its message states as fields of their own:

- `run_started`; `run_done` with `manifest` and `seconds`; `failed`, which is the last one;
- `stage_done` with `stage`, `product`, `seconds`, `counts` and Beam's `counters`; `stage_skipped`, already there;
- `progress` with `stage`, `shards`, `shards_done`, `images_per_second`, `seconds_left`;
- `epoch` with `model` and the training's figures; `note` for all else.
"""

import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from pythonjsonlogger.json import JsonFormatter
from rich.console import Console
from rich.progress import BarColumn, Progress, TimeElapsedColumn

VARIABLE = "CONCORD_LOG_FORMAT"
_log = logging.getLogger("concord")


def set_up(verb: str, verbose: bool = False, log_format: str | None = None) -> None:
    """Write the log of a verb, in the format that is stated, else in that of `VARIABLE`."""
    level = logging.INFO if verbose else logging.CRITICAL
    logging.basicConfig(level=level, format="%(message)s", stream=sys.stderr, force=True)
    machines = (log_format or os.environ.get(VARIABLE)) == "json"
    _log.setLevel(logging.DEBUG if machines else logging.INFO)  # whose details are for machines
    if machines:
        logging.root.handlers[0].setFormatter(
            JsonFormatter(
                "%(levelname)s %(message)s %(name)s",
                rename_fields={"levelname": "severity", "name": "logger", "exc_info": "traceback"},
                static_fields={"verb": verb},
                defaults={"event": "note"},
                timestamp=True,
            )
        )
    if not verbose:  # Beam logs every worker error with its traceback; what matters of it is raised and shown
        logging.getLogger("apache_beam").setLevel(logging.CRITICAL)


def fields(event: str, **values: Any) -> dict[str, Any]:
    """What a message states, for `extra` of a logging call."""
    return {"event": event, **values}


def name_run(run_id: str) -> None:
    """Say in every object from now on which run it is of."""
    for handler in logging.root.handlers:
        if isinstance(handler.formatter, JsonFormatter):
            handler.formatter.static_fields["run"] = run_id


def for_machines() -> bool:
    """Whether the log is one of objects."""
    return any(isinstance(handler.formatter, JsonFormatter) for handler in logging.root.handlers)


# Progress of a stage: its committed shards, images per second and the time left.

BAR_SECONDS = 0.5
LINE_SECONDS = 10.0


def estimates(done: int, shards: int, images: int, seconds: float) -> dict[str, float]:
    """Images per second, and seconds left, from the share of shards committed; empty before the first."""
    if done == 0 or seconds <= 0:
        return {}
    rate, left = images * done / shards / seconds, seconds / done * (shards - done)
    return {"images_per_second": round(rate, 1), "seconds_left": round(left, 1)}


def line(stage: str, done: int, shards: int, images: int, seconds: float) -> str:
    """One line of progress."""
    rates = estimates(done, shards, images, seconds)
    rest = ", {images_per_second:,.0f} images/s, {seconds_left:.0f} s left".format(**rates) if rates else ""
    return f"{stage}: {done}/{shards} shards committed{rest}"


@contextmanager
def shown(stage: str, shards: int, images: int, committed: Callable[[], int]) -> Iterator[None]:
    """Show progress while the block runs.

    Args:
        stage: its name.
        shards: how many are to be made.
        images: how many images they hold in all.
        committed: counts the shards that are there; those there at the start are not counted.
    """
    stop = threading.Event()
    watch = _watch_bar if sys.stderr.isatty() and not for_machines() else _watch_lines
    before = committed()
    watcher = threading.Thread(
        target=watch, args=(stage, shards, images, lambda: committed() - before, stop), daemon=True
    )
    watcher.start()
    try:
        yield
    finally:
        stop.set()
        watcher.join()


def _watch_bar(stage: str, shards: int, images: int, committed: Callable[[], int], stop: threading.Event) -> None:
    columns = ("{task.description}: {task.completed:.0f}/{task.total:.0f} shards", BarColumn(), TimeElapsedColumn())
    begun = time.monotonic()
    with Progress(*columns, "{task.fields[rest]}", console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(stage, total=shards, rest="")
        ended = False
        while not ended:
            ended = stop.wait(BAR_SECONDS)
            done, seconds = committed(), time.monotonic() - begun
            rest = line(stage, done, shards, images, seconds).partition("committed, ")[2]
            bar.update(task, completed=done, rest=rest)


def _watch_lines(stage: str, shards: int, images: int, committed: Callable[[], int], stop: threading.Event) -> None:
    begun = time.monotonic()
    while not stop.wait(LINE_SECONDS):
        done, seconds = committed(), time.monotonic() - begun
        rates = estimates(done, shards, images, seconds)
        stated = fields("progress", stage=stage, shards=shards, shards_done=done, **rates)
        _log.info("%s", line(stage, done, shards, images, seconds), extra=stated)
