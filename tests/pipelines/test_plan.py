"""`concord plan`: what each stage would make, what would fail, all of it at once, and nothing changed."""

import json
import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from concord import cli
from pipelines import scoring
from pipelines.chain import load_run_file
from schemas import plugins
from schemas.manifests import MULTICLASS
from schemas.stage import Context
from tests.support import plans, stages

CONVERT = 'dataset = "drawn"\n[convert]\nsource = "svhn_h5"\nshards = 8\ninput = "{input}"\n'
HEAD = 'dataset = "drawn"\n'


def write_run_file(folder: Path, text: str, **values: str) -> Path:
    path = folder / "run.toml"
    for name, value in values.items():
        text = text.replace(f"{{{name}}}", value)
    path.write_text(text)
    return path


def exit_status(*arguments: str | Path) -> int:
    """The exit status of `concord plan`; a command that returns has none, and ends well."""
    try:
        cli.main(["plan", *map(str, arguments)])
    except SystemExit as ended:
        assert isinstance(ended.code, int)
        return ended.code
    return 0


def plan_text(text: str, root: str, folder: Path, *flags: str) -> dict[str, Any]:
    """The plan of a chain on a root, in which nothing is changed."""
    run_file = write_run_file(folder, HEAD + text)
    before = plans.tree(Path(root))
    found = plans.plan([run_file], root, "--no-write", *flags)
    assert plans.tree(Path(root)) == before
    return found


# --- What is shown ------------------------------------------------------------------------------


def test_a_plan_without_problems_says_so(sample_h5: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_file = write_run_file(tmp_path, CONVERT, input=sample_h5)
    before = plans.tree(tmp_path)
    assert exit_status(run_file, "--root", tmp_path / "deep" / "root") == 0
    assert plans.tree(tmp_path) == before
    shown = capsys.readouterr().out
    assert "no problem was detected" in shown
    assert "convert  drawn    to do" in shown
    assert "a rough guess" in shown


def test_json_is_for_machines(sample_h5: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_file = write_run_file(tmp_path, CONVERT, input=sample_h5)
    assert exit_status(run_file, "--root", tmp_path / "root", "--json", "--direct_num_workers=3") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["ok"], found["root"], found["problems"]) == (True, str(tmp_path / "root"), [])
    assert found["runner"] == {"runner": "Direct", "workers": 3, "local": True}
    [stage] = found["chains"][0]["stages"]
    [product] = stage["products"]
    assert (found["chains"][0]["file"], stage["stage"], stage["problem"]) == (str(run_file), "convert", "")
    assert (product["name"], product["state"], product["records"], product["elements"]) == ("drawn", "to do", 640, 24)
    with h5py.File(sample_h5) as file:
        least = max(file[name].dtype.itemsize * np.prod(file[name].chunks) for name in file if name.startswith("X"))
    assert product["element_bytes"] >= least
    assert found["written_bytes"] == product["written_bytes"] >= 640 * 32 * 32
    assert found["seconds"] == pytest.approx(product["core_seconds"] / 3, abs=0.05)


def test_many_products_of_a_stage_share_a_line(
    converted: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "".join(f'[[train]]\nnetwork = "cnn1"\nname = "m{number}"\n' for number in range(20))
    exit_status(write_run_file(tmp_path, HEAD + text), "--root", converted, "--no-write")
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("  train")]
    assert [line[1] for line in lines] == ["drawn/m0", "drawn/m1", "drawn/m2", "and"]
    assert " ".join(lines[3]).startswith("train and 17 more to do 6,800 17 ")


# --- What waits, and what is wrong --------------------------------------------------------------


def test_a_stage_waits_for_what_an_earlier_one_has_to_make(sample_h5: str, tmp_path: Path) -> None:
    text = CONVERT + '[[train]]\nnetwork = "cnn1"\n[label]\n[agree]\nannotators = ["cnn1", "human"]\n[report]\n'
    run_file = write_run_file(tmp_path, text, input=sample_h5)
    found = plans.plan([run_file], tmp_path / "root")
    assert found["ok"], found["problems"]
    waits = {key: one["waits_for"] for key, one in plans.products(found).items() if one["state"] == "waits"}
    by_stage = {stage: reasons for (stage, _), reasons in waits.items()}
    assert (by_stage["train"], by_stage["label"]) == ("convert", "convert, train")
    assert set(by_stage["agree"].split(", ")) == {"convert", "label"}
    assert set(by_stage) == {"train", "label", "agree", "report"}


def test_a_drawn_file_is_waited_for(tmp_path: Path) -> None:
    text = 'dataset = "drawn"\n[draw]\noutput = "{root}/a.h5"\n[convert]\nsource = "svhn_h5"\ninput = "{root}/a.h5"\n'
    for root in (str(tmp_path / "root"), f"{tmp_path}/root/"):
        found = plans.products(plans.plan([write_run_file(tmp_path, text)], root))
        states = {stage: (one["state"], one["waits_for"]) for (stage, _), one in found.items()}
        assert states == {"draw": ("to do", ""), "convert": ("waits", "draw")}


def test_all_problems_are_listed_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = write_run_file(
        tmp_path,
        CONVERT + '[[train]]\nnetwork = "cnn1"\n[label]\nsplits = ["test"]\n',
        input=str(tmp_path / "none.h5"),
    )
    second, third, fourth = (tmp_path / f"{name}.toml" for name in ("second", "third", "fourth"))
    second.write_text('dataset = "drawn"\n[[train]]\nnetwork = "cnn9"\n')
    third.write_text('dataset = "other"\n[confirm]\nmachine = "no-*.csv"\nhuman = "none.csv"\n')
    fourth.write_text('dataset = "last"\n[agree]\nannotators = ["stranger", "vendor"]\n')
    before = plans.tree(tmp_path)
    files = [first, second, third, fourth]
    found = plans.plan(files, tmp_path / "root")
    shown = plans.problems(found)
    for part in (
        f"convert: no such file: {tmp_path}/none.h5",
        f"run file: {second}: there is no network 'cnn9'; did you mean 'cnn2'?",
        "confirm: --machine: no file no-*.csv",
        "agree: there is no complete label set of 'stranger' for split 'test'",
    ):
        assert part in "\n".join(shown)
    assert len(shown) == 4, shown  # what follows from them is not told as well
    assert {one["state"] for one in plans.products(found).values()} == {"waits"}
    assert exit_status(*files, "--root", tmp_path / "root") == 1
    assert "would fail:" in capsys.readouterr().out
    assert plans.tree(tmp_path) == before


def test_features_of_a_network_without_a_backbone_are_refused_before_there_are_images(
    sample_h5: str, tmp_path: Path
) -> None:
    run_file = write_run_file(tmp_path, CONVERT + '[features]\nnetwork = "cnn1"\n', input=sample_h5)
    [found] = plans.problems(plans.plan([run_file], tmp_path / "root"))
    assert found.startswith("features: network 'cnn1' has no backbone")


@pytest.mark.parametrize(
    ("added", "message"),
    [
        ('keys = {train = "X_trian:y_train"}\n', "has no dataset 'X_trian'; it has: X_test"),
        ("value_range = [0, 1, 2]\n", "convert.value_range must have at most 2 values"),
        ("image_shape = [30, 30]\n", "an image of /X_train has shape (32, 32)"),
    ],
)
def test_an_input_is_not_what_it_should_be(added: str, message: str, sample_h5: str, tmp_path: Path) -> None:
    run_file = write_run_file(tmp_path, CONVERT + added, input=sample_h5)
    [found] = plans.problems(plans.plan([run_file], tmp_path / "root"))
    assert message in found


@pytest.mark.parametrize(("content", "message"), [(b"", "is empty (0 bytes)"), (b"\x89HDF" + bytes(99), "in.h5")])
def test_damaged_and_empty_files_are_detected(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "in.h5").write_bytes(content)
    run_file = write_run_file(tmp_path, CONVERT, input=str(tmp_path / "in.h5"))
    [found] = plans.problems(plans.plan([run_file], tmp_path / "root"))
    assert message in found


def test_a_file_of_labels_without_their_columns_is_detected(tmp_path: Path) -> None:
    (tmp_path / "ratings.csv").write_text("image,tag\nx,y\n")
    text = 'dataset = "d"\n[[import]]\nannotator = "vendor"\nsplit = "test"\ninput = "{input}"\n'
    run_file = write_run_file(tmp_path, text, input=str(tmp_path / "ratings.csv"))
    [found] = plans.problems(plans.plan([run_file], tmp_path / "root"))
    assert "ratings.csv has no column image_id, label; its columns are: image, tag" in found


def test_a_file_that_may_not_be_read_is_detected(
    sample_h5: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied", "x.h5")

    monkeypatch.setattr(h5py, "File", refuse)  # not even chmod keeps root from a file
    run_file = write_run_file(tmp_path, CONVERT, input=sample_h5)
    [found] = plans.problems(plans.plan([run_file], tmp_path / "root"))
    assert "ermission denied" in found


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[features]\nnetwork = "cnn1"\n', "features: network 'cnn1' has no backbone"),
        ('[[train]]\nnetwork = "xception"\nweights = "none.h5"\n', "train: no such file: none.h5"),
        ('[[train]]\nnetwork = "cnn1"\nlabels = "vendor"\n', "train: there is no complete label set of 'vendor'"),
        ('[[train]]\nnetwork = "cnn1"\nsplit = "dev"\n', "train: dataset 'drawn' has no split 'dev'"),
        ('[label]\nmodel_file = "none.keras"\nannotator = "x"\n', "label: no such model: none.keras; name a .keras"),
        ('[label]\nmodels = ["cnn7"]\n', "label: there is no complete model in "),
        ('[queue]\nannotators = ["human", "nobody"]\nsplit = "test"\n', "queue: there is no complete label set of"),
        ('[generations]\nnetwork = "cnn3"\n', "there is no network 'cnn3'"),
        ('[generations]\nnetwork = "cnn1"\nlabels = "nobody"\n', "generations: there is no complete label set of"),
        ('[agree]\nannotators = ["human", "x"]\n', "agree: there is no complete label set of 'x' for split 'test'"),
    ],
)
def test_what_a_stage_would_refuse_is_listed(text: str, message: str, converted: str, tmp_path: Path) -> None:
    found = plans.problems(plan_text(text, converted, tmp_path))
    assert message in found[0], found
    assert len(found) == 1, found


# --- What is there, and what it takes -----------------------------------------------------------


def test_a_partly_done_conversion_is_recognised(converted: str, sample_h5: str, tmp_path: Path) -> None:
    root = Path(shutil.copytree(converted, tmp_path / "root"))
    run_file = write_run_file(tmp_path, CONVERT, input=sample_h5)
    done = plans.products(plans.plan([run_file], root))["convert", "drawn"]
    assert (done["state"], done["counts"]["in"], done["written_bytes"]) == ("done", 640, 0)
    (root / "images/drawn/1.0.0/_concord.json").unlink()
    (root / "index/dataset=drawn/split=test/part-00003-of-00008.parquet").unlink()
    (root / "labels/dataset=drawn/annotator=human/split=train/part-00001-of-00008.parquet").unlink()
    before = plans.tree(root)
    partly = plans.products(plans.plan([run_file], root))["convert", "drawn"]
    assert (partly["state"], partly["elements"], partly["records"]) == ("partly", 2, 640)
    assert plans.tree(root) == before
    forced = plans.products(plans.plan([run_file], root, "--force"))["convert", "drawn"]
    assert (forced["state"], forced["elements"]) == ("to do", 24)
    for key in ("written_bytes", "core_seconds"):
        assert partly[key] == pytest.approx(forced[key] * 2 / 24, rel=1e-3)


def test_models_that_are_there_are_used_as_they_are(trained: str, tmp_path: Path) -> None:
    text = '[label]\nmodels = ["cnn1", "cnn2"]\n[agree]\nannotators = ["cnn1", "human"]\n'
    found = plan_text(text, trained, tmp_path)
    assert found["ok"], found["problems"]
    products = plans.products(found)
    for name in ("cnn1", "cnn2"):
        label = products["label", f"drawn/{name}/test"]
        assert (label["state"], label["records"], label["elements"]) == ("to do", 160, 8)
    [agree] = [one for key, one in products.items() if key[0] == "agree"]
    assert (agree["state"], agree["waits_for"]) == ("waits", "label")


def test_folds_and_sweeps_are_as_many_trainings_as_they_have_members(converted: str, tmp_path: Path) -> None:
    text = (
        '[[train]]\nnetwork = "cnn1"\nepochs = 2\n'
        '[[train]]\nnetwork = "cnn1"\nname = "folded"\nfolds = 5\nepochs = 2\n'
        '[[train]]\nnetwork = "cnn1"\nname = "swept"\nepochs = 2\n'
        "[[train.sweep]]\nseed = [1, 2, 3]\nlearning_rate = [0.1, 0.01]\n"
    )
    found = plans.products(plan_text(text, converted, tmp_path))
    alone = found["train", "drawn/cnn1"]
    assert (alone["records"], alone["elements"]) == (400, 1)
    for name, members in (("folded", 5), ("swept", 6)):
        one = found["train", f"drawn/{name}"]
        assert (one["elements"], one["written_bytes"]) == (members, members * alone["written_bytes"])
        assert one["core_seconds"] == pytest.approx(members * alone["core_seconds"])


def test_heads_learn_from_features_faster_than_from_changed_images(converted: str, tmp_path: Path) -> None:
    text = '[[train]]\nnetwork = "xception"\n[[train]]\nnetwork = "xception"\nname = "a"\naugment = {shift = 0.1}\n'
    found = plans.products(plan_text(text, converted, tmp_path))
    heads, whole = (found["train", f"drawn/{name}"]["core_seconds"] for name in ("xception", "a"))
    assert heads * 50 < whole


def test_a_study_is_one_product(converted: str, tmp_path: Path) -> None:
    text = '[generations]\nnetwork = "cnn1"\ngenerations = 2\ncuts = [0.0, 0.9]\nseeds = [1, 2]\ntrain = {epochs = 1}\n'
    found = plan_text(text, converted, tmp_path)
    assert found["ok"], found["problems"]
    assert {key: one["state"] for key, one in plans.products(found).items()} == {("generations", "drawn/cnn1"): "to do"}


def test_photographs_wait_for_their_labels_and_are_then_known(tmp_path: Path) -> None:
    ids = [f"{number:016x}" for number in range(40)]
    for name, last in (("machine", "0.9"), ("human", "1")):
        rows = "".join(f"{image},{name},/m/cat,{last}\n" for image in ids)
        (tmp_path / f"{name}.csv").write_text("ImageID,Source,LabelName,Confidence\n" + rows)
    confirm = 'dataset = "cats"\n[confirm]\nmachine = "{tables}/machine.csv"\nhuman = "{tables}/human.csv"\n'
    convert = '[convert]\nsource = "open_images"\nimages_from = "{photos}/{image_id}.jpg"\n'
    tables, photos = str(tmp_path), tmp_path / "photos"
    photos.mkdir()
    run_file = write_run_file(tmp_path, confirm + convert, tables=tables, photos=str(photos))
    found = plans.plan([run_file], tmp_path / "root")
    assert found["ok"], found["problems"]
    states = {stage: (one["state"], one["waits_for"]) for (stage, _), one in plans.products(found).items()}
    assert states == {"confirm": ("to do", ""), "convert": ("waits", "confirm")}
    [settings] = load_run_file(str(run_file), "")["confirm"]
    stages.confirm(settings, Context(str(tmp_path / "root")))
    (photos / f"{ids[0]}.jpg").write_bytes(b"x")
    known = plans.products(plans.plan([run_file], tmp_path / "root"))
    assert known["confirm", "cats"]["state"] == "done"
    assert (known["convert", "cats"]["records"], known["convert", "cats"]["elements"]) == (40, 24)


# --- Hints --------------------------------------------------------------------------------------


def test_every_network_states_what_it_takes() -> None:
    from models import networks

    for name in plugins.names(networks):
        if not name.startswith("_"):
            hint = plugins.literal(networks, name, "HINT")
            assert set(hint or ()) == set(scoring.SMALL_NETWORK), name
            assert min(hint["scored_per_second"], hint["learnt_per_second"], hint["parameters"]) > 0, name


@pytest.mark.parametrize("name", ["logistic", "ann1", "ann2", "cnn1", "cnn2", "colour_cnn"])
def test_weights_are_as_many_as_keras_counts(name: str) -> None:
    from models import networks
    from models.tasks import Head

    shape = plugins.literal(networks, name, "HINT")["shape"]
    model = plugins.load(networks, "network", name).build(shape, Head(MULTICLASS, 10))
    assert scoring.network_hint(name, None)[2] == pytest.approx(model.count_params(), rel=0.01)


def test_a_larger_image_takes_longer_in_proportion() -> None:
    small, large = (scoring.network_hint("cnn1", (side, side, 1)) for side in (32, 64))
    assert large[0] == pytest.approx(4 * small[0]) and large[1] == pytest.approx(4 * small[1])
    assert scoring.network_hint("theirs", None) == scoring.network_hint("theirs", (32, 32, 1)) != small
