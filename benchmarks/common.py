"""What the benchmarks share: drawn crops, two processors for everybody, a process of its own for every side."""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from pipelines.convert.sources import svhn_h5
from samples.house_numbers import SampleSize, write_sample
from schemas.stage import Context
from tests.support.stages import convert

PROCESSORS = 2
FEW = 64  # crops of the runs that show what starting up costs
FOLDER = Path("build", "benchmarks")
SPLIT = "test"
DATASET = "bench"
Side = Callable[[int, Path], dict[str, float]]


def crops(count: int) -> Path:
    """An .h5 file of drawn crops, all in its test split (and one crop in each of the others)."""
    path = FOLDER / f"crops-{count}.h5"
    if not path.exists():
        FOLDER.mkdir(parents=True, exist_ok=True)
        write_sample(str(path), SampleSize(train=1, test=count, validation=1), seed=11)
    return path


def convert_settings(count: int) -> svhn_h5.SourceSettings:
    """How the crops are converted."""
    return svhn_h5.SourceSettings(
        dataset=DATASET, source="svhn_h5", input=(str(crops(count)),), keys={SPLIT: "X_test:y_test"}
    )


def converted(count: int) -> str:
    """A root that holds the crops as a dataset."""
    root = str(FOLDER / f"converted-{count}")
    convert(convert_settings(count), Context(root))
    return root


def main(sides: Mapping[str, Side], count: int, report: Callable[[dict[str, dict[str, float]], int], None]) -> None:
    """Time each side in a process of its own, on two processors, and report."""
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__)
    parser.add_argument("--count", type=int, default=count, help=f"crops (default: {count:,})")
    parser.add_argument("--side", choices=list(sides), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.side:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:PROCESSORS])
        print(json.dumps(sides[given.side](given.count, FOLDER)))
        return
    crops(given.count)
    name = Path(sys.modules["__main__"].__file__ or "").stem
    figures = {}
    for side in sides:
        command = [sys.executable, "-m", f"benchmarks.{name}", "--side", side, "--count", str(given.count)]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        if ended.returncode:
            sys.exit(f"{side} failed:\n{ended.stderr[-3000:]}")
        figures[side] = json.loads(ended.stdout.splitlines()[-1])
    report(figures, given.count)


def timed(work: Callable[[int], None], count: int, runs: int = 3) -> dict[str, float]:
    """Seconds of some work on `count` crops (the median of some runs), without what starting up costs, and that apart.

    The work is done on a few crops first, twice: the first time shows the whole of starting up (imports, first
    pipeline), the second what each later run of it costs before it has done anything, which is taken off.
    """
    seconds = []
    for size in (FEW, FEW, *[count] * runs):
        began = time.perf_counter()
        work(size)
        seconds.append(time.perf_counter() - began)
    first, again, *whole = seconds
    return {"seconds": statistics.median(whole) - again, "first": first, "again": again}


def line(name: str, figures: Mapping[str, float], count: int) -> str:
    """One side's figures."""
    rate = count / figures["seconds"]
    start = f"   start-up: first {figures['first']:.1f} s, again {figures['again']:.2f} s" if "first" in figures else ""
    return f"{name:<30}{rate:>8,.0f} crops/s {figures['seconds']:7.2f} s{start}"


def ratio(name: str, other: Mapping[str, float], ours: Mapping[str, float], wanted: float) -> str:
    """How many times as fast as another side Concord is, and what is asked of it."""
    return f"Concord / {name}: {other['seconds'] / ours['seconds']:.2f} (wanted: at least {wanted:g})"
