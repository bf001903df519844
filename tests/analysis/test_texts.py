"""Numbers as people read them."""

import pytest

from analysis import texts


@pytest.mark.parametrize(
    ("share", "expected"),
    [
        (0.0, "0.0 %"),
        (1.0, "100.0 %"),
        (0.99999, "99.9 %"),
        (0.00001, "0.1 %"),
        (0.8165, "81.7 %"),
        (None, texts.UNDEFINED),
    ],
)
def test_percent_never_rounds_to_all_or_nothing(share: float | None, expected: str) -> None:
    assert texts.percent(share) == expected


def test_other_figures() -> None:
    assert texts.count(1234567) == "1,234,567"
    assert (texts.decimal(0.79147), texts.decimal(None), texts.decimal(0.8, 2)) == ("0.791", texts.UNDEFINED, "0.80")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, texts.UNDEFINED),
        ("", texts.UNDEFINED),
        (0, "0"),
        (False, "False"),
        (["a", 1], "a, 1"),
        ({"k": 2}, "k: 2"),
        ("x", "x"),
    ],
)
def test_setting(value: object, expected: str) -> None:
    assert texts.setting(value) == expected
