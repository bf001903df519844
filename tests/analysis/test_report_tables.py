"""What is read from the tables, against a plain loop over the rows that they were made from."""

import shutil
from collections import Counter

import pyarrow as pa

from analysis import tables
from analysis.report.images import list_first_compared
from analysis.report.provenance import count_rejects
from metrics import classification
from schemas import layout
from schemas.settings.report import ReportSettings
from tests.support.small_root import DATASET, SPLIT, SmallRoot, change_manifest


def digest(small: SmallRoot, limit: int) -> tables.Digest:
    sources = tables.find_sources(ReportSettings(dataset=DATASET), small.root)
    assert (sources.unfinished, sources.confirmation) == ((), None)
    return tables.digest(sources.pairs[0], limit)


def test_cells_count_every_row_once(pristine: SmallRoot) -> None:
    expected = Counter((row["label_a"], row["label_b"], row["reference"]) for row in pristine.rows)
    cells = digest(pristine, 1).cells
    assert {(cell["label_a"], cell["label_b"], cell["reference"]): cell["n"] for cell in cells} == expected
    assert len(cells) == len(expected) < len(pristine.rows)
    known = Counter((row["reference"], row["label_b"]) for row in pristine.rows if row["reference"] is not None)
    assert classification.against_reference(cells, "b") == known


def test_disagreements_are_whole_rows_however_few_are_asked_for(pristine: SmallRoot) -> None:
    different = [row for row in pristine.rows if row["label_a"] != row["label_b"]]
    different.sort(key=lambda row: (-min(row["confidence_a"], row["confidence_b"]), row["image_id"]))
    assert list(digest(pristine, 3).disagreements) == different[:3]
    assert list(digest(pristine, 1000).disagreements) == different


def test_first_labelled_stops_where_the_images_end(pristine: SmallRoot, settings: ReportSettings) -> None:
    sources = tables.find_sources(settings, pristine.root)
    assert sources.images is not None
    found = list_first_compared(sources.images, sources.pairs, 1000)
    assert [image["image_id"] for image in found] == [row["image_id"] for row in pristine.rows]
    for image, row in zip(found, pristine.rows, strict=True):
        said = {"cnn1": (row["label_a"], row["confidence_a"]), "cnn2": (row["label_b"], row["confidence_b"])}
        assert (image["reference"], image["labels"]) == (row["reference"], said)


def test_what_import_turned_away_is_read_where_import_leaves_it(small: SmallRoot, settings: ReportSettings) -> None:
    before = count_rejects(tables.find_sources(settings, small.root))
    places = [place(small.root, DATASET, "cnn2", SPLIT) for place in (layout.label_rejects, layout.import_rejects)]
    shutil.move(places[0], places[1])
    change_manifest(layout.labels(small.root, DATASET, "cnn2", SPLIT), stage="import")
    found = count_rejects(tables.find_sources(settings, small.root))
    (label,) = [row for row in before if row["annotator"] == "cnn2"]
    assert [row for row in found if row["annotator"] == "cnn2"] == [{**label, "stage": "import"}]


def test_unfinished_models_are_not_shown(pristine: SmallRoot, settings: ReportSettings) -> None:
    assert [card.name for card in tables.find_sources(settings, pristine.root).models] == ["cnn1", "cnn2"]
    chosen = ReportSettings(dataset=DATASET, models=("cnn2",))
    assert [card.name for card in tables.find_sources(chosen, pristine.root).models] == ["cnn2"]


def test_query_leaves_types_as_they_are() -> None:
    found = tables.query("SELECT x, count(*) AS n FROM shard GROUP BY x ORDER BY x", pa.table({"x": ["b", "a", "b"]}))
    assert found.to_pydict() == {"x": ["a", "b"], "n": [1, 2]}
