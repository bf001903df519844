"""Comparing label sets: the pairs, figures and confusion that pandas and scikit-learn find, shard by shard."""

from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import accuracy_score, cohen_kappa_score, precision_recall_fscore_support

from pipelines import runner
from schemas import layout, tables
from schemas.errors import IncompleteError
from storage import hashing, parquet, products, stores
from tests.support.comparisons import compare
from tests.support.label_sets import write_label_set
from tests.support.measure_rows import by_scope

SHARDS = 8


def drawn_sets(seed: int, count: int = 400) -> dict[str, pd.DataFrame]:
    """Three annotators: `x` misses some images, `y` all of a shard and uses a class of its own, `human` many."""
    rng = np.random.default_rng(seed)
    ids = np.array([f"test-{row:07d}" for row in range(count)])
    shard = hashing.shard_of(hashing.image_hashes(ids.tolist()), SHARDS)
    truth = rng.choice(["0", "1", "2", "10"], count, p=[0.5, 0.3, 0.15, 0.05])
    right = {name: rng.random(count) < share for name, share in (("x", 0.8), ("y", 0.6), ("human", 1))}
    other = {"x": rng.choice(["0", "1", "2"], count), "y": rng.choice(["0", "only y"], count), "human": truth}
    there = {"x": rng.random(count) < 0.9, "y": shard != 5, "human": rng.random(count) < 0.7}
    frames = {}
    for name in ("x", "y", "human"):
        sure = rng.random(count, dtype=np.float32)
        labels = np.where(right[name], truth, other[name])
        frames[name] = pd.DataFrame({"image_id": ids, "label": labels, "confidence": sure})[there[name]]
    return frames


@pytest.fixture
def root(tmp_path: Path) -> str:
    for name, frame in drawn_sets(1).items():
        write_label_set(str(tmp_path), "drawn", name, frame)
    return str(tmp_path)


def pairs_folder(root: str, a: str = "x", b: str = "y", split: str = "test") -> Path:
    return Path(layout.pairs(root, "drawn", a, b, split))


def table(root: str, name: str, a: str = "x", b: str = "y") -> pd.DataFrame:
    found: pd.DataFrame = pq.read_table(layout.agreement_table(root, name, "drawn", (a, b), "test")).to_pandas()
    return found


def whole(root: str) -> dict[str, Any]:
    """The row of the summary."""
    (row,) = table(root, "summary").to_dict("records")
    return {str(name): value for name, value in row.items()}


def joined(frames: dict[str, pd.DataFrame], a: str = "x", b: str = "y") -> pd.DataFrame:
    """The inner join of two annotators with the truth, by pandas, in the order of the hash."""
    both: pd.DataFrame = frames[a].merge(frames[b], on="image_id", suffixes=("_a", "_b"))
    both = both.merge(frames["human"][["image_id", "label"]].rename(columns={"label": "truth"}), how="left")
    both["agree"] = both["label_a"] == both["label_b"]
    both["hash"] = hashing.image_hashes(both["image_id"].tolist())
    return both.sort_values("hash", ignore_index=True)


def test_pairs_are_the_inner_join_in_the_order_of_the_shards(root: str) -> None:
    compare(root)
    found = pd.concat([pq.read_table(file).to_pandas() for file in sorted(pairs_folder(root).glob("*.parquet"))])
    expected = joined(drawn_sets(1))
    assert found["image_id"].tolist() == expected["image_id"].tolist()
    for column in ("label_a", "label_b", "confidence_a", "confidence_b", "agree"):
        assert found[column].tolist() == expected[column].tolist(), column
    known = expected["truth"].notna()
    assert 0 < known.sum() < len(known)
    for annotator in ("a", "b"):
        right = expected[f"label_{annotator}"] == expected["truth"]
        assert found[f"correct_{annotator}"].tolist() == [
            one if k else None for one, k in zip(right, known, strict=True)
        ]
    assert "only y" in set(expected["label_b"]) - set(expected["label_a"])


def test_figures_are_scikit_learns(root: str) -> None:
    compare(root)
    row = whole(root)
    expected = joined(drawn_sets(1))
    known = expected[expected["truth"].notna()]
    assert (row["dataset"], row["split"], row["annotator_a"], row["annotator_b"]) == ("drawn", "test", "x", "y")
    assert (row["n"], row["n_agree"], row["n_reference"]) == (len(expected), expected["agree"].sum(), len(known))
    assert row["observed_agreement"] == pytest.approx(accuracy_score(expected["label_a"], expected["label_b"]))
    assert row["cohen_kappa"] == pytest.approx(cohen_kappa_score(expected["label_a"], expected["label_b"]), abs=1e-12)
    assert row["accuracy_a"] == pytest.approx(accuracy_score(known["truth"], known["label_a"]))
    assert row["accuracy_b"] == pytest.approx(accuracy_score(known["truth"], known["label_b"]))
    assert row["accuracy_a"] != row["accuracy_b"]


def test_without_pairs_the_figures_are_the_same(root: str, tmp_path: Path) -> None:
    alone = str(tmp_path / "alone")
    for name, frame in drawn_sets(1).items():
        write_label_set(alone, "drawn", name, frame)
    (whole,) = compare(root)
    (bare,) = compare(alone, pairs="none")
    for name in ("summary", "measures", "confusion"):
        pd.testing.assert_frame_equal(table(alone, name), table(root, name))
    assert bare.counts == whole.counts and bare.counts["unpaired"]
    assert not list(pairs_folder(alone).glob("*.parquet"))
    assert products.list_disagreements(alone, "drawn", ("x", "y", "test"), 5) == []
    assert not compare(alone, pairs="none")[0].built
    assert not compare(root, pairs="none")[0].built, "pairs are more than was asked for"
    assert compare(alone, pairs="all")[0].built
    assert len(list(pairs_folder(alone).glob("*.parquet"))) == SHARDS
    assert len(products.list_disagreements(alone, "drawn", ("x", "y", "test"), 5)) == 5


def test_every_label_has_measures_of_its_own(root: str) -> None:
    compare(root)
    _, classes = by_scope(parquet.read(layout.agreement_table(root, "measures", "drawn", ("x", "y"), "test")))
    expected = joined(drawn_sets(1))
    known = expected[expected["truth"].notna()]
    assert list(classes) == ["0", "1", "10", "2", "only y"]
    for label, row in classes.items():
        a, b = expected["label_a"] == label, expected["label_b"] == label
        assert (row["n"], row["n_same_decision"]) == (len(expected), (a == b).sum())
        assert (row["n_both_present"], row["n_only_a"]) == ((a & b).sum(), (a & ~b).sum())
        assert row["one_vs_rest_cohen_kappa"] == pytest.approx(cohen_kappa_score(a, b), abs=1e-12) or not a.any()
        scored = precision_recall_fscore_support(
            known["truth"] == label, known["label_a"] == label, average="binary", zero_division=np.nan
        )
        found = [row[f"{name}_a"] for name in ("precision", "recall", "f1")]
        np.testing.assert_allclose(np.array(found, float), scored[:3])
    assert classes["only y"]["f1_a_why"] == "neither a nor the reference has it"


def test_sets_of_fewer_shards_are_read_in_parts(root: str, tmp_path: Path) -> None:
    other = str(tmp_path / "other")
    for name, frame in drawn_sets(1).items():
        write_label_set(other, "drawn", name, frame, shards={"x": 16, "y": 2, "human": 8}[name])
    for place in (root, other):
        compare(place)
    for name in ("summary", "measures", "confusion"):
        pd.testing.assert_frame_equal(table(other, name), table(root, name))
    assert len(list(pairs_folder(other).glob("*.parquet"))) == 16


def test_confusion_is_the_cross_table(root: str) -> None:
    compare(root)
    found = table(root, "confusion").set_index(["label_a", "label_b"])
    grouped = joined(drawn_sets(1)).groupby(["label_a", "label_b"])
    pd.testing.assert_series_equal(found["n"], grouped.size(), check_names=False)
    for name in ("a", "b"):
        means = grouped[f"confidence_{name}"].apply(lambda sure: sure.astype("float64").mean())
        np.testing.assert_allclose(found[f"mean_confidence_{name}"], means, atol=1e-9)
    assert found["n"].sum() == table(root, "summary")["n"][0]


def test_what_only_one_labelled_is_counted(root: str) -> None:
    (result,) = compare(root)
    x, y = (set(drawn_sets(1)[name]["image_id"]) for name in ("x", "y"))
    assert result.product == "drawn/x-y/test"
    assert result.counts == {
        "in": len(x | y),
        "out": len(x & y),
        "unpaired": {"only_a": len(x - y), "only_b": len(y - x)},
    }
    assert result.counters["agree.elements"] == SHARDS
    assert result.counters["agree.out"] == len(x & y)
    assert result.counters["agree.unpaired.only_a"] == len(x - y)
    assert 0 < result.counters["agree.element_bytes.max"] < 256_000_000


def test_kappa_is_null_where_all_give_one_label(root: str) -> None:
    for name in ("x", "y"):
        write_label_set(root, "drawn", name, drawn_sets(1)[name].assign(label="0"))
    compare(root)
    row = whole(root)
    assert (row["observed_agreement"], row["chance_agreement"]) == (1.0, 1.0)
    summary = pq.read_table(layout.agreement_table(root, "summary", "drawn", ("x", "y"), "test"))
    assert summary["cohen_kappa"].to_pylist() == [None]


def test_without_a_truth_there_is_no_accuracy(root: str) -> None:
    compare(root, truth="")
    row = whole(root)
    assert row["n_reference"] == 0
    assert pd.isna(row["accuracy_a"]) and pd.isna(row["accuracy_b"])
    shard = pq.read_table(pairs_folder(root) / layout.parquet_shard(0, SHARDS))
    assert shard["reference"].null_count == shard["correct_b"].null_count == shard.num_rows > 0


def test_sets_without_a_common_image_have_no_figures(root: str) -> None:
    frame = drawn_sets(1)["y"]
    write_label_set(root, "drawn", "y", frame.assign(image_id="other-" + frame["image_id"]))
    (result,) = compare(root)
    assert result.counts["out"] == 0
    assert (table(root, "summary")["n"][0], len(table(root, "confusion"))) == (0, 0)
    assert table(root, "summary")[["observed_agreement", "cohen_kappa"]].isna().all(axis=None)


def test_every_pair_on_every_split(root: str) -> None:
    for name, frame in drawn_sets(2, 100).items():
        write_label_set(root, "drawn", name, frame, split="validation")
    results = compare(root, "x", "y", "human", splits=("test", "validation"))
    found = [result.product.removeprefix("drawn/") for result in results]
    assert found == [f"{pair}/{split}" for split in ("test", "validation") for pair in ("x-y", "x-human", "y-human")]
    assert table(root, "summary", "y", "human")["n"][0] == len(joined(drawn_sets(1), "y", "human"))
    assert results[0].counters["agree.elements"] == 2 * SHARDS, "label sets were read once for each comparison"
    check_with_duckdb(root)


def check_with_duckdb(root: str) -> None:
    """One `read_parquet` reads all files of a table, their columns the same."""
    expected = [("test", len(joined(drawn_sets(1)))), ("validation", len(joined(drawn_sets(2, 100))))]
    of_x_and_y = "where annotator_a = 'x' and annotator_b = 'y' group by split order by split"
    for counted, files in (("count(*)", "pairs/**"), ("sum(n)", "summary"), ("sum(n)", "confusion")):
        path = Path(root, "agreement", files, "*.parquet")
        assert duckdb.sql(f"select split, {counted}::int from '{path}' {of_x_and_y}").fetchall() == expected
        pairs = duckdb.sql(f"select distinct annotator_a, annotator_b from '{path}' order by all").fetchall()
        assert pairs == [("x", "human"), ("x", "y"), ("y", "human")]
    columns = duckdb.sql(f"select * from '{Path(root, 'agreement/pairs/**/*.parquet')}'").columns
    assert columns == [*tables.PAIRS.names, "annotator_a", "annotator_b", "dataset", "split"]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"images": "convert-dddddddddddddddd"},
            r"label sets of x, y, human for split 'test' of 'drawn' were made from different conv",
        ),
    ],
)
def test_sets_of_different_conversions_are_refused(root: str, changed: dict[str, Any], message: str) -> None:
    for old in Path(layout.labels(root, "drawn", "y", "test")).glob("*"):
        old.unlink()
    write_label_set(root, "drawn", "y", drawn_sets(1)["y"], **changed)
    with pytest.raises(IncompleteError, match=message):
        compare(root)
    assert not Path(root, "agreement").exists()


def test_a_missing_set_and_a_foreign_shard_are_refused(root: str) -> None:
    with pytest.raises(IncompleteError, match=r"no complete label set of 'z' for split 'test' of 'drawn'"):
        compare(root, "x", "z")
    shard = Path(layout.labels(root, "drawn", "y", "test"), layout.parquet_shard(3, SHARDS))
    parquet.write(str(shard), parquet.read(str(shard)), "another" * 2)
    with pytest.raises(IncompleteError, match=r"part-00003-of-00008\.parquet has fingerprint another"):
        compare(root)


def modified(root: str) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in pairs_folder(root).glob("*.parquet")}


def test_only_a_missing_shard_of_pairs_is_made_again(root: str) -> None:
    compare(root)
    before, summary = modified(root), table(root, "summary")
    (pairs_folder(root) / layout.parquet_shard(2, SHARDS)).unlink()
    stores.remove(str(pairs_folder(root) / "_concord.json"))
    (result,) = compare(root)
    after = modified(root)
    assert {name for name in before if after[name] != before[name]} == {layout.parquet_shard(2, SHARDS)}
    pd.testing.assert_frame_equal(table(root, "summary"), summary)
    assert result.built
    assert result.counts["out"] == summary["n"][0]


@pytest.mark.parametrize("lost", ["summary", "measures", "confusion"])
def test_a_missing_table_is_made_again_from_the_pairs(root: str, lost: str) -> None:
    compare(root)
    before, expected = modified(root), table(root, lost)
    stores.remove(layout.agreement_table(root, lost, "drawn", ("x", "y"), "test"))
    assert [result.built for result in compare(root)] == [True]
    assert modified(root) == before
    pd.testing.assert_frame_equal(table(root, lost), expected)


def test_a_second_call_does_nothing_and_a_changed_set_all(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (first,) = compare(root)
    with monkeypatch.context() as patch:
        patch.setattr(runner, "run", lambda *_: pytest.fail("a pipeline was run"))
        (second,) = compare(root)
    assert (second.built, second.counts, second.counters) == (False, first.counts, {})
    before = modified(root)
    write_label_set(root, "drawn", "y", drawn_sets(1)["y"].assign(label="0"))
    (third,) = compare(root)
    assert third.built
    assert all(written != before[name] for name, written in modified(root).items())
    assert table(root, "confusion")["label_b"].unique().tolist() == ["0"]
