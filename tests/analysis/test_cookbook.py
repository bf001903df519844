"""The cookbook: each question is answered alike in SQL, by pandas and by Polars."""

import io
import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

from analysis import query
from storage.tables import TABLES
from tests.support.query_root import NAMES, drawn_labels

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "cookbook.md").read_text()
HEAD, *SECTIONS = re.split(r"^## ", TEXT, flags=re.MULTILINE)
Rows = list[dict[str, Any]]


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def known(query_root: str) -> dict[str, Any]:
    """What the blocks at the top define, on the small root."""
    names: dict[str, Any] = {}
    for block in blocks(HEAD, "python"):
        assert block.count('root = "out"\n') == 1
        exec(block.replace('root = "out"\n', f"root = {query_root!r}\n"), names)
    return names


def by_sql(root: str, sql: str) -> Rows:
    out = io.StringIO()
    query.run(root, sql, TABLES, out, "json")
    rows: Rows = json.loads(out.getvalue())
    return rows


def by_python(code: str, known: dict[str, Any]) -> Rows:
    names = dict(known)
    exec(code, names)
    answer = names["answer"]
    assert isinstance(answer, pd.DataFrame | pl.DataFrame)
    rows: list[Any] = answer.to_dict("records") if isinstance(answer, pd.DataFrame) else answer.to_dicts()
    return [{str(name): None if _missing(value) else value for name, value in row.items()} for row in rows]


def _missing(value: Any) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value))


def assert_same(found: Rows, expected: Rows) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert list(one) == list(other)
        for name, value in other.items():
            assert one[name] == (pytest.approx(value, rel=1e-6) if isinstance(value, float) else value), name


def test_there_are_ten_questions() -> None:
    assert [section.split(".")[0] for section in SECTIONS] == [str(number) for number in range(1, 11)]


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.splitlines()[0].split(". ")[1].lower())
def test_the_three_ways_give_the_same_answer(section: str, query_root: str, known: dict[str, Any]) -> None:
    [sql], [pandas, polars] = blocks(section, "sql"), blocks(section, "python")
    expected = by_sql(query_root, sql)
    assert len(expected) >= 3
    assert all(len({str(row[name]) for row in expected}) > 1 for name in list(expected[0])[-1:])
    assert ("pl." in polars, "pl." in pandas) == (True, False)
    assert_same(by_python(pandas, known), expected)
    assert_same(by_python(polars, known), expected)


def test_answers_are_those_of_a_plain_loop(query_root: str) -> None:
    labels = drawn_labels()
    one, two, human = (labels[name] for name in ("cnn1", "cnn2", "human"))
    both = [(one[image], two[image], human.get(image)) for image in one if image in two]
    [sql] = blocks(SECTIONS[7], "sql")
    for row in by_sql(query_root, sql):
        least = np.float32(row["least"])
        kept = [case for case in both if case[0][0] == case[1][0] and min(case[0][1], case[1][1]) >= least]
        judged = [said == truth[0] for (said, _), _, truth in kept if truth]
        assert row["images"] == len(kept)
        assert (row["coverage"], row["accuracy"]) == pytest.approx((len(kept) / len(both), sum(judged) / len(judged)))
    [sql] = blocks(SECTIONS[6], "sql")
    said = {image: {labels[name][image][0] for name in labels if image in labels[name]} for image in labels["human"]}
    assert [row["image_id"] for row in by_sql(query_root, sql)] == sorted(i for i in said if len(said[i]) == 3)


def test_names_hold_what_would_break_a_row(query_root: str) -> None:
    rows = by_sql(query_root, "SELECT DISTINCT label, display_name FROM verdicts ORDER BY label")
    assert {row["label"]: row["display_name"] for row in rows} == NAMES


def test_the_lines_of_the_readme_find_the_disagreements(query_root: str) -> None:
    text = (Path(__file__).resolve().parents[2] / "docs" / "agreement.md").read_text()
    lines = [line for line in text.splitlines() if line.endswith(("# pandas", "# Polars"))]
    [expected] = by_sql(query_root, "SELECT count(*) AS n FROM disagreements")
    found = [len(eval(line.replace('"out/', f'"{query_root}/'), {"pd": pd, "pl": pl})) for line in lines]
    assert found == [expected["n"]] * 2
