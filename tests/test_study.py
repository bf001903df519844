"""What the networks reach, trained in full: minutes, so these run with `make test-long`."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import pytest
import scipy.io

from models import saved_models
from samples.house_numbers import GREY_WEIGHTS, SampleSize, write_sample
from schemas import layout
from schemas.settings.agree import AgreeSettings
from schemas.settings.convert import ConvertSettings
from schemas.settings.label import LabelSettings
from schemas.settings.train import TrainSettings
from schemas.stage import Context
from tests.support.stages import agree, convert, label, train

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]
SEEDS = (1, 2, 3)


def study(root: str, source: Path, models: list[tuple[str, int]]) -> dict[str, float]:
    """Convert, train, label and compare; the accuracy of each model on the test split."""
    convert(ConvertSettings(dataset="study", source="svhn_h5", input=(str(source),)), Context(root))
    named = {f"{network}_{seed}": (network, seed) for network, seed in models}
    for first in range(0, len(models), 2):  # two at a time, as on two cores
        some = list(named.items())[first : first + 2]
        settings = [TrainSettings(dataset="study", network=n, name=name, seed=seed) for name, (n, seed) in some]
        train(settings, Context(root))
    label(LabelSettings(dataset="study", models=tuple(named)), Context(root))
    accuracies = {}
    for name in named:
        agree(AgreeSettings(dataset="study", annotators=(name, "human"), reference="human"), Context(root))
        table = pq.read_table(layout.agreement_table(root, "summary", "study", (name, "human"), "test"))
        accuracies[name] = table["accuracy_a"][0].as_py()
    return accuracies


def test_the_course_networks_learn_real_house_numbers(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "svhn_cropped" / "SVHN_single_grey1.h5"
    found = study(str(tmp_path), source, [(network, seed) for network in ("cnn1", "cnn2") for seed in SEEDS])
    mean = {network: np.mean([found[f"{network}_{seed}"] for seed in SEEDS]) for network in ("cnn1", "cnn2")}
    assert mean["cnn2"] >= 0.84, found
    assert mean["cnn1"] >= 0.78, found


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, float]]:
    """A root with cnn1 and cnn2 trained on drawn crops, and their accuracies."""
    folder = tmp_path_factory.mktemp("drawn")
    write_sample(str(folder / "drawn.h5"), SampleSize(), seed=7)
    return str(folder / "root"), study(str(folder / "root"), folder / "drawn.h5", [("cnn1", 1), ("cnn2", 1)])


def test_the_drawn_sample_is_neither_a_toy_nor_a_riddle(drawn: tuple[str, dict[str, float]]) -> None:
    _, found = drawn
    assert 0.80 <= found["cnn1_1"] <= 0.97, found


def test_who_learns_from_the_drawn_sample_recognises_real_house_numbers(
    drawn: tuple[str, dict[str, float]], shared_data: Path
) -> None:
    root, _ = drawn
    content = scipy.io.loadmat(shared_data / "svhn_cropped" / "crops_32x32.mat")
    colours: npt.NDArray[Any] = content["X"].transpose(3, 0, 1, 2)
    grey = np.rint(colours @ np.array(GREY_WEIGHTS))[..., None].astype(np.uint8)
    scores = saved_models.load(layout.model(root, "study", "cnn2_1")).predict(grey, batch_size=256, verbose=0)
    accuracy = float((scores.argmax(axis=1) == content["y"].reshape(-1) % 10).mean())
    print(f"cnn2, trained on drawn crops alone, recognises {accuracy:.3f} of {len(grey)} real ones")
    assert accuracy >= 0.40
