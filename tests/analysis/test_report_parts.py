"""The page shows what there is: images or none, comparisons or none, people's verdicts or none."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from analysis.report.formatting import UNDEFINED
from analysis.report.page import is_current, list_headlines, write_report
from schemas import layout
from schemas.errors import IncompleteError
from schemas.settings.report import ReportSettings
from storage import stores
from tests.support import small_root
from tests.support.pages import Outline, only_script, page_of, section
from tests.support.small_root import SmallRoot, change_manifest
from tests.support.verdict_root import DATASET, UNSEEN, VERSION, VerdictRoot

ANIMALS = ReportSettings(dataset=DATASET)


def shown(page: str) -> list[str]:
    return [found["id"] for tag, found in Outline(page).tags if tag == "section"]


def take_images_away(root: str, dataset: str) -> None:
    shutil.rmtree(Path(root, "images", dataset))
    shutil.rmtree(Path(root, "index", f"dataset={dataset}"))


def join_verdicts(small: SmallRoot, verdicts: VerdictRoot) -> None:
    """Let the small dataset have what people confirmed of the animals, but for their label sets."""
    folder = Path(small.root, "labels", f"dataset={small_root.DATASET}")
    shutil.copy(Path(verdicts.root, "labels", f"dataset={DATASET}", "_concord.json"), folder)
    for table in Path(verdicts.root, "statistics").glob(f"*/{DATASET}.parquet"):
        copy = Path(small.root, "statistics", table.parent.name, f"{small_root.DATASET}.parquet")
        os.makedirs(copy.parent, exist_ok=True)
        shutil.copy(table, copy)
    shutil.copytree(
        Path(verdicts.root, "rejects", "confirm", f"dataset={DATASET}"),
        Path(small.root, "rejects", "confirm", f"dataset={small_root.DATASET}"),
    )


def test_verdicts_and_photographs(verdict_page: str) -> None:
    assert shown(verdict_page) == ["verdicts", "images", "reviewed", "provenance", "rejects"]
    assert "<h1>animals: what humans confirmed</h1>" in verdict_page
    text = Outline(verdict_page).text("provenance")
    assert "Settings of the confirmation" in text
    assert "on_conflict drop" in text


def test_verdicts_without_images(own_verdicts: VerdictRoot) -> None:
    take_images_away(own_verdicts.root, DATASET)
    page = page_of(own_verdicts.root, DATASET)
    assert shown(page) == ["verdicts", "provenance", "rejects"]
    assert "<img" not in page


def test_comparisons_without_images(small: SmallRoot, page: str) -> None:
    take_images_away(small.root, small_root.DATASET)
    without = page_of(small.root, small_root.DATASET)
    assert shown(without) == [
        *["agreement", "images", "disagreements", "classes", "labels", "confusion", "accuracy", "models", "learning"],
        *["provenance", "rejects"],
    ]
    assert "<img" not in without
    assert "cannot be shown" not in without
    assert Outline(without).text("agreement") == Outline(page).text("agreement")
    assert section(without, "disagreements").count('<p class="id">') == 24


def test_comparisons_and_verdicts(small: SmallRoot, verdicts: VerdictRoot, page: str, verdict_page: str) -> None:
    join_verdicts(small, verdicts)
    both = page_of(small.root, small_root.DATASET)
    assert shown(both) == [
        *["agreement", "verdicts", "images", "sample", "disagreements", "classes", "labels", "confusion", "accuracy"],
        *["models", "learning", "provenance", "rejects"],
    ]
    assert "<h1>small: how much the annotators agree</h1>" in both
    for name, alone in (("agreement", page), ("sample", page), ("disagreements", page)):
        assert section(both, name) == section(alone, name)
    verdict_text = (
        Outline(verdict_page).text("verdicts").replace(f"precision/{DATASET}", f"precision/{small_root.DATASET}")
    )
    assert Outline(both).text("verdicts") == verdict_text
    lines = list_headlines(small.root, small_root.DATASET)
    assert [line.split()[0] for line in lines] == ["cnn1", "humans"]
    assert lines[1:] == list_headlines(verdicts.root, DATASET)


def test_begun_comparison_is_named_beside_verdicts(own_verdicts: VerdictRoot) -> None:
    os.makedirs(layout.pairs(own_verdicts.root, DATASET, "human", "machine", "test"))
    found = Outline(page_of(own_verdicts.root, DATASET))
    assert "Not shown: human and machine on test: begun, but not finished." in found.text("agreement")
    assert not any("Agreement in figures" in table.caption for table in found.tables)


def test_malformed_rows_are_counted_with_an_example(verdict_page: str) -> None:
    text = Outline(verdict_page).text("rejects").replace(UNDEFINED, "-")
    assert "confirm machine - confidence_not_a_number 1 0000000000000000: Confidence is 'much<i>' (byte" in text
    assert "confirm machine - image_id_not_hex 1 00000000000000zz: ImageID is '00000000000000zz'" in text
    assert "confirm human - verdict_not_clear 1 0000000000000000: " in text


def test_lost_rejects_are_noticed(own_verdicts: VerdictRoot) -> None:
    shutil.rmtree(layout.confirm_rejects(own_verdicts.root, DATASET, "machine"))
    with pytest.raises(IncompleteError, match=r"holds 0 rejected rows instead of 2: run concord confirm with --force"):
        write_report(ANIMALS, own_verdicts.root)


def test_counts(own_verdicts: VerdictRoot) -> None:
    counts = write_report(ANIMALS, own_verdicts.root)
    assert counts["bytes"] == os.path.getsize(Path(own_verdicts.root, "report", DATASET, "index.html"))
    whole = json.loads(Path(own_verdicts.root, "labels", f"dataset={DATASET}", "_concord.json").read_bytes())["counts"]
    verdicts = whole["confirmed"] + whole["rejected"]
    assert {key: counts[key] for key in ("pairs", "verdicts", "models", "images", "unreadable", "rejected")} == {
        "pairs": 0,
        "verdicts": verdicts,
        "models": 0,
        "images": 48,
        "unreadable": 1,
        "rejected": 3,
    }


def test_report_is_current_until_people_confirm_something_else(own_verdicts: VerdictRoot) -> None:
    root, home = own_verdicts.root, layout.confirmation(own_verdicts.root, DATASET)
    write_report(ANIMALS, root)
    assert is_current(ANIMALS, root)
    was = json.loads(Path(home, "_concord.json").read_bytes())["fingerprint"]
    change_manifest(home, fingerprint="another")
    assert not is_current(ANIMALS, root)
    with pytest.raises(IncompleteError, match=rf"has fingerprint {was}, but its product is another"):
        write_report(ANIMALS, root)
    change_manifest(home, fingerprint=was)
    assert is_current(ANIMALS, root)
    take_images_away(root, DATASET)
    assert not is_current(ANIMALS, root)


def test_same_input_gives_the_same_bytes_in_another_process(verdicts: VerdictRoot, verdict_page: str) -> None:
    code = (
        "import sys; from analysis.report.page import write_report; from schemas.settings.report import ReportSettings;"
        f"write_report(ReportSettings(dataset={DATASET!r}), sys.argv[1])"
    )
    path = os.pathsep.join(filter(None, sys.path))
    environment = {**os.environ, "PYTHONHASHSEED": "77", "PYTHONPATH": path, "TZ": "Asia/Tokyo"}
    subprocess.run([sys.executable, "-c", code, verdicts.root], check=True, env=environment)
    assert Path(verdicts.root, "report", DATASET, "index.html").read_text() == verdict_page


def test_pages_need_nothing_from_outside(verdict_page: str) -> None:
    found = Outline(verdict_page)
    assert found.open == []
    assert not re.search("https?://", verdict_page)
    assert only_script(verdict_page)
    for tag, attributes in found.tags:
        assert tag not in {"link", "iframe", "object", "base"}
        assert attributes.get("src", "data:").startswith("data:")
        assert all(attributes.get(name, "#").startswith("#") for name in ("href", "xlink:href"))
    ids = [attributes["id"] for _, attributes in found.tags if "id" in attributes]
    assert len(set(ids)) == len(ids)
    used = {attributes["xlink:href"][1:] for tag, attributes in found.tags if tag == "use"}
    assert used <= set(ids)


@pytest.mark.parametrize("table", ["machine_precision", "labels_per_image", "verdict_sources"])
def test_missing_tables_name_the_cure(own_verdicts: VerdictRoot, table: str) -> None:
    stores.remove(layout.statistics_table(own_verdicts.root, table, DATASET))
    with pytest.raises(IncompleteError, match=rf"no {table} table of dataset 'animals' .*concord confirm with --force"):
        write_report(ANIMALS, own_verdicts.root)


def test_half_made_images_are_not_passed_over(own_verdicts: VerdictRoot) -> None:
    stores.remove(stores.join(layout.images(own_verdicts.root, DATASET, VERSION), "_concord.json"))
    with pytest.raises(IncompleteError, match=r"no complete dataset 'animals' in .*: run concord convert first"):
        write_report(ANIMALS, own_verdicts.root)


def test_half_made_verdicts_are_not_shown(own_verdicts: VerdictRoot) -> None:
    stores.remove(stores.join(layout.confirmation(own_verdicts.root, UNSEEN), "_concord.json"))
    for call in (
        lambda: write_report(ReportSettings(dataset=UNSEEN), own_verdicts.root),
        lambda: list_headlines(own_verdicts.root, UNSEEN),
    ):
        with pytest.raises(IncompleteError, match=r"nor label statistics nor networks of dataset 'unseen' in "):
            call()
