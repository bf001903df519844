"""Fuzz the readers: `python -m tests.fuzz --seconds 30 [--readers idx,mat] [--workers 2] [--keep FOLDER]`.

Each reader has a process of its own, which is watched: one that dies, hangs, or takes more than 1 GiB is a finding, as
is every error but Concord's own. After a finding the next process goes on. Ends with 1 if there was any.

Hypothesis and a few steps of damage drive it, not Atheris: nearly all that parses bytes here is C (HDF5, Arrow, SciPy,
OpenCV, Pillow), of which Atheris, which traces Python, would see nothing.
"""

import argparse
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from tests.fuzz.readers import READERS

ROOT = Path(__file__).resolve().parents[2]
HANG = 20.0  # seconds that one file may take
_START = 180.0  # and the imports


def fuzz(name: str, seconds: float, folder: Path, number: int) -> tuple[int, int, list[Path]]:
    """Fuzz one reader for so long; how many files were read, how many of them well, and what was found."""
    end, calls, read = time.monotonic() + seconds, 0, 0
    while (left := end - time.monotonic()) > 0:
        _run(name, max(left, 1.0), folder, number + calls)
        counted = folder / "calls"
        more, well = json.loads(counted.read_text() or "[0, 0]") if counted.exists() else (0, 0)
        calls, read = calls + more, read + well
        counted.unlink(missing_ok=True)
        if not more:  # it could not even begin
            break
    return calls, read, sorted((folder / "found").glob("*.txt"))


def _run(name: str, seconds: float, folder: Path, number: int) -> None:
    """One process, until its time is over, or it is."""
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "tests.fuzz.worker", name, str(folder), str(number), str(seconds)]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", "MALLOC_ARENA_MAX": "2"}
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, env=environment) as process,
    ):
        began = time.monotonic()
        while process.poll() is None:
            time.sleep(0.05)
            counted = folder / "calls"
            last = time.time() - counted.stat().st_mtime if counted.exists() else 0.0
            if last > HANG or (not counted.exists() and time.monotonic() - began > _START):
                process.kill()
                process.wait()
                _keep(READERS[name].suffix, folder, f"{name}: it hung for {HANG:g} s", "hang")
                return
    if process.returncode not in (0, 1) or not (folder / "calls").exists():
        log_end = (folder / "log").read_text(errors="replace")[-4000:]
        _keep(READERS[name].suffix, folder, f"{name}: it died with {process.returncode}\n{log_end}", "death")


def _keep(suffix: str, folder: Path, told: str, kind: str) -> None:
    found, given = folder / "found", folder / f"input{suffix}"
    found.mkdir(exist_ok=True)
    place = found / f"{kind}-{len(list(found.glob(kind + '*.txt')))}"
    if given.exists():
        shutil.copy(given, place.with_suffix(".bin"))
    place.with_suffix(".txt").write_text(told)


@contextmanager
def _home(kept: str) -> Iterator[Path]:
    if kept:
        yield Path(kept)
        return
    with tempfile.TemporaryDirectory(prefix="concord-fuzz-") as folder:
        yield Path(folder)


def main() -> int:
    """Fuzz all readers that are asked for; print a line each, and every finding."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0, help="for each reader")
    parser.add_argument("--readers", default=",".join(READERS), help="names, with commas")
    parser.add_argument("--workers", type=int, default=1, help="readers at once")
    parser.add_argument("--seed", type=int, default=-1, help="of the first process; any if negative")
    parser.add_argument("--keep", default="", help="a folder for what is found; else it is shown and forgotten")
    asked = parser.parse_args()
    number = asked.seed if asked.seed >= 0 else random.randrange(1 << 30)
    troubles = 0
    with _home(asked.keep) as home, ThreadPoolExecutor(asked.workers) as pool:

        def one(name: str) -> tuple[str, int, int, list[Path]]:
            return name, *fuzz(name, asked.seconds, home / name, number)

        for name, calls, read, found in pool.map(one, asked.readers.split(",")):
            print(
                f"{name:14s} {calls:9,} files in {asked.seconds:g} s, {read:,} read, {len(found)} findings", flush=True
            )
            troubles += len(found)
            for path in found:
                content = path.with_suffix(".bin")
                print(path.read_text())
                print(f"input: {content.read_bytes()[:2000].hex() if content.exists() else 'none'}", flush=True)
    print(f"seed {number}: {troubles} findings")
    return 1 if troubles else 0


if __name__ == "__main__":
    sys.exit(main())
