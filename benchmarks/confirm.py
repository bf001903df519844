"""Confirm labels at Open Images' full size: Concord, DuckDB's join of the same files, and one row an element in Beam.

python -m benchmarks.confirm                 78,977,695 machine rows and 8,996,795 of people's (3.4 GB of CSV)
python -m benchmarks.confirm --scale 0.1     a tenth of them

Every side is a process of its own, on two processors, timed from its start to its end; the files lie in the page cache.
"""

import argparse
import shutil
import statistics
import sys
from pathlib import Path

import duckdb

from benchmarks import open_images
from benchmarks.common import FOLDER
from benchmarks.processes import GIB, Run, run
from schemas import layout
from storage import small_files, stores
from storage.products import MANIFEST

NAIVE_SCALE = 0.005  # the largest at which one row an element ends soon
WANTED_WALL, WANTED_MEMORY, WANTED_NAIVE, WANTED_GROWTH = 2.5, 3.0, 20.0, 1.15
_DUCKDB = """
import duckdb, sys
machine, human, output = sys.argv[1:]
kinds = "{'ImageID': 'VARCHAR', 'Source': 'VARCHAR', 'LabelName': 'VARCHAR', 'Confidence': 'FLOAT'}"
rows = f"header = true, columns = {kinds}"
duckdb.connect(config={'threads': 2}).sql(f'''COPY (
  SELECT m.ImageID AS image_id, m.LabelName AS label, m.Confidence AS confidence,
         CASE WHEN h.Confidence = 1 THEN 'confirmed' ELSE 'rejected' END AS verdict
  FROM read_csv('{machine}', {rows}) m JOIN read_csv('{human}', {rows}) h USING (ImageID, LabelName)
) TO '{output}' (FORMAT parquet, COMPRESSION zstd)''')
"""


def drawn(scale: float) -> Path:
    """A folder with the CSV files of this scale, drawn once."""
    folder = FOLDER / f"open-images-{scale:g}"
    if not (folder / "done").exists():
        open_images.write(folder, open_images.scaled(scale))
        (folder / "done").touch()
    return folder


def concord(folder: Path, label_sets: str = "none") -> Run:
    """`concord confirm`, from its start to its end."""
    root = folder / "root"
    shutil.rmtree(root, ignore_errors=True)
    files = ("--machine", str(folder / "machine.csv"), "--human", str(folder / "human.csv"))
    where = ("--dataset", "open_images", "--root", str(root), "--label-sets", label_sets)
    return run(sys.executable, "-m", "concord", "confirm", *files, *where)


def duck(folder: Path) -> Run:
    """DuckDB's join of the same files to Parquet."""
    files = (str(folder / "machine.csv"), str(folder / "human.csv"), str(folder / "duckdb.parquet"))
    return run(sys.executable, "-c", _DUCKDB, *files)


def naive(folder: Path) -> Run:
    """One row an element."""
    files = (str(folder / "machine.csv"), str(folder / "human.csv"), str(folder / "naive"))
    return run(sys.executable, "-m", "benchmarks.naive_confirm", *files)


def check_counts(folder: Path, scale: float) -> None:
    """Concord's counts are DuckDB's, row for row, and those of the construction."""
    size = open_images.scaled(scale)
    home = layout.confirmation(str(folder / "root"), "open_images")
    counts = (small_files.find_json(stores.join(home, MANIFEST)) or {})["counts"]
    ours = f"read_parquet('{folder}/root/labels/dataset=open_images/annotator=confirmed/*/*.parquet')"
    theirs = f"read_parquet('{folder}/duckdb.parquet')"
    columns = "image_id, label, confidence, verdict"
    query = f"SELECT count(*) FROM (SELECT {columns} FROM {{}} EXCEPT ALL SELECT {columns} FROM {{}})"
    differences = [duckdb.sql(query.format(*pair)).fetchall()[0][0] for pair in ((ours, theirs), (theirs, ours))]
    expected = (size.machine_rows, size.human_rows, size.matched, size.confirmed_images)
    found = (counts["machine"]["read"], counts["human"]["read"], counts["matched"], counts["images"])
    if differences != [0, 0] or found != expected:
        sys.exit(f"the results differ: {differences} rows; counted {found}, drawn {expected}")
    print(
        f"  counts: {found[0]:,} and {found[1]:,} rows, {found[2]:,} matched, {found[3]:,} confirmed images: DuckDB's"
    )


def compare(scale: float, runs: int) -> tuple[Run, Run]:
    """Concord and DuckDB by turns, the median of each."""
    folder = drawn(scale)
    duck(folder)  # warms the page cache
    pairs = [(concord(folder), duck(folder)) for _ in range(runs)]
    check_counts(folder, scale)
    ours, theirs = ([pair[side] for pair in pairs] for side in (0, 1))
    return tuple(  # type: ignore[return-value]
        Run(statistics.median(one.seconds for one in side), max(one.memory for one in side)) for side in (ours, theirs)
    )


def line(name: str, one: Run, rows: int) -> str:
    """One side's figures."""
    return f"  {name:<34}{one.seconds:7.2f} s {rows / one.seconds / 1e6:8.3f} M rows/s  {one.memory / GIB:5.2f} GiB"


def main() -> None:
    """Time every side and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the full size (default: 1)")
    parser.add_argument("--runs", type=int, default=3, help="runs of Concord and DuckDB, by turns (default: 3)")
    given = parser.parse_args()
    times = {}
    for scale in (given.scale / 10, given.scale):
        size = open_images.scaled(scale)
        rows = size.machine_rows + size.human_rows
        print(f"scale {scale:g}: {rows:,} rows")
        ours, theirs = compare(scale, given.runs)
        times[scale] = ours.seconds
        print(line("Concord, --label-sets=none", ours, rows))
        print(line("DuckDB", theirs, rows))
        print(f"  Concord / DuckDB: {ours.seconds / theirs.seconds:.2f} (wanted: at most {WANTED_WALL:g})")
        print(f"  memory: {ours.memory / GIB:.2f} GiB (wanted: below {WANTED_MEMORY:g})")
    print(line("Concord, default (--label-sets=images)", concord(drawn(given.scale), "images"), rows))
    empty = statistics.median(concord(drawn(0)).seconds for _ in range(given.runs))
    growth = (times[given.scale] - empty) / (10 * (times[given.scale / 10] - empty))
    print(f"growth over a tenth: {growth:.2f} x linear (wanted: at most {WANTED_GROWTH:g}); empty input: {empty:.2f} s")
    a_row = (times[given.scale] - empty) / rows
    compare_naive(a_row)


def compare_naive(a_row: float) -> None:
    """One row an element, at a scale where it ends; both without what starting up takes.

    Args:
        a_row: Concord's seconds a row.
    """
    small = open_images.scaled(NAIVE_SCALE)
    rows = small.machine_rows + small.human_rows
    slow, idle = naive(drawn(NAIVE_SCALE)), naive(drawn(0))
    print(line(f"one row an element, scale {NAIVE_SCALE:g}", slow, rows) + f"  (starting up: {idle.seconds:.1f} s)")
    ratio = (slow.seconds - idle.seconds) / rows / a_row
    print(f"  Concord is {ratio:.0f} times as fast a row (wanted: at least {WANTED_NAIVE:g})")


if __name__ == "__main__":
    main()
