"""`import concord`: rows as the files have them, images as they are stored, and chains."""

import inspect
import io
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from PIL import Image

import concord
from concord.api import Root
from schemas.errors import IncompleteError, InputError
from tests.support import small_root
from tests.support.markdown import ROOT, read_blocks
from tests.support.photo_runs import scene, written
from tests.support.small_root import DAMAGED, SmallRoot

BLOCKS = [block for block in read_blocks(ROOT / "docs/api.md") if block.language == "python"]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> SmallRoot:
    return small_root.build(str(tmp_path_factory.mktemp("small")))


def read(root: str, pattern: str, where: str = "true") -> list[Any]:
    """Rows as DuckDB reads the files itself."""
    source = f"read_parquet('{root}/{pattern}', hive_partitioning=true, hive_types_autocast=false)"
    rows: list[Any] = duckdb.sql(f"select * from {source} where {where}").to_arrow_table().to_pylist()
    return rows


def ordered(rows: list[Any]) -> list[str]:
    return sorted(repr(sorted(row.items())) for row in rows)


@pytest.mark.parametrize(
    ("call", "pattern", "where"),
    [
        (lambda root: root.summary(), "agreement/summary/*.parquet", "true"),
        (lambda root: root.measures(split="test", measure="f1_a"), "agreement/measures/*.parquet", "measure = 'f1_a'"),
        (lambda root: root.pairs("cnn1", "cnn2"), "agreement/pairs/**/*.parquet", "annotator_b = 'cnn2'"),
        (lambda root: root.labels("cnn1", dataset="svhn"), "labels/**/*.parquet", "dataset||annotator = 'svhncnn1'"),
        (lambda root: root.labels("cnn1", split="test"), "labels/**/*.parquet", "annotator||split = 'cnn1test'"),
        (lambda root: root.table("index", split="test"), "index/**/*.parquet", "true"),
    ],
)
def test_rows_are_those_of_the_files(query_root: str, small: SmallRoot, call: Any, pattern: str, where: str) -> None:
    seen = 0
    for path in (query_root, small.root):
        if list(Path(path).glob(pattern)):
            rows = call(concord.open(path, "arrow"))
            names = set(rows.column_names)
            wanted = [{key: row[key] for key in row if key in names} for row in read(path, pattern, where)]
            assert ordered(wanted) == ordered(rows.to_pylist())
            seen += len(wanted)
    assert seen


def test_rows_have_the_form_that_was_chosen(query_root: str) -> None:
    frame, polars, arrow = (
        concord.open(query_root, form).confusion("cnn1", "cnn2") for form in ("pandas", "polars", "arrow")
    )  # type: ignore[arg-type]
    assert isinstance(frame, pd.DataFrame) and isinstance(polars, pl.DataFrame) and isinstance(arrow, pa.Table)
    assert frame["n"].sum() == polars["n"].sum() == sum(arrow["n"].to_pylist()) > 0
    assert set(frame.annotator_b) == {"cnn2"}


def test_a_query_joins_tables(query_root: str) -> None:
    found = concord.open(query_root).query("select count(*) as n from pairs where not agree and annotator_a = 'cnn1'")
    assert found.n.item() == len(read(query_root, "agreement/pairs/**/*.parquet", "not agree and annotator_a = 'cnn1'"))


def test_an_image_has_its_pixels(small: SmallRoot) -> None:
    root = concord.open(small.root)
    for image_id in small.order:
        if image_id == DAMAGED:
            with pytest.raises(IncompleteError, match="is damaged: run concord convert --force"):
                root.image(image_id)
        else:
            wanted = np.asarray(Image.open(io.BytesIO(small.encoded[image_id])))
            np.testing.assert_array_equal(np.asarray(root.image(image_id, split="test")), wanted)


def test_what_is_not_there_is_named(small: SmallRoot, tmp_path: Path) -> None:
    root = concord.open(small.root)
    with pytest.raises(InputError, match=r"there is no table 'sumary': did you mean summary\?"):
        root.table("sumary")
    with pytest.raises(InputError, match="image 'x' is in no index"):
        root.image("x")
    with pytest.raises(InputError, match="image '' is in no index"):
        root.image("")
    with pytest.raises(InputError, match=r"there is no folder .*absent: name the root of a run, or run concord run"):
        concord.open(str(tmp_path / "absent"))
    with pytest.raises(InputError, match="form must be one of pandas, polars, arrow, got 'numpy'"):
        concord.open(small.root, "numpy")  # type: ignore[arg-type]


def test_a_chain_is_run_once(tmp_path: Path) -> None:
    for number, name in enumerate(("cat/1.png", "cat/2.png", "dog/1.png")):
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / name).write_bytes(written(scene(number), "PNG"))
    run_file = tmp_path / "run.toml"
    run_file.write_text('dataset = "d"\n[convert]\nsource = "image_folder"\ninput = "{data}/photos"\n')
    for made in (True, False):
        (result,) = concord.run(str(run_file), root=str(tmp_path / "out"), data=str(tmp_path), direct_num_workers="1")
        assert (result.stage, result.built) == ("convert", made)
    assert set(concord.open(str(tmp_path / "out")).labels("human").label) == {"cat", "dog"}


def test_places_that_workers_cannot_reach_are_refused(tmp_path: Path) -> None:
    run_file = tmp_path / "run.toml"
    run_file.write_text('dataset = "d"\n[convert]\nsource = "image_folder"\ninput = "photos"\n')
    with pytest.raises(InputError, match="workers cannot reach the folder"):
        concord.run(str(run_file), root=str(tmp_path / "out"), runner="DataflowRunner")


def test_another_models_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "analysis").mkdir()
    (tmp_path / "analysis/__init__.py").touch()
    program = "import sys, analysis; import concord; concord.open('.')"
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "another package 'analysis'" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("block", [block for block in BLOCKS if "concord.run" not in block.text], ids=str)
def test_the_examples_run(small: SmallRoot, block: Any) -> None:
    names: dict[str, Any] = {}
    exec(block.text.replace('"out"', repr(small.root)), names)
    assert len(names["differ" if "differ" in names else "rows"]) > 0


def test_the_page_lists_every_method() -> None:
    text = (ROOT / "docs/api.md").read_text()
    listed = dict(re.findall(r"`root\.(\w+)\((.*?)\)`", text))
    methods = {name: one for name, one in vars(Root).items() if inspect.isfunction(one) and name[0] != "_"}
    assert listed.keys() == methods.keys()
    for name, method in methods.items():
        parameters = [one for one in list(inspect.signature(method).parameters)[1:] if one not in ("version", "keys")]
        assert [word for word in listed[name].split(", ") if word != "..."] == parameters
