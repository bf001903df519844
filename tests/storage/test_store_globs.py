"""Patterns of files: the same files are found in a folder and in a bucket, as the shell finds them."""

from pathlib import Path

import pytest

from schemas.errors import InputError
from storage import stores

FILES = [
    "machine-0.csv",
    "machine-1.csv.gz",
    "machine-10.csv",
    "machine.csv",
    "Machine-0.csv",
    ".machine-0.csv",
    "notes (1)+[2].csv",
    "deep/machine-0.csv",
    "deep/deeper/machine-2.csv",
    ".hidden/machine-0.csv",
    "deeper/other.txt",
]
FOUND = {
    "machine-0.csv": ["machine-0.csv"],
    "machine-?.csv": ["machine-0.csv"],
    "machine-*.csv": ["machine-0.csv", "machine-10.csv"],
    "machine-*": ["machine-0.csv", "machine-1.csv.gz", "machine-10.csv"],
    "*/machine-*.csv": ["deep/machine-0.csv"],
    "d*/*": ["deep/machine-0.csv", "deeper/other.txt"],
    "**/machine-*.csv": ["deep/deeper/machine-2.csv", "deep/machine-0.csv", "machine-0.csv", "machine-10.csv"],
    "deep/**": ["deep/deeper/machine-2.csv", "deep/machine-0.csv"],
    "machine-[01].csv": ["machine-0.csv"],
    "machine-[!0]*": ["machine-1.csv.gz", "machine-10.csv"],
    "[M-m]achine-0.csv": ["Machine-0.csv", "machine-0.csv"],
    "[]m]achine.csv": ["machine.csv"],
    "machine[": [],
    "notes*+*.csv": ["notes (1)+[2].csv"],
    "notes (1)+[2].csv": ["notes (1)+[2].csv"],  # no pattern, for there is such a file
    ".m*": [".machine-0.csv"],
    ".*/*": [".hidden/machine-0.csv"],
    "deep": [],
    "dee*": [],
    "absent/*.csv": [],
    "absent.csv": [],
}


def test_what_each_pattern_finds(place: str) -> None:
    for name in FILES:
        stores.write_bytes(stores.join(place, name), b"1")
    found = {pattern: stores.glob(stores.join(place, pattern)) for pattern in FOUND}
    assert found == {pattern: [stores.join(place, name) for name in names] for pattern, names in FOUND.items()}


def test_a_pattern_that_is_no_regular_expression(place: str) -> None:
    stores.write_bytes(stores.join(place, "a.csv"), b"1")
    assert stores.glob(stores.join(place, "[z-a]*.csv")) == []
    assert stores.glob(stores.join(place, "*(.csv")) == []


def test_relative_patterns_stay_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    stores.write_bytes("a.csv", b"1")
    assert stores.glob("*.csv") == ["a.csv"]


@pytest.mark.parametrize("pattern", ["s3://*/a.csv", "gs://pict*/a.csv", "s3://*"])
def test_the_bucket_has_to_be_named(pattern: str) -> None:
    with pytest.raises(InputError) as error:
        stores.glob(pattern)
    assert str(error.value) == f"{pattern} names no bucket: * ? and [ may stand only after it"
