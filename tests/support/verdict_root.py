"""A root with a dataset whose machine labels people looked at, and photographs of it, with the quirks of real ones."""

import csv
import io
import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from schemas import layout, tables
from schemas.manifests import ConfirmationManifest
from schemas.settings.confirm import ConfirmSettings
from schemas.stage import Context
from storage import products, stores, tfrecord
from storage.hashing import image_hashes, shard_of
from storage.products import ShardFolder, ShardReport
from storage.tfrecord import encode_example
from tests.support.manifests import images_manifest
from tests.support.stages import confirm

DATASET, UNSEEN, VERSION = "animals", "unseen", "1.0.0"
HEADER = ("ImageID", "Source", "LabelName", "Confidence")
NAMES = {
    "/m/00": "<script>alert(2)</script>",
    "/m/01": "cat & dog",
    "/m/02": "$5 to $6",
    "/m/03": "Apple",
    "/m/04": "Apple",
    "/m/05": "a name that is far too long to stand beside a plot of any size",
    "/m/06": "\N{CJK UNIFIED IDEOGRAPH-72AC}",
    **{f"/m/{number:02}": f"Class {number:02}" for number in range(7, 28)},
}
SELDOM, NEVER_SEEN = "/m/26", "/m/27"  # a class with few verdicts, and one at which nobody looked
MALFORMED_MACHINE = (("00000000000000zz", "machine", "/m/00", "0.5"), ("0" * 16, "machine", "/m/00", "much<i>"))
MALFORMED_HUMAN = (("0" * 16, "verification", "/m/00", "0.5"),)
IMAGES = 420
SIZES = {0: (900, 300), 1: (20, 700), 2: (8, 6), 3: (1, 400)}  # width and height of odd ones, by number in the order
GREY, PNG, DAMAGED, GONE = 4, 5, 6, 7  # numbers of other odd ones

CsvRow = tuple[str, str, str, str]


@dataclass
class VerdictRoot:
    """The root, and what it was made from.

    Attributes:
        machine, human: the rows of the files that are neither malformed nor of another class.
        narrowed: how many machine rows are of other classes.
        colours: of each photograph.
        order: the photographs in the order of the images of all splits.
    """

    root: str
    machine: list[CsvRow] = field(default_factory=list)
    human: list[CsvRow] = field(default_factory=list)
    narrowed: int = 0
    colours: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    order: list[str] = field(default_factory=list)


def build(folder: Path, **settings: Any) -> VerdictRoot:
    """Draw the files and confirm them; `settings` are those of `ConfirmSettings` that are not the usual ones."""
    made = VerdictRoot(str(folder / "root"))
    _draw(made)
    foreign = [(image, "machine", "/m/elsewhere", "0.9") for image in _ids(40)]
    made.narrowed = len(foreign)
    files: dict[str, list[tuple[str, ...]]] = {
        "machine": [HEADER, *made.machine, *foreign, *MALFORMED_MACHINE],
        "human": [HEADER, *made.human, *MALFORMED_HUMAN],
        "classes": [("LabelName", "DisplayName"), *NAMES.items()],
        "alone": [HEADER, ("1" * 16, "machine", "/m/00", "0.5"), ("1" * 16, "machine", "/m/01", "1")],
    }
    paths = {name: _write(folder / f"{name}.csv", rows) for name, rows in files.items()}
    usual: dict[str, Any] = {"human": (paths["human"],), "shards": 4, "max_reject_fraction": 1.0}
    joined = {"machine": (paths["machine"],), "classes": paths["classes"], "on_conflict": "drop", **settings}
    confirm(ConfirmSettings(dataset=DATASET, **usual, **joined), Context(made.root))
    confirm(ConfirmSettings(dataset=UNSEEN, **usual, machine=(paths["alone"],)), Context(made.root))
    return made


def _ids(count: int) -> list[str]:
    return [f"{number * 0x9E3779B97F4A7C15 % (1 << 64):016x}" for number in range(1, count + 1)]


def _draw(made: VerdictRoot) -> None:
    """Some classes are frequent, some are seldom right; the surer the machine, the more often it is right."""
    chance = random.Random(8)
    labels = list(NAMES)
    for image in _ids(IMAGES):
        for place, label in enumerate(labels):
            often = 0.004 if label == SELDOM else 0.5 if place < 7 else 0.2 + 0.02 * (place % 13)
            confidence = chance.randint(30, 100) / 100
            if chance.random() < often:
                made.machine.append((image, "machine", label, f"{confidence:g}"))
                if label != NEVER_SEEN and chance.random() < 0.5:
                    right = chance.random() < 0.95 * confidence - 0.02 * (place % 7)
                    source = chance.choice(["verification", "verification", "crowd & co"])
                    made.human.append((image, source, label, str(int(right))))
            elif label != NEVER_SEEN and chance.random() < 0.01:
                made.human.append((image, "verification", label, str(chance.randint(0, 1))))
    made.human += [(image, "crowd & co", label, said) for image, _, label, said in made.human[10:12]]
    made.human += [(image, "crowd & co", label, str(1 - int(said))) for image, _, label, said in made.human[30:36]]
    judged = {(image, label) for image, _, label, _ in made.human}
    seen = [row for row in made.machine if (row[0], row[2]) in judged]
    made.machine += seen[5:9]


def _write(path: Path, rows: Iterable[tuple[str, ...]]) -> str:
    with path.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)
    return str(path)


def add_photographs(made: VerdictRoot, shards: int, dataset: str = DATASET) -> None:
    """Write photographs of the images that have a verdict, as `concord convert` would leave them."""
    manifest = products.find_manifest(layout.confirmation(made.root, dataset), ConfirmationManifest)
    assert manifest is not None
    chance, counts = random.Random(5), {}
    made.colours, made.order = {}, []
    for split in sorted(manifest.splits):
        folder = products.label_set(made.root, dataset, "confirmed", split)
        ids = list(
            dict.fromkeys(name for at in range(folder.shards) for name in folder.read(at)["image_id"].to_pylist())
        )
        ids = [ids[place] for place in np.argsort(image_hashes(ids))] if ids else []
        for number, name in enumerate(ids, start=len(made.order)):
            made.colours[name] = tuple(chance.randint(0, 255) for _ in range(3))  # type: ignore[assignment]
            if number == GREY:
                made.colours[name] = (made.colours[name][0],) * 3
        made.order += ids
        kept = [name for name in ids if made.order.index(name) != GONE]
        _write_shards(made, split, kept, (dataset, shards))
        counts[split] = {"in": len(ids), "out": len(kept), "rejected": {}}
    facts: dict[str, Any] = {"task": "multilabel", "classes": manifest.classes, "image_shape": (None, None, 3)}
    images = images_manifest(dataset, "photographs", version=VERSION, shards=shards, splits=counts, **facts)
    products.write_manifest(layout.images(made.root, dataset, VERSION), images)


def _write_shards(made: VerdictRoot, split: str, ids: list[str], where: tuple[str, int]) -> None:
    dataset, shards = where
    index = ShardFolder(layout.index(made.root, dataset, split), shards, "photographs")
    at: list[int] = shard_of(image_hashes(ids), shards).tolist() if ids else []
    for shard in range(shards):
        content, places = b"", []
        for name in [name for name, place in zip(ids, at, strict=True) if place == shard]:
            number = made.order.index(name)
            payload = encode_example(_photograph(made.colours[name], number), name, [0, 2])
            record = tfrecord.frame_record(payload)
            if number == DAMAGED:
                record = record[:60] + bytes([record[60] ^ 1]) + record[61:]
            offset = len(content) + tfrecord.HEADER_BYTES
            size = {"sha256": "", "format": "jpeg", "height": 1, "width": 1, "channels": 3}
            places.append({"image_id": name, "shard": shard, "offset": offset, "length": len(payload), **size})
            content += record
        folder = layout.images(made.root, dataset, VERSION)
        stores.write_bytes(stores.join(folder, layout.tfrecord_shard(dataset, split, shard, shards)), content)
        index.write(shard, pa.Table.from_pylist(places, schema=tables.INDEX), ShardReport(len(places), len(places)))


def _photograph(colour: tuple[int, int, int], number: int) -> bytes:
    """A picture of one colour: a JPEG, or a PNG."""
    image = Image.new("RGB", SIZES.get(number, (320, 240)), colour)
    sink = io.BytesIO()
    (image.convert("L") if number == GREY else image).save(sink, format="PNG" if number == PNG else "JPEG", quality=95)
    return sink.getvalue()
