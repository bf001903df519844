"""What the tests of sources share."""

from pathlib import Path

import pytest

from tests.support.digit_struct import write_mat
from tests.support.number_runs import TEST, TRAIN, pictures


@pytest.fixture
def numbers(tmp_path: Path) -> Path:
    """A folder of SVHN's layout, `train` and `test`, with every oddity of the real one."""
    for split, entries in (("train", TRAIN), ("test", TEST)):
        folder = tmp_path / "svhn" / split
        folder.mkdir(parents=True)
        write_mat(folder / "digitStruct.mat", entries)
        pictures(folder, [name for name, _ in entries if (split, name) != ("train", "6.png")])
    return tmp_path / "svhn"
