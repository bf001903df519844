"""How far each stage of each dataset is, and how the last runs ended.

    concord status --root out

Manifests state what is complete, the shards that are there what was begun, and the runs' manifests when and how long. A
root may be written to meanwhile: what disappears while it is looked at counts as not there.
"""

import json
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from analysis.verify.inventory import is_lone, stage_of_file
from schemas import layout
from schemas.errors import StorageError
from schemas.layout import CONFIRMED
from storage import model_cards, products, small_files, stores
from storage.products import MANIFEST, AnyManifest
from storage.stores import FileStat

DONE, BEGUN = "done", "begun"
_LISTINGS = 3  # tries to list a root that others write to
_READERS = 16  # manifests read at once
_SHOWN_RUNS = 5
_WHOLE_DATASET = ("convert", "confirm")  # stages whose product is a dataset: its splits' label sets are parts of it


@dataclass
class Progress:
    """One product of one stage.

    Attributes:
        product: as runs name it, such as `svhn/cnn1/test`.
        state: `done`, or `begun` where it is not whole.
        shards_done: shards that are there; None where it is not made of shards.
        shards: of how many; None where that is not known.
        seconds: that the run took which made it; several products of one stage share them.
        when: it was written last, in UTC.
        run: that made it; empty where no finished run states it.
    """

    dataset: str
    stage: str
    product: str
    state: str = BEGUN
    shards_done: int | None = None
    shards: int | None = None
    counts: dict[str, Any] = field(default_factory=dict)
    seconds: float | None = None
    when: str = ""
    run: str = ""


@dataclass(frozen=True)
class Status:
    """The products of a root in the order of stages, and its runs, the last first."""

    products: list[Progress]
    runs: list[dict[str, Any]]


def read_status(root: str, stages: Sequence[str]) -> Status:
    """Look at a root; one that is empty, or not there, has no products.

    Args:
        root: local, `gs://` or `s3://`.
        stages: every stage, in the order in which they are listed.

    Raises:
        StorageError: it cannot be listed.
    """
    files = _listed(root)
    names = (MANIFEST, model_cards.CARD_FILE)
    paths = [path for path in files if path.rpartition("/")[2] in names or re.fullmatch(r"runs/[^/]+\.json", path)]
    with ThreadPoolExecutor(_READERS) as pool:
        contents = dict(zip(paths, pool.map(lambda path: _find(stores.join(root, path)), paths), strict=True))
    stated = {path: content for path, content in contents.items() if content is not None}
    runs = [stated[path] for path in sorted(stated, reverse=True) if path.startswith("runs/")]
    states = {(one.stage, one.product): one for one in _begun(root, files)}
    states |= {(one.stage, one.product): one for one in _finished(files, stated)}
    bare = {one.dataset for one in states.values() if one.stage in _WHOLE_DATASET and one.product == one.dataset}
    listed = [
        one
        for one in states.values()
        if one.stage not in _WHOLE_DATASET or one.product == one.dataset or one.dataset not in bare
    ]
    for one in listed:
        _add_run(one, runs)
    order = {stage: place for place, stage in enumerate(stages)}
    listed.sort(key=lambda one: (one.dataset, order.get(one.stage, len(order)), one.product))
    return Status(listed, [_run(one) for one in runs])


def _listed(root: str) -> dict[str, FileStat]:
    for _ in range(_LISTINGS - 1):
        try:
            return stores.list_tree(root)
        except StorageError:  # a file or folder was there when its folder was listed, and is gone
            continue
    return stores.list_tree(root)


def _find(path: str) -> dict[str, Any] | None:
    try:
        return small_files.find_json(path)
    except StorageError:  # removed meanwhile, or damaged, which concord verify names
        return None


def _finished(files: Mapping[str, FileStat], stated: Mapping[str, dict[str, Any]]) -> list[Progress]:
    """The products that a manifest or a model card declares complete."""
    states = []
    for path, content in stated.items():
        when = _moment(files[path].modified)
        if path.endswith(model_cards.CARD_FILE) and path.count("/") == 3:
            _, dataset, model, _ = path.split("/")
            stage = str(content.get("stage", "train"))
            states.append(Progress(dataset, stage, f"{dataset}/{model}", DONE, when=when))
        elif path.endswith(MANIFEST):
            try:
                manifest = products.parse_manifest(path, content, AnyManifest)
            except StorageError:  # damaged, which concord verify names
                continue
            shards = len(manifest.tables[0].files) if manifest.tables else None
            counts = _counts(manifest.counts)
            dataset = manifest.product.partition("/")[0]
            states.append(Progress(dataset, manifest.stage, manifest.product, DONE, shards, shards, counts, when=when))
    return states


def _begun(root: str, files: Mapping[str, FileStat]) -> list[Progress]:
    """What has no manifest: tables of one file, which are complete, and folders that a stage has still to complete."""
    folders: dict[str, list[str]] = {}
    for path in files:
        if not path.rpartition("/")[2].startswith("."):
            folders.setdefault(path.rpartition("/")[0], []).append(path)
    states: dict[tuple[str, str], Progress] = {}
    for folder, paths in folders.items():
        top, when = folder.partition("/")[0], _moment(max(files[path].modified for path in paths))
        if top in ("images", "models") and folder.count("/") >= 2:
            _, dataset, name, *_ = folder.split("/")
            card = f"models/{dataset}/{name}/{model_cards.CARD_FILE}"
            if top == "models" and card not in files:
                key = ("train", f"{dataset}/{name}")
                states.setdefault(key, Progress(dataset, *key, when=when))
        elif is_lone(f"{folder}/"):
            states |= {(one.stage, one.product): one for path in paths if (one := _lone(root, path, when))}
        elif f"{folder}/{MANIFEST}" not in files and top not in ("rejects", "report", "runs"):
            one = _unfinished(root, folder, paths, when)
            if one:
                known = states.setdefault((one.stage, one.product), one)
                if known is not one:  # another folder of the same product
                    known.shards_done = (known.shards_done or 0) + (one.shards_done or 0)
                    known.shards = (known.shards or 0) + (one.shards or 0)
                    known.when = max(known.when, one.when)
    return list(states.values())


def _lone(root: str, path: str, when: str) -> Progress | None:
    """A table of one file that is a product by itself; None where it belongs to a comparison."""
    stage = stage_of_file(root, path) if path.endswith(".parquet") else ""
    if stage in ("", "agree"):
        return None
    keys, name = _keys(path), path.rpartition("/")[2].removesuffix(".parquet")
    dataset = keys[0] if keys else name.partition("-")[0]
    rest = keys[1:] or [name if keys else name.partition("-")[2]]
    return Progress(dataset, stage, "/".join([dataset, *rest]), DONE, when=when)


def _unfinished(root: str, folder: str, paths: Sequence[str], when: str) -> Progress | None:
    """A folder of shards without a manifest, named by the fingerprint that the shards carry."""
    shards = [layout.shard_number(path.rpartition("/")[2]) for path in paths]
    numbers = [shard for shard in shards if shard]
    stage = stage_of_file(root, min(paths)) if numbers else ""
    if not stage:
        return None
    keys = _keys(folder)
    if stage == "agree" and len(keys) == 4:  # dataset, both annotators, split
        keys = [keys[0], f"{keys[1]}-{keys[2]}", keys[3]]
    product = keys[0] if stage in _WHOLE_DATASET else "/".join(keys)
    return Progress(keys[0], stage, product, BEGUN, len(numbers), numbers[0][1], when=when)


def _keys(path: str) -> list[str]:
    """The values of the partition keys on a path."""
    return [part.partition("=")[2] for part in path.split("/") if "=" in part]


def _moment(modified: float) -> str:
    return f"{datetime.fromtimestamp(modified / 1e9, UTC):%Y-%m-%dT%H:%M:%S+00:00}"


def _counts(counts: Mapping[str, Any]) -> dict[str, int]:
    """In, out and rejected, of counts that have them."""
    gone = next((counts[key] for key in ("rejected", "malformed", "unpaired") if key in counts), None)
    rejected = sum(gone.values()) if isinstance(gone, Mapping) else gone
    if "in" not in counts:
        return {}
    stated = {"in": counts.get("in"), "out": counts.get("out", counts.get(CONFIRMED)), "rejected": rejected}
    return {key: value for key, value in stated.items() if isinstance(value, int) and not isinstance(value, bool)}


def _add_run(one: Progress, runs: Sequence[Mapping[str, Any]]) -> None:
    """Note the last run that made a product, and how long its stage took."""
    for run in runs:
        for stage in run.get("stages", ()):
            if (stage["stage"], stage["product"], stage.get("built")) == (one.stage, one.product, True):
                one.run, one.seconds = run["run_id"], round(stage["seconds"], 1)
                return


def _run(manifest: Mapping[str, Any]) -> dict[str, Any]:
    return {key: manifest.get(key) for key in ("run_id", "command", "status", "began", "seconds")}


def as_json(status: Status) -> str:
    """The products and the runs, as a JSON object."""
    products = [asdict(one) for one in status.products]
    return json.dumps({"products": products, "runs": status.runs}, indent=2)


def as_text(status: Status, root: str) -> str:
    """A line per product, and one per run of the last ones."""
    if not status.products and not status.runs:
        return f"there is nothing in {root} yet: run concord run, or concord convert, first"
    header = ("dataset", "stage", "product", "state", "shards", "in", "out", "rejected", "seconds", "written", "run")
    lines = _aligned([header, *(_cells(one) for one in status.products)])
    begun = sum(one.state == BEGUN for one in status.products)
    if begun:
        lines.append(
            f"{begun} begun and not complete: the same command again goes on, keeping every shard that is there"
        )
    if status.runs:
        last = [("run", "command", "status", "began", "seconds")]
        shown = [tuple(str(value) for value in run.values()) for run in status.runs[:_SHOWN_RUNS]]
        lines += ["", *_aligned([*last, *shown])]
    return "\n".join(lines)


def _cells(one: Progress) -> tuple[str, ...]:
    counts = (f"{one.counts[key]:,}" if key in one.counts else "" for key in ("in", "out", "rejected"))
    shards = "" if one.shards_done is None else f"{one.shards_done}/{one.shards}"
    seconds = "" if one.seconds is None else f"{one.seconds:,.1f}"
    product = one.product.removeprefix(one.dataset).removeprefix("/")
    return (one.dataset, one.stage, product, one.state, shards, *counts, seconds, one.when[:19], one.run)


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Lines of columns, figures to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    figures = {place for place, name in enumerate(rows[0]) if name in ("shards", "in", "out", "rejected", "seconds")}
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if place in figures else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return lines
