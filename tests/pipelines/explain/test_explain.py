"""Explaining: the heat of the network itself over the stored pixels, of the images asked about, each accounted for."""

import io
import json
import logging
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from matplotlib import colormaps
from PIL import Image

from analysis import tables as analysis_tables
from models import saved_models
from models.gradcam import GradCam
from models.networks import cnn1, cnn2, logistic
from models.tensorflow_setup import tensorflow as tf
from pipelines import runner
from pipelines.explain import driver, heat_maps
from pipelines.explain.driver import requested_images
from pipelines.explain.transforms import ShardExplainer, most_probable_labels
from pipelines.stages import STAGES
from schemas import layout, run_files, tables
from schemas.errors import IncompleteError, InputError, TooManyRejectsError
from schemas.manifests import ExternalModel
from schemas.settings.agree import AgreeSettings
from schemas.settings.explain import ExplainSettings
from schemas.settings.label import LabelSettings
from schemas.settings.report import ReportSettings
from schemas.stage import Context, StageResult
from storage import model_cards, products, tfrecord
from storage.products import ShardReport
from storage.tfrecord import decode_example, encode_example
from tests.support import small_models
from tests.support.stages import agree, explain, label


def run(root: str, *models: str, force: bool = False, **changed: Any) -> list[StageResult]:
    settings = ExplainSettings(dataset="drawn", models=models or ("first", "second"), accelerator="", **changed)
    return explain(settings, Context(root, force=force))


@pytest.fixture(scope="module")
def compared(converted: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A root with two networks, one without convolutions, their labels and their comparison. Read it only."""
    root = str(shutil.copytree(converted, tmp_path_factory.mktemp("compared") / "root"))
    small_models.save(root, "first", cnn1.build, seed=1)
    small_models.save(root, "second", cnn2.build, seed=2)
    small_models.save(root, "flat", logistic.build)
    names = ("first", "second", "flat")
    label(LabelSettings(dataset="drawn", models=names, accelerator=""), Context(root))
    agree(AgreeSettings(dataset="drawn", annotators=names[:2], reference="human"), Context(root))
    return root


@pytest.fixture(scope="module")
def explained(compared: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, list[StageResult]]:
    """The same with explanations of seven disagreements, and what the stage said. Read it only."""
    root = str(shutil.copytree(compared, tmp_path_factory.mktemp("explained") / "root"))
    return root, run(root, disagreements=7, batch_size=3)


@pytest.fixture
def own(compared: str, tmp_path: Path) -> str:
    """A copy of `compared`, to be written to."""
    return str(shutil.copytree(compared, tmp_path / "root"))


def folder(root: str, model: str = "first", split: str = "test") -> Path:
    return Path(layout.explanations(root, "drawn", model, split))


def rows_of(where: Path | str) -> pd.DataFrame:
    found: pd.DataFrame = pd.concat([pq.read_table(path).to_pandas() for path in sorted(Path(where).glob("*.parquet"))])
    return found


def manifest(root: str, model: str = "first") -> Any:
    return json.loads((folder(root, model) / products.MANIFEST).read_text())


def ranked(root: str, limit: int) -> list[str]:
    """The most confident disagreements, the plain way."""
    pairs = rows_of(layout.pairs(root, "drawn", "first", "second", "test"))
    pairs = pairs[pairs.label_a != pairs.label_b]
    pairs = pairs.assign(least=pairs[["confidence_a", "confidence_b"]].min(axis=1))
    found: list[str] = pairs.sort_values(["least", "image_id"], ascending=[False, True]).image_id.tolist()
    assert len(found) > 20 and pairs.least.nunique() > 20, "a wrong ranking would not show"
    return found[:limit]


def stored(root: str, image_id: str, split: str = "test") -> npt.NDArray[np.uint8]:
    """The pixels of an image, by TensorFlow alone."""
    for path in sorted(Path(layout.images(root, "drawn", "1.0.0")).glob(f"drawn-{split}.tfrecord-*")):
        for payload in tf.data.TFRecordDataset(str(path)):
            encoded, name = decode_example(payload.numpy())
            if name == image_id:
                pixels: npt.NDArray[np.uint8] = tf.io.decode_png(encoded).numpy()
                return pixels
    raise KeyError(image_id)


def shown(content: bytes) -> npt.NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(content)))


def test_the_images_are_the_surest_disagreements_as_the_report_ranks_them(explained: tuple[str, list[Any]]) -> None:
    root, _ = explained
    expected = ranked(root, 7)
    for model in ("first", "second"):
        assert manifest(root, model)["requested"] == expected
        assert sorted(rows_of(folder(root, model)).image_id) == sorted(expected)
    (pair,) = analysis_tables.find_sources(ReportSettings(dataset="drawn"), root).pairs
    assert [row["image_id"] for row in analysis_tables.digest(pair, 7).disagreements] == expected


@pytest.mark.parametrize("model", ["first", "second"])
def test_pictures_are_the_stored_pixels_and_the_network_s_own_heat(
    explained: tuple[str, list[Any]], model: str
) -> None:
    root, _ = explained
    network = GradCam(saved_models.load(layout.model(root, "drawn", model)), "multiclass", 10)
    labels = rows_of(layout.labels(root, "drawn", model, "test")).set_index("image_id")
    for row in rows_of(folder(root, model)).to_dict("records"):
        pixels = stored(root, row["image_id"])
        assert row["label"] == labels.label[row["image_id"]]
        assert row["confidence"] == pytest.approx(labels.confidence[row["image_id"]], abs=1e-5)
        np.testing.assert_array_equal(shown(row["image"]), np.kron(pixels[..., 0], np.ones((4, 4), np.uint8)))
        heat = network.explain(pixels[None])[0]
        smooth = tf.image.resize(heat[..., None], (128, 128)).numpy()[0, ..., 0]
        expected = 0.6 * colormaps["viridis"](smooth)[..., :3] * 255 + 0.4 * shown(row["image"])[..., None]
        np.testing.assert_allclose(shown(row["heat_map"]), expected, atol=3)


def test_a_shard_is_an_element_and_only_what_is_asked_about_is_read(explained: tuple[str, list[Any]]) -> None:
    root, results = explained
    assert [(one.stage, one.product, one.built) for one in results] == [
        ("explain", "drawn/first/test", True),
        ("explain", "drawn/second/test", True),
    ]
    assert [one.counts for one in results] == [{"in": 7, "out": 7, "rejected": {}}] * 2
    parts = {int(path.name[5:10]) for path in folder(root).glob("*.parquet")}
    assert manifest(root)["parts"] == sorted(parts) and len(parts) < 7
    assert results[0].counters["explain.elements"] == 2 * len(parts)
    assert results[0].counters["explain.out"] == 2 * 7
    whole = min(path.stat().st_size for path in Path(layout.images(root, "drawn", "1.0.0")).glob("drawn-test*"))
    assert results[0].counters["explain.element_bytes.max"] < whole / 3


def test_the_sheet_shows_every_image_beside_its_heat(explained: tuple[str, list[Any]]) -> None:
    root, _ = explained
    sheet = np.asarray(Image.open(folder(root) / layout.SHEET).convert("RGB")).astype(int)
    found = rows_of(folder(root)).set_index("image_id")
    for number, image_id in enumerate(manifest(root)["requested"]):
        heat = shown(found.heat_map[image_id])
        places = np.argwhere((sheet[:-127, :-127] == heat[0, 0]).all(axis=2))
        there = [at for at in places.tolist() if (sheet[at[0] : at[0] + 128, at[1] : at[1] + 128] == heat).all()]
        assert len(there) == 1, number
        top, left = there[0]
        before = sheet[top : top + 128, left - 132 : left - 4, 0]
        np.testing.assert_array_equal(before, shown(found.image[image_id]))


def test_a_second_run_does_nothing(own: str, monkeypatch: pytest.MonkeyPatch) -> None:
    run(own, disagreements=3)
    written = {path: path.stat().st_mtime_ns for path in folder(own).iterdir()}

    def no_pipeline(*_: object) -> None:
        raise RuntimeError("a pipeline was run")

    monkeypatch.setattr(runner, "run", no_pipeline)
    results = run(own, disagreements=3)
    assert [(one.built, one.counts["out"]) for one in results] == [(False, 3)] * 2
    assert {path: path.stat().st_mtime_ns for path in folder(own).iterdir()} == written
    with pytest.raises(RuntimeError, match="a pipeline was run"):
        run(own, disagreements=3, force=True)


def test_what_explanations_follow_from_is_in_their_fingerprint(compared: str) -> None:
    images, card = (
        products.image_set(compared, "drawn", "1.0.0"),
        model_cards.require_card(f"{compared}/models/drawn/first"),
    )
    asked = tuple(ranked(compared, 3))

    def tag(ids: tuple[str, ...] = asked, weights: str = card.weights_sha256, **changed: Any) -> str:
        settings = ExplainSettings(**{"dataset": "drawn", "models": ("first",), **changed})
        return driver.explanations(
            settings, images, card.model_copy(update={"weights_sha256": weights}), ids
        ).fingerprint

    others = [tag(asked[:2]), tag(asked[::-1]), tag(weights="others"), tag(batch_size=5), tag(split="train")]
    assert len({tag(), *others}) == 6
    assert tag(accelerator="x", max_reject_fraction=0.1, disagreements=9) == tag()


def test_other_weights_are_asked_again(own: str) -> None:
    run(own, "first", disagreements=3)
    small_models.save(own, "first", cnn1.build, seed=1, scale=5.0)
    assert [one.built for one in run(own, "first", disagreements=3)] == [True]


def test_only_a_missing_shard_is_made_again(own: str) -> None:
    run(own, "first", disagreements=7)
    before = {path.name: path.stat().st_mtime_ns for path in folder(own).glob("*.parquet")}
    gone = sorted(before)[1]
    (folder(own) / gone).unlink()
    (folder(own) / products.MANIFEST).unlink()
    (result,) = run(own, "first", disagreements=7)
    assert result.counters["explain.elements"] == 1
    after = {path.name: path.stat().st_mtime_ns for path in folder(own).glob("*.parquet")}
    assert {name for name in after if after[name] != before[name]} == {gone}
    assert result.counts["out"] == 7


def test_a_sheet_that_is_gone_is_drawn_again(own: str) -> None:
    run(own, "first", disagreements=2)
    sheet = folder(own) / layout.SHEET
    content = sheet.read_bytes()
    sheet.unlink()
    assert [one.built for one in run(own, "first", disagreements=2)] == [True]
    assert sheet.read_bytes() == content


def test_chosen_images_are_explained_beside_the_disagreements(own: str) -> None:
    ids = rows_of(layout.index(own, "drawn", "test")).image_id.tolist()
    chosen = (ids[40], ids[3], ranked(own, 1)[0])
    run(own, "second", images=chosen, disagreements=2)
    assert manifest(own, "second")["requested"] == [*chosen, ranked(own, 2)[1]]
    run(own, "second", images=chosen[:2], disagreements=0)
    assert sorted(rows_of(folder(own, "second")).image_id) == sorted(chosen[:2])


def test_images_of_a_split_without_a_comparison_can_be_chosen(own: str) -> None:
    first = str(rows_of(layout.index(own, "drawn", "validation")).image_id.iloc[0])
    (result,) = run(own, "first", split="validation", images=(first,))
    assert result.counts["out"] == 1
    with pytest.raises(InputError, match=r"no comparison of first on split 'validation'.*run concord agree.*--images"):
        run(own, "first", split="validation")


def test_a_model_is_asked_about_its_own_comparisons_alone(own: str) -> None:
    settings = ExplainSettings(dataset="drawn", models=("first",), disagreements=5)
    agree(AgreeSettings(dataset="drawn", annotators=("first", "flat")), Context(own))
    of_first, of_second, of_flat = (requested_images(settings, own, name) for name in ("first", "second", "flat"))
    assert of_second == tuple(ranked(own, 5))
    assert of_flat == tuple(products.list_disagreements(own, "drawn", ("first", "flat", "test"), 5))
    assert set(of_second) != set(of_flat)
    assert set(of_first) == {*of_second, *of_flat}


def test_unknown_images_are_named(compared: str) -> None:
    known = str(rows_of(layout.index(compared, "drawn", "test")).image_id.iloc[0])
    other = str(rows_of(layout.index(compared, "drawn", "train")).image_id.iloc[0])
    with pytest.raises(InputError, match=rf"split 'test' of 'drawn' has no image 'nobody', '{other}': give ids"):
        run(compared, images=("nobody", known, other))
    with pytest.raises(InputError, match=r"no split 'night'"):
        run(compared, split="night")
    with pytest.raises(IncompleteError, match=r"no complete model in .*third"):
        run(compared, "third")
    assert not folder(compared).exists()


def test_a_network_without_convolutions_is_skipped_and_alone_refused(
    own: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "concord"):
        results = run(own, "flat", "first", disagreements=2)
    assert [one.product for one in results] == ["drawn/first/test"]
    told = [record.getMessage() for record in caplog.records if "flat" in record.getMessage()]
    assert told == ["explain drawn/flat: skipped, since it has no convolutions"]
    with pytest.raises(InputError, match=r"^model 'flat' has no convolutions.*: choose a model that has convolutions$"):
        run(own, "flat")
    card = model_cards.require_card(layout.model(own, "drawn", "flat"))
    origin = ExternalModel(file="net", sha256={})
    model_cards.write_card(
        layout.model(own, "drawn", "flat"), card.model_copy(update={"external": origin, "files": {}})
    )
    with pytest.raises(InputError, match=r"model 'flat' is a SavedModel, which does not show its layers"):
        run(own, "flat")


def damage(root: str, image_id: str) -> None:
    """Flip a bit in the middle of an image's record."""
    (row,) = pq.read_table(layout.index(root, "drawn", "test"), filters=[("image_id", "=", image_id)]).to_pylist()
    path = Path(products.image_set(root, "drawn", "1.0.0").tfrecord("test", row["shard"]))
    content = bytearray(path.read_bytes())
    content[row["offset"] + row["length"] // 2] ^= 1
    path.write_bytes(content)


def spoil(root: str, image_id: str, name: str = "") -> None:
    """Put something else than an image into a record, or an image of another name; its checksum fits."""
    images = products.image_set(root, "drawn", "1.0.0")
    index = images.index("test")
    shard = int(rows_of(layout.index(root, "drawn", "test")).set_index("image_id").shard[image_id])
    content = Path(images.tfrecord("test", shard)).read_bytes()
    rows = index.read(shard).to_pylist()
    (row,) = [row for row in rows if row["image_id"] == image_id]
    payload = encode_example(b"<html>404 Not Found</html>", name or image_id, 0)
    row |= {"offset": len(content) + tfrecord.HEADER_BYTES, "length": len(payload)}
    Path(images.tfrecord("test", shard)).write_bytes(content + tfrecord.frame_record(payload))
    index.write(shard, pa.Table.from_pylist(rows, schema=tables.INDEX), ShardReport(len(rows), len(rows)))


def test_images_that_cannot_be_read_are_rejected_by_name(own: str) -> None:
    asked = ranked(own, 6)
    damage(own, asked[0])
    spoil(own, asked[3])
    (result,) = run(own, "first", disagreements=6)
    assert result.counts == {"in": 6, "out": 4, "rejected": {"image_undecodable": 1, "record_damaged": 1}}
    assert result.counters["explain.rejected"] == 2
    found = rows_of(layout.explain_rejects(own, "drawn", "first", "test")).set_index("image_id")
    assert found.reason.to_dict() == {asked[0]: "record_damaged", asked[3]: "image_undecodable"}
    assert "Unknown image file format" in found.detail[asked[3]]
    assert set(rows_of(folder(own)).image_id) == set(asked) - {asked[0], asked[3]}
    (listed,) = analysis_tables.find_sources(ReportSettings(dataset="drawn"), own).explanations
    assert listed.manifest.counts == result.counts
    with pytest.raises(TooManyRejectsError, match=r"explain rejected 2 of 6 records .*--max-reject-fraction 0.2"):
        run(own, "first", disagreements=6, max_reject_fraction=0.2, force=True)
    assert not (folder(own) / products.MANIFEST).exists()


def test_another_image_in_its_place_is_refused(own: str) -> None:
    spoil(own, ranked(own, 1)[0], "somebody else")
    with pytest.raises(IncompleteError, match=r"holds other images than its index says: run concord convert --force"):
        run(own, "first", disagreements=1)


def test_scores_that_are_not_finite_are_rejected(own: str) -> None:
    model = small_models.save(own, "first", cnn1.build, seed=1)
    model.layers[-1].set_weights([one * np.nan for one in model.layers[-1].get_weights()])
    saved_models.save(
        model, layout.model(own, "drawn", "first"), model_cards.require_card(layout.model(own, "drawn", "first"))
    )
    (result,) = run(own, "first", disagreements=2, max_reject_fraction=1.0)
    assert result.counts == {"in": 2, "out": 0, "rejected": {"scores_not_finite": 2}}
    assert (folder(own) / layout.SHEET).exists()


def test_the_handler_pickles(compared: str) -> None:
    settings = ExplainSettings(dataset="drawn", models=("first",), disagreements=3, accelerator="")
    plan = driver.DRIVER.plan(settings, Context(compared)).work.plans["drawn/first/test"]
    handler = pickle.loads(pickle.dumps(ShardExplainer(plan)))
    (asked, *_) = plan.missing
    (found,) = handler.run_inference([asked], handler.load_model())
    assert tuple(sorted(found.rows["image_id"].to_pylist())) == tuple(sorted(asked.ids))
    assert handler.batch_elements_kwargs() == {"min_batch_size": 1, "max_batch_size": 1}
    assert not folder(compared).exists()


def test_the_label_asked_about_is_the_most_probable_one() -> None:
    scores = np.array([[0.2, 0.9, 0.7], [0.4, 0.1, 0.3]], np.float32)
    for task in ("multiclass", "multilabel"):
        labels = most_probable_labels(scores, task, ["a", "b", "c"])
        assert [(name, round(sure, 3)) for name, sure in labels] == [("b", 0.9), ("a", 0.4)]
    lengths, digits = np.full((1, 7), 0.01, np.float32), np.full((1, 5, 10), 0.01, np.float32)
    lengths[0, 2], digits[0, [0, 1, 2], [4, 7, 9]] = 0.8, 0.5
    ((number, sure),) = most_probable_labels(
        np.concatenate([lengths, digits.reshape(1, -1)], axis=1), "sequence", list("0123456789")
    )
    assert number == "47"
    assert sure == pytest.approx(0.8 * 0.5 * 0.5)


def test_a_long_sheet_is_cut_off_and_says_so(own: str, monkeypatch: pytest.MonkeyPatch) -> None:
    titles: list[str] = []
    sheet = heat_maps.draw_sheet

    def kept(title: str, rows: Any) -> bytes:
        titles.append(title)
        assert [row["image_id"] for row in rows] == ranked(own, 5)[:3]
        return bytes(sheet(title, rows))

    monkeypatch.setattr(driver, "ON_SHEET", 3)
    monkeypatch.setattr(heat_maps, "draw_sheet", kept)
    run(own, "first", disagreements=5)
    assert titles == ["first: regions that drove the prediction, drawn test, the first 3 of 5 images"]


def test_a_run_file_asks_the_models_that_label() -> None:
    content = {
        "dataset": "drawn",
        "train": [{"network": "cnn1"}, {"network": "cnn2", "name": "two"}],
        "label": {"model_file": "x.keras", "annotator": "theirs"},
        "explain": {"disagreements": 3},
    }
    [asked] = run_files.parse(content, STAGES)["explain"]
    assert (asked.dataset, asked.models, asked.disagreements) == ("drawn", ("cnn1", "two", "theirs"), 3)
    [alone] = run_files.parse({"dataset": "drawn", "train": [{"network": "cnn1"}], "explain": {}}, STAGES)["explain"]
    assert alone.models == ("cnn1",)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"models": ()}, "models must have at least 1 value"),
        ({"disagreements": -1}, "disagreements must be at least 0, got -1"),
        ({"disagreements": 0}, "there is nothing to explain: give disagreements above 0"),
        ({"images": ("a", "a")}, "images must be distinct, got a, a"),
        ({"split": "all"}, "no split may be called 'all'"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ExplainSettings(**{"dataset": "drawn", "models": ("cnn1",), **given})
