"""Queries of a root: what they find anywhere, in each format, and what is said of those that are wrong."""

import io
import shutil
from pathlib import Path

import pyarrow as pa
import pytest

from analysis import query
from schemas import layout
from schemas.errors import IncompleteError, InputError
from storage import parquet, stores
from storage.tables import TABLES
from tests.support.query_root import drawn_labels


def ask(root: str, sql: str, form: str = "csv", limit: int | None = None) -> str:
    out = io.StringIO()
    query.run(root, sql, TABLES, out, form, limit)
    return out.getvalue()


def test_a_query_over_a_table_and_over_a_view(query_root: str) -> None:
    counts = {name: len(labels) for name, labels in drawn_labels().items()}
    found = ask(
        query_root, "SELECT annotator, count(*) AS n FROM Labels WHERE dataset = 'svhn' GROUP BY ALL ORDER BY 1"
    )
    assert found == "annotator,n\n" + "".join(f"{name},{n}\n" for name, n in counts.items())
    stages = ask(query_root, "SELECT stage, annotator, side, count(*) FROM rejects GROUP BY ALL ORDER BY ALL")
    assert stages.splitlines()[1:] == ["confirm,,machine,3", "label,cnn1,,2"]


@pytest.mark.parametrize("place", ["s3", "gs"], indirect=True)
def test_a_root_in_an_object_store(query_root: str, place: str) -> None:
    for path in Path(query_root).rglob("*.parquet"):
        stores.write_bytes(stores.join(place, path.relative_to(query_root).as_posix()), path.read_bytes())
    keys = "dataset, annotator_a, annotator_b, split"
    sql = f"SELECT d.image_id, lower_confidence, n FROM disagreements d JOIN summary USING ({keys}) ORDER BY ALL"
    assert ask(place, sql) == ask(query_root, sql)
    assert len(ask(place, sql).splitlines()) > 100
    with pytest.raises(InputError, match=f"there is nothing in {place}/elsewhere"):
        ask(f"{place}/elsewhere", "FROM labels")


def test_tables_that_are_not_there_have_no_rows(query_root: str) -> None:
    assert ask(query_root, "SELECT image_id, features FROM features") == "image_id,features\n"
    assert ask(query_root, "SELECT count(*) AS n FROM index, sweep") == "n\n0\n"
    assert ask(query_root, "SELECT image_id FROM features", "json") == "[]\n"


def test_only_the_first_rows_are_shown_unless_more_are_asked_for(query_root: str) -> None:
    out = io.StringIO()
    assert query.run(query_root, "FROM pairs", TABLES, out, "table") == -query.SHOWN
    assert len(out.getvalue().splitlines()) == query.SHOWN + 2
    assert query.run(query_root, "FROM pairs LIMIT 100", TABLES, io.StringIO(), "markdown") == 100
    everything = query.run(query_root, "FROM pairs", TABLES, io.StringIO(), "table", 0)
    assert everything == query.run(query_root, "FROM pairs", TABLES, io.StringIO(), "json") > query.SHOWN
    assert query.run(query_root, "FROM pairs", TABLES, io.StringIO(), "csv", 7) == -7
    with pytest.raises(InputError, match="limit must be 0 or more rows, got -1"):
        ask(query_root, "FROM pairs", limit=-1)


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("SELECT * FROM labls", "there is no table 'labls': did you mean labels or label_errors or label_counts"),
        ("SELECT * FROM disagrements", "there is no table 'disagrements': did you mean disagreements"),
        ("SELECT * FROM qqqqq", "there is no table 'qqqqq': concord query --tables lists all"),
        ("SELECT nope FROM pairs", 'Referenced column "nope" not found'),
        ("SELEC 1", "syntax error at or near"),
        ("SELECT 1; SELECT 2", "give one statement of SQL, not 2"),
        ("-- nothing", "give one statement of SQL, not 0"),
        ("SELECT sum(label) FROM labels", "sum"),
        ("SELECT label::INTEGER FROM labels WHERE dataset = 'open_images'", "Could not convert string"),
    ],
)
def test_a_wrong_query_is_told_so_in_a_line(query_root: str, sql: str, said: str) -> None:
    with pytest.raises(InputError) as raised:
        ask(query_root, sql)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_python_variables_are_no_tables(query_root: str) -> None:
    columns = pa.table({"x": [1]})
    with pytest.raises(InputError, match="there is no table 'columns'"):
        ask(query_root, "SELECT * FROM columns")
    assert columns.num_rows == 1


def test_a_missing_root_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"there is nothing in {tmp_path}/absent: name the folder of a run"):
        ask(str(tmp_path / "absent"), "FROM labels")
    assert ask(str(tmp_path), "SELECT count(*) AS n FROM labels") == "n\n0\n"
    assert ask(str(tmp_path / "absent"), "SELECT 1 AS one") == "one\n1\n"


def test_a_file_that_does_not_fit_stops_only_queries_of_its_table(query_root: str, tmp_path: Path) -> None:
    root = str(shutil.copytree(query_root, tmp_path / "root"))
    path = layout.agreement_table(root, "summary", "svhn", ("cnn1", "cnn2"), "test")
    parquet.write(path, parquet.read(path).drop_columns("cohen_kappa"), "f")
    with pytest.raises(IncompleteError, match=f"{path} has no column 'cohen_kappa': "):
        ask(root, "SELECT annotator_a FROM summary")
    assert ask(root, "SELECT count(*) > 0 AS any FROM pairs") == "any\ntrue\n"


def test_only_the_columns_and_partitions_that_are_asked_for_are_read(query_root: str, tmp_path: Path) -> None:
    root = str(shutil.copytree(query_root, tmp_path / "root"))
    for path in Path(layout.labels(root, "svhn", "human", "test")).glob("*.parquet"):
        content = path.read_bytes()  # its footer tells of columns, its pages are gone
        path.write_bytes(content[:4] + b"\xff" * 100 + content[104:])
    assert ask(root, "SELECT count(*) > 9 AS many FROM labels WHERE annotator = 'cnn1'") == "many\ntrue\n"
    with pytest.raises(IncompleteError, match=r"annotator=human/split=test/part-\d+-of-\d+.parquet is damaged"):
        ask(root, "SELECT max(image_id), max(label) FROM labels")


def test_tables_and_views_are_listed_with_every_column() -> None:
    out = io.StringIO()
    query.list_tables(TABLES, out)
    parts = {part.split(":")[0]: part for part in out.getvalue().split("\n\n") if part.strip()}
    assert list(parts) == [*TABLES, "rejects", "disagreements", "verdicts", "label_counts"]
    for name, table in TABLES.items():
        found = [line.split()[0] for line in parts[name].splitlines()[2:]]
        assert [column for column in found if column != "..."] == table.columns.names
    assert "which stage rejected it" in parts["rejects"]
    for part in parts.values():
        assert all(len(line.split()) > 3 for line in part.splitlines()[2:]), part
