"""Sweeps and folds as a stage: an element a run, only what is missing, and one model in the end."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from models import saved_models, trainer
from models.training_job import TrainJob
from pipelines import runner
from pipelines.train import transforms
from pipelines.train.driver import plan_training
from schemas import layout
from schemas.errors import ConcordError, InputError
from schemas.manifests import ModelCard, ModelFile, Sweep
from schemas.settings.train import TrainSettings
from schemas.stage import Context, StageResult
from storage import model_cards, products
from tests.support import small_dataset
from tests.support.stages import train as train_stage

pytestmark = pytest.mark.filterwarnings("ignore:.*shuffle=True", "ignore:Your input ran out of data")  # Keras' own
ONE_WORKER = ("--direct_num_workers=1",)
SWEEP = TrainSettings(
    dataset="small",
    network="logistic",
    name="swept",
    epochs=1,
    accelerator="",
    evaluate=("test",),
    sweep=({"learning_rate": [0.00001, 0.03, 0.001], "batch_size": [16, 80]},),
)
FOLDS = SWEEP.changed(name="folded", sweep=(), folds=2, learning_rate=0.02)
failing: set[str] = set()


def train_here(jobs: Sequence[TrainJob]) -> list[str]:
    """Train in this process, which has TensorFlow already."""
    [job] = jobs
    runner.count_element("train", 1)
    if job.member in failing:
        raise ConcordError(f"{job.title} was killed")
    trainer.train(job, lambda said: None)
    return [job.folder]


def pretend(jobs: Sequence[TrainJob]) -> list[str]:
    """Write what a training writes, without training."""
    [job] = jobs
    runner.count_element("train", 1)
    if job.member in failing:
        raise ConcordError(f"{job.title} was killed")
    images = products.image_set(job.root, "small", "1.0.0")
    Path(job.folder).mkdir(parents=True, exist_ok=True)
    Path(job.folder, "model.keras").write_text(job.fingerprint)
    metrics = {"loss": 1.0, "val_accuracy": job.settings.learning_rate, "epochs": 1, "best_epoch": 1}
    files = {"model.keras": ModelFile(size=len(job.fingerprint), sha256="s")}
    results = {"evaluation": {"test": {"images": 1, "accuracy": 0.5}}, "history": {"loss": [1.0]}, "metrics": metrics}
    card = trainer._build_card(job, images, (12, 12, 1), **results, files=files, parameters=1, weights_sha256="w")
    model_cards.write_card(job.folder, card)
    return [job.folder]


@pytest.fixture
def pretended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A root with the dataset `small`, where trainings are only pretended."""
    monkeypatch.setattr(transforms, "train_models", pretend)
    failing.clear()
    small_dataset.write_learnable(tmp_path, sizes={"train": 10, "validation": 10, "test": 10})
    return tmp_path


def run(root: Path, *trainings: TrainSettings, force: bool = False) -> list[StageResult]:
    return train_stage(trainings, Context(str(root), ONE_WORKER, force))


def card(root: Path, name: str, member: str = "") -> ModelCard:
    return model_cards.require_card(str(Path(layout.model(str(root), "small", name), member)))


def sweep(root: Path) -> Sweep:
    found = card(root, "swept").sweep
    assert found is not None
    return found


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[StageResult]]:
    """A root in which a sweep and two folds were trained."""
    root = tmp_path_factory.mktemp("swept")
    failing.clear()
    small_dataset.write_learnable(root)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(transforms, "train_models", train_here)
        return root, run(root, SWEEP, FOLDS)


def test_a_sweep_fans_out_and_its_best_run_is_kept(trained: tuple[Path, list[StageResult]]) -> None:
    root, results = trained
    assert results[0].counters["train.elements"] == 6 + 2
    rows = pq.read_table(Path(layout.model(str(root), "small", "swept"), "sweep.parquet")).to_pylist()
    assert [(row["learning_rate"], row["batch_size"]) for row in rows] == [
        (rate, size) for rate in (0.00001, 0.03, 0.001) for size in (16, 80)
    ]
    figures = [row["val_accuracy"] for row in rows]
    [best] = [row for row in rows if row["best"]]
    assert best["val_accuracy"] == max(figures) > min(figures)
    assert figures == [card(root, "swept", f"sweep/{run:03d}").metrics["val_accuracy"] for run in range(6)]
    kept, winner = card(root, "swept"), card(root, "swept", best["run"])
    assert kept.settings["learning_rate"] == best["learning_rate"] == winner.settings["learning_rate"]
    for found, expected in zip(weights(root, "swept"), weights(root, f"swept/{best['run']}"), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert results[0].counts["sweep"]["runs"] == 6
    assert results[0].counts["val_accuracy"] == max(figures)
    assert results[0].counts["evaluation"]["test"]["accuracy"] == best["test_accuracy"]


def weights(root: Path, name: str) -> Sequence[Any]:
    found: Sequence[Any] = saved_models.load(layout.model(str(root), "small", name)).get_weights()
    return found


def test_folds_are_judged_each_on_what_it_did_not_see(trained: tuple[Path, list[StageResult]]) -> None:
    root, results = trained
    folds = [card(root, "folded", f"fold/{fold}") for fold in range(2)]
    unseen = [one.evaluation["unseen_fold"] for one in folds]
    assert sum(one["images"] for one in unseen) == 160
    assert [one.metrics["train_images"] for one in folds] == [160 - one["images"] for one in unseen]
    assert [(one.fold, one.folds) for one in folds] == [(0, 2), (1, 2)]
    whole = card(root, "folded")
    correct = sum(one["images"] * one["accuracy"] for one in unseen)
    assert whole.evaluation["unseen_fold"] == {"images": 160, "accuracy": pytest.approx(correct / 160)}
    assert list(whole.members) == ["fold/0", "fold/1"]
    assert whole.members["fold/1"] == folds[1].fingerprint != folds[0].fingerprint
    assert results[1].product == "small/folded"


def test_a_second_call_does_nothing(trained: tuple[Path, list[StageResult]], monkeypatch: pytest.MonkeyPatch) -> None:
    def no_pipeline(*_: object) -> None:
        raise RuntimeError("a pipeline was run")

    monkeypatch.setattr(runner, "run", no_pipeline)
    root, before = trained
    results = run(root, SWEEP, FOLDS)
    assert [(result.built, result.counts) for result in results] == [(False, result.counts) for result in before]


def test_a_sweep_that_was_killed_trains_only_what_is_missing(pretended: Path) -> None:
    failing.add("sweep/003")
    with pytest.raises(ConcordError, match="swept/sweep/003 was killed"):
        run(pretended, SWEEP)
    assert model_cards.find_card(layout.model(str(pretended), "small", "swept")) is None
    done = sorted(path.parent.name for path in Path(pretended, "models").rglob("model.json"))
    assert 0 < len(done) < 6 and "003" not in done
    before = {path: path.stat().st_mtime_ns for path in Path(pretended, "models").rglob("model.json")}
    failing.clear()
    [result] = run(pretended, SWEEP)
    assert (result.built, result.counters["train.elements"]) == (True, 6 - len(done))
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert sweep(pretended).runs == 6


@pytest.mark.parametrize(("changed", "elements"), [({"epochs": 2}, 6), ({"name": "other"}, 6)])
def test_a_changed_setting_trains_every_run_again(pretended: Path, changed: dict[str, Any], elements: int) -> None:
    run(pretended, SWEEP)
    [result] = run(pretended, SWEEP.changed(**changed))
    assert (result.built, result.counters["train.elements"]) == (True, elements)


def test_a_run_that_is_added_is_trained_alone(pretended: Path) -> None:
    run(pretended, SWEEP)
    more = SWEEP.changed(sweep=(*SWEEP.sweep, {"learning_rate": 0.9}))
    [result] = run(pretended, more)
    assert (result.built, result.counters["train.elements"]) == (True, 1)
    assert sweep(pretended).best == "sweep/006"
    [again] = run(pretended, SWEEP)  # and taken away again
    assert (again.built, again.counters) == (True, {})
    assert sweep(pretended).runs == 6
    assert sweep(pretended).best in ("sweep/002", "sweep/003")


def test_force_trains_every_run_and_fold_again(pretended: Path) -> None:
    run(pretended, SWEEP, FOLDS)
    results = run(pretended, SWEEP, FOLDS, force=True)
    assert [result.built for result in results] == [True, True]
    assert results[0].counters["train.elements"] == 8


def test_another_number_of_folds_is_another_model(pretended: Path) -> None:
    run(pretended, FOLDS)
    [result] = run(pretended, FOLDS.changed(folds=3))
    assert result.counters["train.elements"] == 3
    assert card(pretended, "folded").folds == 3


@pytest.mark.parametrize("weights", ["imagenet", "file"])
def test_other_weights_to_begin_with_make_another_model(pretended: Path, weights: str) -> None:
    file = pretended / "own.weights.h5"
    file.write_bytes(b"weights")
    plain = SWEEP.changed(network="vgg16", sweep=())
    chosen = plain.changed(weights=str(file) if weights == "file" else weights)
    prints = {plan_training(one, str(pretended)).fingerprint for one in (plain, chosen)}
    file.write_bytes(b"other weights")
    prints.add(plan_training(chosen, str(pretended)).fingerprint)
    assert len(prints) == (3 if weights == "file" else 2)


def test_weights_in_a_file_are_found_from_any_working_directory(
    pretended: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(pretended)
    Path("own.weights.h5").write_bytes(b"weights")
    chosen = SWEEP.changed(network="vgg16", sweep=({"weights": ["own.weights.h5", "imagenet", ""]},))
    found = plan_training(chosen, str(pretended))
    assert {job.settings.weights for job in found.jobs} == {"", "imagenet", f"{pretended}/own.weights.h5"}
    whole = [{"weights": [f"{pretended}/own.weights.h5", "imagenet", ""]}]
    named = plan_training(chosen.changed(sweep=tuple(whole)), str(pretended))
    assert {job.fingerprint for job in named.jobs} == {job.fingerprint for job in found.jobs}


def test_a_members_checkpoint_is_dropped_only_if_forced(pretended: Path) -> None:
    run(pretended, FOLDS)
    member = Path(layout.model(str(pretended), "small", "folded"), "fold", "1")
    (member / model_cards.CHECKPOINT_FILE).write_bytes(b"state")
    (member / model_cards.CARD_FILE).unlink()
    Path(layout.model(str(pretended), "small", "folded"), model_cards.CARD_FILE).unlink()
    [result] = run(pretended, FOLDS)
    assert result.counters["train.elements"] == 1
    assert (member / model_cards.CHECKPOINT_FILE).exists()
    run(pretended, FOLDS, force=True)
    assert not (member / model_cards.CHECKPOINT_FILE).exists()


def test_a_run_that_cannot_be_is_named_before_anything_is_trained(pretended: Path) -> None:
    with pytest.raises(InputError, match="no network 'logistik'; did you mean 'logistic'"):
        run(pretended, SWEEP.changed(sweep=({"network": ["logistic", "logistik"]},)))
    assert not Path(pretended, "models").exists()
