"""CONTRIBUTING.md: everything finds its worked examples, once they are written into a copy of the project."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from tests.support.markdown import ROOT, Block, read_blocks

BLOCKS = [block for block in read_blocks(ROOT / "CONTRIBUTING.md") if block.language in ("python", "toml")]
COPIED = ("concord", "schemas", "storage", "metrics", "models", "pipelines", "analysis", "samples", "docs")
STAGE_LINE = "pipelines/stages.py: one line of STAGES, before agree"
IMAGES = {"train": 24, "test": 40}
# What the commands below write to stdout goes to a file each; one process runs all, for starting takes longest.
RUN_ALL = """
import contextlib, io, json, sys
from concord.cli import main
for name, arguments in json.load(open(sys.argv[1])).items():
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        try:
            main(arguments)
        except SystemExit as ended:
            assert not ended.code, f"{name}: exit status {ended.code}: {out.getvalue()}"
    with open(f"{sys.argv[2]}/{name}.txt", "w") as file:
        file.write(out.getvalue())
"""


@dataclass(frozen=True)
class Results:
    """What the commands printed, by name, and the root that they wrote."""

    printed: Mapping[str, str]
    root: Path
    copy: Path


def header(block: Block) -> str:
    """The file that a block names on its first line."""
    first = block.text.partition("\n")[0]
    assert first.startswith("# "), f"{block} does not name its file"
    return first.removeprefix("# ")


def test_each_kind_of_contribution_has_an_example() -> None:
    files = [header(block) for block in BLOCKS if block.language == "python"]
    for folder in (
        "models/networks",
        "pipelines/convert/sources",
        "metrics/measures",
        "analysis/report",
        "analysis/exports",
    ):
        assert sum(os.path.dirname(file) == folder for file in files) == 1, folder
    assert {"schemas/settings/filter.py", "pipelines/filter/driver.py", STAGE_LINE} <= set(files)
    assert not any((ROOT / file).exists() for file in files), "an example replaces a file of the project"


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """The examples in a copy of the project, and what its commands print there."""
    folder = tmp_path_factory.mktemp("contributing")
    copy = folder / "copy"
    for name in COPIED:
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for block in BLOCKS:
        write_example(block, copy)
    data, root = draw_data(folder / "data"), folder / "root"
    [run_file] = [block.text for block in BLOCKS if block.language == "toml"]
    (folder / "chain.toml").write_text(run_file)
    (folder / "train.toml").write_text('dataset = "digits"\n[[train]]\nnetwork = "tiny"\nvalidation_fraction = 0.2\n')
    chain = [str(folder / "chain.toml"), "--data", str(data), "--root", str(root)]
    at = ["--root", str(root)]
    measures = "select label, value, low, high from measures where measure = 'pabak' and annotator_b = 'second'"
    commands = {
        "help": ["--help"],
        **{f"help_{verb}": [verb, "--help"] for verb in ("train", "convert", "queue", "filter")},
        "plan_before": ["plan", *chain],
        "run": ["run", *chain],
        "plan_after": ["plan", *chain, "--json"],
        "plan_train": ["plan", str(folder / "train.toml"), *at],
        "status": ["status", *at],
        "verify": ["verify", *at],
        "measures": ["query", measures, *at, "--format", "json"],
    }
    (folder / "commands.json").write_text(json.dumps(commands))
    environment = {**os.environ, "PYTHONPATH": str(copy)}
    for line in (["-c", RUN_ALL, str(folder / "commands.json"), str(folder)], ["-m", "concord.docs"]):
        done = subprocess.run(
            [sys.executable, *line], cwd=copy, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr[-3000:]
    return Results({name: (folder / f"{name}.txt").read_text() for name in commands}, root, copy)


def write_example(block: Block, copy: Path) -> None:
    """Write a block to the file that it names; the line of a list goes where it says."""
    if block.language != "python":
        return
    name, text = header(block), block.text.partition("\n")[2]
    if name == STAGE_LINE:
        path = copy / name.partition(":")[0]
        source, before = path.read_text(), '    Stage("agree"'
        assert source.count(before) == 1
        path.write_text(source.replace(before, f"    {text.strip()},\n{before}"))
        return
    (copy / name).parent.mkdir(exist_ok=True)
    (copy / name).write_text(text)


def draw_data(folder: Path) -> Path:
    """Archives of noise with labels, and the labels of two annotators on the test split."""
    folder.mkdir()
    rng = np.random.default_rng(1)
    for split, count in IMAGES.items():
        images = rng.integers(0, 256, (count, 8, 8), dtype=np.uint8)
        np.savez(folder / f"{split}.npz", images=images, labels=np.arange(count) % 3)
    for name, wrong in (("first", 4), ("second", 7)):
        with open(folder / f"{name}.csv", "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["image_id", "label", "confidence"])
            for number in range(IMAGES["test"]):
                label = (number + (number % wrong == 0)) % 3
                writer.writerow([f"test-{number:07d}", label, 0.9 if number % 2 else 0.4])
    return folder


def test_a_network_is_a_choice_and_is_planned(results: Results) -> None:
    assert re.search(r"--network [\w|]*\btiny\b", results.printed["help_train"].replace("\n", ""))
    assert re.search(r"train +digits/tiny +to do +24 +1 ", results.printed["plan_train"])


def test_a_network_scores_images_of_every_task() -> None:
    from models.tasks import Head

    names: dict[str, object] = {}
    [text] = [block.text for block in BLOCKS if block.text.startswith("# models/networks/")]
    exec(text, names)
    for task in ("multiclass", "multilabel", "sequence"):
        model = names["build"]((16, 20, 1), Head(task, 10), width=0.5)  # type: ignore[operator]
        assert model.name == "tiny" and model.input_shape == (None, 16, 20, 1)
    assert model.count_params() > 40


def test_a_source_is_a_choice_with_its_flags_and_reads(results: Results) -> None:
    assert re.search(r"--source [\w|]*\bnpz\b", results.printed["help_convert"])
    assert "--source npz:\n  --images-key TEXT" in results.printed["help_convert"]
    assert re.search(r"convert +digits +to do +64 ", results.printed["plan_before"])
    assert re.search(r"digits +convert +done +\d+/\d+ +64 +64 +0 ", results.printed["status"])


def test_a_measure_is_computed_and_documented(results: Results) -> None:
    """Of 40 images, the annotators err on those whose numbers 4 and 7 divide."""
    rows = {row["label"]: row for row in json.loads(results.printed["measures"]) if row}
    labels = [{(number, (number + (number % wrong == 0)) % 3) for number in range(IMAGES["test"])} for wrong in (4, 7)]
    for label in range(3):
        first, second = ({number for number, one in some if one == label} for some in labels)
        agree = 1 - len(first ^ second) / IMAGES["test"]
        row = rows[str(label)]
        assert row["value"] == pytest.approx(2 * agree - 1)
        assert row["low"] < row["value"] < row["high"]
    assert "| `pabak` |" in (results.copy / "docs" / "tables.md").read_text()


def test_a_section_is_on_the_page(results: Results) -> None:
    page = (results.root / "report" / "digits" / "index.html").read_text()
    assert '<li><a href="#splits">Images per split</a></li>' in page
    assert re.search(r'<th scope="row" class="names">train</th><td class="number">24</td><td class="number">24<', page)


def test_an_export_is_a_choice_and_is_written(results: Results) -> None:
    assert re.search(r"--export [\w|]*\bjson_lines\b", results.printed["help_queue"].replace("\n", ""))
    [file] = (results.root / "report" / "digits" / "queue").rglob("queue.jsonl")
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert [row["rank"] for row in rows] == list(range(1, len(rows) + 1)) and len(rows) > 5
    assert all((file.parent / row["image_file"]).exists() for row in rows)


def test_a_verb_is_found_by_everything(results: Results) -> None:
    printed = results.printed
    assert re.search(r"^  filter +Keep the labels of an annotator", printed["help"], re.MULTILINE)
    assert "--min-confidence X" in printed["help_filter"]
    assert re.search(r"filter +digits/confident/first/test +waits for import", printed["plan_before"])
    stages = {stage["stage"]: stage for stage in json.loads(printed["plan_after"])["chains"][0]["stages"]}
    assert [product["state"] for product in stages["filter"]["products"]] == ["done"]
    assert re.search(r"digits +filter +confident/test +done +\d+/\d+ +20 +20 +0 ", printed["status"])
    assert "nothing is missing or altered" in printed["verify"]
    assert "confident" in (results.root / "report" / "digits" / "index.html").read_text()
