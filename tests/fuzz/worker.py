"""One reader on damaged files, in a process of its own: `python -m tests.fuzz.worker NAME FOLDER SEED SECONDS`.

Whatever it reads next lies in FOLDER/input before it is read, so that the input is there when the process is not. What
it finds goes to FOLDER/found, an input and a text each; the same trouble is told once.
"""

import hashlib
import json
import random
import resource
import sys
import time
import traceback
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings

from schemas.errors import ConcordError
from tests.fuzz.mutations import damaged
from tests.fuzz.readers import READERS, Reader
from tests.support.peaks import peak

MOST_BYTES = 1 << 30  # that reading a file of a few kilobytes may need
_ADDRESSES = 4 << 30  # that it may ask for
_EXAMPLES = 50  # that hypothesis draws at a time


class Watch:
    """Reads files, and keeps those that do more than fail as they may."""

    def __init__(self, reader: Reader, folder: Path) -> None:
        self.reader, self.folder = reader, folder
        self.path, self.found = folder / f"input{reader.suffix}", folder / "found"
        self.found.mkdir(parents=True, exist_ok=True)
        self.calls = self.read = 0
        self.path.write_bytes(reader.wraps[0](reader.seeds()[0]))
        reader.call(self.path)  # what is imported and kept does not count
        self.peak = peak()
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + _ADDRESSES, resource.RLIM_INFINITY))

    def call(self, content: bytes) -> None:
        """Read one file."""
        self.path.write_bytes(content)
        self.calls += 1
        (self.folder / "calls").write_text(json.dumps([self.calls, self.read]))
        try:
            self.reader.call(self.path)
            self.read += 1
        except ConcordError as error:
            text = str(error)
            if len(text.splitlines()) != 1 or len(text) > 2100:
                self.keep(content, f"the message is no line: {text[:4000]!r}", "message")
        except BaseException as error:
            frames = traceback.extract_tb(error.__traceback__)
            place = next((one for one in reversed(frames) if "site-packages" not in one.filename), frames[-1])
            self.keep(content, traceback.format_exc(), f"{type(error).__name__} {place.filename}:{place.lineno}")
        more = peak() - self.peak
        if more > MOST_BYTES:
            self.keep(content, f"it took {more:,} bytes more than before", "memory")
            sys.exit("memory")

    def keep(self, content: bytes, told: str, trouble: str) -> None:
        """A finding, by the trouble that it is."""
        name = hashlib.sha256(trouble.encode()).hexdigest()[:12]
        if not (self.found / f"{name}.txt").exists():
            (self.found / f"{name}.bin").write_bytes(content)
            (self.found / f"{name}.txt").write_text(f"{self.reader.name}: {trouble}\n{told}")


def drawn(watch: Watch, number: int) -> None:
    """Read some files that hypothesis draws."""
    assert watch.reader.drawn is not None

    @seed(number)
    @settings(
        max_examples=_EXAMPLES,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(watch.reader.drawn)
    def run(content: bytes) -> None:
        watch.call(content)

    run()


def main(name: str, folder: Path, number: int, seconds: float) -> None:
    """Read damaged files until the time is over."""
    reader = READERS[name]
    watch, rng, seeds = Watch(reader, folder), random.Random(number), reader.seeds()
    for content in seeds:
        watch.call(reader.wraps[0](content))
    end, turn = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        turn += 1
        if reader.drawn is not None and turn % (4 * _EXAMPLES) == 1:
            drawn(watch, rng.randrange(1 << 30))
        content = damaged(rng, rng.choice(seeds), seeds)
        watch.call(rng.choice(reader.wraps)(content))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
