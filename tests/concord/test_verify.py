"""`concord verify`: every kind of damage is named, nothing is said of a sound root; the checksum is that of rows."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from analysis import queue, verify
from analysis.verify import Outcome
from analysis.verify.inventory import METADATA
from concord import cli
from schemas import tables
from schemas.settings.agree import AgreeSettings
from schemas.settings.convert import ConvertSettings
from schemas.settings.import_labels import ImportSettings
from schemas.settings.label import LabelSettings
from schemas.settings.queue import QueueSettings
from schemas.stage import Context
from storage import parquet, stores
from storage.checksums import RowSum
from storage.products import ShardFolder, ShardReport
from storage.tables import TABLES
from tests.support import damages, query_root
from tests.support.damages import DAMAGES, IMAGES, INDEX, LABELS, MODEL, PAIRS, PART, REJECTS
from tests.support.stages import agree, convert, import_labels, label


@pytest.fixture(scope="module")
def sound(converted: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with images, two models, their labels and a vendor's, comparisons, verdicts and a queue. Read it only."""
    from models.networks import logistic
    from tests.support import small_models

    folder = tmp_path_factory.mktemp("sound")
    root = str(folder / "root")
    shutil.copytree(converted, root)
    for seed, name in enumerate(("one", "two")):
        small_models.save(root, name, logistic.build, seed)
    label(LabelSettings(dataset="drawn", models=("one", "two"), splits=("test",), scores=True), Context(root))
    vendor = folder / "vendor.csv"
    index = ShardFolder(f"{root}/{INDEX}", 8, "")
    ids = [name for shard in range(8) for name in pq.read_table(index.path(shard))["image_id"].to_pylist()]
    vendor.write_text("image_id,label\n" + "".join(f"{name},{at % 10}\n" for at, name in enumerate(ids)) + "gone,3\n")
    names: dict[str, Any] = {"dataset": "drawn", "annotator": "vendor", "split": "test", "input": (str(vendor),)}
    import_labels(ImportSettings(**names, max_reject_fraction=1.0), Context(root))
    agree(
        AgreeSettings(dataset="drawn", annotators=("one", "two", "vendor"), reference="human", splits=("test",)),
        Context(root),
    )
    queue.write_queue(queue.plan_queue(QueueSettings(dataset="drawn", annotators=("one", "two"), split="test"), root))
    query_root._confirm(root, folder)
    return Path(root)


@pytest.fixture
def root(sound: Path, tmp_path: Path) -> Path:
    """A copy of the sound root, to be damaged."""
    shutil.copytree(sound, tmp_path / "root")
    return tmp_path / "root"


def checked(root: Path | str, **options: Any) -> Outcome:
    return verify.verify(str(root), TABLES, **options)


def last(root: Path | str) -> str:
    return list(checked(root).lines())[-1]


def test_nothing_is_said_of_a_sound_root(sound: Path) -> None:
    found = checked(sound)
    assert found.findings == []
    lines = list(found.lines())
    assert lines[-3].endswith("nothing is missing or altered")
    assert lines[-2].startswith("weights: ") and lines[-2].endswith("(2 models)")
    assert {"labels", "index", "pairs", "summary", "queue", "machine_precision", "rejects_import"} <= set(found.sums)
    every = sum(1 for path in sound.rglob("*.parquet"))
    images = sum(1 for path in (sound / "images").rglob("*") if ".tfrecord" in path.name or path.name in METADATA)
    models = sum(len(json.loads(path.read_text())["files"]) for path in sound.rglob("model.json"))
    assert found.files == every + images + models


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_every_damage_is_named(root: Path, damage: Callable[[Path], str]) -> None:
    said = damage(root)
    found = [str(one) for one in checked(root).wrong]
    assert any(line.startswith(said) for line in found), found
    places = {said.partition(":")[0].rpartition("/")[0], said.partition(":")[0]}
    others = [line for line in found if line.partition(":")[0].rpartition("/")[0] not in places]
    others = [line for line in others if line.partition(":")[0] not in places]
    assert damage is damages.no_images_manifest or others == []


def test_quick_leaves_out_the_bytes_of_images_alone(root: Path) -> None:
    damages.damage_pixels(root)
    assert checked(root, quick=True).findings == []
    damages.cut_images(root)
    assert len(checked(root, quick=True).wrong) == 1


def test_leftovers_are_warnings(root: Path) -> None:
    for name in (f"{LABELS}/.{PART}.0f.partial", f"{LABELS}/part-00001-of-00002.parquet", f"{MODEL}/checkpoint.npz"):
        (root / name).write_bytes(b"half")
    (root / "sample").mkdir()
    (root / "sample/mine.txt").write_text("what lies beside is nobody's business")
    found = checked(root)
    assert found.wrong == []
    assert [one.path for one in found.findings] == [
        f"{LABELS}/.{PART}.0f.partial",
        f"{LABELS}/part-00001-of-00002.parquet",
        f"{MODEL}/checkpoint.npz",
    ]


def test_what_was_made_from_something_else_is_a_warning(root: Path) -> None:
    label(LabelSettings(dataset="drawn", models=("one",), splits=("test",)), Context(str(root)))  # without scores
    found = checked(root)
    assert found.wrong == []
    assert {one.path for one in found.findings} == {
        PAIRS,
        PAIRS.replace("b=two", "b=vendor"),
    }


@pytest.mark.parametrize(
    "damage", [damages.no_shard, damages.cut_parquet, damages.swap_shards, damages.damage_pixels, damages.cut_images]
)
def test_the_remedy_makes_just_what_is_wrong_anew(root: Path, sample_h5: str, damage: Callable[[Path], str]) -> None:
    before = last(root)
    damage(root)
    times = {path: path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file()}
    for one in checked(root).wrong:
        names = one.remedy.removeprefix("remove ").partition(", and run")[0].split(" and ")
        assert names[-1].endswith("_concord.json") and one.remedy.startswith("remove "), one
        for name in names:
            stores.remove(str(root / (name if "/" in name else f"{stores.parent(one.path)}/{name}")))
    settings = ConvertSettings(dataset="drawn", source="svhn_h5", input=(sample_h5,), shards=8)
    convert(settings, Context(str(root)))
    label(LabelSettings(dataset="drawn", models=("one",), splits=("test",), scores=True), Context(str(root)))
    assert checked(root).findings == []
    assert last(root) == before
    touched = {path for path, when in times.items() if path.suffix == ".parquet" and path.stat().st_mtime_ns != when}
    assert len(touched) <= 4, "more was made anew than was wrong"


def test_one_dataset_alone(root: Path) -> None:
    damages.no_shard(root)
    assert len(checked(root, dataset="drawn").wrong) == 1
    found = checked(root, dataset="open_images")
    assert found.findings == [] and "index" not in found.sums and found.sums["machine_precision"].rows
    parts = [checked(root, dataset=name).sums["labels"] for name in ("drawn", "open_images")]
    assert sum(parts, RowSum()) == checked(root).sums["labels"]


def test_the_checksum_is_of_rows_not_of_files(root: Path) -> None:
    before = last(root)
    path = root / LABELS / PART
    damages.rewritten(
        path, lambda rows: rows.take(list(reversed(range(len(rows))))), row_group_size=3, use_dictionary=False
    )
    assert last(root) == before
    damages.rewritten(path, damages.relabelled)
    assert last(root) != before


def test_the_checksum_does_not_know_the_root(sound: Path, tmp_path: Path) -> None:
    """Rejects tell the path of their file, here that of a shard under the root."""
    checksums = []
    for name in ("here", "over there/deep"):
        other = tmp_path / name
        shutil.copytree(sound, other)
        row = {"image_id": "x", "source": str(other / IMAGES), "position": "record 2", "reason": "record_damaged"}
        rows = pa.Table.from_pylist([row | {"detail": f"as {other}/vendor.csv says"}], tables.REJECTS)
        ShardFolder(str(other / REJECTS), 8, parquet.read_tags(str(other / REJECTS / PART))[0]).write(
            3, rows, ShardReport()
        )
        checksums.append(last(other))
    assert checksums[0] == checksums[1] != last(sound)


def test_what_cannot_be_read_leaves_no_checksum(root: Path) -> None:
    damages.cut_parquet(root)
    assert last(root) == "checksum: none (1 files of tables cannot be read)"


def test_object_stores(sound: Path, place: str) -> None:
    for path in sound.rglob("*"):
        if path.is_file():
            stores.write_bytes(f"{place}/{path.relative_to(sound)}", path.read_bytes())
    assert list(checked(place).lines())[-3:] == list(checked(sound).lines())[-3:]
    stores.remove(f"{place}/{LABELS}/{PART}")
    assert [one.path for one in checked(place).wrong] == [f"{LABELS}/{PART}"]


def test_the_command(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["verify", "--root", str(root)])
    out, err = capsys.readouterr()
    assert out.splitlines()[-1].startswith("checksum: ") and err == ""
    damages.no_shard(root)
    with pytest.raises(SystemExit) as ended:
        cli.main(["verify", "--root", str(root)])
    out, err = capsys.readouterr()
    assert (ended.value.code, err) == (1, "")
    assert out.startswith(f"{LABELS}/{PART}: is missing: remove {LABELS}/_concord.json, and run concord label again\n")
    assert "1 missing or altered" in out


def test_an_empty_root_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["verify", "--root", str(tmp_path)])
    assert capsys.readouterr().err == (
        f"concord verify: there is nothing in {tmp_path}: run concord run first, or give another --root\n"
    )
