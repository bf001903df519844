"""Agreement at scale: Concord's `agree`, and DuckDB's join of the same label sets, counted and copied.

    python -m benchmarks.agree                     50,000,000 images, two label sets of 64 shards
    python -m benchmarks.agree --images 5000000 --unshared 0.01

Every side is a process of its own, on two processors, timed from its start to its end; the files lie in the page cache.
"""

import argparse
import shutil
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from benchmarks.common import FOLDER
from benchmarks.processes import GIB, Run, run
from schemas import layout, tables
from schemas.manifests import NO_IMAGES, LabelsManifest
from storage import hashing, products
from storage.products import ShardFolder, ShardReport

SHARDS, CLASSES, SIDES = 64, 10, ("one", "two")
WANTED_COUNTS, WANTED_PAIRS, WANTED_MEMORY = 1.5, 1.5, 2.0
_COUNTED = """
import duckdb, sys
a, b, output = sys.argv[1:]
duckdb.connect(config={'threads': 2}).sql(f'''COPY (
  SELECT a.label AS label_a, b.label AS label_b, count(*) AS n
  FROM read_parquet('{a}/*.parquet') a JOIN read_parquet('{b}/*.parquet') b USING (image_id) GROUP BY ALL
) TO '{output}' (FORMAT parquet)''')
"""
_COPIED = """
import duckdb, sys
a, b, output = sys.argv[1:]
duckdb.connect(config={'threads': 2}).sql(f'''COPY (
  SELECT image_id, a.label AS label_a, a.confidence AS confidence_a, b.label AS label_b, b.confidence AS confidence_b,
         a.label = b.label AS agree
  FROM read_parquet('{a}/*.parquet') a JOIN read_parquet('{b}/*.parquet') b USING (image_id)
) TO '{output}' (FORMAT parquet, COMPRESSION zstd)''')
"""


def drawn(images: int, unshared: float) -> Path:
    """A root with two label sets: ids of 16 hexadecimal digits; some images are labelled by one of the two alone.

    Every image lies in its own shard, in hash order, as in all label sets of Concord.
    """
    root = FOLDER / f"agreement-{images}-{unshared:g}"
    if (root / "done").exists():
        return root
    shutil.rmtree(root, ignore_errors=True)
    folders = [
        ShardFolder(layout.labels(str(root), "drawn", name, "test"), SHARDS, products.fingerprint("drawn", name=name))
        for name in SIDES
    ]
    rows = dict.fromkeys(SIDES, 0)
    numbers = np.random.default_rng(SHARDS).integers(0, 2**64, images, dtype=np.uint64)
    places = hashing.rows_by_shard(hashing.hash_hex_ids(numbers, hashing.SHARD_SEED), SHARDS)
    for shard, place in enumerate(places):
        for name, folder, part in zip(SIDES, folders, _shard(shard, numbers[place], unshared), strict=True):
            folder.write(shard, part, ShardReport(part.num_rows, part.num_rows))
            rows[name] += part.num_rows
    for name, folder in zip(SIDES, folders, strict=True):
        facts: dict[str, Any] = {"annotator": name, "split": "test", "images": NO_IMAGES, "shards": SHARDS}
        tag = folder.fingerprint
        manifest = LabelsManifest(
            stage="import", product=f"drawn/{name}/test", fingerprint=tag, rows=rows[name], **facts
        )
        products.write_manifest(folder.folder, manifest)
    (root / "done").touch()
    return root


def _shard(shard: int, numbers: hashing.Words, unshared: float) -> list[pa.Table]:
    """The rows of one shard of both, of images whose ids are these numbers."""
    random, count, ids = np.random.default_rng(shard), len(numbers), hashing.hex_id_texts(numbers)
    first = random.integers(0, CLASSES, count)
    labels = [first, np.where(random.random(count) < 0.9, first, random.integers(0, CLASSES, count))]
    tables_of = []
    for given in labels:
        kept = pa.array(random.random(count) >= unshared)
        columns = {
            "image_id": ids,
            "label": pa.DictionaryArray.from_arrays(pa.array(given, pa.int32()), list("0123456789")).cast(pa.string()),
            "confidence": pa.array(random.random(count, dtype=np.float32)),
        }
        tables_of.append(tables.label_rows(columns).filter(kept))
    return tables_of


def concord(root: Path, pairs: str) -> Run:
    """`concord agree`, from its start to its end."""
    shutil.rmtree(root / "agreement", ignore_errors=True)
    where = ("--root", str(root), "--dataset", "drawn", "--splits", "test", "--annotators", ",".join(SIDES))
    return run(sys.executable, "-m", "concord", "agree", *where, "--pairs", pairs)


def duck(root: Path, query: str, output: str) -> Run:
    """DuckDB's join of the same files."""
    folders = [layout.labels(str(root), "drawn", name, "test") for name in SIDES]
    return run(sys.executable, "-c", query, *folders, str(root / output))


def check(root: Path) -> None:
    """Concord's counts are DuckDB's, and so are its pairs."""
    ours = duckdb.sql(f"SELECT label_a, label_b, n FROM read_parquet('{root}/agreement/confusion/*.parquet')")
    theirs = duckdb.sql(f"SELECT label_a, label_b, n FROM read_parquet('{root}/counted.parquet')")
    if sorted(ours.fetchall()) != sorted(theirs.fetchall()):
        sys.exit("the counts differ")
    columns = "sum(hash(image_id, label_a, confidence_a, label_b, confidence_b, agree)::HUGEINT), count(*)"
    sums = [
        duckdb.sql(f"SELECT {columns} FROM read_parquet('{files}')").fetchall()
        for files in (f"{root}/agreement/pairs/*/*/*/*/*.parquet", f"{root}/copied.parquet")
    ]
    if sums[0] != sums[1]:
        sys.exit(f"the pairs differ: {sums}")
    print(f"  {sums[0][0][1]:,} pairs and their counts: DuckDB's")


def compare(root: Path, runs: int) -> dict[str, Run]:
    """Every side by turns, the median of each."""
    sides: dict[str, Callable[[], Run]] = {
        "Concord, counts": lambda: concord(root, "none"),
        "DuckDB, counts": lambda: duck(root, _COUNTED, "counted.parquet"),
        "Concord, pairs": lambda: concord(root, "all"),
        "DuckDB, pairs": lambda: duck(root, _COPIED, "copied.parquet"),
    }
    duck(root, _COUNTED, "counted.parquet")  # warms the page cache
    times: dict[str, list[Run]] = {name: [] for name in sides}
    for _ in range(runs):
        for name, side in sides.items():
            times[name].append(side())
    check(root)
    return {
        name: Run(statistics.median(one.seconds for one in found), max(one.memory for one in found))
        for name, found in times.items()
    }


def main() -> None:
    """Time every side and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=50_000_000)
    parser.add_argument("--unshared", type=float, default=0.0, help="share of the images that one of the two misses")
    parser.add_argument("--runs", type=int, default=3)
    given = parser.parse_args()
    found = compare(drawn(given.images, given.unshared), given.runs)
    for name, one in found.items():
        rate = given.images / one.seconds / 1e6
        print(f"  {name:<18}{one.seconds:7.2f} s {rate:8.3f} M images/s  {one.memory / GIB:5.2f} GiB")
    for what, wanted in (("counts", WANTED_COUNTS), ("pairs", WANTED_PAIRS)):
        ratio = found[f"Concord, {what}"].seconds / found[f"DuckDB, {what}"].seconds
        print(f"  {what}: Concord / DuckDB {ratio:.2f} (wanted: at most {wanted:g})")
    print(f"  memory, counts: {found['Concord, counts'].memory / GIB:.2f} GiB (wanted: below {WANTED_MEMORY:g})")


if __name__ == "__main__":
    main()
