"""What the tests of several stages share: two models, trained for a few epochs, and quicker surroundings."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from schemas.settings.train import TrainSettings
from storage import fetching

CNN1 = TrainSettings(dataset="drawn", network="cnn1", epochs=3, batch_size=16, accelerator="")
CNN2 = TrainSettings(dataset="drawn", network="cnn2", epochs=1, batch_size=8, accelerator="")


@pytest.fixture(scope="session")
def models() -> tuple[TrainSettings, TrainSettings]:
    """The settings of the models `cnn1` and `cnn2` of `trained`."""
    return CNN1, CNN2


@pytest.fixture(scope="session")
def trained(converted: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A root with the dataset `drawn` and two models. Read it only: a test that writes works on a copy."""
    from schemas.stage import Context
    from tests.support.stages import train

    root = str(shutil.copytree(converted, tmp_path_factory.mktemp("trained") / "root"))
    results = train([CNN1, CNN2], Context(root))
    assert [(result.product, result.built) for result in results] == [("drawn/cnn1", True), ("drawn/cnn2", True)]
    assert results[0].counters["train.elements"] == 2
    return root


@pytest.fixture
def root(trained: str, tmp_path: Path) -> str:
    """A copy of `trained`, to be written to."""
    return str(shutil.copytree(trained, tmp_path / "root"))


@pytest.fixture
def quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here has to survive a power cut."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Short pauses, no credentials, and clients made anew."""
    monkeypatch.setattr(fetching, "FIRST_PAUSE", 0.005)
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    fetching._store.cache_clear()
    yield
    fetching._store.cache_clear()
