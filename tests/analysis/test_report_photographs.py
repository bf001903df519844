"""The sheet of photographs: the first ones in hash order, each with its own picture and what people said of it."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis import tables
from analysis.report import images
from analysis.report.page import write_report
from schemas import layout
from schemas.settings.report import ReportSettings
from storage import products
from storage.hashing import image_hashes
from tests.support import verdict_root
from tests.support.pages import decode_pixels, page_of, section
from tests.support.verdict_root import DAMAGED, DATASET, GONE, NAMES, PNG, SIZES, UNSEEN, VerdictRoot

SETTINGS = ReportSettings(dataset=DATASET)


def cards(page: str) -> dict[str, str]:
    """The markup of each card of the sheet, by image."""
    found = section(page, "reviewed").split('<li class="card">')[1:]
    return {re.findall(r'<p class="id">([^<]*)</p>', card)[0]: card for card in found}


def confirmed_rows(root: str, dataset: str = DATASET, annotator: str = "confirmed") -> pd.DataFrame:
    folder = Path(root, "labels", f"dataset={dataset}", f"annotator={annotator}")
    parts = [
        pd.read_parquet(path).assign(split=path.parent.name[6:]) for path in sorted(folder.glob("split=*/*.parquet"))
    ]
    return pd.concat(parts, ignore_index=True)


def first(root: str, limit: int, gone: str, annotator: str = "confirmed") -> list[str]:
    """The first images of each split in hash order, splits by name."""
    rows = confirmed_rows(root, annotator=annotator)
    order = []
    for split in sorted(rows.split.unique()):
        ids = list(dict.fromkeys(rows[rows.split == split].image_id))
        order += [ids[place] for place in np.argsort(image_hashes(ids)) if ids[place] != gone]
    return order[:limit]


def test_the_first_photographs_of_all_splits_are_shown(verdicts: VerdictRoot, verdict_page: str) -> None:
    shown = list(cards(verdict_page))
    assert shown == first(verdicts.root, 48, verdicts.order[GONE])
    splits = confirmed_rows(verdicts.root).groupby("image_id").split.first()
    assert splits[shown].nunique() == 2
    assert re.findall(r"<h4>(\w+)</h4>", section(verdict_page, "reviewed")) == list(dict.fromkeys(splits[shown]))


def test_each_photograph_has_its_own_labels(verdicts: VerdictRoot, verdict_page: str) -> None:
    rows = confirmed_rows(verdicts.root)
    several = 0
    for image, card in cards(verdict_page).items():
        own = rows[rows.image_id == image].assign(rejected=lambda found: found.verdict == "rejected")
        own = own.assign(name=[f"Apple ({label})" if NAMES[label] == "Apple" else NAMES[label] for label in own.label])
        own = own.sort_values(["rejected", "confidence", "name"], ascending=[True, False, True])
        said = re.findall(r"<li>(<b>|<span class=\"unseen\">rejected: </span><s>)(.*?)</(?:b|s)> .*?>([\d.]+)<", card)
        names = own.name.str.replace("&", "&amp;").str.replace("<", "&lt;").str.replace(">", "&gt;")
        assert [name for _, name, _ in said] == names.tolist()
        assert [mark != "<b>" for mark, *_ in said] == own.rejected.tolist()
        assert [float(sure) for *_, sure in said] == pytest.approx(own.confidence.tolist(), abs=0.006)
        several += len(own) > 1
    assert several > 20


def test_each_photograph_is_its_own(verdicts: VerdictRoot, verdict_page: str) -> None:
    for image, card in cards(verdict_page).items():
        if image == verdicts.order[DAMAGED]:
            assert "cannot be shown" in card
            continue
        found = decode_pixels(re.findall(r'src="([^"]+)"', card)[0])
        middle = found[found.shape[0] // 2, found.shape[1] // 2]
        np.testing.assert_allclose(middle, verdicts.colours[image][: middle.size], atol=6)
        width, height = SIZES.get(verdicts.order.index(image), (320, 240))
        scale = min(192 / max(width, height), 1)
        assert found.shape[:2] == (max(round(height * scale), 1), max(round(width * scale), 1))


def test_photographs_are_small_files(verdicts: VerdictRoot, verdict_page: str) -> None:
    kinds = {image: re.findall(r"data:image/(\w+);", card) for image, card in cards(verdict_page).items()}
    assert kinds[verdicts.order[PNG]] == ["jpeg"]  # scaled down
    assert [kinds[verdicts.order[number]] for number in SIZES] == [["jpeg"], ["jpeg"], ["png"], ["jpeg"]]


@pytest.mark.parametrize("shards", [1, 2, 16])
def test_images_and_labels_may_be_cut_into_other_shards(own_verdicts: VerdictRoot, shards: int) -> None:
    verdict_root.add_photographs(own_verdicts, shards)
    sources = tables.find_sources(SETTINGS, own_verdicts.root)
    found = images.sample_reviewed(sources, 1000)
    rows = confirmed_rows(own_verdicts.root)
    shown = {image["image_id"]: len(image["labels"]) for images in found.values() for image in images}
    assert shown == rows[rows.image_id != own_verdicts.order[GONE]].groupby("image_id").size().to_dict()


def test_limits_are_kept(verdicts: VerdictRoot) -> None:
    sources = tables.find_sources(SETTINGS, verdicts.root)
    gone = verdicts.order[GONE]
    for limit in (1, 5, 40, 47):
        found = images.sample_reviewed(sources, limit)
        ids = [image["image_id"] for images in found.values() for image in images]
        assert ids == first(verdicts.root, limit, gone)


def test_without_a_confirmed_set_people_s_own_is_shown(own_verdicts: VerdictRoot) -> None:
    for split in ("train", "validation", "test"):
        folder = layout.labels(own_verdicts.root, DATASET, "confirmed", split)
        Path(folder, products.MANIFEST).unlink()
    page = page_of(own_verdicts.root, DATASET)
    rows = confirmed_rows(own_verdicts.root, annotator="human")
    for image, card in cards(page).items():
        own = rows[rows.image_id == image]
        assert card.count("<b>") == (own.confidence == 1).sum()
        assert card.count("<s>") == (own.confidence == 0).sum()
        assert 'class="confidence"' not in card
    assert section(page, "reviewed").count("<s>") > 10


def test_dataset_without_labelled_photographs_has_no_sheet(own_verdicts: VerdictRoot) -> None:
    verdict_root.add_photographs(own_verdicts, 4, UNSEEN)
    assert write_report(ReportSettings(dataset=UNSEEN), own_verdicts.root)["images"] == 0
    page = Path(own_verdicts.root, "report", UNSEEN, "index.html").read_text()
    assert 'id="reviewed"' not in page
