"""The page: complete in itself, safe, repeatable, and true to the rows that it was made from."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

import analysis
from analysis.report.formatting import UNDEFINED
from analysis.report.page import is_current, list_headlines, write_report
from schemas import layout, tables
from schemas.errors import IncompleteError
from schemas.settings.report import ReportSettings
from storage import model_cards, stores
from storage.hashing import image_hashes, shard_of
from storage.products import ShardFolder, ShardReport
from tests.support.pages import Outline, only_script, page_of, section, shown_ids
from tests.support.small_root import (
    CLASSES,
    DAMAGED,
    DATASET,
    SHARDS,
    SPLIT,
    UNLABELLED,
    VERSION,
    Row,
    SmallRoot,
    build,
    change_manifest,
    pair_row,
    rank_disagreements,
    write_pairs,
)


@pytest.fixture(scope="module")
def outline(page: str) -> Outline:
    return Outline(page)


def test_page_needs_nothing_from_outside(page: str, outline: Outline) -> None:
    assert "http://" not in page
    assert "https://" not in page
    assert not re.search(r"url\(\s*[^#\s]|@import", page)
    assert only_script(page) == Path(analysis.__file__).with_name("templates").joinpath("sort.js").read_text()
    for tag, attributes in outline.tags:
        assert tag not in {"link", "iframe", "object", "base"}
        assert attributes.get("src", "data:").startswith("data:")
        for name in ("href", "xlink:href"):
            assert attributes.get(name, "#").startswith("#")


def test_page_is_well_formed(outline: Outline) -> None:
    assert outline.open == []
    ids = [attributes["id"] for _, attributes in outline.tags if "id" in attributes]
    anchors = [attributes["href"][1:] for tag, attributes in outline.tags if tag == "a"]
    assert set(anchors) <= set(ids)
    of_the_page = [name for name in ids if not re.fullmatch(r"[a-z]+[0-9a-f]{10}", name)]  # the rest are matplotlib's
    assert len(set(of_the_page)) == len(of_the_page)
    assert all(attributes.get("alt") for tag, attributes in outline.tags if tag == "img")


def test_labels_are_text_never_markup(page: str, outline: Outline) -> None:
    assert "alert" not in only_script(page)
    assert "<b>nan" not in page
    assert "<script>alert(1)</script>" in outline.text("sample")
    assert "cat & dog" in outline.text("sample")


def test_headline_holds_the_figures_of_the_rows(pristine: SmallRoot, outline: Outline) -> None:
    same = sum(row["label_a"] == row["label_b"] for row in pristine.rows)
    known = [row for row in pristine.rows if row["reference"] is not None]
    right = sum(row["label_b"] == row["reference"] for row in known)
    text = outline.text("agreement")
    assert f"cnn1 and cnn2 give the same label to {100 * same / 59:.1f} % of 59 test images" in text
    assert f"Against the human labels (known for {len(known)} of these images)" in text
    assert f"and cnn2 of {100 * right / len(known):.1f} % . Where the two agree, their accuracy is" in text


def test_figures_of_the_headline_follow_from_the_rows(pristine: SmallRoot, outline: Outline) -> None:
    agreed = [row for row in pristine.rows if row["label_a"] == row["label_b"] and row["reference"] is not None]
    right = sum(row["label_a"] == row["reference"] for row in agreed)
    assert 0 < right < len(agreed)
    assert f"{right} of {len(agreed)}" in outline.text("agreement")


def test_the_summary_holds_the_headlines_and_the_figures(pristine: SmallRoot, page: str) -> None:
    lines = Path(pristine.root, "report", DATASET, "summary.md").read_text().splitlines()
    told = list_headlines(pristine.root, DATASET)
    assert lines[0] == f"# {DATASET}: how much the annotators agree"
    assert [line for line in lines if line.startswith("- ")] == [f"- {line}" for line in told]
    tables = [line for line in lines if line.startswith("| ")]
    same = sum(row["label_a"] == row["label_b"] for row in pristine.rows)
    assert any(line.startswith(f"| cnn1, cnn2 | test | 59 | {100 * same / 59:.1f} % |") for line in tables)
    assert len({line.count(" | ") for line in tables}) == 1


def test_terminal_headline(pristine: SmallRoot) -> None:
    from sklearn.metrics import accuracy_score, cohen_kappa_score

    a, b = ([row[f"label_{side}"] for row in pristine.rows] for side in "ab")
    known = [row for row in pristine.rows if row["reference"] is not None]
    right = [
        accuracy_score([row["reference"] for row in known], [row[f"label_{side}"] for row in known]) for side in "ab"
    ]
    kappa = cohen_kappa_score(a, b)
    assert list_headlines(pristine.root, DATASET) == [
        f"cnn1 and cnn2 agree on {100 * accuracy_score(a, b):.1f} % of 59 test images "
        f"(Cohen's kappa {kappa:.2f}, 95 % interval {kappa - 0.1:.2f} to {kappa + 0.1:.2f}; AC1 0.12); "
        f"accuracy against the human labels on {len(known)} images: "
        f"cnn1 {right[0]:.3f}, cnn2 {right[1]:.3f}"
    ]


def test_most_confident_disagreements_in_their_order(pristine: SmallRoot, page: str) -> None:
    expected = [row["image_id"] for row in rank_disagreements(pristine.rows)]
    assert len(expected) == 24
    assert expected[0] == DAMAGED
    assert shown_ids(page, "disagreements") == expected


def test_contact_sheet_shows_the_first_images_that_are_in_a_comparison(pristine: SmallRoot, page: str) -> None:
    assert UNLABELLED in pristine.order[:48]
    assert shown_ids(page, "sample") == [name for name in pristine.order if name != UNLABELLED][:48]


def test_marks_follow_from_the_truth(pristine: SmallRoot, page: str) -> None:
    shown = [row for row in pristine.rows if row["image_id"] in shown_ids(page, "sample")]
    known = [row for row in shown if row["reference"] is not None]
    wrong = sum(row[f"label_{side}"] != row["reference"] for row in known for side in "ab")
    marked = section(page, "sample")
    assert marked.count("wrong: ") == marked.count("✗</span>") == wrong
    assert marked.count("correct: ") == 2 * len(known) - wrong
    assert marked.count("not known</dd>") == len(shown) - len(known) > 0


def test_damaged_image_is_said_to_be_so(page: str) -> None:
    assert section(page, "disagreements").count("cannot be shown") == 1


def test_rejects_are_counted_with_an_example(outline: Outline) -> None:
    text = outline.text("rejects")
    assert f"convert {UNDEFINED} test label_missing 2 bad<0>: label nan (row 7 of in.h5)" in text
    assert f"label cnn2 test record_damaged 1 {UNLABELLED}: crc" in text


def test_class_that_is_never_given_is_in_the_matrix(outline: Outline) -> None:
    assert outline.text("accuracy").count(CLASSES[3]) >= 4  # a class and a row and a column, for each annotator
    assert f"{CLASSES[3]} 0.000 0.000 0.000" in outline.text("accuracy")


def test_counts(small: SmallRoot, settings: ReportSettings) -> None:
    counts = write_report(settings, small.root)
    shown = {*(name for name in small.order if name != UNLABELLED)}
    assert 48 <= counts.pop("images") <= len(shown)
    assert counts.pop("bytes") == os.path.getsize(Path(small.root, "report", DATASET, "index.html"))
    assert counts == {"pairs": 1, "verdicts": 0, "models": 2, "unreadable": 1, "disagreements": 24, "rejected": 3}


def test_same_input_gives_the_same_bytes_in_another_process(small: SmallRoot, page: str) -> None:
    code = (
        "import sys; from analysis.report.page import write_report; from schemas.settings.report import ReportSettings;"
        f"write_report(ReportSettings(dataset={DATASET!r}), sys.argv[1])"
    )
    environment = {
        **os.environ,
        "PYTHONHASHSEED": "77",
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "TZ": "Asia/Tokyo",
    }
    subprocess.run([sys.executable, "-c", code, small.root], check=True, env=environment)
    assert Path(small.root, "report", DATASET, "index.html").read_text() == page


def test_report_is_current_until_something_changes(small: SmallRoot, settings: ReportSettings) -> None:
    pairs, model = layout.pairs(small.root, DATASET, "cnn1", "cnn2", SPLIT), layout.model(small.root, DATASET, "cnn1")
    assert not is_current(settings, small.root)
    write_report(settings, small.root)
    assert is_current(settings, small.root)
    assert not is_current(ReportSettings(dataset=DATASET, models=("cnn1",)), small.root)
    change_manifest(pairs, fingerprint="another")
    assert not is_current(settings, small.root)
    change_manifest(pairs, fingerprint="agree-cnn1-cnn2")
    assert is_current(settings, small.root)
    card = model_cards.require_card(model)
    model_cards.write_card(model, card.model_copy(update={"fingerprint": "another"}))
    assert not is_current(settings, small.root)
    model_cards.write_card(model, card)
    stores.remove(stores.join(small.root, "report", DATASET, "index.html"))
    assert not is_current(settings, small.root)


def test_comparison_that_is_not_whole_is_named_and_left_out(small: SmallRoot, settings: ReportSettings) -> None:
    rows = [
        pair_row(small.order[0], ("plain", 1.0), ("plain", 1.0), None),
        pair_row(small.order[1], ("never", 1), ("plain", 1), None),
    ]
    write_pairs(small.root, "cnn1", "zebra", rows)
    stores.remove(stores.join(layout.pairs(small.root, DATASET, "cnn1", "zebra", SPLIT), "_concord.json"))
    assert write_report(settings, small.root)["pairs"] == 1
    text = Outline(Path(small.root, "report", DATASET, "index.html").read_text()).text("agreement")
    assert "Not shown: cnn1 and zebra on test: begun, but not finished." in text


def test_several_comparisons_show_all_labels_and_the_truth_of_an_image(
    small: SmallRoot, settings: ReportSettings
) -> None:
    rows = [pair_row(row["image_id"], (row["label_a"], 0.5), ("plain", 0.5), None) for row in small.rows]
    write_pairs(small.root, "cnn1", "zebra", rows, "human")  # read last, without any truth
    write_pairs(small.root, "aardvark", "cnn1", [swapped(row) for row in rows], "human")  # read first
    assert write_report(settings, small.root)["pairs"] == 3
    assert len(list_headlines(small.root, DATASET)) == 3
    sheet = section(Path(small.root, "report", DATASET, "index.html").read_text(), "sample")
    assert re.findall(r"<dt>(\w+)</dt>", sheet.partition("</li>")[0]) == ["human", "aardvark", "cnn1", "cnn2", "zebra"]
    shown = [row for row in small.rows if row["image_id"] != UNLABELLED][:48]
    assert sheet.count("not known</dd>") == sum(row["reference"] is None for row in shown)


def test_an_annotator_is_judged_by_its_comparison_with_most_truths(small: SmallRoot, settings: ReportSettings) -> None:
    known = [row for row in small.rows if row["reference"] is not None]
    write_pairs(small.root, "aardvark", "cnn1", [swapped(row) for row in known[:5]], "human")
    write_pairs(small.root, "cnn1", "zebra", known[:9], "human")
    write_report(settings, small.root)
    text = Outline(Path(small.root, "report", DATASET, "index.html").read_text()).text("accuracy")
    supports = re.findall(r"(\w+), test Accuracy [\d.]+ % on (\d+) images", text)
    assert supports == [("aardvark", "5"), ("cnn1", str(len(known))), ("cnn2", str(len(known))), ("zebra", "9")]


def swapped(row: Row) -> Row:
    """The row of the same image with a and b changing places."""
    return pair_row(
        row["image_id"], (row["label_b"], row["confidence_b"]), (row["label_a"], row["confidence_a"]), row["reference"]
    )


def test_page_without_truth(tmp_path: Path, settings: ReportSettings) -> None:
    made = build(str(tmp_path / "root"), truth=False)
    write_report(settings, made.root)
    page = Path(made.root, "report", DATASET, "index.html").read_text()
    assert 'id="accuracy"' not in page
    assert 'class="mark"' not in page
    assert "Against" not in page
    assert "accuracy" not in list_headlines(made.root, DATASET)[0]


def test_without_agreement_tables_the_cure_is_named(small: SmallRoot, settings: ReportSettings) -> None:
    stores.remove(layout.agreement_table(small.root, "summary", DATASET, ("cnn1", "cnn2"), SPLIT))
    with pytest.raises(IncompleteError, match=r"no summary table of cnn1 and cnn2 .*: run concord agree first"):
        write_report(settings, small.root)
    stores.remove(stores.join(layout.pairs(small.root, DATASET, "cnn1", "cnn2", SPLIT), "_concord.json"))
    write_report(settings, small.root)
    page = Path(small.root, "report", DATASET, "index.html").read_text()
    assert "<h1>small: what the networks learned" in page
    shutil.rmtree(Path(small.root, "models"))
    nothing = r"neither agreement tables nor label statistics nor networks of dataset 'small' .*: run concord agree"
    for call in (lambda: write_report(settings, small.root), lambda: list_headlines(small.root, DATASET)):
        with pytest.raises(IncompleteError, match=nothing):
            call()


def test_without_images_or_models_the_cure_is_named(small: SmallRoot, settings: ReportSettings) -> None:
    with pytest.raises(IncompleteError, match=r"no complete model in .*nobody: run concord train first"):
        write_report(ReportSettings(dataset=DATASET, models=("nobody",)), small.root)
    stores.remove(stores.join(layout.images(small.root, DATASET, VERSION), "_concord.json"))
    with pytest.raises(IncompleteError, match=r"run concord convert first"):
        write_report(settings, small.root)


def test_mixtures_are_refused(small: SmallRoot, settings: ReportSettings) -> None:
    pairs = layout.pairs(small.root, DATASET, "cnn1", "cnn2", SPLIT)
    change_manifest(pairs, fingerprint="another")
    with pytest.raises(IncompleteError, match=r"has fingerprint agree-cnn1-cnn2, but its product is another"):
        write_report(settings, small.root)
    change_manifest(pairs, fingerprint="agree-cnn1-cnn2", shards=8)
    with pytest.raises(IncompleteError, match=r"part-00000-of-00008.parquet is missing: run concord agree first"):
        write_report(settings, small.root)


@pytest.mark.parametrize("shards", [1, 2, 16])
def test_pairs_may_have_fewer_shards_than_their_images_or_more(
    small: SmallRoot, settings: ReportSettings, page: str, shards: int
) -> None:
    folder = layout.pairs(small.root, DATASET, "cnn1", "cnn2", SPLIT)
    for shard in range(SHARDS):
        stores.remove(stores.join(folder, layout.parquet_shard(shard, SHARDS)))
    divided = ShardFolder(folder, shards, "agree-cnn1-cnn2")
    places = shard_of(image_hashes([row["image_id"] for row in small.rows]), shards)
    for shard in range(shards):
        rows = [row for row, place in zip(small.rows, places, strict=True) if place == shard]
        divided.write(shard, pa.Table.from_pylist(rows, schema=tables.PAIRS), ShardReport(len(rows), len(rows)))
    change_manifest(folder, shards=shards)
    assert page_of(small.root, DATASET) == page


def test_missing_shard_is_named(small: SmallRoot, settings: ReportSettings) -> None:
    pairs = layout.pairs(small.root, DATASET, "cnn1", "cnn2", SPLIT)
    stores.remove(stores.join(pairs, layout.parquet_shard(1, 4)))
    with pytest.raises(IncompleteError, match=r"part-00001-of-00004.parquet is missing: run concord agree first"):
        write_report(settings, small.root)
    assert not Path(small.root, "report", DATASET, "index.html").exists()
