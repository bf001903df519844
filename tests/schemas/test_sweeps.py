"""Sweeps: every combination of lists, draws from ranges, and what is wrong with a table."""

import itertools
import math
from typing import Any

import pytest

from pipelines.stages import STAGES
from schemas import run_files, sweeps
from schemas.errors import InputError
from schemas.settings.train import TrainSettings


def members(*tables: dict[str, Any], **settings: Any) -> list[TrainSettings]:
    return sweeps.members(TrainSettings(**{"dataset": "d", "network": "cnn2", "sweep": tables, **settings}))


def test_lists_give_every_combination_in_order() -> None:
    found = members({"learning_rate": [0.1, 0.01], "network": ["cnn1", "cnn2", "ann1"], "epochs": 3})
    assert [(one.learning_rate, one.network, one.epochs) for one in found] == [
        (rate, network, 3) for rate, network in itertools.product([0.1, 0.01], ["cnn1", "cnn2", "ann1"])
    ]
    assert {(one.name, one.dataset, one.sweep) for one in found} == {("cnn2", "d", ())}


def test_what_is_not_swept_stays_as_set() -> None:
    found = members({"seed": [1, 2]}, augment={"shift": 0.1}, patience=3, evaluate=("test",), weights="x.h5")
    assert [(one.augment, one.patience, one.evaluate, one.weights) for one in found] == [
        ({"shift": 0.1}, 3, ("test",), "x.h5")
    ] * 2


def test_tables_follow_each_other() -> None:
    found = members({"seed": [1, 2]}, {"network": ["cnn1"], "seed": [3]}, {"dropout": 0.25})
    assert [(one.network, one.seed, one.dropout) for one in found] == [
        *(("cnn2", 1, -1), ("cnn2", 2, -1), ("cnn1", 3, -1), ("cnn2", 1, 0.25)),
    ]


def test_whole_tables_of_changes_can_be_tried() -> None:
    found = members({"augment": [{"shift": 0.1}, {"shift": 0.2, "flip": 0.5}]})
    assert [one.augment for one in found] == [{"shift": 0.1}, {"shift": 0.2, "flip": 0.5}]


def test_ranges_are_drawn_from_within_their_bounds() -> None:
    given = {
        "learning_rate": {"low": 1e-4, "high": 1e-2, "log": True},
        "dropout": {"low": 0.2, "high": 0.6},
        "batch_size": {"low": 8, "high": 10},
        "patience": {"low": 2, "high": 200, "log": True},
        "schedule": ["constant", "cosine"],
        "draws": 300,
    }
    found = members(given)
    rates, dropouts = [one.learning_rate for one in found], [one.dropout for one in found]
    assert all(1e-4 <= rate <= 1e-2 for rate in rates) and all(0.2 <= one <= 0.6 for one in dropouts)
    assert {one.batch_size for one in found} == {8, 9, 10}
    assert 0.4 < sum(one.patience < 20 for one in found) / 300 < 0.6
    assert {one.schedule for one in found} == {"constant", "cosine"}
    middle = sum(rate < 1e-3 for rate in rates) / 300
    assert 0.4 < middle < 0.6, "not even on a logarithmic scale"
    assert 0.4 < sum(one < 0.4 for one in dropouts) / 300 < 0.6
    assert len({(one.learning_rate, one.dropout) for one in found}) == 300
    assert members(given) == found
    assert members(given, seed=2) != found
    assert [one.seed for one in found] == [1] * 300


def test_whole_bounds_of_a_setting_that_is_no_whole_number_are_no_steps() -> None:
    found = members({"weight_decay": {"low": 0, "high": 1}, "draws": 8})
    assert len({one.weight_decay for one in found}) == 8


def test_two_tables_draw_apart() -> None:
    table = {"dropout": {"low": 0.0, "high": 0.5}, "draws": 2}
    assert len({one.dropout for one in members(table, table)}) == 4


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"name": ["a", "b"]}, "train.sweep 1: name is the same for all runs of a sweep; set it in [[train]]"),
        ({"folds": [2]}, "train.sweep 1: folds is the same for all runs"),
        ({"draws": 3}, "train.sweep 1 must name settings to try, and draws a number of runs; got {'draws': 3}"),
        ({}, "train.sweep 1 must name settings to try"),
        ({"seed": [1], "draws": -1}, "train.sweep 1 must name settings to try, and draws a number of runs"),
        ({"seed": [1], "draws": "3"}, "train.sweep 1 must name settings to try, and draws a number of runs"),
        ({"seed": [1], "draws": True}, "train.sweep 1 must name settings to try, and draws a number of runs"),
        ({"seed": []}, "train.sweep 1: seed has no value to try"),
        ({"seed": [], "draws": 2}, "train.sweep 1: seed has no value to try"),
        ({"learning_rate": {"low": 1, "high": 2}}, "learning_rate is a range: say how many runs with draws = ..."),
        ({"dropout": {"low": 0.5, "high": 0.5}, "draws": 2}, "must be a range with low < high (above 0 if log), got"),
        ({"dropout": {"low": 0, "high": 1, "log": True}, "draws": 2}, "must be a range with low < high (above 0 if"),
        ({"dropout": {"low": "a", "high": 1}, "draws": 2}, "must be a range with low < high (above 0 if log), got"),
        ({"learning_rat": [1]}, "unknown key train.sweep 1.learning_rat; did you mean "),
        ({"epochs": ["3"]}, "train.sweep 1.epochs must be a whole number, got '3'"),
        ({"epochs": [0]}, "epochs must be at least 1, got 0"),
        ({"seed": [1, 2, 1]}, "train.sweep: runs 0 and 2 are the same; change or remove one"),
    ],
)
def test_what_is_wrong_is_named(table: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as raised:
        members(table)
    assert message in str(raised.value)


def test_a_run_file_holds_sweeps_as_tables() -> None:
    [train] = run_files.parse(
        {
            "dataset": "d",
            "train": [
                {"network": "cnn1", "sweep": [{"seed": [1, 2]}, {"dropout": {"low": 0.1, "high": 0.2}, "draws": 2}]}
            ],
        },
        STAGES,
    )["train"]
    assert [one.seed for one in sweeps.members(train)] == [1, 2, 1, 1]
    assert all(math.isclose(one.dropout, -1) or 0.1 <= one.dropout <= 0.2 for one in sweeps.members(train))


def test_an_old_name_is_read(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("WARNING", "concord"):
        assert [one.ema_momentum for one in members({"averaging": [0.5, 0.9]})] == [0.5, 0.9]
    assert caplog.messages == ["averaging is now called ema_momentum; the next version will not read the old name"]
