"""Run files: what they mean, and what is wrong with a bad one, with the file's name."""

from pathlib import Path

import pytest

from pipelines.chain import load_run_file
from pipelines.stages import STAGES
from schemas import run_files
from schemas.errors import InputError, StorageError
from schemas.queue_settings import LabelErrorSettings, QueueSettings
from schemas.run_files import Chain

WHOLE = """
dataset = "svhn"

[draw]
output = "{root}/sample.h5"
train = 100

[convert]
source = "svhn_h5"
input = "{root}/sample.h5"
splits = { train = 0.5, test = 0.5 }
max_reject_fraction = 0

[[train]]
network = "cnn1"

[[train]]
network = "cnn2"
name = "second"
learning_rate = 1
dataset = "other"

[label]
scores = true

[agree]
truth = "human"

[report]
"""


def load(tmp_path: Path, text: str | bytes, root: str = "out") -> Chain:
    path = tmp_path / "run.toml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return load_run_file(str(path), root)


def test_stages_inherit_what_they_leave_out(tmp_path: Path) -> None:
    run = load(tmp_path, WHOLE)
    assert list(run) == ["draw", "convert", "train", "label", "agree", "report"]
    assert run["convert"][0].dataset == "svhn"
    assert [(one.name, one.network, one.dataset) for one in run["train"]] == [
        ("cnn1", "cnn1", "svhn"),
        ("second", "cnn2", "other"),
    ]
    ((label,), (agree,), (report,)) = (run[name] for name in ("label", "agree", "report"))
    assert label.models == ("cnn1", "second")
    assert agree.annotators == ("cnn1", "second")
    assert (agree.truth, agree.dataset) == ("human", "svhn")
    assert report.models == ("cnn1", "second")


def test_values_become_what_settings_want(tmp_path: Path) -> None:
    run = load(tmp_path, WHOLE)
    [convert] = run["convert"]
    assert convert.input == ("out/sample.h5",)  # one text stands for a list of one
    assert convert.splits == {"train": 0.5, "test": 0.5}
    assert (convert.max_reject_fraction, type(convert.max_reject_fraction)) == (0.0, float)
    assert (run["train"][1].learning_rate, type(run["train"][1].learning_rate)) == (1.0, float)
    assert run["label"][0].scores is True


@pytest.mark.parametrize(("root", "expected"), [("out/", "out/a.mat"), ("s3://bucket/x", "s3://bucket/x/a.mat")])
def test_root_stands_for_the_root_folder(tmp_path: Path, root: str, expected: str) -> None:
    text = '[convert]\ndataset = "d"\ninput = ["{root}/a.mat", "b.mat"]\nkeys = { train = "{root}:y" }\n'
    [convert] = load(tmp_path, text, root)["convert"]
    assert convert.input == (expected, "b.mat")
    assert convert.keys == {"train": f"{root.rstrip('/')}:y"}


def test_what_a_stage_says_itself_wins(tmp_path: Path) -> None:
    text = 'dataset = "d"\n[[train]]\nnetwork = "cnn1"\n[label]\nmodels = ["a", "b"]\n[agree]\n[report]\nmodels = []\n'
    run = load(tmp_path, text)
    assert run["label"][0].models == ("a", "b")
    assert run["agree"][0].annotators == ("a", "b")
    assert run["report"][0].models == ()


def test_a_queue_asks_the_machines_that_are_compared(tmp_path: Path) -> None:
    text = 'dataset = "d"\n[label]\nmodels = ["a", "b"]\n[label_errors]\nannotator = "a"\n[queue]\nlimit = 7\n'
    run = load(tmp_path, text)
    assert run["queue"] == (QueueSettings("d", ("a", "b"), limit=7),)
    assert run["label_errors"] == (LabelErrorSettings("d", "a"),)


def test_a_stage_may_be_one_table_or_several(tmp_path: Path) -> None:
    one = load(tmp_path, 'dataset = "d"\n[train]\nnetwork = "cnn1"\n[label]\n')
    assert one == load(tmp_path, 'dataset = "d"\n[[train]]\nnetwork = "cnn1"\n[[label]]\n')
    text = 'dataset = "d"\n[[label]]\nmodels = "a"\n[[label]]\nmodels = "b"\nsplits = "train"\n[agree]\n'
    several = load(tmp_path, text)
    assert [(label.models, label.splits) for label in several["label"]] == [(("a",), ("test",)), (("b",), ("train",))]
    assert several["agree"][0].annotators == ("a", "b")


def test_stages_left_out_are_not_in_the_chain(tmp_path: Path) -> None:
    assert load(tmp_path, 'dataset = "d"') == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('datset = "d"', "the run file has an unknown key 'datset'; did you mean 'dataset'?"),
        ("[covert]", "the run file has an unknown key 'covert'; did you mean 'convert'?"),
        (
            "[zzz]",
            "the run file has an unknown key 'zzz'; known keys: dataset, draw, confirm, convert, import, features, ",
        ),
        ('[convert]\ndataset = "d"\nshard = 8', "[convert] has an unknown key 'shard'; did you mean 'shards'?"),
        ('[[train]]\nnetwrok = "cnn1"', "[train] has an unknown key 'netwrok'; did you mean 'network'?"),
        ('dataset = "d"\n[convert]\nshards = "8"', "convert.shards must be int, got '8'"),
        ('dataset = "d"\n[convert]\nshards = 8.0', "convert.shards must be int, got 8.0"),
        ('dataset = "d"\n[convert]\nshards = true', "convert.shards must be int, got True"),
        ('dataset = "d"\n[convert]\nmax_reject_fraction = true', "convert.max_reject_fraction must be float, got True"),
        ('dataset = "d"\n[convert]\nclasses = ["a", 1]', "convert.classes must be str, got 1"),
        ('dataset = "d"\n[convert]\nvalue_range = ["0", 1]', "convert.value_range must be float, got '0'"),
        ('dataset = "d"\n[convert]\nsplits = "train"', "convert.splits must be dict, got 'train'"),
        ('dataset = "d"\n[convert]\nsplits = { a = "1" }', "convert.splits must be float, got '1'"),
        ('dataset = "d"\n[convert]\nkeys = { a = 1 }', "convert.keys must be str, got 1"),
        ('dataset = "d"\n[label]\nmodels = ["a"]\nscores = 1', "label.scores must be bool, got 1"),
        ("dataset = 3\n[convert]", "convert.dataset must be str, got 3"),
        ('train = ["cnn1"]', "[train] must be a table, got ['cnn1']"),
        ("convert = 3", "[convert] must be a table, got 3"),
        ("[[convert]]", "dataset must be lower-case letters"),
        ('dataset = "d"\n[convert]\nshards = 12', "shards must be a power of two, got 12"),
        ("[convert]", "dataset must be lower-case letters"),
        ('dataset = "d"\n[generations]\nnetwork = "a"\ntrain = {epoch = 3}', "[generations.train] has an unknown key"),
        ('dataset = "d"\n[generations]\nnetwork = "a"\ntrain = {epochs = 0}', "epochs must be at least 1, got 0"),
        ('dataset = "d"\n[generations]\nnetwork = "a"\nseeds = [0.5]', "generations.seeds must be int, got 0.5"),
        ('dataset = "d"\n[label]', "models must be 1 or more distinct names, got none"),
        ("dataset: d", "is not a TOML file"),
        (b'dataset = "\xff"', "is not a TOML file"),
    ],
)
def test_what_is_wrong_is_named_with_the_file(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(InputError) as raised:
        load(tmp_path, text)
    assert str(raised.value).startswith(f"{tmp_path}/run.toml")
    assert message in str(raised.value)


def test_a_missing_run_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=f"cannot read {tmp_path}/run.toml: no such file"):
        load_run_file(str(tmp_path / "run.toml"), "out")


def test_local_paths_are_made_absolute_and_others_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    chain = run_files.parse(
        {
            "dataset": "drawn",
            "draw": {"output": "sample/drawn.h5"},
            "confirm": {"machine": ["machine-*.csv", "gs://bucket/machine.csv"], "human": ["/data/human.csv"]},
            "convert": {"source": "svhn_h5", "input": ["sample/drawn.h5"]},
            "train": [
                {"network": "xception", "weights": "imagenet", "name": "one"},
                {"network": "xception", "weights": "own.h5", "name": "two"},
                {"network": "xception", "name": "three"},
            ],
            "import": [{"annotator": "vendor", "split": "test", "input": ["s3://bucket/x.csv", "x.csv"]}],
        },
        STAGES,
    )
    resolved = run_files.with_resolved_paths(chain)
    assert list(resolved) == list(chain) == ["draw", "confirm", "convert", "import", "train"]
    ((draw,), (confirm,), (convert,), (vendor,)) = (resolved[one] for one in ("draw", "confirm", "convert", "import"))
    assert draw.output == f"{tmp_path}/sample/drawn.h5"
    assert confirm.machine == (f"{tmp_path}/machine-*.csv", "gs://bucket/machine.csv")
    assert confirm.human == ("/data/human.csv",)
    assert (confirm.classes, convert.labels) == ("", "")
    assert convert.input == (f"{tmp_path}/sample/drawn.h5",)
    assert [one.weights for one in resolved["train"]] == ["imagenet", f"{tmp_path}/own.h5", ""]
    assert vendor.input == ("s3://bucket/x.csv", f"{tmp_path}/x.csv")
    assert resolved["train"][0].identity() == chain["train"][0].identity()
    assert run_files.with_resolved_paths(resolved) == resolved
