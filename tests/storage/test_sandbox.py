"""What a file does to the process that reads it stays there."""

from pathlib import Path

import pytest

from schemas.errors import InputError
from storage import sandbox

READER = "tests.support.sandbox_reader"


@pytest.mark.parametrize(
    ("trouble", "told"),
    [
        ("refuse", "^a.h5: row 7 is bad; mend it$"),
        ("break", "^a.h5 is damaged: the library broke down on it (SIGSEGV); copy it again$"),
        ("raise", "^a.h5 is damaged: the library broke down on it (RuntimeError: a mistake of ours); copy it again$"),
        ("wait", "^a.h5 is damaged: looking through it did not end in 1 s; copy it again$"),
        ("grow", "^a.h5 asks for more than 1,073,741,824 bytes of memory: it is damaged; copy it again$"),
    ],
)
def test_what_becomes_of_a_reader_is_said(trouble: str, told: str) -> None:
    with pytest.raises(InputError, match=told.replace("(", r"\(").replace(")", r"\)")):
        sandbox.run_module(READER, ["a.h5", trouble], "a.h5", 1.0 if trouble == "wait" else 30.0)


def test_what_it_reads_comes_back(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Wherever the command runs: modules of that folder are not taken for those of the library."""
    (tmp_path / "json.py").write_text("raise SystemExit('not this one')")
    monkeypatch.chdir(tmp_path)
    assert sandbox.run_module(READER, ["a.h5", "none"], "a.h5", 30.0) == "all of a.h5\n"
