"""Run files: what they mean, and what is wrong with a bad one, with the file's name."""

from pathlib import Path

import pytest

from pipelines.chain import load_run_file
from pipelines.convert.sources import svhn_h5
from pipelines.stages import STAGES
from schemas import run_files
from schemas.errors import InputError, StorageError
from schemas.settings.label_errors import LabelErrorSettings
from schemas.settings.queue import QueueSettings
from schemas.stage import Chain

CONVERT = 'dataset = "d"\n[convert]\nsource = "svhn_h5"\n'
GENERATIONS = 'dataset = "d"\n[generations]\nnetwork = "cnn2"\n'
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
reference = "human"

[report]
"""


def load(tmp_path: Path, text: str | bytes, root: str = "out") -> Chain:
    path = tmp_path / "run.toml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return load_run_file(str(path), root)


def test_stages_inherit_what_they_do_not_state(tmp_path: Path) -> None:
    chain = load(tmp_path, WHOLE)
    assert list(chain) == ["draw", "convert", "train", "label", "agree", "report"]
    [convert], [label], [agree], [report] = (chain[name] for name in ("convert", "label", "agree", "report"))
    assert convert.dataset == "svhn"
    assert [(one.name, one.network, one.dataset) for one in chain["train"]] == [
        ("cnn1", "cnn1", "svhn"),
        ("second", "cnn2", "other"),
    ]
    assert label.models == ("cnn1", "second")
    assert agree.annotators == ("cnn1", "second")
    assert (agree.reference, agree.dataset) == ("human", "svhn")
    assert report.models == ("cnn1", "second")


def test_values_become_what_settings_need(tmp_path: Path) -> None:
    chain = load(tmp_path, WHOLE)
    [convert], [_, second], [label] = chain["convert"], chain["train"], chain["label"]
    assert convert.input == ("out/sample.h5",)  # one text stands for a list of one
    assert convert.splits == {"train": 0.5, "test": 0.5}
    assert (convert.max_reject_fraction, type(convert.max_reject_fraction)) == (0.0, float)
    assert (second.learning_rate, type(second.learning_rate)) == (1.0, float)
    assert label.scores is True


@pytest.mark.parametrize(("root", "expected"), [("out/", "out/a.mat"), ("s3://bucket/x", "s3://bucket/x/a.mat")])
def test_root_stands_for_the_root_folder(tmp_path: Path, root: str, expected: str) -> None:
    text = f'{CONVERT}input = ["{{root}}/a.mat", "b.mat"]\nkeys = {{ train = "{{root}}:y" }}\n'
    [convert] = load(tmp_path, text, root)["convert"]
    assert type(convert) is svhn_h5.SourceSettings
    assert convert.input == (expected, "b.mat")
    assert convert.keys == {"train": f"{root.rstrip('/')}:y"}


def test_what_a_stage_states_itself_wins(tmp_path: Path) -> None:
    text = 'dataset = "d"\n[[train]]\nnetwork = "cnn1"\n[label]\nmodels = ["a", "b"]\n[agree]\n[report]\nmodels = []\n'
    chain = load(tmp_path, text)
    [label], [agree], [report] = (chain[name] for name in ("label", "agree", "report"))
    assert (label.models, agree.annotators, report.models) == (("a", "b"), ("a", "b"), ())


def test_a_stage_may_be_stated_several_times(tmp_path: Path) -> None:
    text = 'dataset = "d"\n[[label]]\nmodels = ["a"]\n[[label]]\nmodels = ["b"]\nbatch_size = 8\n[agree]\n'
    chain = load(tmp_path, text)
    assert [(one.models, one.batch_size) for one in chain["label"]] == [(("a",), 256), (("b",), 8)]
    assert chain["agree"][0].annotators == ("a", "b")


def test_an_old_key_is_read_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("WARNING", "concord"):
        [agree] = load(tmp_path, 'dataset = "d"\n[agree]\nannotators = ["a", "b"]\ntruth = "human"\n')["agree"]
    assert agree.reference == "human"
    assert caplog.messages == ["agree.truth is now called agree.reference; the next version will not read the old name"]


def test_a_queue_ranks_by_the_machines_that_are_compared(tmp_path: Path) -> None:
    text = 'dataset = "d"\n[label]\nmodels = ["a", "b"]\n[label_errors]\nannotator = "a"\n[queue]\nlimit = 7\n'
    chain = load(tmp_path, text)
    assert chain["queue"] == (QueueSettings(dataset="d", annotators=("a", "b"), limit=7),)
    assert chain["label_errors"] == (LabelErrorSettings(dataset="d", annotator="a"),)


def test_an_empty_file_has_no_stage(tmp_path: Path) -> None:
    assert load(tmp_path, "") == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('datset = "d"', "unknown key datset; did you mean dataset?"),
        ("[covert]", "unknown key covert; did you mean convert?"),
        ("[zzz]", "unknown key zzz; known: dataset, draw, confirm, convert, import, "),
        (f"{CONVERT}shard = 8", "unknown key convert.shard; did you mean convert.shards?"),
        ('[[train]]\nnetwrok = "cnn1"', "unknown key train.netwrok; did you mean train.network?"),
        (f'{CONVERT}shards = "8"', "convert.shards must be a whole number, got '8'"),
        (f"{CONVERT}shards = 8.0", "convert.shards must be a whole number, got 8.0"),
        (f"{CONVERT}shards = true", "convert.shards must be a whole number, got True"),
        (f"{CONVERT}max_reject_fraction = true", "convert.max_reject_fraction must be a number, got True"),
        (f'{CONVERT}classes = ["a", 1]', "convert.classes.1 must be text, got 1"),
        (f'{CONVERT}value_range = ["0", 1]', "convert.value_range.0 must be a number, got '0'"),
        (f'{CONVERT}splits = "train"', "convert.splits must be a table, got 'train'"),
        (f'{CONVERT}splits = {{ a = "1" }}', "convert.splits.a must be a number, got '1'"),
        (f"{CONVERT}keys = {{ a = 1 }}", "convert.keys.a must be text, got 1"),
        (f"{CONVERT}max_side = 1", "unknown key convert.max_side; "),
        ('dataset = "d"\n[convert]\nsource = "svhn"', "there is no source 'svhn'"),
        ('dataset = "d"\n[label]\nmodels = ["a"]\nscores = 1', "label.scores must be true or false, got 1"),
        ("dataset = 3\n[convert]", "convert.dataset must be text, got 3"),
        ('train = ["cnn1"]', "[train] must be a table, got ['cnn1']"),
        ("convert = 3", "[convert] must be a table, got 3"),
        (f"{CONVERT}shards = 12", "convert.shards must be a power of two, got 12"),
        ("[convert]", "needs convert.source, convert.dataset"),
        (f"{GENERATIONS}train = {{epoch = 3}}", "unknown key generations.train.epoch; did you mean "),
        (f"{GENERATIONS}train = {{epochs = 0}}", "generations.train.epochs must be at least 1, got 0"),
        (f"{GENERATIONS}seeds = [0.5]", "generations.seeds.0 must be a whole number, got 0.5"),
        ('dataset = "d"\n[label]', "there is nothing to label with: give models, or a model_file"),
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
    [draw], [confirm], [convert], [labels] = (resolved[name] for name in ("draw", "confirm", "convert", "import"))
    assert draw.output == f"{tmp_path}/sample/drawn.h5"
    assert confirm.machine == (f"{tmp_path}/machine-*.csv", "gs://bucket/machine.csv")
    assert confirm.human == ("/data/human.csv",)
    assert confirm.classes == ""
    assert convert.input == (f"{tmp_path}/sample/drawn.h5",)
    assert [one.weights for one in resolved["train"]] == ["imagenet", f"{tmp_path}/own.h5", ""]
    assert labels.input == ("s3://bucket/x.csv", f"{tmp_path}/x.csv")
    assert resolved["train"][0].identity() == chain["train"][0].identity()
    assert run_files.with_resolved_paths(resolved) == resolved
