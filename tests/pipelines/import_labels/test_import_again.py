"""What imported labels have to fit: the dataset's images, each other, and what is there already."""

import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from concord import cli
from pipelines.chain import load_run_file
from schemas import layout
from schemas.errors import IncompleteError, InputError
from schemas.settings.agree import AgreeSettings
from schemas.settings.import_labels import ImportSettings
from schemas.stage import Context, StageResult
from storage import model_cards, products, stores
from storage.products import ShardFolder
from tests.support.manifests import confirmation_manifest, model_card
from tests.support.stages import agree, import_labels

pytestmark = pytest.mark.usefixtures("quick_disk")

CONFIRMED = "confirm-cccccccccccccccc"


def run(root: Path | str, file: Path, force: bool = False, **more: Any) -> StageResult:
    given = {"dataset": "d", "annotator": "vendor", "split": "test", "max_reject_fraction": 1.0, **more}
    settings = ImportSettings(input=(str(file),), **given)
    return import_labels(settings, Context(str(root), ("--direct_num_workers=1",), force))


def rows(path: Path, count: int = 200, label: str = "x") -> Path:
    path.write_text("image_id,label\n" + "".join(f"i{number},{label}{number % 5}\n" for number in range(count)))
    return path


def content(root: Path | str, annotator: str = "vendor", dataset: str = "d") -> dict[str, tuple[bytes, int]]:
    folder = Path(layout.labels(str(root), dataset, annotator, "test"))
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()}


def labels_of(root: str, annotator: str, dataset: str, split: str = "test") -> pd.DataFrame:
    folder = products.label_set(root, dataset, annotator, split)
    frame: pd.DataFrame = pa.concat_tables([folder.read(shard) for shard in range(folder.shards)]).to_pandas()
    return frame[["image_id", "label", "confidence"]]


# --- Again --------------------------------------------------------------------------------------


def test_a_second_call_does_nothing_and_force_does_all(tmp_path: Path) -> None:
    file = rows(tmp_path / "f.csv")
    first = run(tmp_path, file)
    before = content(tmp_path)
    second = run(tmp_path, file)
    assert (first.built, second.built, second.counts) == (True, False, first.counts)
    assert content(tmp_path) == before
    third = run(tmp_path, file, force=True)
    assert third.built
    after = content(tmp_path)
    assert {name: data for name, (data, _) in after.items()} == {name: data for name, (data, _) in before.items()}
    assert all(after[name][1] > before[name][1] for name in before)


@pytest.mark.parametrize("lost", ["labels", "rejects"])
def test_only_missing_shards_are_made(tmp_path: Path, lost: str) -> None:
    file = rows(tmp_path / "f.csv")
    run(tmp_path, file)
    before = content(tmp_path)
    folder = layout.labels if lost == "labels" else layout.import_rejects
    Path(folder(str(tmp_path), "d", "vendor", "test"), layout.parquet_shard(3, 8)).unlink()
    Path(layout.labels(str(tmp_path), "d", "vendor", "test"), products.MANIFEST).unlink()
    result = run(tmp_path, file)
    assert result.counters["import.write.elements"] == 1
    after = content(tmp_path)
    assert {name: data for name, (data, _) in after.items()} == {name: data for name, (data, _) in before.items()}
    assert {name for name in before if after[name] != before[name]} == {layout.parquet_shard(3, 8), products.MANIFEST}


def test_a_killed_import_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, write = rows(tmp_path / "f.csv"), ShardFolder.write
    run(tmp_path / "whole", file)

    def failing(self: Any, shard: int, *rest: Any) -> None:
        if shard == 5:
            raise KeyError("killed")
        write(self, shard, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(ShardFolder, "write", failing)
        with pytest.raises(Exception, match="killed"):
            run(tmp_path, file)
    there = len(content(tmp_path)) if Path(layout.labels(str(tmp_path), "d", "vendor", "test")).exists() else 0
    result = run(tmp_path, file)
    assert result.counters["import.write.elements"] == 8 - there
    assert labels_of(str(tmp_path), "vendor", "d").equals(labels_of(str(tmp_path / "whole"), "vendor", "d"))


@pytest.mark.parametrize("change", ["rows", "classes", "columns", "task", "shards"])
def test_what_changes_the_result_makes_it_anew(tmp_path: Path, change: str) -> None:
    file = tmp_path / "f.csv"
    file.write_text("image_id,label,other\na,x,y\nb,x,y\n")
    run(tmp_path, file, classes=("x", "y"))
    before = labels_of(str(tmp_path), "vendor", "d")
    more: dict[str, Any] = {"classes": ("x", "y")}
    if change == "rows":
        file.write_text("image_id,label,other\na,x,y\nb,y,y\n")
    else:
        changes = {"classes": ("y", "z"), "columns": {"label": "other"}, "task": "multilabel", "shards": 16}
        more[change] = changes[change]
    assert run(tmp_path, file, **more).built
    assert not run(tmp_path, file, **more).built
    folder = layout.labels(str(tmp_path), "d", "vendor", "test")
    assert sum(name.startswith("part-") for name in stores.list_files(folder)) == (16 if change == "shards" else 8)
    assert before.equals(labels_of(str(tmp_path), "vendor", "d")) == (change in ("task", "shards"))


# --- Label sets alone ---------------------------------------------------------------------------


def test_agree_on_two_imported_sets_without_images(tmp_path: Path) -> None:
    root = str(tmp_path)
    first = pd.DataFrame({"image_id": [f"i{number}" for number in range(300)], "label": list("abc") * 100})
    second = first.iloc[50:].assign(label=lambda frame: frame["label"].where(frame.index % 4 > 0, "z"))
    first.to_csv(tmp_path / "a.csv", index=False)
    second.to_parquet(tmp_path / "b.parquet")
    run(root, tmp_path / "a.csv", annotator="a", shards=16)
    run(root, tmp_path / "b.parquet", annotator="b")
    [result] = agree(AgreeSettings(dataset="d", annotators=("a", "b")), Context(root))
    expected = int((first.merge(second, on="image_id")[["label_x", "label_y"]].nunique(axis=1) == 1).sum())
    summary = stores.read_bytes(layout.agreement_table(root, "summary", "d", ("a", "b"), "test"))
    [row] = pd.read_parquet(pa.BufferReader(summary)).to_dict("records")
    assert (result.counts["out"], row["n"], row["n_agree"]) == (250, 250, expected)
    assert 0 < expected < 250


def test_sets_of_a_dataset_follow_the_first(tmp_path: Path) -> None:
    file = rows(tmp_path / "f.csv")
    run(tmp_path, file, annotator="a", shards=32, task="multilabel")
    run(tmp_path, file, annotator="b")
    run(tmp_path, file, annotator="b", split="validation", shards=32)
    found = products.label_manifest(str(tmp_path), "d", "b", "test")
    assert (found.shards, found.task) == (32, "multilabel")
    for more, message in (
        ({"shards": 8}, "shards must be 32, by "),
        ({"task": "multiclass"}, "task must be multilabel"),
    ):
        with pytest.raises(InputError, match=message):
            run(tmp_path, file, annotator="c", **more)
    run(tmp_path, file, annotator="other", dataset="e", shards=8)


# --- The images of a dataset --------------------------------------------------------------------


@pytest.fixture
def root(converted: str, tmp_path: Path) -> str:
    return str(shutil.copytree(converted, tmp_path / "root"))


def test_an_imported_set_beside_the_images_and_people_of_a_dataset(root: str, tmp_path: Path) -> None:
    people = labels_of(root, "human", "drawn")  # three rows have no confidence at first, and then 1
    theirs = people.assign(label=people["label"].where(people.index % 5 > 0, "8"))
    other = labels_of(root, "human", "drawn", "train")["image_id"].iloc[0]
    more = pd.DataFrame({"image_id": ["nowhere", other, theirs["image_id"][0]], "label": ["1", "2", "ten"]})
    pd.concat([theirs, more]).to_csv(tmp_path / "f.csv", index=False)
    with pytest.raises(InputError, match="leave out --classes"):
        run(root, tmp_path / "f.csv", dataset="drawn", classes=("0", "1"))
    with pytest.raises(InputError, match="shards must be 8, by the manifest of its images, got 16"):
        run(root, tmp_path / "f.csv", dataset="drawn", shards=16)
    with pytest.raises(InputError, match="has no split 'extra'; its splits are "):
        run(root, tmp_path / "f.csv", dataset="drawn", split="extra")
    result = run(root, tmp_path / "f.csv", dataset="drawn")
    assert result.counts["rejected"] == {"confidence_not_a_number": 2, "label_outside_classes": 1}
    pd.concat([theirs, more.assign(confidence=1)]).to_csv(tmp_path / "f.csv", index=False)
    result = run(root, tmp_path / "f.csv", dataset="drawn")
    assert result.counts["rejected"] == {"image_unknown": 2, "label_outside_classes": 1}
    pd.testing.assert_frame_equal(labels_of(root, "vendor", "drawn"), theirs)  # the images' own order, too
    [compared] = agree(AgreeSettings(dataset="drawn", annotators=("vendor", "human"), reference="human"), Context(root))
    assert compared.counts["out"] == len(people)
    assert set(labels_of(root, "vendor", "drawn")["label"]) <= set(map(str, range(10)))


def test_annotators_of_other_stages_are_not_overwritten(root: str, tmp_path: Path) -> None:
    file = rows(tmp_path / "f.csv")
    with pytest.raises(InputError, match=r"annotator 'human' is taken: .* give --annotator another name"):
        run(root, file, dataset="drawn", annotator="human")
    with pytest.raises(InputError, match="annotator 'human' is taken"):  # of another split
        stores.remove(stores.join(layout.labels(root, "drawn", "human", "test"), products.MANIFEST))
        run(root, file, dataset="drawn", annotator="human")
    model_cards.write_card(layout.model(root, "drawn", "cnn9"), model_card("cnn9"))
    with pytest.raises(InputError, match="annotator 'cnn9' is a model of dataset 'drawn'"):
        run(root, file, dataset="drawn", annotator="cnn9")
    run(tmp_path / "new", file, annotator="human")  # of no stage there
    run(tmp_path / "new", file, annotator="human", task="multilabel")


def test_images_that_come_later_make_it_anew(converted: str, tmp_path: Path) -> None:
    root, file = str(tmp_path / "root"), tmp_path / "f.csv"
    labels_of(converted, "human", "drawn").to_csv(file, index=False)
    run(root, file, dataset="drawn")
    shutil.copytree(converted, root, dirs_exist_ok=True)
    with pytest.raises(IncompleteError, match="different conversions"):
        agree(AgreeSettings(dataset="drawn", annotators=("vendor", "human")), Context(root))
    assert run(root, file, dataset="drawn").built
    agree(AgreeSettings(dataset="drawn", annotators=("vendor", "human")), Context(root))


def test_beside_what_confirm_wrote(tmp_path: Path) -> None:
    label_sets = {"confirmed": ["x0"], "machine": ["x0", "x1"]}
    confirmation = confirmation_manifest("d", CONFIRMED, shards=4, classes=["x0"], label_sets=label_sets)
    products.write_manifest(layout.confirmation(str(tmp_path), "d"), confirmation)
    result = run(tmp_path, rows(tmp_path / "f.csv"))
    manifest = products.label_manifest(str(tmp_path), "d", "vendor", "test")
    assert (manifest.images, manifest.shards, manifest.classes) == (CONFIRMED, 4, ["x0", "x1"])
    assert result.counts == {"in": 200, "out": 80, "rejected": {"label_outside_classes": 120}}
    with pytest.raises(InputError, match="has no split 'train'; its splits are test"):
        run(tmp_path, rows(tmp_path / "f.csv"), split="train")


def test_files_and_root_in_every_kind_of_place(place: str, tmp_path: Path) -> None:
    local = rows(tmp_path / "f.csv")
    stores.write_bytes(stores.join(place, "in", "1.csv"), local.read_bytes())
    more = pd.DataFrame({"image_id": ["new", "i0"], "label": ["y", "y"], "confidence": [0.5, 1.0]})
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pandas(more), sink)
    stores.write_bytes(stores.join(place, "in", "2.parquet"), sink.getvalue().to_pybytes())
    given: dict[str, Any] = {"dataset": "d", "annotator": "vendor", "split": "test", "max_reject_fraction": 1.0}
    settings = ImportSettings(input=(f"{place}/in/*",), **given)
    made = [import_labels(settings, Context(place, ("--direct_num_workers=1",))) for _ in range(2)]
    assert made[0].counts == {"in": 202, "out": 201, "rejected": {"image_repeated": 1}}
    assert [one.built for one in made] == [True, False]
    assert labels_of(place, "vendor", "d")["confidence"].sum() == 200.5


# --- The command and run files ------------------------------------------------------------------


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "f.csv").write_text("ImageID,LabelName\na,x\nb,y\n")
    given = ["--dataset", "d", "--annotator", "vendor", "--split", "test", "--root", str(tmp_path / "root")]
    columns = "image_id=ImageID,label=LabelName"
    cli.main(["import", "--input", str(tmp_path / "f.csv"), "--columns", columns, *given])
    assert "run: " in capsys.readouterr().out
    assert labels_of(str(tmp_path / "root"), "vendor", "d").sort_values("image_id").values.tolist() == [
        ["a", "x", 1.0],
        ["b", "y", 1.0],
    ]
    with pytest.raises(SystemExit):
        cli.main(["import", "--input", str(tmp_path / "f.csv"), "--columns", "id=ImageID", *given])
    message = "concord import: columns must be one of image_id, label, confidence; got 'id'"
    assert message in capsys.readouterr().err


def test_a_run_file_with_several_imports(tmp_path: Path) -> None:
    text = 'dataset = "d"\n[[import]]\ninput = "{root}/a.csv"\nannotator = "a"\nsplit = "test"\n'
    text += '[[import]]\ninput = "{root}/b.csv"\nannotator = "b"\nsplit = "test"\n[agree]\n'
    rows(tmp_path / "a.csv")
    rows(tmp_path / "b.csv", 150)
    (tmp_path / "run.toml").write_text(text)
    loaded = load_run_file(str(tmp_path / "run.toml"), str(tmp_path))
    assert [one.annotator for one in loaded["import"]] == ["a", "b"]
    assert loaded["agree"][0].annotators == ("a", "b")
    cli.main(["run", str(tmp_path / "run.toml"), "--root", str(tmp_path)])
    assert products.find_manifest(layout.pairs(str(tmp_path), "d", "a", "b", "test"), products.AnyManifest) is not None
