"""Confirm, end to end: the rows and counts of DuckDB's joins of the same files, for every setting and kind of file."""

from pathlib import Path
from typing import Any

import duckdb
import pytest

from schemas import layout, tables
from schemas.manifests import ConfirmationManifest
from schemas.settings.confirm import ConfirmSettings
from schemas.stage import Context, StageResult
from storage import products
from storage.formats import csv_ranges
from tests.support import label_files, stages
from tests.support.label_files import SPLITS, Style

pytestmark = pytest.mark.usefixtures("quick_disk")
CLASSES = {"/m/01", "/m/03", "a, b", 'a "b"', "/m/99"}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A machine's file and people's."""
    folder = tmp_path_factory.mktemp("files")
    machine, human = label_files.draw(images=120, rows=900)
    return label_files.write(folder / "machine.csv", machine), label_files.write(folder / "human.csv", human)


def settings_for(files: tuple[str, str], **more: Any) -> ConfirmSettings:
    given = {"dataset": "d", "machine": (files[0],), "human": (files[1],), "splits": SPLITS, "shards": 2, **more}
    return ConfirmSettings(**given)


def confirm(settings: ConfirmSettings, root: Path | str, *flags: str, force: bool = False) -> StageResult:
    flags = flags or ("--direct_num_workers=1",)
    return stages.confirm(settings, Context(str(root), flags, force))


def check(result: StageResult, root: Path, settings: ConfirmSettings, **narrow: set[str]) -> None:
    """Counts, rows and statistics are DuckDB's."""
    db = label_files.oracle(settings.machine, settings.human, settings, **narrow)
    counts = dict(result.counts)
    sets = counts.pop("label_sets")
    for side in ("machine", "human"):
        counts[side] = {**counts[side], "narrowed": {k: n for k, n in counts[side]["narrowed"].items() if n}}
    assert counts == label_files.expected_counts(db)
    expected = label_files.expected_sets(db, settings)
    found = label_files.found_sets(root, settings)
    assert found == expected
    assert {name: one["rows"] for name, one in sets.items()} == {
        name: len(rows) for name, rows in expected.items() if name != "confirmed" and rows
    }
    kept = "true" if settings.label_sets == "all" else "image IN (FROM sure)"
    for name, found_set in sets.items():
        rows = label_files.one(db, f"SELECT count(*) FROM {name}_kept WHERE {kept}")
        assert found_set["rows"] + found_set["repeated"] == rows
    check_statistics(db, root)


def check_statistics(db: duckdb.DuckDBPyConnection, root: Path) -> None:
    folder = root / "statistics"
    rows = duckdb.read_parquet(str(folder / "machine_precision" / "d.parquet"))  # noqa: F841  (SQL names it)
    decile = "least(floor(value * 10 + 1e-6), 9)::INTEGER"
    expected = db.sql(f"SELECT label, {decile} AS decile, count(*) FROM machine_kept GROUP BY ALL ORDER BY ALL")
    query = "SELECT label, decile, machine_rows FROM rows WHERE scope = 'class_decile' ORDER BY ALL"
    assert duckdb.sql(query).fetchall() == expected.fetchall()
    verdicts = db.sql("SELECT label, sum(verdict), count(verdict) - sum(verdict) FROM joined GROUP BY 1 ORDER BY 1")
    query = "SELECT label, confirmed, rejected FROM rows WHERE scope = 'class' AND verified > 0 ORDER BY label"
    assert duckdb.sql(query).fetchall() == [row for row in verdicts.fetchall() if row[1] is not None]
    sources = db.sql("SELECT source, sum(value)::BIGINT, sum(1 - value)::BIGINT FROM human_kept GROUP BY 1 ORDER BY 1")
    read = duckdb.read_parquet(str(folder / "verdict_sources" / "d.parquet")).project("source, confirmed, rejected")
    assert sorted(read.fetchall()) == sources.fetchall()
    per_image = db.sql(
        "SELECT n, count(*) FROM (SELECT count(*) AS n FROM joined WHERE verdict = 1 GROUP BY image) GROUP BY 1"
    )
    read = duckdb.read_parquet(str(folder / "labels_per_image" / "d.parquet")).filter("annotator = 'confirmed'")
    assert sorted(read.project("labels, images").fetchall()) == sorted(per_image.fetchall())


# --- Every setting ------------------------------------------------------------------------------

SETTINGS: list[dict[str, Any]] = [
    {},
    {"label_sets": "none", "on_conflict": "confirmed"},
    {"label_sets": "all", "on_conflict": "drop"},
    {"label_sets": "all", "on_conflict": "majority", "one_label": "best"},
    {"label_sets": "images", "on_conflict": "first", "one_label": "first", "shards": 16},
    {"label_sets": "none", "min_confidence": 0.7},
]


@pytest.mark.parametrize("more", SETTINGS, ids=lambda more: " ".join(map(str, more.values())) or "default")
def test_every_setting(files: tuple[str, str], tmp_path: Path, more: dict[str, Any]) -> None:
    settings = settings_for(files, **more)
    result = confirm(settings, tmp_path)
    check(result, tmp_path, settings)
    counts = result.counts
    assert min(counts["confirmed"], counts["rejected"], counts["conflicts"], counts["machine"]["duplicate"]) > 10
    assert (counts["dropped"] > 0) == (settings.on_conflict == "drop")


@pytest.mark.parametrize(
    ("by", "label_sets"), [("images", "all"), ("labels", "images"), ("both", "none"), ("both", "images")]
)
def test_only_some_images_and_classes(files: tuple[str, str], tmp_path: Path, by: str, label_sets: str) -> None:
    machine, _ = label_files.draw(images=120, rows=900)
    listed, classes = tmp_path / "images.csv", tmp_path / "classes.csv"
    images = {row[0] for row in machine[:60]}
    listed.write_text("\n".join(["Rotation,ImageID", *(f"0,{one.upper()}" for one in sorted(images)), "," + "0" * 16]))
    classes.write_bytes(
        b'LabelName,DisplayName\r\n/m/01,Apple\r\n/m/03,"Bread, white"\r\n"a, b",x\r\n"a ""b""",y\r\n/m/99,z'
    )
    narrow, paths = {}, {}
    if by != "labels":
        narrow["images"], paths["images"] = images, str(listed)
    if by != "images":
        narrow["labels"], paths["classes"] = CLASSES, str(classes)
    settings = settings_for(files, **paths, label_sets=label_sets, min_confidence=0.25)
    result = confirm(settings, tmp_path)
    check(result, tmp_path, settings, **narrow)
    for side, more in (("machine", {"confidence"}), ("human", set())):
        assert result.counts[side]["narrowed"].keys() == more | {
            "images" if one == "images" else "classes" for one in narrow
        }
        assert min(result.counts[side]["narrowed"].values()) > 0


def test_the_manifests_say_what_is_there(files: tuple[str, str], tmp_path: Path) -> None:
    (tmp_path / "classes.csv").write_text('/m/01,Apple\n/m/02,Fig\n/m/03,"Bread, white"\n')
    settings = settings_for(files, classes=str(tmp_path / "classes.csv"), shards=0)
    result = confirm(settings, tmp_path)
    manifest = products.find_manifest(layout.confirmation(str(tmp_path), "d"), ConfirmationManifest)
    assert manifest is not None
    assert (manifest.shards, manifest.splits, manifest.task) == (8, SPLITS, "multilabel")
    assert manifest.classes == ["/m/01", "/m/02", "/m/03"]
    assert manifest.display_names == {"/m/01": "Apple", "/m/02": "Fig", "/m/03": "Bread, white"}
    assert manifest.counts == result.counts
    for annotator in ("confirmed", "machine", "human"):
        for split in SPLITS:
            folder = products.label_set(str(tmp_path), "d", annotator, split)
            reports = folder.done()
            assert reports.keys() == set(range(8))
            assert folder.fingerprint == manifest.fingerprint
            for shard, report in reports.items():
                table = folder.read(shard)
                assert (report.records_in, report.records_out) == (len(table), len(table))
                assert table.schema.remove_metadata().equals(tables.LABELS.remove_metadata())


# --- Every kind of file -------------------------------------------------------------------------

STYLES = {
    "reordered, zipped": Style(("Confidence", "x", "LabelName", "ImageID", "Source", "y"), zipped=True),
    "quoted, CR": Style(quoted=True, end="\r", bom=True),
    "CRLF, blank lines": Style(end="\r\n", blank=True, upper=True),
    "no header": Style(header=False, bom=True),
}


@pytest.mark.parametrize("name", STYLES)
def test_every_kind_of_file_gives_the_same_tables(
    files: tuple[str, str], tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    style, plain = STYLES[name], settings_for(files, on_conflict="first", one_label="best")
    machine, human = label_files.draw(images=120, rows=900)
    for part in range(3):
        label_files.write(tmp_path / f"m{part}", machine[300 * part : 300 * part + 300], style)
    monkeypatch.setattr(csv_ranges, "RANGE_BYTES", 6000)
    monkeypatch.setattr(csv_ranges, "BLOCK_BYTES", 2500)
    settings = settings_for(
        files,
        machine=(str(tmp_path / "m?"),),
        human=(label_files.write(tmp_path / "human", human, style),),
        on_conflict="first",
        one_label="best",
        columns=() if style.header else style.columns,
    )
    result = confirm(settings, tmp_path / "root")
    db = label_files.oracle(plain.machine, plain.human, plain)
    assert label_files.found_sets(tmp_path / "root", settings) == label_files.expected_sets(db, plain)
    sets = result.counts.pop("label_sets")
    assert result.counts == label_files.expected_counts(db)
    assert sets["machine"]["rows"] > 0
    counters = result.counters
    read = {side: result.counts[side] for side in ("machine", "human")}
    assert counters["confirm.in"] == sum(side["read"] for side in read.values())
    for reason in {reason for side in read.values() for reason in side["malformed"]}:
        assert counters[f"confirm.rejected.{reason}"] == sum(side["malformed"].get(reason, 0) for side in read.values())
    elements = counters["confirm.read_machine.elements"]
    assert elements == 3 if style.zipped else elements > 5


def test_files_without_any_row(files: tuple[str, str], tmp_path: Path) -> None:
    empty = tmp_path / "empty.csv"
    empty.write_text("ImageID,Source,LabelName,Confidence\n")
    for side in ("machine", "human"):
        settings = settings_for(files, **{side: (str(empty),)})
        result = confirm(settings, tmp_path / side)
        check(result, tmp_path / side, settings)
        assert (result.counts[side]["read"], result.counts["matched"]) == (0, 0)


# --- However it is run --------------------------------------------------------------------------


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def test_the_same_bytes_however_many_workers(
    files: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_for(files, label_sets="all", on_conflict="first", shards=0)
    first = confirm(settings, tmp_path / "one", "--direct_num_workers=1")
    monkeypatch.setattr(csv_ranges, "RANGE_BYTES", 4000)
    monkeypatch.setattr(csv_ranges, "BLOCK_BYTES", 1500)
    second = confirm(settings, tmp_path / "two", "--direct_num_workers=2")
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert second.counters["confirm.read_machine.elements"] > 8
    assert second.counters["confirm.join.elements"] == 8
    assert second.counters["confirm.out"] == first.counts["confirmed"] + first.counts["rejected"]


def test_the_same_bytes_in_processes(files: tuple[str, str], tmp_path: Path) -> None:
    """It also proves that everything can be sent to a worker."""
    machine, _ = label_files.draw(images=120, rows=900)
    (tmp_path / "images.csv").write_text("ImageID\n" + "\n".join(row[0] for row in machine[:100]))
    settings = settings_for(files, images=str(tmp_path / "images.csv"))
    confirm(settings, tmp_path / "one", "--direct_num_workers=1")
    confirm(settings, tmp_path / "two", "--direct_running_mode=multi_processing", "--direct_num_workers=2")
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
