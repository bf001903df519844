"""The readers on a few damaged files each, and the fuzzer itself: it finds what there is to find."""

import random
import resource
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from models import allowed
from schemas.errors import ConcordError, InputError
from tests.fuzz import __main__ as fuzzer
from tests.fuzz import renaming, worker
from tests.fuzz.mutations import damaged
from tests.fuzz.readers import READERS, Reader

QUICK = [name for name in READERS if not name.startswith("keras")]  # whose every file takes a second
APART = ("h5", "digit_struct")  # read in processes of their own


@pytest.mark.parametrize("name", READERS)
def test_what_the_fuzzer_begins_with_is_read(tmp_path: Path, name: str) -> None:
    reader = READERS[name]
    path = tmp_path / f"input{reader.suffix}"
    for number, content in enumerate(reader.seeds()):
        path.write_bytes(reader.wraps[0](content))
        if name == "idx" and number:  # labels in the place of images
            with pytest.raises(InputError, match="one file of images and one of labels"):
                reader.call(path)
        else:
            reader.call(path)


@pytest.mark.parametrize("name", QUICK)
def test_damaged_files_end_in_an_error_of_ours(tmp_path: Path, name: str) -> None:
    """The same few each time, in this process; `make fuzz` draws others, and watches."""
    reader, rng = READERS[name], random.Random(6)
    seeds = reader.seeds()
    path = tmp_path / f"input{reader.suffix}"
    failed = 0
    for _ in range(12 if name in APART else 60):
        path.write_bytes(rng.choice(reader.wraps)(damaged(rng, rng.choice(seeds), seeds)))
        try:
            reader.call(path)
        except ConcordError as error:
            failed += 1
            assert len(str(error).splitlines()) == 1
    assert failed or name in ("image", "thumbnail", "record")  # which tell of damage otherwise


RENAMED = {".keras": renaming.renamed, ".h5": renaming.renamed_h5}


@pytest.mark.parametrize("suffix", RENAMED)
def test_networks_with_other_names_resolve_to_what_is_on_the_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    """And where none is checked, the watch sees what Keras would resolve."""
    path = tmp_path / f"input{suffix}"
    read, seen = 0, 0
    for number in range(150):
        path.write_bytes(RENAMED[suffix](f"no JSON, but number {number}".encode()))
        with suppress(ConcordError):
            renaming.read(path)
            read += 1
    monkeypatch.setattr(allowed, "check", lambda *_: None)
    for number in range(30):
        path.write_bytes(RENAMED[suffix](f"no JSON, but number {number}".encode()))
        with suppress(ConcordError):
            try:
                renaming.read(path)
            except AssertionError as error:
                assert "Keras resolved" in str(error)
                seen += 1
    assert read and seen


def test_damage_differs_from_seed_to_seed_and_repeats() -> None:
    content = bytes(range(200))
    drawn = [damaged(random.Random(number), content, [content]) for number in range(300)]
    assert drawn == [damaged(random.Random(number), content, [content]) for number in range(300)]
    assert len(set(drawn)) > 250
    assert {len(one) > len(content) for one in drawn} == {True, False}
    assert damaged(random.Random(1), b"", [b""]) is not None


# --- The watch ----------------------------------------------------------------------------------


def rude(path: Path) -> None:
    if path.read_bytes() == b"bad":
        raise KeyError("x")


def talkative(path: Path) -> None:
    if path.read_bytes() == b"bad":
        error = InputError("x")
        error.args = ("two\nlines",)
        raise error


@pytest.mark.parametrize("kind", [rude, talkative])
def test_what_a_reader_should_not_do_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: object) -> None:
    monkeypatch.setattr(resource, "setrlimit", lambda *_: None)
    watch = worker.Watch(Reader("x", lambda: [b"good"], kind), tmp_path)  # type: ignore[arg-type]
    for content in (b"good", b"bad", b"bad", b"good"):
        watch.call(content)
    (found,) = watch.found.glob("*.bin")
    assert found.read_bytes() == b"bad"
    assert (watch.calls, watch.read) == (4, 2)


def test_a_reader_that_takes_much_memory_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "setrlimit", lambda *_: None)
    monkeypatch.setattr(worker, "MOST_BYTES", 1 << 20)
    peaks = iter([100, 100 + (1 << 20), 101 + (1 << 20)])
    monkeypatch.setattr(worker, "peak", lambda: next(peaks))
    watch = worker.Watch(Reader("x", lambda: [b"good"], str), tmp_path)  # type: ignore[arg-type]
    watch.call(b"just enough")
    with pytest.raises(SystemExit):
        watch.call(b"too much")
    assert [found.read_bytes() for found in watch.found.glob("*.bin")] == [b"too much"]


FAULTS = {"dies": "os.kill(os.getpid(), 11)", "hangs": "time.sleep(60)"}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_process_that_dies_or_hangs_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    """A worker of its own stands in: it reads one file well, and then the bad one."""
    script = tmp_path / "worker.py"
    script.write_text(
        "import os, pathlib, sys, time\nfolder = pathlib.Path(sys.argv[4])\n(folder / 'calls').write_text('[2, 1]')\n"
        f"(folder / 'input.bin').write_bytes(b'bad')\n{FAULTS[fault]}\n"
    )
    monkeypatch.setattr(fuzzer, "HANG", 1.0)
    monkeypatch.setattr(sys, "executable", str(_python(tmp_path, script)))
    began = time.monotonic()
    calls, read, found = fuzzer.fuzz("idx", 1.5, tmp_path / "idx", 1)
    assert time.monotonic() - began < 30
    assert calls >= 2 and read >= 1 and found
    assert ("died" if fault == "dies" else "hung") in found[0].read_text()
    assert found[0].with_suffix(".bin").read_bytes() == b"bad"


def _python(folder: Path, script: Path) -> Path:
    """A program that runs the script, whatever module it is asked for."""
    program = folder / "python"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} {script} "$@"\n')
    program.chmod(0o755)
    return program
