"""Numbers as the report writes them."""

import pytest

from analysis.report import formatting


@pytest.mark.parametrize(
    ("share", "expected"),
    [
        (0.0, "0.0 %"),
        (1.0, "100.0 %"),
        (0.99999, "99.9 %"),
        (0.00001, "0.1 %"),
        (0.8165, "81.7 %"),
        (None, formatting.UNDEFINED),
    ],
)
def test_percent_never_rounds_to_all_or_nothing(share: float | None, expected: str) -> None:
    assert formatting.percent(share) == expected


def test_other_figures() -> None:
    assert formatting.count(1234567) == "1,234,567"
    assert (formatting.decimal(0.79147), formatting.decimal(None), formatting.decimal(0.8, 2)) == (
        "0.791",
        formatting.UNDEFINED,
        "0.80",
    )


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, formatting.UNDEFINED),
        ("", formatting.UNDEFINED),
        (0, "0"),
        (False, "False"),
        (["a", 1], "a, 1"),
        ({"k": 2}, "k: 2"),
        ("x", "x"),
    ],
)
def test_setting(value: object, expected: str) -> None:
    assert formatting.setting(value) == expected


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
    assert formatting.brief(number) == expected


def test_plural() -> None:
    assert (formatting.plural(1, "image"), formatting.plural(0, "image")) == ("1 image", "0 images")
    assert formatting.plural(1200, "class", "classes") == "1,200 classes"


def test_tenths_and_intervals() -> None:
    assert [formatting.decile_range(decile).split(formatting.UNDEFINED) for decile in (0, 9)] == [
        ["0.0", "0.1"],
        ["0.9", "1.0"],
    ]
    assert formatting.interval(0.39678, 0.89221).split(formatting.UNDEFINED) == ["0.397", "0.892"]
    assert formatting.interval(0.39678, 0.89221, 1).split(formatting.UNDEFINED) == ["0.4", "0.9"]
    assert formatting.interval(None, None) == formatting.UNDEFINED
    assert formatting.interval(-0.12, -0.1164, 2) == "-0.12 to -0.12", "a dash could be taken for a minus"
    assert formatting.plain_interval(0.39678, 0.89221) == "0.397 to 0.892"


@pytest.mark.parametrize(
    ("confidence", "expected"),
    [
        (0.5, "0.5000"),
        (0.6855, "0.6855"),
        (0.99998, "0.99998"),
        (0.99994, "0.99994"),
        (0.999999, "0.999999"),
        (0.99996, "0.99996"),
        (1 - 2**-24, "0.99999994"),
        (0.0, "0.0000"),
        (1.0, "1.0000"),
    ],
)
def test_a_threshold_below_one_never_reads_as_one(confidence: float, expected: str) -> None:
    assert formatting.threshold(confidence) == expected


def test_moment() -> None:
    assert formatting.moment("2026-03-07T23:05:59+00:00") == "7 March 2026, 23:05 UTC"
    assert formatting.moment("2026-03-07T23:05:59-02:00") == "8 March 2026, 01:05 UTC"
    assert formatting.moment("") == formatting.UNDEFINED
