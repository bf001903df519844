"""A small root as the stages would leave it, with the quirks that real ones have."""

import io
import json
import random
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image
from sklearn.metrics import accuracy_score, cohen_kappa_score

from schemas import layout, tables
from schemas.manifests import LabelsManifest
from storage import model_cards, parquet, products, small_files, stores, tfrecord
from storage.hashing import image_hashes, shard_of
from storage.products import ShardFolder, ShardReport
from storage.tfrecord import encode_example
from tests.support.manifests import images_manifest, model_card, pairs_manifest

DATASET, VERSION, SPLIT = "small", "1.0.0", "test"
CLASSES = ("cat & dog", "<script>alert(1)</script>", "plain", "never")
SHARDS = 4
IMAGES_FINGERPRINT = "convert-0f0f0f0f0f0f0f0f"
IMAGES = 60
DAMAGED, BIG, PHOTO, UNLABELLED = "000&", "001&", "002&", "037&"  # UNLABELLED: b has no label for it
HISTORY = {
    "accuracy": [0.3, 0.6, 0.9],
    "val_accuracy": [0.4, 0.7, 0.5],
    "loss": [2.0, 1.0, 0.5],
    "val_loss": [1.9, 1.1, 1.4],
}

Row = dict[str, Any]


@dataclass
class SmallRoot:
    """The root, and what it was made from.

    Attributes:
        rows: the pairs of cnn1 and cnn2, in shard order.
        encoded: the image files by id.
    """

    root: str
    rows: list[Row]
    encoded: dict[str, bytes]
    order: list[str] = field(default_factory=list)


def build(root: str, truth: bool = True) -> SmallRoot:
    """Write a root with images, people's labels, two models, their labels and their comparison."""
    ids = [f"{number:03d}&" for number in range(IMAGES)]
    hashes = image_hashes(ids)
    order = [ids[position] for position in np.argsort(hashes)]
    made = SmallRoot(root, [], _draw(ids), order)
    _write_images(made)
    _write_pairs(made, truth)
    for name in ("cnn1", "cnn2"):
        _write_model(root, name)
    stores.write_bytes(stores.join(layout.model(root, DATASET, "halfway"), "model.keras"), b"weights without a card")
    return made


def by_shard(order: list[str]) -> list[list[str]]:
    """Ids of each shard, in their order."""
    shards = shard_of(image_hashes(order), SHARDS)
    return [[image_id for image_id, at in zip(order, shards, strict=True) if at == shard] for shard in range(SHARDS)]


def _draw(ids: list[str]) -> dict[str, bytes]:
    generator = np.random.default_rng(5)
    encoded = {}
    for image_id in ids:
        shape = {BIG: (100, 200, 3), PHOTO: (30, 40, 3)}.get(image_id, (12, 10))
        pixels = generator.integers(0, 256, shape, dtype=np.uint8)
        sink = io.BytesIO()
        Image.fromarray(pixels).save(sink, format="JPEG" if image_id == PHOTO else "PNG")
        encoded[image_id] = sink.getvalue()
    return encoded


def _write_images(made: SmallRoot) -> None:
    folder = layout.images(made.root, DATASET, VERSION)
    index = ShardFolder(layout.index(made.root, DATASET, SPLIT), SHARDS, IMAGES_FINGERPRINT)
    for shard, ids in enumerate(by_shard(made.order)):
        content, places = b"", []
        for image_id in ids:
            payload = encode_example(made.encoded[image_id], image_id, 0)
            offset = len(content) + tfrecord.HEADER_BYTES
            record = tfrecord.frame_record(payload)
            if image_id == DAMAGED:
                record = record[:40] + bytes([record[40] ^ 1]) + record[41:]
            content += record
            size = {"sha256": "", "format": "png", "height": 1, "width": 1, "channels": 1}
            places.append({"image_id": image_id, "shard": shard, "offset": offset, "length": len(payload), **size})
        stores.write_bytes(stores.join(folder, layout.tfrecord_shard(DATASET, SPLIT, shard, SHARDS)), content)
        index.write(shard, pa.Table.from_pylist(places, schema=tables.INDEX), ShardReport(len(ids), len(ids)))
    rejected = ShardFolder(layout.convert_rejects(made.root, DATASET, SPLIT), SHARDS, IMAGES_FINGERPRINT)
    turned_away = [_reject("bad<1>", "label <b>nan</b>"), _reject("bad<0>", "label nan")]
    for shard in range(SHARDS):
        rows = turned_away if shard == 2 else []
        rejected.write(shard, pa.Table.from_pylist(rows, schema=tables.REJECTS), ShardReport())
    counts = {"in": IMAGES + 2, "out": IMAGES, "rejected": {"label_missing": 2}}
    tables_files = (
        index.table_files(made.root, "index", IMAGES, "out"),
        rejected.table_files(made.root, "rejects_convert", 2, "rejected"),
    )
    facts: dict[str, Any] = {"shards": SHARDS, "classes": list(CLASSES), "splits": {SPLIT: counts}, "counts": counts}
    manifest = images_manifest(DATASET, IMAGES_FINGERPRINT, version=VERSION, tables=tables_files, **facts)
    products.write_manifest(folder, manifest)


def _reject(image_id: str, detail: str) -> Row:
    return {"image_id": image_id, "source": "in.h5", "position": "row 7", "reason": "label_missing", "detail": detail}


def _write_pairs(made: SmallRoot, truth: bool) -> None:
    """Random labels with coarse confidences, so that ranks tie; b never says `never`, some truths are not known."""
    chance = random.Random(11)
    for image_id in made.order:
        true = chance.choice(CLASSES) if truth and chance.random() > 0.1 else None
        a = chance.choice(CLASSES) if image_id != DAMAGED else CLASSES[0]
        b = chance.choice(CLASSES[:3]) if image_id != DAMAGED else CLASSES[1]
        sure = (1.0, 1.0) if image_id == DAMAGED else (chance.randint(1, 8) / 8, chance.randint(1, 8) / 8)
        made.rows.append(pair_row(image_id, (a, sure[0]), (b, sure[1]), true))
    made.rows = [row for row in made.rows if row["image_id"] != UNLABELLED]
    write_pairs(made.root, "cnn1", "cnn2", made.rows, "human" if truth else "")
    for annotator in ("cnn1", "cnn2"):
        counts = {"in": 60, "out": 59, "rejected": {"record_damaged": 1}} if annotator == "cnn2" else {}
        facts: dict[str, Any] = {"annotator": annotator, "split": SPLIT, "images": IMAGES_FINGERPRINT, "shards": SHARDS}
        labels = LabelsManifest(  # a manifest alone: nothing here reads the rows
            stage="label",
            product=f"{DATASET}/{annotator}/{SPLIT}",
            fingerprint=f"label-{annotator}",
            counts=counts,
            rows=59,
            **facts,
        )
        products.write_manifest(layout.labels(made.root, DATASET, annotator, SPLIT), labels)
    turned_away = ShardFolder(layout.label_rejects(made.root, DATASET, "cnn2", SPLIT), SHARDS, "label-cnn2")
    for shard, ids in enumerate(by_shard(made.order)):
        row = {
            "image_id": UNLABELLED,
            "source": "shard",
            "position": "record 3",
            "reason": "record_damaged",
            "detail": "crc",
        }
        rows = [row] if UNLABELLED in ids else []
        turned_away.write(shard, pa.Table.from_pylist(rows, schema=tables.REJECTS), ShardReport())


def pair_row(image_id: str, a: tuple[str, float], b: tuple[str, float], truth: str | None) -> Row:
    """A row of the pairs table."""
    right = (
        {"correct_a": None, "correct_b": None}
        if truth is None
        else {"correct_a": a[0] == truth, "correct_b": b[0] == truth}
    )
    said = {"label_a": a[0], "confidence_a": a[1], "label_b": b[0], "confidence_b": b[1], "agree": a[0] == b[0]}
    said |= {"confidence_calibrated_a": None, "confidence_calibrated_b": None}
    return {"image_id": image_id, **said, "reference": truth, **right}


def write_pairs(root: str, a: str, b: str, rows: list[Row], reference: str = "") -> None:
    """A comparison with its tables, their figures worked out from the rows themselves."""
    folder = ShardFolder(layout.pairs(root, DATASET, a, b, SPLIT), SHARDS, f"agree-{a}-{b}")
    known_ids = {row["image_id"]: row for row in rows}
    for shard, ids in enumerate(by_shard(list(known_ids))):
        table = pa.Table.from_pylist([known_ids[image_id] for image_id in ids], schema=tables.PAIRS)
        folder.write(shard, table, ShardReport(len(ids), len(ids)))
    keys = {"dataset": DATASET, "split": SPLIT, "annotator_a": a, "annotator_b": b}
    summary, of_all = figures(rows), {**keys, "scope": "all"}
    long = [
        {**of_all, "measure": name, "value": value} for name, value in summary.items() if not isinstance(value, str)
    ]
    for name, table in (
        ("summary", pa.Table.from_pylist([{**keys, **summary}], schema=tables.SUMMARY)),
        ("measures", pa.Table.from_pylist(long, schema=tables.MEASURES)),
    ):
        parquet.write(layout.agreement_table(root, name, DATASET, (a, b), SPLIT), table, folder.fingerprint)
    cells: dict[tuple[str, str], int] = {}
    for row in rows:
        cells[row["label_a"], row["label_b"]] = cells.get((row["label_a"], row["label_b"]), 0) + 1
    unsure = {"mean_confidence_a": 0.5, "mean_confidence_b": 0.5}
    counted = [{**keys, "label_a": left, "label_b": right, "n": n, **unsure} for (left, right), n in cells.items()]
    path = layout.agreement_table(root, "confusion", DATASET, (a, b), SPLIT)
    parquet.write(path, pa.Table.from_pylist(counted, schema=tables.CONFUSION), folder.fingerprint)
    facts = {"reference": reference, "shards": SHARDS, "rows": len(rows), "counts": {"unpaired": {"only_a": 1}}}
    files = folder.table_files(root, "pairs", len(rows), "out")
    manifest = pairs_manifest(DATASET, a, b, SPLIT, folder.fingerprint, tables=(files,), **facts)
    products.write_manifest(folder.folder, manifest)


def figures(rows: list[Row]) -> Row:
    """The summary of some pairs, by scikit-learn."""
    known = [row for row in rows if row["reference"] is not None]
    truth = [row["reference"] for row in known]
    scores = {
        f"accuracy_{side}": accuracy_score(truth, [row[f"label_{side}"] for row in known]) for side in "ab" if known
    }
    a, b = ([row[f"label_{side}"] for row in rows] for side in "ab")
    observed = accuracy_score(a, b)
    kappa = cohen_kappa_score(a, b)
    n_agree = sum(row["agree"] for row in rows)
    counts = {"task": "multiclass", "n": len(rows), "n_agree": n_agree, "n_compared": len(rows)}
    chance = {"observed_agreement": observed, "chance_agreement": (observed - kappa) / (1 - kappa), "gwet_ac1": 0.123}
    kappas = {"cohen_kappa": kappa, "cohen_kappa_low": kappa - 0.1, "cohen_kappa_high": kappa + 0.1}
    return {**counts, "n_reference": len(known), **scores, **chance, **kappas}


def _write_model(root: str, name: str) -> None:
    metrics = {"best_epoch": 2, "val_accuracy": 0.7, "epochs": 3}
    facts = {"fingerprint": f"model-{name}", "history": HISTORY, "metrics": metrics, "parameters": 1234}
    card = model_card(name, dataset=DATASET, settings={"seed": 1, "name": name}, **facts)
    model_cards.write_card(layout.model(root, DATASET, name), card)


def change_manifest(folder: str, **facts: Any) -> None:
    """Change some facts of a product's manifest."""
    path = stores.join(folder, products.MANIFEST)
    small_files.write_json(path, {**json.loads(stores.read_bytes(path)), **facts})


def rank_disagreements(rows: list[Row]) -> list[Row]:
    """The most confident disagreements, the plain way."""
    different = [row for row in rows if row["label_a"] != row["label_b"]]
    return sorted(different, key=lambda row: (-min(row["confidence_a"], row["confidence_b"]), row["image_id"]))[:24]
