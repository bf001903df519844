"""How far each stage of each dataset is, and how the last runs ended.

    concord status --root out

What is whole is told by manifests, what was begun by the shards that are there, and when and how long by the runs'
manifests. A root may be written to meanwhile: what disappears while it is looked at counts as not there.
"""

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from analysis.verify.claims import maker
from analysis.verify.leftovers import labeller
from schemas.errors import StorageError
from schemas.layout import CONFIRMED
from storage import json_files, model_cards, stores
from storage.products import MANIFEST
from storage.stores import FileStat

DONE, BEGUN = "done", "begun"
_STAGES = (
    *("confirm", "convert", "import", "teach", "features", "train", "label", "agree", "explain"),
    *("generations", "label_errors", "queue", "report"),
)
_LISTINGS = 3  # tries to list a root that others write to
_READERS = 16  # manifests read at once
_SHOWN_RUNS = 5
_SHARD = re.compile(r"part-\d{5}-of-(\d{5})\.parquet")
_PLACES = tuple(  # where the files of each stage lie, and what runs call its product
    (re.compile(re.sub(r"(?<!P)<(\w+)>", r"(?P<\1>[^/]+)", shape)), stage, product)
    for shape, stage, product in (
        (r"images/<dataset>/[^/]+/[^/]+", "convert", "{dataset}"),
        (r"index/dataset=<dataset>/.*", "convert", "{dataset}"),
        (r"statistics/joined/dataset=<dataset>/.*", "confirm", "{dataset}"),
        (r"labels/dataset=<dataset>/_concord.json", "confirm", "{dataset}"),
        (r"labels/dataset=<dataset>/annotator=[^/]+/_concord.json", "convert", "{dataset}"),
        (r"labels/dataset=<dataset>/annotator=<annotator>/split=<split>/.*", "label", "{dataset}/{annotator}/{split}"),
        (
            r"features/dataset=<dataset>/backbone=<backbone>/split=<split>/.*",
            "features",
            "{dataset}/{backbone}/{split}",
        ),
        (r"explanations/dataset=<dataset>/annotator=<name>/split=<split>/.*", "explain", "{dataset}/{name}/{split}"),
        (
            r"agreement/pairs/dataset=<dataset>/annotator_a=<a>/annotator_b=<b>/split=<split>/.*",
            "agree",
            "{dataset}/{a}-{b}/{split}",
        ),
        (r"agreement/queue/dataset=<dataset>/<split>.parquet", "queue", "{dataset}/{split}"),
        (r"agreement/generations/(?P<dataset>[^/-]+)-<study>.parquet", "generations", "{dataset}/{study}"),
        (
            r"agreement/label_errors/dataset=<dataset>/annotator=<name>/split=<split>/[^/]+",
            "label_errors",
            "{dataset}/{name}/{split}",
        ),
        (r"models/<dataset>/<model>/.*", "train", "{dataset}/{model}"),
        (r"report/<dataset>/[^/]+", "report", "{dataset}"),
    )
)
_WHOLE_BY_ITSELF = ("queue", "generations", "label_errors")  # one file, that is there or not
_MAKERS = {"concord generations": "teach"}  # what a run calls the stage, where it is no verb


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
        run: that made it; empty where no run that ended says so.
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


def take(root: str) -> Status:
    """Look at a root; one that is empty, or not there, has no products.

    Raises:
        StorageError: it cannot be listed.
    """
    files = _listed(root)
    names = (MANIFEST, model_cards.CARD_FILE)
    paths = [path for path in files if path.rpartition("/")[2] in names or re.fullmatch(r"runs/[^/]+\.json", path)]
    with ThreadPoolExecutor(_READERS) as pool:
        found = dict(zip(paths, pool.map(lambda path: _find(stores.join(root, path)), paths), strict=True))
    told = {path: content for path, content in found.items() if content is not None}
    runs = [told[path] for path in sorted(told, reverse=True) if path.startswith("runs/")]
    products = _products(files, told)
    for one in products:
        _add_run(one, runs)
    order = {stage: place for place, stage in enumerate(_STAGES)}
    products.sort(key=lambda one: (one.dataset, order[one.stage], one.product))
    return Status(products, [_run(one) for one in runs])


def _listed(root: str) -> dict[str, FileStat]:
    for _ in range(_LISTINGS - 1):
        try:
            return stores.list_tree(root)
        except StorageError:  # a file or folder was there when its folder was listed, and is gone
            continue
    return stores.list_tree(root)


def _find(path: str) -> dict[str, Any] | None:
    try:
        return json_files.find(path)
    except StorageError:  # removed meanwhile, or damaged, which concord verify names
        return None


def _products(files: Mapping[str, FileStat], told: Mapping[str, dict[str, Any]]) -> list[Progress]:
    """What there is, by what lies where."""
    found: dict[tuple[str, str], Progress] = {}
    latest: Counter[tuple[str, str]] = Counter()
    shards: dict[tuple[str, str], dict[str, list[int]]] = {}
    for path, status in files.items():
        named = None if path.rpartition("/")[2].startswith(".") else _named(path, files, told)
        if named is None:
            continue
        key, one = named[1:], found.setdefault(named[1:], Progress(*named))
        latest[key] = max(latest[key], status.modified)
        folder, _, name = path.rpartition("/")
        shard = _SHARD.fullmatch(name)
        if shard and one.stage not in _WHOLE_BY_ITSELF:
            count = shards.setdefault(key, {}).setdefault(folder, [0, int(shard[1])])
            count[0] += 1
        if one.stage in _WHOLE_BY_ITSELF or (_declares(path) and path in told):
            one.state = DONE
            one.counts = _counts(told[path].get("counts", {})) if path in told else {}
    for key, one in found.items():
        if key in shards:
            one.shards_done, one.shards = (sum(count[place] for count in shards[key].values()) for place in range(2))
        one.when = f"{datetime.fromtimestamp(latest[key] / 1e9, UTC):%Y-%m-%dT%H:%M:%S+00:00}"
    return list(found.values())


def _named(path: str, files: Mapping[str, FileStat], told: Mapping[str, dict[str, Any]]) -> tuple[str, str, str] | None:
    """Dataset, stage and product that a file is of; None where it is of none, or tells nothing of its progress."""
    matches = ((place.fullmatch(path), stage, product) for place, stage, product in _PLACES)
    match, stage, product = next((one for one in matches if one[0]), (None, "", ""))
    if match is None:
        return None
    dataset = match["dataset"]
    if stage == "label":
        manifest = told.get(f"{stores.parent(path)}/{MANIFEST}")
        by = maker(match["annotator"], manifest) if manifest else f"concord {labeller(files, path)}"
        stage = _MAKERS.get(by, by.removeprefix("concord "))
        if stage in ("convert", "confirm"):  # whose own files tell more, unless these are all there is
            return (dataset, stage, dataset) if _SHARD.search(path) and _is_bare(dataset, files) else None
        product = "{dataset}/{annotator}" if stage == "teach" else product
    return dataset, stage, product.format(**match.groupdict())


def _is_bare(dataset: str, files: Mapping[str, FileStat]) -> bool:
    """Whether a dataset consists of label sets alone."""
    shown = (f"index/dataset={dataset}/", f"images/{dataset}/", f"statistics/joined/dataset={dataset}/")
    return not any(path.startswith(shown) for path in files)


def _declares(path: str) -> bool:
    """Whether a file declares a product whole: not that of a member of a model, nor of one split of a study."""
    name = path.rpartition("/")[2]
    return path.count("/") == 3 if name == model_cards.CARD_FILE else name == MANIFEST


def _counts(counts: Mapping[str, Any]) -> dict[str, int]:
    """In, out and rejected, of counts that have them."""
    gone = next((counts[key] for key in ("rejected", "malformed", "unpaired", "left_out") if key in counts), None)
    rejected = sum(gone.values()) if isinstance(gone, Mapping) else gone
    if "in" not in counts:
        return {}
    told = {"in": counts.get("in"), "out": counts.get("out", counts.get(CONFIRMED)), "rejected": rejected}
    return {key: value for key, value in told.items() if isinstance(value, int) and not isinstance(value, bool)}


def _add_run(one: Progress, runs: Sequence[Mapping[str, Any]]) -> None:
    """Note the last run that made a product, and how long its stage took."""
    for run in runs:
        for stage in run.get("stages", ()):
            if (stage["stage"], stage["product"], stage["made"]) == (one.stage, one.product, True):
                one.run, one.seconds = run["run_id"], round(stage["seconds"], 1)
                return


def _run(manifest: Mapping[str, Any]) -> dict[str, Any]:
    return {key: manifest.get(key) for key in ("run_id", "command", "status", "began", "seconds")}


def as_json(found: Status) -> str:
    """The products and the runs, as a JSON object."""
    products = [asdict(one) for one in found.products]
    return json.dumps({"products": products, "runs": found.runs}, indent=2)


def as_text(found: Status, root: str) -> str:
    """A line a product, and a line each of the last runs."""
    if not found.products and not found.runs:
        return f"there is nothing in {root} yet: run concord run, or concord convert, first"
    header = ("dataset", "stage", "product", "state", "shards", "in", "out", "rejected", "seconds", "written", "run")
    lines = _aligned([header, *(_cells(one) for one in found.products)])
    begun = sum(one.state == BEGUN for one in found.products)
    if begun:
        lines.append(f"{begun} begun and not whole: the same command again goes on, keeping every shard that is there")
    if found.runs:
        last = [("run", "command", "status", "began", "seconds")]
        shown = [tuple(str(value) for value in run.values()) for run in found.runs[:_SHOWN_RUNS]]
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
