"""Confirm on rows of Open Images as they were published; skipped where they are not there."""

from pathlib import Path

import pytest

from schemas.errors import InputError
from schemas.settings.confirm import ConfirmSettings
from schemas.stage import Context
from tests.support import label_files
from tests.support.stages import confirm

FLAGS = ("--direct_num_workers=1",)


@pytest.fixture(scope="session")
def folder(shared_data: Path) -> Path:
    return shared_data / "open_images"


def test_the_attested_rows(folder: Path, tmp_path: Path) -> None:
    classes = folder / "class-descriptions-boxable_trekfalcon_CR-eol.csv"
    settings = ConfirmSettings(
        dataset="d",
        machine=(str(folder / "attested_machine_*.csv"),),
        human=(str(folder / "attested_human_rows_v4.csv"),),
        shards=1,
    )
    for more in ("", str(classes)):
        narrowed = ConfirmSettings(**{**settings.__dict__, "classes": more})
        counts = confirm(narrowed, Context(str(tmp_path), FLAGS)).counts
        assert (counts["matched"], counts["confirmed"], counts["images"]) == (10, 7, 5)
        assert (counts["rejected"], counts["conflicts"], counts["malformed"]) == (3, 0, {})
        assert (counts["machine"]["read"], counts["human"]["read"]) == (17, 15)
    db = label_files.oracle([str(folder / "attested_machine_rows_v4.csv")], settings.human, settings)
    found = label_files.found_sets(tmp_path, settings)
    assert found["confirmed"] == label_files.expected_sets(db, settings)["confirmed"]
    assert len(found["confirmed"]) == 10


def test_apples_without_a_header(folder: Path, tmp_path: Path) -> None:
    apples = str(folder / "train-annotations-machine-imagelabels_apple.csv")
    settings = ConfirmSettings(
        dataset="d",
        machine=(apples,),
        human=(str(folder / "attested_human_rows_v4.csv"),),
        columns=("ImageID", "Source", "LabelName", "Confidence"),
        label_sets="all",
        shards=1,
    )
    counts = confirm(settings, Context(str(tmp_path), FLAGS)).counts
    assert counts["machine"] == {
        "read": 2863,
        "malformed": {},
        "narrowed": {},
        "unmatched": 2863,
        "duplicate": 0,
        "matched": 0,
    }
    assert (counts["matched"], counts["images"], counts["human"]["unmatched"]) == (0, 0, 15)
    assert counts["label_sets"]["machine"]["rows"] == 2863
    rows = label_files.found_sets(tmp_path, settings)["machine"]
    assert [row[1:] for row in rows if row[0] == "0018c49a9ed3c640"] == [("/m/014j1m", pytest.approx(0.551053), None)]


def test_apples_without_a_header_and_without_their_columns(folder: Path, tmp_path: Path) -> None:
    apples = str(folder / "train-annotations-machine-imagelabels_apple.csv")
    settings = ConfirmSettings(dataset="d", machine=(apples,), human=(apples,))
    with pytest.raises(InputError) as error:
        confirm(settings, Context(str(tmp_path), FLAGS))
    assert str(error.value) == (
        f"{apples} has no column ImageID, LabelName, Confidence; its columns are: 0018c49a9ed3c640, machine, "
        "/m/014j1m, 0.551053. If that is a row of data, the file has no header: name its columns with "
        "--columns ImageID,Source,LabelName,Confidence"
    )
