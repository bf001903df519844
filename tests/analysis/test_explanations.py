"""The section on where networks looked: each image's own pictures, in the order of the disagreements."""

import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from analysis.report.page import is_current, write_report
from schemas import layout, tables
from schemas.errors import IncompleteError
from schemas.manifests import ScoresManifest
from schemas.settings.report import ReportSettings
from storage import model_cards, products
from storage.hashing import image_hashes, shard_of
from storage.products import ShardFolder, ShardReport
from tests.support.pages import Outline, decode_pixels, page_of, section, shown_ids
from tests.support.small_root import (
    DAMAGED,
    DATASET,
    IMAGES_FINGERPRINT,
    SHARDS,
    SPLIT,
    Row,
    SmallRoot,
    change_manifest,
    rank_disagreements,
)

COLOURS = {"cnn1": (200, 20, 40), "cnn2": (10, 60, 220)}


def png(colour: tuple[int, ...], size: tuple[int, int] = (128, 96)) -> bytes:
    sink = io.BytesIO()
    Image.new("RGB" if len(colour) == 3 else "L", size, colour if len(colour) == 3 else colour[0]).save(sink, "PNG")
    return sink.getvalue()


def explain(root: str, annotator: str, ids: list[str], rejected: tuple[str, ...] = (), **facts: Any) -> ShardFolder:
    """Explanations as the stage would leave them; each image has a grey of its own, each annotator a colour."""
    rest = (SHARDS, f"explain-{annotator}")
    output = ShardFolder(layout.explanations(root, DATASET, annotator, SPLIT), *rest)
    rejects = ShardFolder(layout.explain_rejects(root, DATASET, annotator, SPLIT), *rest)
    parts = shard_of(image_hashes(ids), SHARDS).tolist()
    for shard in set(parts):
        rows = [
            {
                "image_id": name,
                "label": f"label <{name}>",
                "confidence": 0.625,
                "image": png((grey(name),)),
                "heat_map": png(COLOURS[annotator]),
            }
            for name, part in zip(ids, parts, strict=True)
            if part == shard and name not in rejected
        ]
        output.write(shard, pa.Table.from_pylist(rows, schema=tables.EXPLANATIONS), ShardReport(len(rows), len(rows)))
        away = {"source": "shard", "position": "record 1", "reason": "image_undecodable", "detail": "not a PNG"}
        turned = [{"image_id": name, **away} for name in rejected if parts[ids.index(name)] == shard]
        rejects.write(shard, pa.Table.from_pylist(turned, schema=tables.REJECTS), ShardReport())
    counts = {"rejected": {"image_undecodable": len(rejected)} if rejected else {}}
    known = {"name": annotator, "split": SPLIT, "requested": ids, "images": IMAGES_FINGERPRINT, "rows": len(ids)}
    manifest = ScoresManifest(
        stage="explain",
        product=f"{DATASET}/{annotator}/{SPLIT}",
        fingerprint=output.fingerprint,
        counts=counts,
        shards=SHARDS,
        parts=sorted(set(parts)),
        **{**known, **facts},
    )
    products.write_manifest(output.folder, manifest)
    return output


def grey(name: str) -> int:
    return 40 + int(name[:3])


def items(page: str) -> list[str]:
    return section(page, "explanations").split('<li class="card">')[1:]


@pytest.fixture
def asked(small: SmallRoot) -> list[Row]:
    """The rows of four disagreements."""
    rows = rank_disagreements(small.rows)[:4]
    ids = [row["image_id"] for row in rows]
    assert DAMAGED in ids
    explain(small.root, "cnn1", ids)
    explain(small.root, "cnn2", [ids[3], ids[0], ids[2], ids[1]])
    return rows


def test_each_disagreement_stands_with_both_heats_in_order(small: SmallRoot, asked: list[Row]) -> None:
    page = page_of(small.root, DATASET)
    assert shown_ids(page, "explanations") == [row["image_id"] for row in asked]
    for item, row in zip(items(page), asked, strict=True):
        picture, *heats = [decode_pixels(uri) for uri in re.findall(r'<img src="([^"]+)"', item)]
        assert (picture == grey(row["image_id"])).all()
        for heat, annotator in zip(heats, COLOURS, strict=True):
            np.testing.assert_allclose(heat.mean(axis=(0, 1)), COLOURS[annotator], atol=3)


def test_one_that_cannot_tell_has_an_empty_place(small: SmallRoot) -> None:
    ids = [row["image_id"] for row in rank_disagreements(small.rows)[:2]]
    explain(small.root, "cnn2", ids)
    page = page_of(small.root, DATASET)
    assert shown_ids(page, "explanations") == ids
    for item in items(page):
        assert item.count("no heat map") == 1
        picture, heat = [decode_pixels(uri) for uri in re.findall(r'<img src="([^"]+)"', item)]
        assert picture.ndim == 2
        np.testing.assert_allclose(heat.mean(axis=(0, 1)), COLOURS["cnn2"], atol=3)
        assert item.index("no heat map") < item.index("data:image/jpeg")  # a stands first


def test_what_only_one_was_asked_about_is_no_comparison(small: SmallRoot) -> None:
    first, second = (row["image_id"] for row in rank_disagreements(small.rows)[:2])
    explain(small.root, "cnn1", [first, second])
    explain(small.root, "cnn2", [second])
    page = page_of(small.root, DATASET)
    assert shown_ids(page, "explanations") == [second, first]
    assert page.index("Chosen images") > page.index("image of the confident disagreements")
    assert "1 image of the confident disagreements" in Outline(page).text("explanations")


def test_labels_and_marks_are_those_of_the_comparison(small: SmallRoot, asked: list[Row]) -> None:
    page = page_of(small.root, DATASET)
    for item, row in zip(items(page), asked, strict=True):
        said = re.findall(r'<span class="who">(\w+)</span>(.*?)<b>(.*?)</b> <span class="confidence">([\d.]+)<', item)
        assert [annotator for annotator, *_ in said] == ["cnn1", "cnn2"]
        names = [label.replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">") for _, _, label, _ in said]
        assert names == [row["label_a"], row["label_b"]]
        assert [float(sure) for *_, sure in said] == [row["confidence_a"], row["confidence_b"]]
        for side, (_, mark, *_) in zip("ab", said, strict=True):
            known = row["reference"] is not None
            assert ("correct: " in mark, "wrong: " in mark) == (
                known and row[f"correct_{side}"],
                known and not row[f"correct_{side}"],
            )


def test_chosen_images_have_a_place_of_their_own(small: SmallRoot) -> None:
    ids = [row["image_id"] for row in small.rows if row["agree"]][:2]
    explain(small.root, "cnn2", ids)
    page = page_of(small.root, DATASET)
    assert shown_ids(page, "explanations") == ids
    text = Outline(page).text("explanations")
    assert f"Chosen images, {SPLIT} image {ids[0]} cnn2 label <{ids[0]}> 0.625" in text
    assert "cnn1" not in text
    assert all(attributes.get("alt") for tag, attributes in Outline(page).tags if tag == "img")


def test_without_explanations_there_is_no_section(page: str) -> None:
    assert 'id="explanations"' not in page


def test_the_page_follows_the_explanations(small: SmallRoot, settings: ReportSettings) -> None:
    write_report(settings, small.root)
    assert is_current(settings, small.root)
    folder = explain(small.root, "cnn1", [small.order[5]]).folder
    assert not is_current(settings, small.root)
    write_report(settings, small.root)
    assert is_current(settings, small.root)
    assert "heat maps of cnn1, test explain-cnn1" in Outline(
        Path(small.root, "report", DATASET, "index.html").read_text()
    ).text("provenance")
    change_manifest(folder, fingerprint="another")
    assert not is_current(settings, small.root)
    with pytest.raises(IncompleteError, match=r"has fingerprint explain-cnn1, but its product is another"):
        write_report(settings, small.root)


@pytest.mark.parametrize("changed", ["images", "weights"])
def test_explanations_of_another_state_are_left_out_and_named(
    small: SmallRoot, settings: ReportSettings, changed: str
) -> None:
    explain(small.root, "cnn1", [small.order[5]], (), **{changed: "former"})
    write_report(settings, small.root)
    page = Path(small.root, "report", DATASET, "index.html").read_text()
    assert items(page) == []
    assert "Not shown: heat maps of cnn1 on test" in Outline(page).text("explanations")
    assert "run concord explain again" in Outline(page).text("explanations")
    card = model_cards.require_card(layout.model(small.root, DATASET, "cnn1"))
    model_cards.write_card(
        layout.model(small.root, DATASET, "cnn1"), card.model_copy(update={"weights_sha256": "former"})
    )
    assert is_current(settings, small.root) == (changed == "images")  # by now the network is that of the pictures


def test_what_could_not_be_explained_is_listed(small: SmallRoot) -> None:
    ids = small.order[:3]
    explain(small.root, "cnn2", ids, rejected=(ids[1],))
    page = page_of(small.root, DATASET)
    assert f"explain cnn2 test image_undecodable 1 {ids[1]}: not a PNG" in Outline(page).text("rejects")
    assert shown_ids(page, "explanations") == [ids[0], ids[2]]


def test_a_missing_shard_names_the_cure(small: SmallRoot, settings: ReportSettings) -> None:
    folder = explain(small.root, "cnn2", small.order[:3])
    next(Path(folder.folder).glob("*.parquet")).unlink()
    with pytest.raises(IncompleteError, match=r"parquet is missing: run concord explain again"):
        write_report(settings, small.root)


def test_the_surest_disagreements_are_ranked_the_same_in_parts(small: SmallRoot) -> None:
    expected = [row["image_id"] for row in rank_disagreements(small.rows)]
    key = ("cnn1", "cnn2", SPLIT)
    for limit in (1, 5, 24):
        assert products.list_disagreements(small.root, DATASET, key, limit) == expected[:limit]
    assert products.list_disagreements(small.root, DATASET, key, 1000)[:24] == expected
    assert list(products.find_comparisons(small.root, DATASET)) == [key]
    change_manifest(layout.pairs(small.root, DATASET, *key), fingerprint="another")
    with pytest.raises(IncompleteError, match="but its product is another"):
        products.list_disagreements(small.root, DATASET, key, 5)
