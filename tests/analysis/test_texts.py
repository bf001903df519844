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


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (0, "0"),
        (950, "950"),
        (999.4, "999"),
        (999.6, "1 k"),
        (1000, "1 k"),
        (9599, "9.6 k"),
        (12_345, "12.3 k"),
        (999_499, "999 k"),
        (999_500, "1 M"),
        (1_934_243, "1.93 M"),
        (78_977_695, "79 M"),
        (1_234_000_000, "1.23 bn"),
    ],
)
def test_brief(number: float, expected: str) -> None:
    assert texts.brief(number) == expected


def test_several() -> None:
    assert (texts.several(1, "image"), texts.several(0, "image")) == ("1 image", "0 images")
    assert texts.several(1200, "class", "classes") == "1,200 classes"


def test_tenths_and_intervals() -> None:
    assert [texts.tenth(decile).split(texts.UNDEFINED) for decile in (0, 9)] == [["0.0", "0.1"], ["0.9", "1.0"]]
    assert texts.interval(0.39678, 0.89221).split(texts.UNDEFINED) == ["0.397", "0.892"]
    assert texts.interval(0.39678, 0.89221, 1).split(texts.UNDEFINED) == ["0.4", "0.9"]
    assert texts.interval(None, None) == texts.UNDEFINED


def test_moment() -> None:
    assert texts.moment("2026-03-07T23:05:59+00:00") == "7 March 2026, 23:05 UTC"
    assert texts.moment("2026-03-07T23:05:59-02:00") == "8 March 2026, 01:05 UTC"
    assert texts.moment("") == texts.UNDEFINED
