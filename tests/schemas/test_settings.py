"""Settings: each bad value is named with its cure before anything runs."""

import dataclasses
from typing import Any

import pytest

from schemas.errors import InputError
from schemas.generation_settings import GenerationsSettings, cut_name
from schemas.settings import (
    AgreeSettings,
    ConfirmSettings,
    ConvertSettings,
    DrawSettings,
    ImportSettings,
    LabelSettings,
    ReportSettings,
)
from schemas.train_settings import TrainSettings

KINDS = {"text", "list", "path", "paths", "fractions", "counts", "keys", "columns", "shape", "amounts", "tables"}
GOOD: dict[type[Any], dict[str, Any]] = {
    DrawSettings: {"output": "sample.h5"},
    ConfirmSettings: {"dataset": "svhn"},
    ConvertSettings: {"dataset": "svhn"},
    ImportSettings: {"dataset": "svhn", "annotator": "vendor", "split": "test"},
    TrainSettings: {"dataset": "svhn", "network": "cnn2"},
    LabelSettings: {"dataset": "svhn", "models": ("cnn1",)},
    AgreeSettings: {"dataset": "svhn", "annotators": ("cnn1", "cnn2")},
    ReportSettings: {"dataset": "svhn"},
    GenerationsSettings: {"dataset": "svhn", "network": "cnn2"},
}
NAMED = "lower-case letters, digits and _, beginning with a letter; got"
BAD: list[tuple[type[Any], dict[str, Any], str]] = [
    (GenerationsSettings, {"network": ""}, "generations needs a network: say which one is taught"),
    (GenerationsSettings, {"name": "Cnn2"}, f"name must be {NAMED} 'Cnn2'"),
    (GenerationsSettings, {"generations": 0}, "generations must be at least 1, got 0"),
    (GenerationsSettings, {"cuts": (0.0, 1.0)}, "cuts must lie in [0, 1), got 1.0"),
    (GenerationsSettings, {"cuts": (-0.1,)}, "cuts must lie in [0, 1), got -0.1"),
    (GenerationsSettings, {"cuts": (0.9, 0.90)}, "cuts must be one or more distinct numbers, got [0.9, 0.9]"),
    (GenerationsSettings, {"cuts": ()}, "cuts must be one or more distinct numbers, got []"),
    (GenerationsSettings, {"seeds": (1, 1)}, "seeds must be one or more distinct numbers, got [1, 1]"),
    (GenerationsSettings, {"seeds": (-1, 1)}, "seeds must be 0 or more, got -1"),
    (GenerationsSettings, {"pool": 1.0}, "pool must lie between 0 and 1, got 1.0"),
    (GenerationsSettings, {"pool": 0.0}, "pool must lie between 0 and 1, got 0.0"),
    (GenerationsSettings, {"test": "train"}, "must be three splits, got train, validation, train"),
    (GenerationsSettings, {"teacher_train": {"epochs": 2}}, "teacher_train needs a teacher"),
    (GenerationsSettings, {"train": {"seed": 2}}, "generations.train has 'seed', which the study itself says"),
    (DrawSettings, {"train": 0}, "train must be at least 1 crop, got 0"),
    (DrawSettings, {"test": -1}, "test must be at least 1 crop, got -1"),
    (DrawSettings, {"validation": 0}, "validation must be at least 1 crop, got 0"),
    (DrawSettings, {"images": 99}, "images must be at least 100 pictures, got 99"),
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
        ConvertSettings,
        {"value_range": (1.0, 0.0)},
        "value_range must be BLACK,WHITE with BLACK < WHITE, got [1.0, 0.0]",
    ),
    (ConvertSettings, {"value_range": (0.0, 0.0)}, "BLACK < WHITE, got [0.0, 0.0]"),
    (ConvertSettings, {"value_range": (0.0,)}, "BLACK < WHITE, got [0.0]"),
    (ConvertSettings, {"value_range": (0.0, float("nan"))}, "BLACK < WHITE, got [0.0, nan]"),
    (ConvertSettings, {"value_range": (0.0, float("inf"))}, "BLACK < WHITE, got [0.0, inf]"),
    (ConvertSettings, {"one_label": "first"}, "one_label must be one of best; got 'first'"),
    (ConvertSettings, {"quality": 0}, "quality must lie in [1, 100]"),
    (ConvertSettings, {"max_side": -1}, "max_side be 0 or more, got 95 and -1"),
    (ConvertSettings, {"image_size": (64,)}, "image_size must be HEIGHT,WIDTH, each 8 to 1024 pixels, got [64]"),
    (ConvertSettings, {"image_size": (64, 7)}, "image_size must be HEIGHT,WIDTH, each 8 to 1024 pixels, got [64, 7]"),
    (ConvertSettings, {"margin": -0.1}, "margin must lie in [0, 10], got -0.1"),
    (ConvertSettings, {"margin": float("nan")}, "margin must lie in [0, 10], got nan"),
    (ConvertSettings, {"numbers": {"Train": 5}}, f"split must be {NAMED} 'Train'"),
    (ConvertSettings, {"digits": {"all": "0:5"}}, "no split may be called 'all'"),
    (ConvertSettings, {"timeout": 0.0}, "timeout must be a number of seconds above 0, got 0"),
    (ConvertSettings, {"in_flight": 0}, "in_flight must be at least 1, got 0"),
    (ConvertSettings, {"label_set": "Confirmed"}, f"label_set must be {NAMED} 'Confirmed'"),
    (ConfirmSettings, {"one_label": "any"}, "one_label must be one of best, first; got 'any'"),
    (ConfirmSettings, {"on_conflict": "last"}, "on_conflict must be one of rejected, confirmed, majority, first, drop"),
    (ConfirmSettings, {"label_sets": "some"}, "label_sets must be one of images, all, none; got 'some'"),
    (ConfirmSettings, {"min_confidence": 1.5}, "min_confidence must lie in [0, 1], got 1.5"),
    (ConfirmSettings, {"shards": 3}, "shards must be a power of two, got 3"),
    (ConfirmSettings, {"splits": {}}, "the shares of splits must be 0 or more and add up to 1, got {}"),
    (ConvertSettings, {"classes": ("a", "b", "a")}, "classes must be distinct names, got a, b, a"),
    (ConvertSettings, {"split": "Train"}, f"split must be {NAMED} 'Train'"),
    (ConvertSettings, {"splits": {"Train": 1.0}}, f"splits must be {NAMED} 'Train'"),
    (ConvertSettings, {"split": "all"}, "no split may be called 'all'"),
    (ConvertSettings, {"splits": {"all": 1.0}}, "no split may be called 'all'"),
    (ConvertSettings, {"keys": {"a b": "X:y"}}, f"split must be {NAMED} 'a b'"),
    (ConvertSettings, {"splits": {"a": 0.5, "b": 0.4}}, 'and add up to 1, got {"a": 0.5, "b": 0.4}'),
    (ConvertSettings, {"splits": {"a": 1.5, "b": -0.5}}, 'got {"a": 1.5, "b": -0.5}'),
    (ConvertSettings, {"splits": {"a": float("nan"), "b": 0.5}}, 'got {"a": NaN, "b": 0.5}'),
    (ConvertSettings, {"split": "a", "splits": {"a": 1.0}}, "either split (one for all images) or splits (shares)"),
    (ConvertSettings, {"max_reject_fraction": 1.1}, "max_reject_fraction must lie in [0, 1], got 1.1"),
    (ConvertSettings, {"max_reject_fraction": -0.1}, "max_reject_fraction must lie in [0, 1], got -0.1"),
    (ConvertSettings, {"max_reject_fraction": float("nan")}, "max_reject_fraction must lie in [0, 1], got nan"),
    (TrainSettings, {"name": "My model"}, f"name must be {NAMED} 'My model'"),
    (TrainSettings, {"epochs": 0}, "epochs must be at least 1, got 0"),
    (TrainSettings, {"batch_size": 0}, "batch_size must be at least 1, got 0"),
    (TrainSettings, {"threads": 0}, "threads must be at least 1, got 0"),
    (TrainSettings, {"validation_fraction": 2.0}, "validation_fraction must lie in [0, 1], got 2.0"),
    (TrainSettings, {"patience": 0}, "patience must be at least 1, got 0"),
    (TrainSettings, {"gpus": 0}, "gpus must be at least 1, got 0"),
    (TrainSettings, {"fine_tune_epochs": 0}, "fine_tune_epochs must be at least 1, got 0"),
    (TrainSettings, {"min_confidence": 1.5}, "min_confidence must lie in [0, 1], got 1.5"),
    (TrainSettings, {"label_smoothing": 1.0}, "label_smoothing must lie in [0, 1), got 1.0"),
    (TrainSettings, {"averaging": -0.1}, "averaging must lie in [0, 1), got -0.1"),
    (TrainSettings, {"fine_tune_learning_rate": 0.0}, "fine_tune_learning_rate must be positive, got 0.0"),
    (TrainSettings, {"image_size": -1}, "image_size must be 0 or more, got -1"),
    (TrainSettings, {"width": float("nan")}, "width must be 0 or more, got nan"),
    (TrainSettings, {"warm_up": -1.0}, "warm_up must be 0 or more, got -1.0"),
    (TrainSettings, {"weight_decay": float("inf")}, "weight_decay must be 0 or more, got inf"),
    (TrainSettings, {"dropout": 1.0}, "dropout must lie in [0, 1), got 1.0"),
    (TrainSettings, {"folds": 1}, "folds must be 0 (none) or at least 2, got 1"),
    (TrainSettings, {"folds": 2, "sweep": ({"seed": 1},)}, "give either folds or a sweep, not both"),
    (TrainSettings, {"schedule": "step"}, "schedule must be one of constant, cosine; got 'step'"),
    (TrainSettings, {"class_weights": "even"}, "class_weights must be one of balanced; got 'even'"),
    (TrainSettings, {"precision": "float16"}, "precision must be one of auto, float32, mixed_float16, mixed_bfloat16"),
    (TrainSettings, {"evaluate": ("test", "test")}, "evaluate must be 0 or more distinct names, got test, test"),
    (TrainSettings, {"augment": {"tilt": 0.1}}, "augment must be one of flip, shift, rotation, crop, zoom"),
    (TrainSettings, {"augment": {"shift": 1.1}}, "augment shift (largest shift, as a share of its sides) must lie in"),
    (TrainSettings, {"augment": {"rotation": 181}}, "(largest turn, in degrees) must lie in [0, 180], got 181"),
    (TrainSettings, {"augment": {"crop": 1.0}}, "must lie in [0, 0.9], got 1.0"),
    (TrainSettings, {"augment_validation": True}, "augment_validation needs augment: say what is to be changed"),
    (TrainSettings, {"learning_rate": 0.0}, "learning_rate must be positive, got 0.0"),
    (TrainSettings, {"learning_rate": float("nan")}, "learning_rate must be positive, got nan"),
    (TrainSettings, {"learning_rate": float("inf")}, "learning_rate must be positive, got inf"),
    (LabelSettings, {"models": ()}, "models must be 1 or more distinct names, got none"),
    (LabelSettings, {"models": ("a", "a")}, "models must be 1 or more distinct names, got a, a"),
    (LabelSettings, {"models": ("A",)}, f"models must be {NAMED} 'A'"),
    (LabelSettings, {"splits": ()}, "splits must be 1 or more distinct names, got none"),
    (LabelSettings, {"splits": ("a/b",)}, f"splits must be {NAMED} 'a/b'"),
    (LabelSettings, {"batch_size": 0}, "batch_size must be at least 1, got 0"),
    (LabelSettings, {"max_reject_fraction": 7.0}, "max_reject_fraction must lie in [0, 1], got 7.0"),
    (AgreeSettings, {"annotators": ("cnn1",)}, "annotators must be 2 or more distinct names, got cnn1"),
    (AgreeSettings, {"annotators": ("cnn1", "cnn1")}, "annotators must be 2 or more distinct names, got cnn1, cnn1"),
    (AgreeSettings, {"annotators": ("cnn1", "Ann")}, f"annotators must be {NAMED} 'Ann'"),
    (AgreeSettings, {"splits": ("test", "test")}, "splits must be 1 or more distinct names, got test, test"),
    (ImportSettings, {"annotator": "a-b"}, f"annotator must be {NAMED} 'a-b'"),
    (ImportSettings, {"split": ""}, f"split must be {NAMED} ''"),
    (ImportSettings, {"shards": 3}, "shards must be a power of two, got 3"),
    (ImportSettings, {"task": "regression"}, "task must be one of multiclass, multilabel, sequence; got 'regression'"),
    (ImportSettings, {"classes": ("a", "a")}, "classes must be 0 or more distinct names, got a, a"),
    (ImportSettings, {"columns": {"id": "x"}}, "columns must be one of image_id, label, confidence; got 'id'"),
    (ImportSettings, {"columns": {"image_id": "label"}}, "columns must be 0 or more distinct names, got label, label"),
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


@pytest.mark.parametrize("kind", GOOD)
def test_every_setting_has_help(kind: type[Any]) -> None:
    for entry in dataclasses.fields(kind):
        assert len(entry.metadata["help"]) >= 7, entry.name
        assert entry.metadata["flag"] in KINDS, entry.name


def test_a_model_is_named_after_its_network() -> None:
    assert TrainSettings(dataset="svhn", network="cnn2").name == "cnn2"
    assert TrainSettings(dataset="svhn", network="cnn2", name="second").name == "second"


def test_identity_leaves_out_only_what_cannot_change_the_result() -> None:
    """Where files lie is no part: a root that is moved whole stays what it is."""
    left_out = {
        ConvertSettings: {
            *("input", "labels", "images_from", "max_reject_fraction"),
            *("in_flight", "attempts", "timeout", "signed"),
        },
        ConfirmSettings: {"machine", "human", "classes", "images", "max_reject_fraction"},
        DrawSettings: {"output"},
        ImportSettings: {"input", "max_reject_fraction"},
        TrainSettings: {"weights", "accelerator", "max_reject_fraction", "min_ram"},
        LabelSettings: {"accelerator", "max_reject_fraction", "min_ram", "model_file", "one_model"},
        AgreeSettings: set(),
    }
    for kind, names in left_out.items():
        identity = kind(**GOOD[kind]).identity()
        assert {entry.name for entry in dataclasses.fields(kind)} - identity.keys() == names, kind
    assert ConvertSettings(dataset="svhn", classes=("a", "b")).identity()["classes"] == ("a", "b")


def test_splits_that_add_up_only_nearly_are_taken() -> None:
    tenths = {f"split{number}": 0.1 for number in range(10)}
    assert sum(tenths.values()) != 1
    assert ConvertSettings(dataset="svhn", splits=tenths).splits == tenths


def test_cuts_have_names_of_their_own() -> None:
    cuts = (0.0, 0.09, 0.9, 0.99, 0.995, 0.000001)
    assert [cut_name(cut) for cut in cuts] == ["c00", "c09", "c90", "c99", "c995", "c000001"]
