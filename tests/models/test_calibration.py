"""Temperature scaling: known temperatures are found again, what cannot be told is not, and order never changes."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, special

from models import calibration, tasks
from models.calibration import Choices
from models.tasks import multiclass, multilabel, sequence

Array = npt.NDArray[Any]
DIGITS = [str(digit) for digit in range(10)]


def drawn(known: float, count: int, classes: int = 5, seed: int = 1) -> Choices:
    """Scores of a network whose logits are `known` times too large; what is right is drawn from calibrated ones."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 2, (count, classes))
    right = (special.softmax(logits, axis=1).cumsum(axis=1) < random.random((count, 1))).sum(axis=1)
    return Choices(special.softmax(logits * known, axis=1).astype(np.float32), right)


def loss(choices: Choices, temperature: float) -> float:
    """Mean NLL, by SciPy's softmax alone."""
    scaled = special.log_softmax(np.log(choices.scores.astype(np.float64)) / temperature, axis=1)
    return float(-scaled[np.arange(len(choices.right)), choices.right].mean())


@pytest.mark.parametrize("known", [0.4, 1.0, 2.5, 6.0])
def test_a_known_temperature_is_found_again(known: float) -> None:
    found, bounded = calibration.fit_temperature(drawn(known, 40_000))
    assert found == pytest.approx(known, rel=0.03)
    assert not bounded


@given(st.floats(0.3, 5), st.integers(40, 300), st.integers(2, 8), st.integers(0, 2**32 - 1))
def test_the_temperature_is_that_of_the_least_loss(known: float, count: int, classes: int, seed: int) -> None:
    choices = drawn(known, count, classes, seed)
    found, bounded = calibration.fit_temperature(choices)
    least = optimize.minimize_scalar(lambda one: loss(choices, np.exp(one)), bounds=(-3, 3), method="bounded")
    if not bounded:
        assert calibration.mean_nll(choices, found) == pytest.approx(loss(choices, found), rel=1e-6)
        assert loss(choices, found) <= least.fun + 1e-7
    said = calibration.fit({"label": choices}, count)
    after, before = said.nll_after["label"], said.nll_before["label"]
    assert after is not None and before is not None and after <= before


def test_chunks_add_up_to_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    choices = drawn(2, 1000)
    whole = calibration.fit_temperature(choices), calibration.mean_nll(choices, 1.5)
    monkeypatch.setattr(calibration, "_CHUNK", 5 * 77)
    parts = calibration.fit_temperature(choices), calibration.mean_nll(choices, 1.5)
    assert parts[0][0] == pytest.approx(whole[0][0], rel=1e-8)
    assert parts[1] == pytest.approx(whole[1], rel=1e-12)


def test_a_network_that_is_always_right_stays_as_sure_as_it_is() -> None:
    scores = drawn(1, 200).scores
    choices = Choices(scores, scores.argmax(axis=1))
    assert calibration.fit_temperature(choices) == (1.0, True)
    said = calibration.fit({"label": choices}, 200)
    assert said.at_bound == ["label"] and said.temperatures == {"label": 1.0}
    assert said.nll_after == said.nll_before


def test_a_network_that_knows_nothing_is_hardly_sure() -> None:
    scores = drawn(3, 500).scores
    choices = Choices(scores, scores.argmin(axis=1))
    assert calibration.fit_temperature(choices) == (calibration.HIGHEST, True)


def test_one_that_is_always_even_is_left_alone() -> None:
    assert calibration.fit_temperature(Choices(np.full((50, 4), 0.25, np.float32), np.arange(50) % 4)) == (1.0, True)
    assert calibration.fit_temperature(Choices(np.zeros((0, 4), np.float32), np.zeros(0, np.int64))) == (1.0, True)


def test_a_score_of_nothing_costs_what_the_least_normal_number_does() -> None:
    choices = Choices(np.array([[1, 0]], np.float32), np.array([1]))
    assert calibration.mean_nll(choices) == pytest.approx(-np.log(float(np.finfo(np.float32).tiny)))


def test_a_handful_of_images_tells_nothing() -> None:
    said = calibration.fit({"label": drawn(2, 29)}, 29)
    assert said.temperatures is None and "29 images" in said.reason
    assert calibration.fit({"label": drawn(2, 30)}, 30).temperatures is not None


def test_what_a_fold_keeps_comes_back() -> None:
    values, scores = np.arange(6).reshape(3, 2), np.eye(3, dtype=np.float32)
    found = calibration.unpack_scores(calibration.pack_scores(values, scores))
    np.testing.assert_array_equal(found[0], values)
    np.testing.assert_array_equal(found[1], scores)


# Of tasks: what is fitted, and what becomes of confidence


@given(st.floats(0.1, 10), st.integers(1, 30), st.integers(0, 2**32 - 1))
def test_of_one_label_it_is_the_softmax_at_the_temperature(degree: float, count: int, seed: int) -> None:
    logits = np.random.default_rng(seed).normal(0, 4, (count, 6))
    scores = special.softmax(logits, axis=1).astype(np.float32)
    reading = multiclass.decode_labels(scores, list("abcdef"))
    found = multiclass.calibrate(scores, reading, list("abcdef"), {"label": degree})
    np.testing.assert_allclose(found, special.softmax(logits / degree, axis=1).max(axis=1), rtol=1e-3, atol=1e-6)
    assert found.dtype == np.float32


def test_a_temperature_of_one_leaves_confidence_as_it_is() -> None:
    random = np.random.default_rng(2)
    scores = special.softmax(random.normal(0, 3, (50, 57)), axis=1).astype(np.float32)
    for name, classes in (("multiclass", [str(one) for one in range(57)]), ("multilabel", list(map(str, range(57))))):
        task = tasks.load(name)
        reading = task.decode_labels(scores, classes, [0.01] * 57 if name == "multilabel" else None)
        found = task.calibrate(scores, reading, classes, {"label": 1.0})
        np.testing.assert_allclose(found, reading.confidences, rtol=1e-5)
    numbers = sequence_scores(50, 2)
    reading = sequence.decode_labels(numbers, DIGITS)
    found = sequence.calibrate(numbers, reading, DIGITS, {"length": 1.0, "digits": 1.0})
    np.testing.assert_allclose(found, reading.confidences, rtol=1e-5)


def sequence_scores(count: int, seed: int, degrees: tuple[float, float] = (1, 1)) -> Array:
    """Scores of numbers, their logits divided by a temperature of the length and one of the digits."""
    random = np.random.default_rng(seed)
    lengths = special.softmax(random.normal(0, 3, (count, 7)) / degrees[0], axis=1)
    digits = special.softmax(random.normal(0, 4, (count, 5, 10)) / degrees[1], axis=2)
    return np.concatenate([lengths, digits.reshape(count, 50)], axis=1).astype(np.float32)


def test_of_a_number_length_and_digits_have_each_their_own() -> None:
    raw, scaled = sequence_scores(60, 3), sequence_scores(60, 3, (2.0, 0.5))
    reading = sequence.decode_labels(raw, DIGITS)
    found = sequence.calibrate(raw, reading, DIGITS, {"length": 2.0, "digits": 0.5})
    for row, text in enumerate(reading.labels):  # the reading itself is as it was
        length = 6 if text.endswith("+") else len(text)
        expected = scaled[row, length]
        for place, digit in enumerate(text[:5].rstrip("+")):
            expected *= scaled[row, 7 + 10 * place + int(digit)]
        assert found[row] == pytest.approx(expected, rel=1e-3)
    assert len({len(text) for text in reading.labels}) > 3


def test_of_several_labels_it_is_the_sigmoid_at_the_temperature() -> None:
    logits = np.array([[-1.0, 3.0], [0.5, -4.0], [40.0, 2.0]])
    scores = special.expit(logits).astype(np.float32)
    reading = multilabel.decode_labels(scores, ["x", "y"])
    degrees = np.array([2.0, 0.5, 4.0], np.float32)
    found = multilabel.calibrate(scores, reading, ["x", "y"], {"label": degrees})
    expected = special.expit([3.0 / 2, 0.5 / 0.5, 24 * np.log(2) / 4, 2.0 / 4])  # the surest that float32 tells
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_choices_of_several_labels_are_those_that_are_known() -> None:
    truth, told = np.array([[1, 0, 1], [0, 0, 0]]), np.array([[1, 0, 1], [0, 1, 1]])
    values = np.concatenate([np.packbits(truth, axis=1), np.packbits(told, axis=1)], axis=1)
    scores = np.array([[0.9, 0.8, 1.0], [0.1, 0.2, 0.3]], np.float32)
    found = multilabel.list_choices(values, scores, ["x", "y", "z"])["label"]
    assert found.right.tolist() == [1, 1, 0, 0]
    np.testing.assert_allclose(found.scores[:, 1], [0.9, 1, 0.2, 0.3], atol=1e-6)
    assert found.scores.min() > 0


def test_choices_of_numbers_leave_out_places_without_a_digit() -> None:
    scores = sequence_scores(3, 4)
    values = np.array([sequence.encode_number("7"), sequence.encode_number("123456"), sequence.encode_number("")])
    found = sequence.list_choices(values, scores, DIGITS)
    assert found["length"].right.tolist() == [1, 6, 0]
    assert found["digits"].right.tolist() == [7, 1, 2, 3, 4, 5]
    np.testing.assert_array_equal(found["digits"].scores[0], scores[0, 7:17])
    np.testing.assert_array_equal(found["digits"].scores[5], scores[1, 47:57])


def test_images_have_the_temperature_of_their_fold() -> None:
    found = calibration.select_by_fold(({"label": 2.0}, None, {"label": 3.0}), np.array([2, 0, 1]))
    np.testing.assert_array_equal(found["label"], np.array([3, 2, np.nan], np.float32))
    scores = np.array([[0.8, 0.2]] * 3, np.float32)
    said = multiclass.calibrate(scores, multiclass.decode_labels(scores, ["a", "b"]), ["a", "b"], found)
    assert np.isnan(said).tolist() == [False, False, True] and said[0] < said[1] < 0.8
