"""A small root for queries: three annotators of the dataset `svhn` compared, and verdicts on `open_images` joined."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from schemas import layout, tables
from schemas.settings.agree import AgreeSettings
from schemas.settings.confirm import ConfirmSettings
from schemas.stage import Context
from storage.products import ShardFolder, ShardReport
from tests.support.label_sets import write_label_set
from tests.support.stages import agree, confirm

SHARDS = 4
HEADER = ("ImageID", "Source", "LabelName", "Confidence")
NAMES = {f"/m/0{number}": f"Class {number}, drawn" for number in range(6)}
MALFORMED = (("zz", "machine", "/m/00", "0.5"), ("1" * 16, "machine", "/m/01", "much"), ("2" * 16, "", "/m/02", "1.5"))


def build(folder: Path) -> str:
    """Write the label sets and the CSV files, compare and confirm them; returns the root."""
    root = str(folder / "root")
    for annotator, rows in drawn_labels().items():
        columns = [{"image_id": name, "label": said, "confidence": sure} for name, (said, sure) in rows.items()]
        write_label_set(root, "svhn", annotator, columns, shards=SHARDS)
    agree(AgreeSettings(dataset="svhn", annotators=("cnn1", "cnn2", "human"), reference="human"), Context(root))
    _confirm(root, folder)
    unreadable = [{"image_id": "test-x", "source": "s", "position": "1", "reason": "image_undecodable", "detail": "?"}]
    rejects = ShardFolder(layout.label_rejects(root, "svhn", "cnn1", "test"), 1, "f")
    rejects.write(0, pa.Table.from_pylist(unreadable * 2, tables.REJECTS), ShardReport())
    return root


def drawn_labels(count: int = 300) -> dict[str, dict[str, tuple[str, float]]]:
    """Label and confidence of each image, by annotator: the surer, the more often right; some images are missing."""
    rng = np.random.default_rng(4)
    truth = rng.choice(["0", "1", "2", "10"], count, p=[0.4, 0.3, 0.2, 0.1])
    found: dict[str, dict[str, tuple[str, float]]] = {"cnn1": {}, "cnn2": {}, "human": {}}
    for place, label in enumerate(truth):
        image = f"test-{place:07d}"
        for name, missing in (("cnn1", 0.05), ("cnn2", 0.1)):
            sure = rng.choice([1.0, 0.7, 0.9, 0.29]) if rng.random() < 0.2 else rng.random(dtype=np.float32)
            said = label if rng.random() < 0.3 + 0.65 * sure else rng.choice(["0", "1", "2", "10"])
            if rng.random() >= missing:
                found[name][image] = str(said), float(np.float32(sure))
        if rng.random() < 0.8:
            found["human"][image] = str(label), 1.0
    return found


def _confirm(root: str, folder: Path) -> None:
    rng = np.random.default_rng(6)
    machine, human = [HEADER, *MALFORMED], [HEADER]
    for number in range(1, 200):
        image = f"{number * 0x9E3779B97F4A7C15 % (1 << 64):016x}"
        for place, label in enumerate(NAMES):
            sure = round(float(rng.uniform(0.4, 1)), 2)
            if rng.random() < 0.4:
                machine.append((image, "machine", label, str(sure)))
                if rng.random() < 0.6:
                    right = rng.random() < sure - 0.08 * place
                    human.append((image, "verification", label, str(int(right))))
    classes = [("LabelName", "DisplayName"), *NAMES.items()]
    files: dict[str, Sequence[tuple[str, ...]]] = {"machine": machine, "human": human, "classes": classes}
    for name, rows in files.items():
        with (folder / f"{name}.csv").open("w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(rows)
    machine_file, human_file, classes_file = (str(folder / f"{name}.csv") for name in files)
    settings = ConfirmSettings(
        dataset="open_images",
        machine=(machine_file,),
        human=(human_file,),
        classes=classes_file,
        shards=4,
        max_reject_fraction=1.0,
    )
    confirm(settings, Context(root))
