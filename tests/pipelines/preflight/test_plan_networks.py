"""`concord plan`: trainings, features, studies, and what is read of them, on a dataset that is there."""

from pathlib import Path
from typing import Any

import pytest
from pipelines.preflight import paces, sizes

from pipelines.train.driver import HEADS_A_PROCESS
from schemas import plugins
from tests.support import plans

HEAD = 'dataset = "drawn"\n'


def planned(text: str, root: str, folder: Path, *flags: str) -> dict[str, Any]:
    """The plan of a chain, which changes nothing."""
    run_file = folder / "run.toml"
    run_file.write_text(HEAD + text)
    before = plans.tree(Path(root))
    found = plans.plan([run_file], root, "--no-write", *flags)
    assert plans.tree(Path(root)) == before
    return found


def test_heads_on_features_are_counted_as_they_are_trained(converted: str, tmp_path: Path) -> None:
    text = '[[train]]\nnetwork = "xception"\nfolds = 5\nepochs = 3\n[[train]]\nnetwork = "xception"\nname = "other"\n'
    found = planned(text, converted, tmp_path)
    assert found["ok"], found["problems"]
    steps = plans.steps(found)
    features = {key: one for key, one in steps.items() if key[0] == "features"}
    assert [key[1].rpartition("/")[2] for key in features] == ["train", "validation"]  # once, for both
    assert [one["records_in"] for one in features.values()] == [400, 80]
    folded = steps["train", "drawn/xception"]
    assert folded["elements"] == {"train": -(-5 // HEADS_A_PROCESS)}
    assert folded["units"] == pytest.approx(400 * 4 / 5 * 3 * 5)
    assert folded["kept_bytes"] > 5 * 2 * 4 * 20_000_000  # a network and a SavedModel of each fold


def test_changed_images_are_not_learnt_from_features(converted: str, tmp_path: Path) -> None:
    found = planned('[[train]]\nnetwork = "xception"\naugment = {shift = 0.1}\n', converted, tmp_path)
    assert [key[0] for key in plans.steps(found)] == ["train"]


def test_a_sweep_is_as_many_trainings_as_it_has_runs(converted: str, tmp_path: Path) -> None:
    text = '[[train]]\nnetwork = "cnn1"\nepochs = 2\n[[train.sweep]]\nseed = [1, 2, 3]\nlearning_rate = [0.1, 0.01]\n'
    step = plans.steps(planned(text, converted, tmp_path))["train", "drawn/cnn1"]
    assert (step["elements"], step["units"]) == ({"train": 6}, 6 * 2 * 400)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[features]\nnetwork = "cnn1"\n', "features: network 'cnn1' has no backbone"),
        ('[[train]]\nnetwork = "xception"\nweights = "none.h5"\n', "train: no such file: none.h5"),
        ('[[train]]\nnetwork = "cnn1"\nlabels = "vendor"\n', "train: there is no complete label set of 'vendor'"),
        ('[[train]]\nnetwork = "cnn1"\nsplit = "dev"\n', "train: dataset 'drawn' has no split 'dev'"),
        ('[[train]]\nnetwork = "cnn1"\n' * 2, "train: two models of 'drawn' are called 'cnn1'"),
        ('[label]\nmodel_file = "none.keras"\nannotator = "x"\n', "label: no such file: none.keras"),
        ('[[train]]\nnetwork = "ann1"\n[label]\n[explain]\n', "explain: none of ann1 has convolutions"),
        (
            '[[train]]\nnetwork = "cnn1"\n[label]\nscores = true\n[label_errors]\nannotator = "cnn1"\nsplit = "test"\n',
            "label_errors: 'cnn1' will not have scored split 'test' out of fold",
        ),
        ('[queue]\nannotators = ["human", "nobody"]\nsplit = "test"\n', "queue: there is no complete label set of"),
        ('[generations]\nnetwork = "cnn3"\n', "there is no network 'cnn3'"),
        ('[generations]\nnetwork = "cnn1"\nlabels = "nobody"\n', "generations: there is no complete label set of"),
    ],
)
def test_what_a_stage_would_refuse_is_told(text: str, said: str, converted: str, tmp_path: Path) -> None:
    found = plans.problems(planned(text, converted, tmp_path))
    assert said in found[0], found
    assert len(found) == 1, found


def test_a_study_is_followed_through_its_generations(converted: str, tmp_path: Path) -> None:
    text = '[generations]\nnetwork = "cnn1"\ngenerations = 2\ncuts = [0.0, 0.9]\nseeds = [1, 2]\ntrain = {epochs = 1}\n'
    found = planned(text, converted, tmp_path)
    assert found["ok"], found["problems"]
    steps = plans.steps(found)
    count = {stage: sum(key[0] == stage for key in steps) for stage in ("teach", "train", "label", "generations")}
    # two founders and two that people teach everything, then twice two cuts of two seeds
    assert count == {"teach": 1 + 2 + 4, "train": 4 + 4 + 4, "label": 2 * 3 + 2 + 4 * 3 + 4, "generations": 1}
    assert steps["train", "drawn/cnn1_g0_s1"]["records_in"] == pytest.approx(400 * 0.2, abs=1)
    assert {one["state"] for one in steps.values()} == {"to do"}


def test_every_network_has_its_figures() -> None:
    from models import networks

    assert set(paces.NETWORKS) == {name for name in plugins.names(networks) if not name.startswith("_")}
    assert set(sizes.GRAPH_BYTES) < set(paces.NETWORKS)


@pytest.mark.parametrize("name", ["logistic", "ann1", "ann2", "cnn1", "cnn2", "colour_cnn"])
@pytest.mark.parametrize("side", [32, 48])
def test_weights_are_as_many_as_keras_counts(name: str, side: int) -> None:
    from models import networks
    from models.tasks import Head
    from schemas.manifests import MULTICLASS

    shape = (side, side, paces.NETWORKS[name].shape[2])
    model = plugins.load(networks, "network", name).build(shape, Head(MULTICLASS, 10))
    assert sizes.weights_bytes(name, shape) == pytest.approx(4 * model.count_params(), rel=0.15)
