"""What every section of the page and every export keeps to, and that adding one is adding its file."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

import analysis
from analysis import exports
from analysis.report.page import load_sections
from schemas import layout, plugins
from schemas.tables import QUEUE
from storage import parquet
from tests.support.pages import Outline
from tests.support.small_root import DATASET, PHOTO, SPLIT, SmallRoot

HERE = Path(analysis.__file__).parent
SECTION = """
TITLE, ORDER, LEAD = "Shards of the pairs", 35, True

def build_section(sources):
    return {"shards": [pair.shards.shards for pair in sources.pairs]}

def list_headlines(sources):
    return [f"there is {len(sources.pairs)} pair"]
"""
EXPORT = """
from storage import stores

IMAGE_FOLDER = "files"
TAKES_IMAGE_URL = True

def write(queue):
    stores.write_bytes(stores.join(queue.folder, "ids.txt"), " ".join(row["image_id"] for row in queue.rows).encode())
"""
USE = f"""
import json, sys
from analysis import exports
from analysis.report.page import write_report
from schemas.settings.queue import QueueSettings
from schemas.settings.report import ReportSettings

root = sys.argv[1]
write_report(ReportSettings(dataset={DATASET!r}), root)
settings = QueueSettings(dataset={DATASET!r}, annotators=("cnn2",), export="id-list", image_url="http://localhost/")
print(json.dumps([exports.__file__, exports.write_export(settings, root, "queue")]))
"""


def test_sections_keep_to_the_contract() -> None:
    sections = load_sections()
    assert next(iter(sections)) == "agreement" and list(sections)[-1] == "provenance"
    assert len({module.ORDER for module in sections.values()}) == len(sections)
    templates = {path.name for path in (HERE / "templates").glob("section_*")}
    assert templates == {f"section_{name}.html.j2" for name in [*sections, "table"]}, "one that all may share, too"
    for module in sections.values():
        assert module.TITLE and module.build_section.__doc__
        assert not hasattr(module, "LEAD") or hasattr(module, "list_headlines")


@pytest.mark.parametrize("tool", plugins.names(exports))
def test_exports_keep_to_the_contract(tool: str) -> None:
    module = plugins.load(exports, "export", tool)
    assert module.IMAGE_FOLDER and module.write.__doc__ and module.__doc__


def test_adding_a_section_or_an_export_is_adding_its_file(small: SmallRoot, tmp_path: Path) -> None:
    code = tmp_path / "code"
    for package in ("analysis", "metrics", "schemas", "storage"):
        shutil.copytree(HERE.parent / package, code / package, ignore=shutil.ignore_patterns("__pycache__"))
    (code / "analysis" / "report" / "shard_counts.py").write_text(SECTION)
    (code / "analysis" / "templates" / "section_shard_counts.html.j2").write_text("<p>{{ data.shards[0] }} shards</p>")
    (code / "analysis" / "exports" / "id_list.py").write_text(EXPORT)
    row = {"rank": 1, "image_id": PHOTO, "split": SPLIT, "reason": "machines_differ", "score": 0.5, "answers": []}
    parquet.write(layout.queue(small.root, DATASET, SPLIT), pa.Table.from_pylist([row], schema=QUEUE), "queue")
    path = os.pathsep.join([str(code), *filter(None, sys.path)])
    command = [sys.executable, "-P", "-c", USE, small.root]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    file, counts = json.loads(done.stdout)
    assert file.startswith(str(code))
    page = Path(small.root, "report", DATASET, "index.html").read_text()
    assert Outline(page).text("shard_counts") == "Shards of the pairs 4 shards"
    assert "there is 1 pair." in Outline(page).text("")
    folder = Path(small.root, "report", DATASET, "queue", "test-id_list")
    assert ((folder / "ids.txt").read_text(), counts["out"]) == (PHOTO, 1)
    assert [path.read_bytes() for path in (folder / "files").iterdir()] == [small.encoded[PHOTO]]
