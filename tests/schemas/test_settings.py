"""Settings: each bad value is named with its cure before anything runs."""

import copy
import logging
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from pipelines.convert.sources import image_folder, mnist_numbers, open_images, svhn_full, svhn_h5
from schemas.errors import InputError
from schemas.settings.agree import AgreeSettings
from schemas.settings.base import Settings, facts_of, setting
from schemas.settings.confirm import ConfirmSettings
from schemas.settings.convert import ConvertSettings
from schemas.settings.draw import DrawSettings
from schemas.settings.explain import ExplainSettings
from schemas.settings.features import FeatureSettings
from schemas.settings.generations import GenerationsSettings, cut_name
from schemas.settings.import_labels import ImportSettings
from schemas.settings.label import LabelSettings
from schemas.settings.label_errors import LabelErrorSettings
from schemas.settings.queue import QueueSettings
from schemas.settings.report import ReportSettings
from schemas.settings.train import TrainSettings

GOOD: dict[type[Any], dict[str, Any]] = {
    DrawSettings: {"output": "sample.h5"},
    ConfirmSettings: {"dataset": "svhn", "machine": ("m.csv",), "human": ("h.csv",)},
    ConvertSettings: {"dataset": "svhn", "source": "svhn_mat"},
    svhn_h5.SourceSettings: {"dataset": "svhn", "source": "svhn_h5"},
    svhn_full.SourceSettings: {"dataset": "svhn", "source": "svhn_full"},
    mnist_numbers.SourceSettings: {"dataset": "svhn", "source": "mnist_numbers"},
    image_folder.SourceSettings: {"dataset": "svhn", "source": "image_folder"},
    open_images.SourceSettings: {"dataset": "svhn", "source": "open_images"},
    ImportSettings: {"dataset": "svhn", "annotator": "vendor", "split": "test", "input": ("a.csv",)},
    TrainSettings: {"dataset": "svhn", "network": "cnn2"},
    FeatureSettings: {"dataset": "svhn", "network": "vgg16"},
    LabelSettings: {"dataset": "svhn", "models": ("cnn1",)},
    AgreeSettings: {"dataset": "svhn", "annotators": ("cnn1", "cnn2")},
    ExplainSettings: {"dataset": "svhn", "models": ("cnn1",)},
    LabelErrorSettings: {"dataset": "svhn", "annotator": "folded"},
    QueueSettings: {"dataset": "svhn", "annotators": ("cnn1",)},
    ReportSettings: {"dataset": "svhn"},
    GenerationsSettings: {"dataset": "svhn", "network": "cnn2"},
}
NAMED = "lower-case letters, digits and _, beginning with a letter; got"
BAD: list[tuple[type[Any], dict[str, Any], str]] = [
    (GenerationsSettings, {"network": "cnn"}, "there is no network 'cnn'; did you mean"),
    (GenerationsSettings, {"name": "Cnn2"}, f"name must be {NAMED} 'Cnn2'"),
    (GenerationsSettings, {"generations": 0}, "generations must be at least 1, got 0"),
    (GenerationsSettings, {"cuts": (0.0, 1.0)}, "cuts must lie in [0, 1), got 1.0"),
    (GenerationsSettings, {"cuts": (-0.1,)}, "cuts must lie in [0, 1), got -0.1"),
    (GenerationsSettings, {"cuts": (0.9, 0.90)}, "cuts must be distinct, got [0.9, 0.9]"),
    (GenerationsSettings, {"cuts": ()}, "cuts must have at least 1 value(s), got []"),
    (GenerationsSettings, {"seeds": (1, 1)}, "seeds must be distinct, got 1, 1"),
    (GenerationsSettings, {"seeds": (-1, 1)}, "seeds must be 0 or more, got -1"),
    (GenerationsSettings, {"pool": 1.0}, "pool must be below 1, got 1.0"),
    (GenerationsSettings, {"pool": 0.0}, "pool must be above 0, got 0.0"),
    (GenerationsSettings, {"test": "train"}, "must be three splits, got train, validation, train"),
    (GenerationsSettings, {"teacher_train": {"epochs": 2}}, "teacher_train needs a teacher"),
    (GenerationsSettings, {"train": {"seed": 2}}, "generations.train has 'seed', which the study itself states"),
    (DrawSettings, {"train": 0}, "train must be at least 1, got 0"),
    (DrawSettings, {"test": -1}, "test must be at least 1, got -1"),
    (DrawSettings, {"validation": 0}, "validation must be at least 1, got 0"),
    (DrawSettings, {"images": 99}, "images must be at least 100, got 99"),
    (ConvertSettings, {"dataset": ""}, f"dataset must be {NAMED} ''"),
    (ConvertSettings, {"dataset": "SVHN"}, f"dataset must be {NAMED} 'SVHN'"),
    (ConvertSettings, {"dataset": "../up"}, f"dataset must be {NAMED} '../up'"),
    (ConvertSettings, {"dataset": "2svhn"}, f"dataset must be {NAMED} '2svhn'"),
    (ConvertSettings, {"dataset": "svhn\n"}, f"dataset must be {NAMED} 'svhn\\n'"),
    (ConvertSettings, {"version": "1"}, "version must be three numbers, such as 1.0.0; got '1'"),
    (ConvertSettings, {"version": "../1.0.0"}, "version must be three numbers, such as 1.0.0; got '../1.0.0'"),
    (ConvertSettings, {"version": "1.0.00"}, "version must be three numbers, such as 1.0.0; got '1.0.00'"),
    (ConvertSettings, {"shards": 12}, "shards must be a power of two, got 12"),
    (ConvertSettings, {"shards": -8}, "shards must be a power of two, got -8"),
    (
        svhn_h5.SourceSettings,
        {"value_range": (1.0, 0.0)},
        "value_range must be BLACK,WHITE with BLACK < WHITE, got [1.0, 0.0]",
    ),
    (svhn_h5.SourceSettings, {"value_range": (0.0, 0.0)}, "BLACK < WHITE, got [0.0, 0.0]"),
    (svhn_h5.SourceSettings, {"value_range": (0.0,)}, "value_range.1 must have more values, got [0.0]"),
    (svhn_h5.SourceSettings, {"value_range": (0.0, float("nan"))}, "value_range.1 must be a finite number, got nan"),
    (svhn_h5.SourceSettings, {"value_range": (0.0, float("inf"))}, "value_range.1 must be a finite number, got inf"),
    (open_images.SourceSettings, {"one_label": "first"}, "one_label must be one of best; got 'first'"),
    (open_images.SourceSettings, {"quality": 0}, "quality must be at least 1, got 0"),
    (open_images.SourceSettings, {"max_side": -1}, "max_side must be at least 0, got -1"),
    (svhn_full.SourceSettings, {"image_size": (64,)}, "image_size.1 must have more values, got [64]"),
    (
        svhn_full.SourceSettings,
        {"image_size": (64, 7)},
        "each 8 to 1024 pixels, got [64, 7]",
    ),
    (svhn_full.SourceSettings, {"margin": -0.1}, "margin must be at least 0, got -0.1"),
    (svhn_full.SourceSettings, {"margin": float("nan")}, "margin must be a finite number, got nan"),
    (mnist_numbers.SourceSettings, {"numbers": {"Train": 5}}, f"split must be {NAMED} 'Train'"),
    (mnist_numbers.SourceSettings, {"digits": {"all": "0:5"}}, "no split may be called 'all'"),
    (image_folder.SourceSettings, {"timeout": 0.0}, "timeout must be above 0, got 0"),
    (svhn_full.SourceSettings, {"max_concurrency": 0}, "max_concurrency must be at least 1, got 0"),
    (open_images.SourceSettings, {"label_set": "Confirmed"}, f"label_set must be {NAMED} 'Confirmed'"),
    (ConfirmSettings, {"one_label": "any"}, "one_label must be one of best, first; got 'any'"),
    (ConfirmSettings, {"on_conflict": "last"}, "on_conflict must be one of rejected, confirmed, majority, first, drop"),
    (ConfirmSettings, {"label_sets": "some"}, "label_sets must be one of images, all, none; got 'some'"),
    (ConfirmSettings, {"min_confidence": 1.5}, "min_confidence must be at most 1, got 1.5"),
    (ConfirmSettings, {"shards": 3}, "shards must be a power of two, got 3"),
    (ConfirmSettings, {"splits": {}}, "splits must have at least one split and its share, got none"),
    (ConvertSettings, {"classes": ("a", "b", "a")}, "classes must be distinct, got a, b, a"),
    (ConvertSettings, {"split": "Train"}, f"split must be {NAMED} 'Train'"),
    (ConvertSettings, {"splits": {"Train": 1.0}}, f"splits must be {NAMED} 'Train'"),
    (ConvertSettings, {"split": "all"}, "no split may be called 'all'"),
    (ConvertSettings, {"splits": {"all": 1.0}}, "no split may be called 'all'"),
    (svhn_h5.SourceSettings, {"keys": {"a b": "X:y"}}, f"split must be {NAMED} 'a b'"),
    (ConvertSettings, {"splits": {"a": 0.5, "b": 0.4}}, 'and add up to 1, got {"a": 0.5, "b": 0.4}'),
    (ConvertSettings, {"splits": {"a": 1.5, "b": -0.5}}, 'got {"a": 1.5, "b": -0.5}'),
    (ConvertSettings, {"splits": {"a": float("nan"), "b": 0.5}}, "splits.a must be a finite number, got nan"),
    (ConvertSettings, {"split": "a", "splits": {"a": 1.0}}, "either split (one for all images) or splits (shares)"),
    (ConvertSettings, {"max_reject_fraction": 1.1}, "max_reject_fraction must be at most 1, got 1.1"),
    (ConvertSettings, {"max_reject_fraction": -0.1}, "max_reject_fraction must be at least 0, got -0.1"),
    (ConvertSettings, {"max_reject_fraction": float("nan")}, "max_reject_fraction must be a finite number, got nan"),
    (TrainSettings, {"name": "My model"}, f"name must be {NAMED} 'My model'"),
    (TrainSettings, {"epochs": 0}, "epochs must be at least 1, got 0"),
    (TrainSettings, {"batch_size": 0}, "batch_size must be at least 1, got 0"),
    (TrainSettings, {"threads": 0}, "threads must be at least 1, got 0"),
    (TrainSettings, {"validation_fraction": 2.0}, "validation_fraction must be at most 1, got 2.0"),
    (TrainSettings, {"patience": 0}, "patience must be at least 1, got 0"),
    (TrainSettings, {"gpus": 0}, "gpus must be at least 1, got 0"),
    (TrainSettings, {"fine_tune_epochs": 0}, "fine_tune_epochs must be at least 1, got 0"),
    (TrainSettings, {"min_confidence": 1.5}, "min_confidence must be at most 1, got 1.5"),
    (TrainSettings, {"label_smoothing": 1.0}, "label_smoothing must be below 1, got 1.0"),
    (TrainSettings, {"ema_momentum": -0.1}, "ema_momentum must be at least 0, got -0.1"),
    (TrainSettings, {"fine_tune_learning_rate": 0.0}, "fine_tune_learning_rate must be above 0, got 0.0"),
    (TrainSettings, {"image_size": -1}, "image_size must be at least 0, got -1"),
    (TrainSettings, {"width": float("nan")}, "width must be a finite number, got nan"),
    (TrainSettings, {"warm_up": -1.0}, "warm_up must be at least 0, got -1.0"),
    (TrainSettings, {"weight_decay": float("inf")}, "weight_decay must be a finite number, got inf"),
    (TrainSettings, {"dropout": 1.0}, "dropout must be below 1, got 1.0"),
    (TrainSettings, {"dropout": -0.5}, "dropout must lie in [0, 1), got -0.5"),
    (TrainSettings, {"folds": 1}, "folds must be 0 (none) or at least 2, got 1"),
    (TrainSettings, {"folds": 2, "sweep": ({"seed": 1},)}, "give either folds or a sweep, not both"),
    (TrainSettings, {"schedule": "step"}, "schedule must be one of constant, cosine; got 'step'"),
    (TrainSettings, {"class_weights": "even"}, "class_weights must be one of balanced; got 'even'"),
    (TrainSettings, {"precision": "float16"}, "precision must be one of auto, float32, mixed_float16, mixed_bfloat16"),
    (TrainSettings, {"evaluate": ("test", "test")}, "evaluate must be distinct, got test, test"),
    (TrainSettings, {"augment": {"tilt": 0.1}}, "augment must be one of flip, shift, rotation, crop, zoom"),
    (TrainSettings, {"augment": {"shift": 1.1}}, "augment shift (largest shift, as a share of its sides) must lie in"),
    (TrainSettings, {"augment": {"rotation": 181}}, "(largest turn, in degrees) must lie in [0, 180], got 181"),
    (TrainSettings, {"augment": {"crop": 1.0}}, "must lie in [0, 0.9], got 1"),
    (TrainSettings, {"augment_validation": True}, "augment_validation needs augment: state what is to be changed"),
    (TrainSettings, {"learning_rate": 0.0}, "learning_rate must be above 0, got 0.0"),
    (TrainSettings, {"learning_rate": float("nan")}, "learning_rate must be a finite number, got nan"),
    (TrainSettings, {"learning_rate": float("inf")}, "learning_rate must be a finite number, got inf"),
    (LabelSettings, {"models": ()}, "there is nothing to label with: give models, or a model_file"),
    (LabelSettings, {"models": ("a", "a")}, "models must be distinct, got a, a"),
    (LabelSettings, {"models": ("A",)}, f"models must be {NAMED} 'A'"),
    (LabelSettings, {"splits": ()}, "splits must have at least 1 value(s), got []"),
    (LabelSettings, {"splits": ("a/b",)}, f"splits must be {NAMED} 'a/b'"),
    (LabelSettings, {"batch_size": 0}, "batch_size must be at least 1, got 0"),
    (LabelSettings, {"max_reject_fraction": 7.0}, "max_reject_fraction must be at most 1, got 7.0"),
    (AgreeSettings, {"annotators": ("cnn1",)}, "annotators must have at least 2 value(s), got ['cnn1']"),
    (AgreeSettings, {"annotators": ("cnn1", "cnn1")}, "annotators must be distinct, got cnn1, cnn1"),
    (AgreeSettings, {"annotators": ("cnn1", "Ann")}, f"annotators must be {NAMED} 'Ann'"),
    (AgreeSettings, {"splits": ("test", "test")}, "splits must be distinct, got test, test"),
    (ImportSettings, {"annotator": "a-b"}, f"annotator must be {NAMED} 'a-b'"),
    (ImportSettings, {"split": ""}, f"split must be {NAMED} ''"),
    (ImportSettings, {"shards": 3}, "shards must be a power of two, got 3"),
    (ImportSettings, {"task": "regression"}, "task must be one of multiclass, multilabel, sequence; got 'regression'"),
    (ImportSettings, {"classes": ("a", "a")}, "classes must be distinct, got a, a"),
    (ImportSettings, {"columns": {"id": "x"}}, "columns must be one of image_id, label, confidence; got 'id'"),
    (ImportSettings, {"columns": {"image_id": "label"}}, "columns must be distinct, got label, label, confidence"),
    (ReportSettings, {"dataset": "a-b"}, f"dataset must be {NAMED} 'a-b'"),
    (ReportSettings, {"models": ("a.b",)}, f"models must be {NAMED} 'a.b'"),
]


@pytest.mark.parametrize("kind", GOOD)
def test_good_settings_are_taken(kind: type[Any]) -> None:
    made = kind(**GOOD[kind])
    assert {key: getattr(made, key) for key in GOOD[kind]} == GOOD[kind]


@pytest.mark.parametrize(("kind", "values", "message"), BAD)
def test_a_bad_value_is_named(kind: type[Any], values: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as raised:
        kind(**{**GOOD[kind], **values})
    assert message in str(raised.value)
    assert not isinstance(raised.value, ValidationError)


@pytest.mark.parametrize("kind", GOOD)
def test_every_setting_has_help_under_a_heading(kind: type[Any]) -> None:
    for key, field in kind.model_fields.items():
        assert len(field.description) >= 7, key
        assert facts_of(field)["group"] != "Settings", key


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"batch_size": 0}, "label.batch_size must be at least 1, got 0"),
        ({"batch_size": "8"}, "label.batch_size must be a whole number, got '8'"),
        ({"batch_size": True}, "label.batch_size must be a whole number, got True"),
        ({"scores": 1}, "label.scores must be true or false, got 1"),
        ({"models": {"a": 1}}, "label.models must be a list, got {'a': 1}"),
        ({"models": ["a", 3]}, "label.models.1 must be text, got 3"),
        ({"models": ["B"]}, "label.models must be lower-case letters, digits and _, beginning with a letter; got 'B'"),
        ({"activation": "relu"}, "label.activation must be one of softmax, sigmoid; got 'relu'"),
        ({"batchsize": 8}, "unknown key label.batchsize; did you mean label.batch_size?"),
    ],
)
def test_the_key_of_a_run_file_is_named(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as raised:
        LabelSettings.from_table({"dataset": "d", "models": ["a"], **values}, "label")
    assert str(raised.value) == message


def test_everything_that_is_missing_is_named() -> None:
    with pytest.raises(InputError, match=r"^needs convert\.dataset$"):
        ConvertSettings.from_table({"source": "svhn_mat"}, "convert")
    with pytest.raises(InputError, match=r"^needs network, dataset$|^needs dataset, network$"):
        TrainSettings()  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("kind", "old", "new", "value"),
    [
        (LabelSettings, "one_model", "share_model", True),
        (FeatureSettings, "one_model", "share_model", True),
        (ExplainSettings, "one_model", "share_model", True),
        (TrainSettings, "averaging", "ema_momentum", 0.5),
        (TrainSettings, "unknown", "missing_labels", "absent"),
        (TrainSettings, "truth", "reference", "expert"),
        (AgreeSettings, "truth", "reference", "human"),
        (AgreeSettings, "tuned_on", "threshold_split", "other"),
        (QueueSettings, "truth", "reference", "human"),
        (open_images.SourceSettings, "in_flight", "max_concurrency", 3),
        (svhn_full.SourceSettings, "attempts", "max_attempts", 3),
    ],
)
def test_an_old_name_is_read_with_a_warning(
    kind: type[Any], old: str, new: str, value: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "concord"):
        made = kind.from_table({**GOOD[kind], old: value}, "stage")
    assert getattr(made, new) == value
    [warning] = caplog.messages
    assert warning.startswith(f"stage.{old} is now called stage.{new}; ")
    with pytest.raises(InputError, match=f"stage.{old} is the old name of stage.{new}: state only stage.{new}"):
        kind.from_table({**GOOD[kind], old: value, new: value}, "stage")


def test_a_model_is_named_after_its_network() -> None:
    assert TrainSettings(dataset="svhn", network="cnn2").name == "cnn2"
    assert TrainSettings(dataset="svhn", network="cnn2", name="second").name == "second"


def test_identity_excludes_only_what_cannot_change_the_result() -> None:
    """Where files lie is no part: a root that is moved whole stays what it is."""
    fetching = {"max_concurrency", "max_attempts", "timeout"}
    machines = {"accelerator", "max_reject_fraction", "min_ram"}
    excluded: dict[type[Any], set[str]] = {
        ConvertSettings: {"input", "max_reject_fraction"},
        open_images.SourceSettings: {"input", "images_from", "max_reject_fraction", "signed", *fetching},
        image_folder.SourceSettings: {"input", "labels", "max_reject_fraction", "signed", *fetching},
        svhn_full.SourceSettings: {"input", "max_reject_fraction", *fetching},
        ConfirmSettings: {"machine", "human", "classes", "images", "max_reject_fraction"},
        DrawSettings: {"output"},
        ImportSettings: {"input", "max_reject_fraction"},
        TrainSettings: {"weights", *machines},
        FeatureSettings: {"weights", "share_model", *machines},
        LabelSettings: {"model_file", "share_model", *machines},
        AgreeSettings: set(),
    }
    for kind, names in excluded.items():
        identity = kind(**GOOD[kind]).identity()
        assert kind.model_fields.keys() - identity.keys() == names, kind
        assert list(identity) == sorted(identity)
    assert ConvertSettings(**GOOD[ConvertSettings], classes=("a", "b")).identity()["classes"] == ("a", "b")


def test_a_study_is_the_same_on_other_machines() -> None:
    study = GenerationsSettings(dataset="svhn", network="cnn2", teacher="cnn1", train={"epochs": 3})
    moved = study.with_hints({"min_ram": "9GB"})
    assert (moved.train, moved.teacher_train) == ({"epochs": 3, "min_ram": "9GB"}, {"min_ram": "9GB"})
    assert moved.identity() == study.identity() != study.changed(train={"epochs": 4}).identity()


def test_a_source_has_settings_of_its_own() -> None:
    made = ConvertSettings(dataset="d", source="svhn_h5", **{"image_shape": (32, 32)})  # type: ignore[arg-type]
    assert made == svhn_h5.SourceSettings(dataset="d", source="svhn_h5", image_shape=(32, 32))
    assert type(made) is svhn_h5.SourceSettings
    assert type(ConvertSettings.from_table({"source": "open_images", "dataset": "d"})) is open_images.SourceSettings
    assert type(ConvertSettings(dataset="d", source="svhn_mat")) is ConvertSettings
    with pytest.raises(InputError, match=r"unknown key convert\.max_side"):
        ConvertSettings.from_table({"source": "svhn_h5", "dataset": "d", "max_side": 3}, "convert")
    with pytest.raises(InputError, match="there is no source 'svhn_h'; did you mean 'svhn_h5'"):
        ConvertSettings(dataset="d", source="svhn_h")
    wrongs: list[Callable[[], Settings]] = [
        lambda: open_images.SourceSettings(dataset="d", source="svhn_h5"),
        lambda: ConvertSettings.model_validate({"dataset": "d", "source": "svhn_h5"}),
        lambda: made.changed(source="svhn_mat"),
    ]
    for wrong in wrongs:
        with pytest.raises(InputError, match="has settings of its own: "):
            wrong()


def test_settings_are_frozen_and_changed_ones_are_checked() -> None:
    made = LabelSettings(dataset="d", models=("a",))
    with pytest.raises(ValidationError, match="frozen"):
        made.batch_size = 3
    with pytest.raises(InputError, match="batch_size must be at least 1, got 0"):
        made.changed(batch_size=0)
    assert made.changed(batch_size=3) == LabelSettings(dataset="d", models=("a",), batch_size=3)


def test_settings_survive_pickling() -> None:
    """Beam hands them to workers, which are other processes."""
    made = ConvertSettings(dataset="d", source="svhn_h5", splits={"train": 1.0})
    for other in (pickle.loads(pickle.dumps(made)), copy.deepcopy(made)):
        assert other == made and type(other) is type(made)
    program = "import pickle, sys; print(pickle.load(sys.stdin.buffer).splits)"
    home = Path(__file__).parents[2]
    ran = subprocess.run(
        [sys.executable, "-c", program], input=pickle.dumps(made), capture_output=True, check=True, cwd=home
    )
    assert ran.stdout.decode().strip() == "{'train': 1.0}"


def test_paths_are_named_and_made_absolute() -> None:
    made = ConvertSettings(dataset="d", source="image_folder", input=("a", "gs://b/c"))
    assert list(made.paths()) == [("input", "a"), ("input", "gs://b/c")]
    assert made.with_resolved_paths().input == (os.path.abspath("a"), "gs://b/c")
    assert list(TrainSettings(dataset="d", network="vgg16", weights="imagenet").paths()) == []


def test_choices_that_are_plugins_are_checked() -> None:
    class Named(Settings):
        network: str = setting("architecture", plugins="models.networks", default="")

    assert Named().network == ""
    with pytest.raises(InputError, match=r"there is no network 'cnn7'; did you mean 'cnn[12]'"):
        Named(network="cnn7")


def test_splits_that_add_up_only_nearly_are_taken() -> None:
    tenths = {f"split{number}": 0.1 for number in range(10)}
    assert sum(tenths.values()) != 1
    assert ConvertSettings(dataset="svhn", source="svhn_mat", splits=tenths).splits == tenths


def test_cuts_have_names_of_their_own() -> None:
    cuts = (0.0, 0.09, 0.9, 0.99, 0.995, 0.000001)
    assert [cut_name(cut) for cut in cuts] == ["c00", "c09", "c90", "c99", "c995", "c000001"]
