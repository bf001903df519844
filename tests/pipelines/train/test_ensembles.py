"""Models of several trainings: the best run of a sweep, the folds together, and the figures of both."""

import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from models import calibration
from models.training_job import TrainJob
from pipelines.train import ensembles
from schemas import layout
from schemas.errors import IncompleteError, InputError
from schemas.manifests import ModelCard
from schemas.settings.train import TrainSettings
from storage import model_cards, stores
from tests.support.manifests import model_card

SETTINGS = TrainSettings(dataset="d", network="cnn1", name="swept", evaluate=("test",))
WHOLE = "a" * 16


def card(number: int, changed: dict[str, Any], **more: Any) -> ModelCard:
    """What a member says of itself; the second one is the best by validation, the third by the test."""
    facts = {
        "fingerprint": f"{number:016d}",
        **{
            "stage": "train",
            "product": f"d/swept/{number}",
            "name": "swept",
            "network": "cnn1",
            "dataset": "d",
            "images": "i" * 16,
            "training_labels": "human",
        },
        **{"task": "multiclass", "classes": ["x", "y"], "image_shape": [8, 8, 1], "parameters": 100 + number},
        "settings": {**SETTINGS.identity(), **changed},
        "metrics": {
            "loss": 1.0 / number,
            "val_accuracy": (0.5, 0.75, 0.25)[number - 1],
            "epochs": number,
            "best_epoch": 1,
        },
        "history": {"loss": [2.0 * number, 1.0, 0.5][:number]},
        "evaluation": {"test": {"images": 10 * number, "accuracy": 0.1 * number, "by_class": {}}},
        "weights_sha256": f"sha {number}",
        "versions": {"concord": "0"},
        "files": {
            "model.keras": {"size": 5 + number, "sha256": "a"},
            "serving/saved_model.pb": {"size": 2, "sha256": "b"},
        },
        **more,
    }
    return ModelCard.model_validate(facts)


def jobs(root: Path, kind: str = "sweep") -> list[TrainJob]:
    """Three members, each with its card and its files."""
    settings = SETTINGS.changed(folds=3) if kind == "fold" else SETTINGS
    found = []
    for number, rate in enumerate((0.1, 0.01, 0.001), start=1):
        job = TrainJob(str(root), settings, WHOLE, f"{kind}/{number:03d}")
        Path(job.folder, "serving").mkdir(parents=True)
        Path(job.folder, "model.keras").write_bytes(b"model" + b"." * number)
        Path(job.folder, "serving", "saved_model.pb").write_bytes(b"pb")
        model_cards.write_card(job.folder, card(number, {"learning_rate": rate, "augment": {"shift": rate}}))
        found.append(job)
    return found


def test_the_best_run_by_validation_becomes_the_model(tmp_path: Path) -> None:
    runs = jobs(tmp_path)
    folder = Path(layout.model(str(tmp_path), "d", "swept"))
    ensembles.write_ensemble(SETTINGS, WHOLE, runs, str(folder))
    found = model_cards.require_card(str(folder))
    assert (found.fingerprint, found.weights_sha256, found.sweep and found.sweep.best) == (WHOLE, "sha 2", "sweep/002")
    assert found.settings["learning_rate"] == 0.01
    assert (folder / "model.keras").read_bytes() == b"model.."
    assert (folder / "serving" / "saved_model.pb").read_bytes() == b"pb"
    assert model_cards.is_current(str(folder), WHOLE)


def test_a_table_has_a_row_a_run_with_what_was_tried_and_what_came_of_it(tmp_path: Path) -> None:
    ensembles.write_ensemble(SETTINGS, WHOLE, jobs(tmp_path), layout.model(str(tmp_path), "d", "swept"))
    table = pq.read_table(Path(layout.model(str(tmp_path), "d", "swept"), "sweep.parquet"))
    rows = table.to_pylist()
    assert [row["run"] for row in rows] == ["sweep/001", "sweep/002", "sweep/003"]
    assert [row["best"] for row in rows] == [False, True, False]
    assert [row["learning_rate"] for row in rows] == [0.1, 0.01, 0.001]
    assert rows[1]["augment"] == "{'shift': 0.01}"
    assert [row["val_accuracy"] for row in rows] == [0.5, 0.75, 0.25]
    assert [row["test_accuracy"] for row in rows] == pytest.approx([0.1, 0.2, 0.3])
    assert [row["test_images"] for row in rows] == [10, 20, 30]
    assert not {"seed", "epochs_", "network", "batch_size"} & set(table.column_names), "what did not change is shown"


def test_spreads_are_those_of_numpy(tmp_path: Path) -> None:
    ensembles.write_ensemble(SETTINGS, WHOLE, jobs(tmp_path), layout.model(str(tmp_path), "d", "swept"))
    found = model_cards.require_card(layout.model(str(tmp_path), "d", "swept")).sweep
    assert found is not None and found.runs == 3
    values = np.array([0.5, 0.75, 0.25])
    assert found.metrics["val_accuracy"].model_dump() == pytest.approx(
        {"mean": values.mean(), "deviation": values.std(ddof=1), "least": 0.25, "most": 0.75}
    )
    assert set(found.metrics) == {"val_accuracy", "loss", "test_accuracy"}
    assert (
        ensembles.measure_spreads(ensembles.build_sweep_table({"sweep/000": card(1, {})}, "sweep/000"))[
            "loss"
        ].deviation
        == 0
    )


def test_a_sweep_without_validation_cannot_be_chosen_from(tmp_path: Path) -> None:
    runs = jobs(tmp_path)
    model_cards.write_card(runs[0].folder, card(1, {}).model_copy(update={"metrics": {"loss": 1.0, "epochs": 1}}))
    with pytest.raises(InputError, match="the sweep of 'swept' has no validation to choose by"):
        ensembles.write_ensemble(SETTINGS, WHOLE, runs, layout.model(str(tmp_path), "d", "swept"))


def test_a_member_that_is_not_there_is_named(tmp_path: Path) -> None:
    runs = jobs(tmp_path)
    Path(runs[1].folder, "model.json").unlink()
    with pytest.raises(IncompleteError, match=r"no complete model in .*swept/sweep/002"):
        ensembles.write_ensemble(SETTINGS, WHOLE, runs, layout.model(str(tmp_path), "d", "swept"))


def test_average_precision_is_what_several_labels_are_judged_by() -> None:
    assert ensembles.validation_metric(model_card(metrics={"val_average_precision": 0.25, "val_loss": 3.0})) == 0.25
    assert ensembles.validation_metric(model_card(metrics={"loss": 3.0, "accuracy": 1.0})) is None


def test_folds_become_one_card_of_their_means(tmp_path: Path) -> None:
    runs = jobs(tmp_path, "fold")
    folder = layout.model(str(tmp_path), "d", "swept")
    ensembles.write_ensemble(SETTINGS.changed(folds=3), WHOLE, runs, folder)
    found = model_cards.require_card(folder)
    assert (found.fingerprint, found.folds, found.files) == (WHOLE, 3, {})
    assert found.members == {f"fold/{number:03d}": f"{number:016d}" for number in (1, 2, 3)}
    assert found.classes == ["x", "y"]
    assert found.metrics["val_accuracy"] == pytest.approx(0.5)
    assert found.metrics["loss"] == pytest.approx(statistics.fmean([1, 1 / 2, 1 / 3]))
    assert (found.metrics["epochs"], found.metrics["best_epoch"]) == (2, 1)
    assert found.history == {"loss": [pytest.approx(4.0)]}  # the shortest has one epoch
    pooled = (0.1 * 10 + 0.2 * 20 + 0.3 * 30) / 60
    assert found.evaluation == {"test": {"images": 60, "accuracy": pytest.approx(pooled)}}
    assert found.parameters == 306
    assert model_cards.is_current(folder, WHOLE)


def test_other_weights_of_a_fold_are_other_weights_of_the_whole(tmp_path: Path) -> None:
    cards_of = {f"fold/{number}": card(number, {}) for number in (1, 2)}
    before = ensembles.build_fold_card(WHOLE, cards_of).weights_sha256
    cards_of["fold/2"] = cards_of["fold/2"].model_copy(update={"weights_sha256": "another"})
    assert ensembles.build_fold_card(WHOLE, cards_of).weights_sha256 != before


def test_thresholds_of_folds_are_averaged_class_by_class() -> None:
    cards_of = {f"fold/{number}": card(number, {}, thresholds=[0.2 * number, 0.5]) for number in (1, 2)}
    assert ensembles.build_fold_card(WHOLE, cards_of).thresholds == pytest.approx([0.3, 0.5])
    assert ensembles.build_fold_card(WHOLE, {"fold/0": card(1, {})}).thresholds is None


def test_a_fold_that_saw_no_images_does_not_hide_the_others() -> None:
    cards_of = {f"fold/{number}": card(number, {}) for number in (1, 2)}
    cards_of["fold/1"] = card(1, {}, evaluation={"test": {"images": 0}})
    found = ensembles.build_fold_card(WHOLE, cards_of).evaluation
    assert found == {"test": {"images": 20, "accuracy": pytest.approx(0.2)}}


NO_TEMPERATURE = [{}, {"temperatures": None, "reason": "few"}, {"temperatures": {"label": 3.0}, "held_out": 0.1}]


@pytest.mark.parametrize("missing", NO_TEMPERATURE)
def test_folds_without_a_validation_split_in_common_have_no_temperature_together(
    tmp_path: Path, missing: dict[str, Any]
) -> None:
    folds = jobs(tmp_path, "fold")
    for job in folds:
        stores.write_bytes(f"{job.folder}/{calibration.FOLD_FILE}", b"not to be read")
    told = {"temperatures": {"label": 2.0}, "split": "validation", "labels": "human"}
    cards_of = {job.member: card(1, {}, calibration=told) for job in folds}
    cards_of["fold/002"] = card(1, {}, calibration=missing or None)
    found = ensembles.calibrate_folds(folds, cards_of)
    assert found.temperatures is None and "validation split" in found.reason
    own, other = told["temperatures"], missing.get("temperatures")
    assert [fold.temperatures for fold in found.folds] == [own, other, own]
