"""Progress of a stage: its committed shards, images a second and the time left.

A local Beam run returns only when it is done, so progress is read off what it has committed. On a terminal it is a
bar, elsewhere plain log lines.
"""

import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

from pipelines import logs

_log = logging.getLogger("concord")
BAR_SECONDS = 0.5
LINE_SECONDS = 10.0


def estimates(done: int, shards: int, images: int, seconds: float) -> dict[str, float]:
    """Images a second, and seconds left, from the share of shards committed; empty before the first."""
    if done == 0 or seconds <= 0:
        return {}
    rate, left = images * done / shards / seconds, seconds / done * (shards - done)
    return {"images_per_second": round(rate, 1), "seconds_left": round(left, 1)}


def line(stage: str, done: int, shards: int, images: int, seconds: float) -> str:
    """One line of progress."""
    found = estimates(done, shards, images, seconds)
    rest = ", {images_per_second:,.0f} images/s, {seconds_left:.0f} s left".format(**found) if found else ""
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
    watch = _watch_bar if sys.stderr.isatty() and not logs.for_machines() else _watch_lines
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
    layout = "{desc}: {n_fmt}/{total_fmt} shards |{bar}| {elapsed}{postfix}"
    begun = time.monotonic()
    with tqdm(total=shards, desc=stage, bar_format=layout, leave=False, file=sys.stderr) as bar:
        ended = False
        while not ended:
            ended = stop.wait(BAR_SECONDS)
            done, seconds = committed(), time.monotonic() - begun
            bar.n = done
            bar.set_postfix_str(line(stage, done, shards, images, seconds).partition("committed, ")[2])


def _watch_lines(stage: str, shards: int, images: int, committed: Callable[[], int], stop: threading.Event) -> None:
    begun = time.monotonic()
    while not stop.wait(LINE_SECONDS):
        done, seconds = committed(), time.monotonic() - begun
        found = estimates(done, shards, images, seconds)
        told = logs.fields("progress", stage=stage, shards=shards, shards_done=done, **found)
        _log.info("%s", line(stage, done, shards, images, seconds), extra=told)
