"""Label CSVs for the tests of `confirm`, and what should come of them: the same joins and counts in DuckDB."""

import csv
import gzip
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import duckdb

from schemas.settings.confirm import ConfirmSettings
from storage import hashing

COLUMNS = ("ImageID", "Source", "LabelName", "Confidence")
LABELS = ["/m/01", "/m/02", "/m/03", "a, b", 'a "b"', "Käse", "NA"]
Row = tuple[str, str, str, str]
SPLITS = {"train": 0.6, "validation": 0.25, "test": 0.15}


def draw(seed: int = 1, images: int = 150, rows: int = 1200) -> tuple[list[Row], list[Row]]:
    """Rows of a machine and of people who know some of its images and others; some come twice, some contradict."""
    random = Random(seed)
    ids = [f"{random.getrandbits(64):016x}" for _ in range(2 * images)]
    machine = [
        (random.choice(ids[:images]), "machine", random.choice(LABELS), f"{random.randint(0, 20) / 20:g}")
        for _ in range(rows)
    ]
    human = []
    for image_id, _, label, _ in random.sample(machine, rows // 4):
        votes = random.choices([1, 2, 3], [8, 1, 1])[0]
        human += [(image_id, random.choice(["verification", "crowd", ""]), label, random.choice("01"))] * (votes > 1)
        human.append((image_id, "verification", label, random.choice(["0", "1", "1.0"])))
        human += [(image_id, "crowd", label, random.choice("01"))] * (votes > 2)
    human += [(random.choice(ids[images:]), "verification", random.choice(LABELS), "1") for _ in range(rows // 10)]
    random.shuffle(human)
    return machine, human


@dataclass(frozen=True)
class Style:
    """How a file is written."""

    columns: Sequence[str] = COLUMNS
    header: bool = True
    end: str = "\n"
    quoted: bool = False
    bom: bool = False
    zipped: bool = False
    blank: bool = False
    upper: bool = False


def content(rows: Sequence[Row], style: Style) -> bytes:
    """The bytes of a file."""
    text = io.StringIO()
    writer = csv.writer(
        text,
        quoting=csv.QUOTE_ALL if style.quoted else csv.QUOTE_MINIMAL,
        lineterminator="\n\n" if style.blank else "\n",
    )
    if style.header:
        writer.writerow(style.columns)
    for row in rows:
        named = dict(zip(COLUMNS, row, strict=True))
        named["ImageID"] = named["ImageID"].upper() if style.upper else named["ImageID"]
        writer.writerow([named.get(name, "x") for name in style.columns])
    data = ("\ufeff" * style.bom + text.getvalue().replace("\n", style.end)).encode()
    return gzip.compress(data) if style.zipped else data


def write(path: Path, rows: Sequence[Row], style: Style | None = None) -> str:
    """A file of rows; its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content(rows, style or Style()))
    return str(path)


# --- What should come of them -------------------------------------------------------------------

_SIDES = """
CREATE TABLE {side} AS SELECT lower(ImageID) AS image, LabelName AS label, Confidence::FLOAT AS value,
  coalesce(Source, '') AS source, row_number() OVER () AS place,
  {images} AS images, {classes} AS classes, {sure} AS sure
FROM read_csv({files}, header = true, all_varchar = true, nullstr = 'no such text', quote = '"', parallel = false)
"""
_JOINED = """
CREATE TABLE machine_kept AS FROM machine WHERE images AND classes AND sure;
CREATE TABLE human_kept AS FROM human WHERE images AND classes AND sure;
CREATE TABLE claims AS SELECT image, label, arg_min(value, place) AS value, min(place) AS place, count(*) AS n
FROM machine_kept GROUP BY ALL;
CREATE TABLE votes AS
SELECT image, label, count(*) AS n, count(*) FILTER (value = 1) AS yes,
  CASE WHEN yes IN (0, n) THEN (yes > 0)::INTEGER
    WHEN '{rule}' = 'rejected' THEN 0 WHEN '{rule}' = 'confirmed' THEN 1
    WHEN '{rule}' = 'majority' THEN (2 * yes > n)::INTEGER
    WHEN '{rule}' = 'first' THEN arg_min(value, place)::INTEGER END AS verdict
FROM human_kept GROUP BY ALL;
CREATE TABLE joined AS SELECT claims.*, votes.n AS votes, yes, verdict FROM claims JOIN votes USING (image, label);
CREATE TABLE kept AS SELECT *, row_number() OVER (
  PARTITION BY image, verdict ORDER BY CASE WHEN '{one}' = 'best' THEN -value ELSE 0 END, place) AS rank
FROM joined WHERE verdict IS NOT NULL;
CREATE TABLE confirmed AS SELECT image, label, value, if(verdict = 1, 'confirmed', 'rejected') AS verdict
FROM kept WHERE '{one}' = '' OR (verdict = 1 AND rank = 1);
CREATE TABLE sure AS SELECT DISTINCT image FROM joined WHERE verdict = 1
"""


def oracle(machine: Sequence[str], human: Sequence[str], settings: ConfirmSettings, **narrow: set[str]) -> Any:
    """A DuckDB connection with the tables `confirmed`, `claims`, `votes`, `joined`, `sure`, and each side's rows.

    Args:
        machine: files, each with a header.
        human: the same.
        settings: which rows are kept, and by which rules.
        narrow: the `images` and the `labels` that are kept, where only some are.
    """
    db = duckdb.connect()
    tests = {}
    for name, column, key in (("images", "image", "images"), ("classes", "label", "labels")):
        kept = ", ".join("'" + one.replace("'", "''") + "'" for one in sorted(narrow.get(key, ())))
        tests[name] = f"{column} IN ({kept or 'NULL'})" if key in narrow else "true"
    for side, files in (("machine", machine), ("human", human)):
        tests["sure"] = f"value >= {settings.min_confidence}::FLOAT" if side == "machine" else "true"
        db.execute(_SIDES.format(side=side, files=list(files), **tests))
    db.execute(_JOINED.format(rule=settings.on_conflict, one=settings.one_label))
    return db


def one(db: Any, query: str) -> int:
    """The single number that a query gives."""
    return int(db.sql(query).fetchall()[0][0] or 0)


def expected_counts(db: Any) -> dict[str, Any]:
    """The reconciliation, as `confirm` should give it for files without a malformed row."""
    matched = one(db, "SELECT count(*) FROM joined")
    verdicts = {
        name: one(db, f"SELECT count(*) FROM joined WHERE verdict IS NOT DISTINCT FROM {value}")
        for name, value in (("confirmed", "1"), ("rejected", "0"), ("dropped", "NULL"))
    }
    duplicate = {
        "machine": one(db, "SELECT sum(n - 1) FROM joined"),
        "human": one(db, "SELECT sum(votes - 1) FROM joined"),
    }
    sides: dict[str, dict[str, Any]] = {}
    for side in ("machine", "human"):
        read, kept = one(db, f"SELECT count(*) FROM {side}"), one(db, f"SELECT count(*) FROM {side}_kept")
        sides[side] = {
            "read": read,
            "malformed": {},
            "narrowed": _narrowed(db, side),
            "unmatched": kept - matched - duplicate[side],
            "duplicate": duplicate[side],
            "matched": matched,
        }
        assert read == kept + sum(sides[side]["narrowed"].values())
    kept = one(db, "SELECT count(*) FROM kept")
    return {
        **sides,
        "matched": matched,
        **verdicts,
        "conflicts": one(db, "SELECT count(*) FROM joined WHERE yes NOT IN (0, votes)"),
        "other_labels": kept - one(db, "SELECT count(*) FROM confirmed"),
        "images": one(db, "SELECT count(*) FROM sure"),
        "classes": one(db, "SELECT count(DISTINCT label) FROM joined WHERE verdict = 1"),
        "in": sides["machine"]["read"] + sides["human"]["read"],
        "malformed": {},
    }


def _narrowed(db: Any, side: str) -> dict[str, int]:
    """Rows by the first thing for which they were put aside: their image, their class, their confidence."""
    why = "CASE WHEN NOT images THEN 'images' WHEN NOT classes THEN 'classes' WHEN NOT sure THEN 'confidence' END"
    return dict(db.sql(f"SELECT {why} AS why, count(*) FROM {side} WHERE why IS NOT NULL GROUP BY 1").fetchall())


def expected_sets(db: Any, settings: ConfirmSettings) -> dict[str, list[tuple[Any, ...]]]:
    """The rows (image, label, confidence, verdict) of each label set, sorted."""
    sets = {"confirmed": "SELECT image, label, value, verdict FROM confirmed"}
    if settings.label_sets != "none":
        images = "true" if settings.label_sets == "all" else "image IN (FROM sure)"
        sets["machine"] = f"SELECT image, label, value, NULL FROM claims WHERE {images}"
        sets["human"] = f"SELECT image, label, verdict::FLOAT, NULL FROM votes WHERE verdict IS NOT NULL AND {images}"
    return {name: sorted(db.sql(query).fetchall()) for name, query in sets.items()}


def found_sets(root: Path | str, settings: ConfirmSettings) -> dict[str, list[tuple[Any, ...]]]:
    """The rows of each label set on disk, sorted, each of which lies in its split and shard and in hash order."""
    sets: dict[str, list[tuple[Any, ...]]] = {}
    shards = settings.shards or 8
    for folder in sorted(Path(root).glob(f"labels/dataset={settings.dataset}/annotator=*/split=*")):
        annotator, split = (part.name.partition("=")[2] for part in (folder.parent, folder))
        files = sorted(folder.glob("*.parquet"))
        if not files:  # swept, and left empty
            continue
        assert [file.name for file in files] == [f"part-{n:05d}-of-{shards:05d}.parquet" for n in range(shards)]
        rows = duckdb.read_parquet([str(file) for file in files], filename=True, hive_partitioning=False)
        table = rows.project("image_id, label, confidence, verdict, filename").fetchall()
        ids = [row[0] for row in table]
        hashes = hashing.image_hashes(ids).tolist()
        assert hashes == sorted(hashes)
        assert [int(row[4].rpartition("part-")[2][:5]) for row in table] == [value * shards >> 64 for value in hashes]
        assert set(hashing.split_of(ids, settings.splits).tolist()) <= {split}
        sets.setdefault(annotator, []).extend(row[:4] for row in table)
    return {annotator: sorted(rows) for annotator, rows in sets.items()}
