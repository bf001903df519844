"""Machines that teach machines: figures that pandas finds in the label sets alone, nothing made twice, clear errors."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from scipy import stats

from concord import messages
from models import trainer
from models.training_job import TrainJob
from pipelines import runner
from pipelines.generations import results, students
from pipelines.train import transforms
from schemas import layout
from schemas.errors import IncompleteError, InputError
from schemas.settings.generations import GenerationsSettings
from schemas.stage import Context, StageResult
from schemas.tables import GENERATIONS
from storage import hashing, model_cards, products
from tests.support import small_dataset
from tests.support.stages import generations

pytestmark = pytest.mark.filterwarnings("ignore:.*shuffle=True", "ignore:Your input ran out of data")  # Keras' own
CONTEXT = ("--direct_num_workers=1",)
TRAIN = {"epochs": 2, "learning_rate": 0.02, "batch_size": 16, "accelerator": ""}
STUDY = GenerationsSettings(
    dataset="small",
    network="logistic",
    name="line",
    train=TRAIN,
    teacher="ann1",
    teacher_train={**TRAIN, "epochs": 3},
    pool=0.7,
    cuts=(0.0, 0.6, 0.999999),
    generations=2,
    seeds=(4,),
)


def train_here(jobs: Sequence[TrainJob]) -> list[str]:
    """Train in this process, which has TensorFlow already."""
    for job in jobs:
        runner.count_element("train", 1)
        trainer.train(job, lambda said: None)
    return [job.folder for job in jobs]


def run(root: str, settings: GenerationsSettings, force: bool = False) -> list[StageResult]:
    return generations(settings, Context(root, CONTEXT, force))


def rows(root: str, name: str = "line") -> pd.DataFrame:
    found: pd.DataFrame = pq.read_table(layout.generations_table(root, "small", name)).to_pandas()
    return found


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, list[StageResult]]:
    """A root with a finished study, to be read only, and what its stages did."""
    root = str(tmp_path_factory.mktemp("generations"))
    small_dataset.write_learnable(root)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transforms, "train_models", train_here)
        return root, run(root, STUDY)


def labels(root: str, annotator: str, split: str) -> pd.DataFrame:
    """A label set, image by image."""
    files = sorted(Path(layout.labels(root, "small", annotator, split)).glob("*.parquet"))
    return pd.concat([pd.read_parquet(file) for file in files]).set_index("image_id")[["label", "confidence"]]


def wilson(right: float, n: int) -> tuple[float, float]:
    found = stats.binomtest(int(right), n).proportion_ci(method="wilson")
    return found.low, found.high


def test_every_network_has_a_row_and_those_alike_a_mean(study: tuple[str, list[StageResult]]) -> None:
    found = rows(study[0])
    assert found.columns.tolist() == GENERATIONS.names
    single = found[found["seed"].notna()]
    expected = ["line_share_s4", "line_all_s4", "line_g0_s4"]
    expected += [f"line_g{number}_{cut}_s4" for number in (1, 2) for cut in ("c00", "c60", "c999999")]
    assert single["annotator"].tolist() == expected
    assert single["network"].tolist() == ["logistic", "logistic", "ann1", *["logistic"] * 6]
    means = found[found["seed"].isna()]
    assert means["accuracy"].dropna().tolist() == single["accuracy"].dropna().tolist()
    assert means["accuracy_low"].isna().all()
    assert len(means) == len(single)
    stages = {result.stage for result in study[1]}
    assert stages == {"pseudo_labels", "train", "label", "agree", "generations"}
    assert [result.stage for result in study[1]].count("generations") == 1


def test_figures_are_those_of_the_label_sets(study: tuple[str, list[StageResult]]) -> None:
    root, _ = study
    people, people_train = labels(root, "human", "test")["label"], labels(root, "human", "train")["label"]
    pool = hashing.is_in_pool(people_train.index.tolist(), 0.7)
    assert 0.6 < pool.mean() < 0.8
    found = rows(root)
    for row in found[found["seed"].notna() & (found["seeds"] == 1)].to_dict("records"):
        own, best = (labels(root, name, "test")["label"] for name in (row["annotator"], f"line_all_s{row['seed']:.0f}"))
        right = (own == people.loc[own.index]).sum()
        assert (row["n"], row["accuracy"]) == (48, pytest.approx(right / 48))
        assert (row["accuracy_low"], row["accuracy_high"]) == pytest.approx(wilson(right, 48))
        if row["kind"] != "everything":
            assert row["accuracy_drop"] == pytest.approx(((best == people).sum() - right) / 48)
            assert row["accuracy_drop_low"] <= row["accuracy_drop"] <= row["accuracy_drop_high"]
        if np.isnan(row["cut"]):
            taught = len(people_train) if row["kind"] == "everything" else (~pool).sum()
            counts = (taught, taught, taught / 160, 0, 64)
            assert pd.isna(row["agreement"]) and pd.isna(row["pseudo_label_accuracy"])
        else:
            teacher = labels(root, row["teacher"], "train").loc[people_train.index][pool]
            sure = teacher[teacher["confidence"] >= np.float32(row["cut"])]
            held = labels(root, row["teacher"], "validation")["confidence"] >= np.float32(row["cut"])
            counts = (len(sure), 0, 0, len(sure), held.sum())
            assert row["pseudo_label_accuracy"] == pytest.approx((sure["label"] == people_train.loc[sure.index]).mean())
            followed = (own == labels(root, row["teacher"], "test")["label"].loc[own.index]).sum()
            assert row["agreement"] == pytest.approx(followed / 48)
            assert (row["agreement_low"], row["agreement_high"]) == pytest.approx(wilson(followed, 48))
        names = ("n_labels", "n_human_labels", "human_label_share", "labels_saved", "validation")
        assert tuple(row[name] for name in names) == pytest.approx(counts)


def test_a_cut_leaves_out_what_the_teacher_is_not_sure_of(study: tuple[str, list[StageResult]]) -> None:
    found = rows(study[0])
    one = found[(found["generation"] == 1) & (found["seed"] == 4)].set_index("cut")
    assert 0 < one["n_labels"][0.6] < one["n_labels"][0.0]
    assert found["accuracy"].nunique() > 2


def test_a_cut_that_leaves_no_label_excludes_its_student_with_a_row(study: tuple[str, list[StageResult]]) -> None:
    root, results = study
    found = rows(root)
    found = found[found["cut"] == 0.999999]
    one = found[found["seed"].notna()].set_index("generation")["note"]
    assert one[1] == "excluded: line_g0_s4_pool has no label of confidence 0.999999 or more of split train"
    assert one[2] == "excluded: its teacher line_g1_c999999_s4 was excluded"
    assert found[["accuracy", "n_labels", "accuracy_drop", "n"]].isna().all(axis=None)
    assert found["seeds"].tolist() == [0, 0, 0, 0]
    assert messages.describe_study(results[-1])[3].endswith("cut 0.999999: excluded, no label is so confident")
    with pytest.raises(IncompleteError):
        products.label_set(root, "small", "line_g1_c999999_s4", "test")


def test_nothing_but_a_teachers_pool_is_learnt(study: tuple[str, list[StageResult]]) -> None:
    root, _ = study
    ids = labels(root, "human", "train").index
    pool = set(ids[hashing.is_in_pool(ids.tolist(), 0.7)])
    assert set(labels(root, "line_g1_c60_s4_pool", "train").index) == pool
    assert set(labels(root, "line_taught", "train").index) == set(ids) - pool
    for student in students.everyone(STUDY):
        told = students.training(STUDY, student)
        if student.cut == 0.999999:
            continue
        card = model_cards.require_card(layout.model(root, "small", student.annotator))
        assert (card.training_labels, card.settings["min_confidence"]) == (student.label_set, student.cut or 0.0)
        assert told.epochs == (3 if student.generation == 0 else 2)


def test_a_mean_is_over_the_seeds_that_are_there_and_its_interval_students() -> None:
    accuracies = (0.7, 0.75, 0.72)
    keys = {"kind": "generation", "generation": 1, "cut": 0.5, "network": "cnn2", "note": None}
    known = [{**keys, "accuracy": one, "n_labels": 10 + number, "n": 8} for number, one in enumerate(accuracies)]
    found = results.mean([*known, {**keys, "note": "excluded: no label"}])
    around = stats.ttest_1samp(accuracies, 0).confidence_interval(0.95)
    assert (found["seed"], found["seeds"], found["n_labels"], found["n"]) == (None, 3, 11, 8)
    assert (found["accuracy_low"], found["accuracy_high"]) == pytest.approx((around.low, around.high))
    assert found["accuracy"] == pytest.approx(np.mean(accuracies))
    assert found["note"] == "excluded: 1 of 4 seeds"
    assert (found["agreement"], found.get("teacher")) == (None, None)
    wide = results.mean([{**keys, "accuracy": one} for one in (0.1, 0.9)])
    assert (wide["accuracy_low"], wide["accuracy_high"]) == (0, 1)
    alone = results.mean([{**keys, "accuracy": 0.1}])
    assert (alone["accuracy"], alone["accuracy_low"], alone["accuracy_high"]) == (0.1, None, None)


def test_each_line_of_students_keeps_to_its_seed_and_cut() -> None:
    told = STUDY.changed(seeds=(1, 2), cuts=(0.0, 0.9), generations=3)
    by_name = {student.annotator: student for student in students.everyone(told)}
    assert len(by_name) == 2 * (2 + 1 + 3 * 2)
    assert by_name["line_g3_c90_s2"].teacher == "line_g2_c90_s2"
    assert by_name["line_g1_c90_s2"].teacher == "line_g0_s2"
    assert by_name["line_g1_c90_s2"].label_set == "line_g0_s2_pool"
    assert students.training(told, by_name["line_g2_c90_s2"]).seed == 2
    alone = told.changed(teacher="", teacher_train={})
    assert [student.annotator for student in students.references(alone)] == ["line_all_s1", "line_all_s2"]
    assert students.training(alone, students.initial_teachers(alone)[0]).epochs == 2


def test_it_tells_a_line_a_generation(study: tuple[str, list[StageResult]]) -> None:
    told = messages.describe_study(study[1][-1])
    starts = ["human labels, a share", "human labels, everything", "generation 0", "generation 1", "generation 2"]
    assert [line.partition(": ")[0] for line in told] == [f"small/line, {start}" for start in starts]
    assert told[3].count("labels of machines") == 2
    assert "cut 0.6 accuracy " in told[3]


def test_a_second_run_makes_nothing_and_a_lost_label_set_what_follows_from_it(
    study: tuple[str, list[StageResult]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = str(shutil.copytree(study[0], tmp_path / "root"))
    before = rows(root)
    with monkeypatch.context() as patch:
        patch.setattr(runner, "run", lambda *_: pytest.fail("a pipeline was run"))
        assert not any(result.built for result in run(root, STUDY))
    shutil.rmtree(layout.labels(root, "small", "line_g1_c60_s4_pool", "train"))
    monkeypatch.setattr(transforms, "train_models", lambda jobs: pytest.fail("a network was trained again"))
    made = [result.product for result in run(root, STUDY) if result.built]
    assert made == ["small/line_g1_c60_s4_pool", "small/line"]
    pd.testing.assert_frame_equal(rows(root), before)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"network": "logistc"}, "there is no network 'logistc'; did you mean 'logistic'"),
        ({"teacher": "ann9"}, "there is no teacher 'ann9'; did you mean 'ann2'"),
        ({"validation": "held"}, "dataset 'small' has no split 'held' by which networks stop learning"),
        ({"test": "exam"}, "dataset 'small' has no split 'exam'; its splits are test, train, validation"),
        (
            {"pool": 0.9999},
            "generation 0 has nothing to learn from, excluded: line_taught has no label of split train: give a smaller",
        ),
    ],
)
def test_a_study_that_cannot_be_begun_says_why(tmp_path: Path, changed: dict[str, Any], message: str) -> None:
    small_dataset.write_learnable(str(tmp_path), sizes={"train": 10, "validation": 5, "test": 5})
    with pytest.raises(InputError) as raised:
        run(str(tmp_path), STUDY.changed(**changed))
    assert message in str(raised.value)


def test_several_labels_an_image_and_absent_people_are_refused(tmp_path: Path) -> None:
    small_dataset.write_learnable(str(tmp_path), "multilabel", {"train": 10, "validation": 5, "test": 5})
    with pytest.raises(InputError, match="have several labels; generations takes one label per image"):
        run(str(tmp_path), STUDY)
    small_dataset.write_learnable(str(tmp_path), "multiclass", {"train": 10, "validation": 5, "test": 5})
    with pytest.raises(IncompleteError, match="no complete label set of 'nobody' for split 'train'"):
        run(str(tmp_path), STUDY.changed(labels="nobody"))
