"""Task `sequence`: numbers spelt out and read again, the most probable reading against every reading there is."""

import itertools
import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings, strategies

from models.tasks import sequence
from schemas import tables

CLASSES = list("0123456789")
SEED = strategies.integers(0, 2**32 - 1)


def labels(*rows: tuple[str, str, float]) -> Any:
    names = ("image_id", "label", "confidence")
    columns = zip(*rows, strict=True) if rows else ((), (), ())
    return tables.label_rows({name: list(column) for name, column in zip(names, columns, strict=True)})


@pytest.mark.parametrize(
    ("text", "spelt"),
    [
        ("", [0, -1, -1, -1, -1, -1]),
        ("0", [1, 0, -1, -1, -1, -1]),
        ("007", [3, 0, 0, 7, -1, -1]),
        ("12345", [5, 1, 2, 3, 4, 5]),
        ("123456", [6, 1, 2, 3, 4, 5]),
        ("1234567", [6, 1, 2, 3, 4, 5]),
        ("12345+", [6, 1, 2, 3, 4, 5]),
    ],
)
def test_a_number_is_its_length_and_its_digits(text: str, spelt: list[int]) -> None:
    assert sequence.encode_number(text, CLASSES) == spelt


@pytest.mark.parametrize("text", ["12a", "+1", "1++", "-1", "1 2", "\u0661"])
def test_what_is_no_number_is_named(text: str) -> None:
    with pytest.raises(KeyError) as raised:
        sequence.encode_number(text, CLASSES)
    assert raised.value.args == (text,)


def test_digits_are_counted_as_the_classes_stand() -> None:
    assert sequence.encode_number("10", list("1234567890")) == [2, 0, 9, -1, -1, -1]


def test_each_image_gets_its_number() -> None:
    rows = labels(("c", "210", 0.5), ("a", "05", 1.0), ("elsewhere", "7", 1.0), ("a", "9", 0.9))
    found = sequence.encode_targets(rows, ["a", "b", "c"], CLASSES)
    assert found.values.tolist() == [[2, 0, 5, -1, -1, -1], [-1] * 6, [3, 2, 1, 0, -1, -1]]
    assert found.known.tolist() == [True, False, True]


@pytest.mark.parametrize("order", list(itertools.permutations(["2", "12", "1", "123"])))
def test_of_equally_confident_numbers_the_first_counts_wherever_its_row_stands(order: tuple[str, ...]) -> None:
    found = sequence.encode_targets(labels(*(("a", text, 0.5) for text in order)), ["a"], CLASSES)
    assert found.values.tolist() == [sequence.encode_number("1", CLASSES)]


def drawn_scores(count: int, seed: int, digits: int = 10) -> npt.NDArray[np.float32]:
    """Scores as a network gives them: probabilities of lengths, and of digits a place."""
    drawn = np.random.default_rng(seed)
    parts = [drawn.dirichlet(np.full(7, 0.5), count)]
    parts += [drawn.dirichlet(np.full(digits, 0.2), count) for _ in range(5)]
    return np.concatenate(parts, axis=1).astype(np.float32)


def every_reading(scores: npt.NDArray[np.float32], digits: int) -> dict[str, float]:
    """The probability of each number that an image can show: one of up to five digits, or of more."""
    places = scores[7:].reshape(5, digits).astype(float)
    found = {}
    for length in range(7):
        for number in itertools.product(range(digits), repeat=min(length, 5)):
            of_digits = math.prod(places[place][digit] for place, digit in enumerate(number))
            found["".join(map(str, number)) + "+" * (length == 6)] = float(scores[length]) * of_digits
    return found


@given(SEED)
@settings(max_examples=15)
def test_no_reading_is_more_probable_than_the_one_read(seed: int) -> None:
    scores = drawn_scores(3, seed, digits=4)
    found = sequence.decode_labels(scores, list("0123"))
    assert found.rows.tolist() == [0, 1, 2]
    for one, text, confidence in zip(scores, found.labels, found.confidences, strict=True):
        readings = every_reading(one, 4)
        assert confidence == pytest.approx(max(readings.values()), rel=1e-5)
        assert readings[text] == pytest.approx(max(readings.values()), rel=1e-5)


def sure_of(text: str) -> npt.NDArray[np.float32]:
    """The scores of a network that is sure of a number."""
    length, *digits = sequence.encode_number(text, CLASSES)
    scores = np.zeros(57, np.float32)
    scores[length] = 1
    for place, digit in enumerate(digits):
        scores[7 + 10 * place + max(digit, 0)] = 1
    return scores


@given(strategies.text("0123456789", max_size=8))
def test_what_is_spelt_is_read_again(text: str) -> None:
    found = sequence.decode_labels(sure_of(text)[None], CLASSES)
    assert found.labels.tolist() == [text if len(text) < 6 else text[:5] + "+"]
    assert found.confidences.tolist() == [1.0]


@given(SEED, strategies.lists(strategies.text("0123456789", max_size=6), min_size=1, max_size=12))
@settings(max_examples=30)
def test_figures_are_those_of_a_loop_over_the_texts(seed: int, texts: list[str]) -> None:
    scores, drawn = drawn_scores(len(texts), seed), np.random.default_rng(seed)
    for row, text in enumerate(texts):
        if drawn.random() < 0.6:
            scores[row] = sure_of(text)
    values = sequence.encode_targets(
        labels(*((str(row), text, 1.0) for row, text in enumerate(texts))), ids(texts), CLASSES
    )
    found = sequence.evaluate(values.values, scores, CLASSES)
    expected = plain_figures(texts, scores)
    assert found == {
        **{name: pytest.approx(expected.pop(name)) for name in ("accuracy", "length_accuracy", "digit_accuracy")},
        **expected,
    }


def ids(texts: list[str]) -> list[str]:
    return [str(row) for row in range(len(texts))]


def plain_figures(texts: list[str], scores: npt.NDArray[np.float32]) -> dict[str, Any]:
    """The figures, image by image and place by place."""
    shortened = [text if len(text) < 6 else text[:5] + "+" for text in texts]
    said = sequence.decode_labels(scores, CLASSES).labels.tolist()
    whole: list[bool] = []
    by_place: dict[str, list[bool]] = {}
    by_length: dict[str, list[bool]] = {}
    for row, (text, read) in enumerate(zip(shortened, said, strict=True)):
        whole.append(text == read)
        by_length.setdefault("more" if "+" in text else str(len(text)), []).append(text == read)
        for place, digit in enumerate(text.rstrip("+")):
            best = int(np.argmax(scores[row, 7 + 10 * place : 17 + 10 * place]))
            by_place.setdefault(str(place + 1), []).append(best == int(digit))
    lengths = [len(text) == len(read) for text, read in zip(shortened, said, strict=True)]
    digits = [right for found in by_place.values() for right in found]
    return {
        "accuracy": np.mean(whole),
        "length_accuracy": np.mean(lengths),
        "digit_accuracy": np.mean(digits) if digits else 0.0,
        "by_length": {key: share(right) for key, right in by_length.items()},
        "by_place": {key: share(right) for key, right in by_place.items()},
    }


def share(right: list[bool]) -> dict[str, Any]:
    return {"images": len(right), "accuracy": pytest.approx(np.mean(right))}


def test_no_images_have_no_numbers() -> None:
    assert sequence.encode_targets(labels(), [], CLASSES).values.shape == (0, 6)
    assert sequence.encode_targets(labels(), ["a"], CLASSES).known.tolist() == [False]
    found = sequence.decode_labels(np.zeros((0, 57), np.float32), CLASSES)
    assert (len(found.rows), len(found.labels), len(found.confidences)) == (0, 0, 0)
