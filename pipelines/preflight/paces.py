"""How long stages take: measured on this root's own past runs, else by one table of rough figures.

The table holds seconds of one CPU core, by the README's and the studies' figures on 2 cores of a cloud machine. What a
disk, a network or a runner adds is not in it, and another machine may be several times as fast or slow.
"""

import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from schemas import layout
from schemas.errors import ConcordError
from storage import json_files, model_cards, stores

START = {"train": 8.0, "label": 4.0, "features": 4.0, "explain": 4.0}  # TensorFlow is imported, a model loaded
START_ELSE, START_REMOTE = 1.0, 240.0  # seconds; Dataflow's workers have to be started for each stage
GPU_CORES = 60.0  # cores that a GPU stands for: a T4 at an assumed 300 images/s of Xception, a core at 5
_LATEST = 20  # runs that are looked at
_WORKERS = re.compile(r"--direct_num_workers[= ](\d+)")
_RUNNER = re.compile(r"--runner[= ](\S+)")
_LOCAL = ("DirectRunner", "FnApiRunner", "")


@dataclass(frozen=True)
class Network:
    """What is known of a network: images a second that one core labels and learns from, at `shape`, and its weights.

    Attributes:
        by_pixel: weights more for each value more that an image has, of networks that flatten them.
        features: values of what its backbone sees; 0 for those without one.
    """

    shape: tuple[int, int, int]
    labels: float
    learns: float
    parameters: int
    by_pixel: float = 0.0
    features: int = 0


NETWORKS: Mapping[str, Network] = {
    "logistic": Network((32, 32, 1), 12_000, 7_000, 10_250, 10),
    "ann1": Network((32, 32, 1), 12_000, 6_800, 68_010, 64),
    "ann2": Network((32, 32, 1), 11_000, 5_900, 310_250, 256),
    "cnn1": Network((32, 32, 1), 8_000, 1_600, 267_306, 256),
    "cnn2": Network((32, 32, 1), 5_600, 1_100, 164_362, 128),
    "colour_cnn": Network((32, 32, 3), 3_000, 900, 298_618),
    "house_number": Network((48, 128, 1), 900, 250, 1_624_041, 200),
    "vgg16": Network((150, 150, 3), 8, 8, 16_812_610, 85, 8_192),
    "xception": Network((299, 299, 3), 5, 5, 22_961_706, 0, 2_048),
    "efficientnet_v2": Network((224, 224, 3), 25, 25, 6_250_000, 0, 1_280),
}
HEADS_A_SECOND = 2_000.0  # images that a head learns from, on features
VALUES_A_SECOND = 16_000_000.0  # pixels' values that convert encodes
PHOTOS_A_SECOND, SCALED_A_SECOND = 1_000.0, 250.0
ROWS_A_SECOND = {"confirm": 1_500_000.0, "import": 300_000.0, "agree": 2_000_000.0, "agree.none": 3_000_000.0}
DRAWN_A_SECOND = {"house_numbers": 3_800.0, "scenes": 300.0}
EXPLAINED_A_SECOND = 15.0
READ_A_SECOND = 200_000.0  # rows that label_errors and queue read
PAGE_SECONDS = 4.0


def scored(network: str, shape: tuple[int, int, int] | None, learning: bool = False) -> float:
    """Seconds of a core that an image takes a network to label, or to learn from once."""
    known = NETWORKS.get(network) or NETWORKS["cnn2"]
    share = math.prod(shape) / math.prod(known.shape) if shape else 1.0
    return share / (known.learns if learning else known.labels)


@dataclass(frozen=True)
class Past:
    """What this root's past runs took: seconds of a core for a unit, by stage and kind."""

    paces: Mapping[tuple[str, str], float]

    def pace(self, stage: str, kind: str, table: float) -> tuple[float, bool]:
        """Seconds of a core that a unit takes, and whether that was measured here."""
        found = self.paces.get((stage, kind))
        return (table, False) if found is None else (found, True)


def past(root: str, runner: str) -> Past:
    """What the latest runs of a root took with the same runner; of each stage and kind the last one that made it."""
    folder = stores.parent(layout.run_manifest(root, "x"))
    names = sorted(name for name in stores.list_files(folder) if name.endswith(".json"))[-_LATEST:]
    paces: dict[tuple[str, str], float] = {}
    for name in names:
        try:
            run = json_files.find(stores.join(folder, name)) or {}
            flags = run["configuration"].get("beam_flags", [])
            if _kind(_runner(flags)) == _kind(runner):
                paces |= _paces(root, run, _parallel(flags))
        except (ConcordError, KeyError, TypeError, AttributeError, ValueError):
            continue  # a run that says otherwise than ours: nothing is learnt from it
    return Past(paces)


def _paces(root: str, run: Mapping[str, Any], parallel: int) -> dict[tuple[str, str], float]:
    made = [result for result in run["stages"] if result["made"]]
    found: dict[tuple[str, str], float] = {}
    for result in made:
        counts = result["counts"]
        if result["stage"] == "train" and "train_images" in counts:
            learnt = counts["train_images"] * counts["epochs"]
            found["train", _network(root, result["product"])] = counts["seconds"] / max(1, learnt)
    for stage in dict.fromkeys(result["stage"] for result in made):
        results = [result for result in made if result["stage"] == stage and "in" in result["counts"]]
        found |= _shared(root, stage, results, run["configuration"], parallel)
    return found


def _shared(
    root: str, stage: str, results: Sequence[Mapping[str, Any]], configuration: Mapping[str, Any], parallel: int
) -> dict[tuple[str, str], float]:
    """Of results that share the seconds of their stage: divided as the table says that they take."""
    units: dict[str, float] = {}
    for result in results:
        kind = _kind_of(root, stage, result["product"], configuration)
        units[kind] = units.get(kind, 0.0) + result["counts"]["in"]
    spent = sum({result["seconds"] for result in results})  # those of one job all say the same
    began = START.get(stage, START_ELSE)
    work = max(spent - began, spent / 5) * parallel
    table = {kind: scored(kind, None) if stage in ("label", "features") else 1.0 for kind in units}
    expected = sum(count * table[kind] for kind, count in units.items())
    return {(stage, kind): table[kind] * work / expected for kind in units} if expected else {}


def _kind_of(root: str, stage: str, product: str, configuration: Mapping[str, Any]) -> str:
    if stage == "convert":
        return str((configuration.get("convert") or {}).get("source", ""))
    if stage == "label":
        return _network(root, product)
    return str((configuration.get("agree") or {}).get("pairs", "all")) if stage == "agree" else ""


def _network(root: str, product: str) -> str:
    """The network of a model, of which a product is named `dataset/model`, and perhaps `/split`."""
    dataset, model = product.split("/")[:2]
    return str((model_cards.find_card(layout.model(root, dataset, model)) or {}).get("network", model))


def _runner(flags: Iterable[str]) -> str:
    named = _RUNNER.findall(" ".join(flags))
    return str(named[-1]).rpartition(".")[2] if named else ""


def _kind(runner: str) -> str:
    return "" if runner in _LOCAL else runner.removesuffix("Runner").lower()


def _parallel(flags: Iterable[str]) -> int:
    found = _WORKERS.search(" ".join(flags))
    return int(found[1]) if found and int(found[1]) else os.cpu_count() or 1
