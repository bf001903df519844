"""The queue as datasets of FiftyOne's type `FiftyOneImageClassificationDataset`: `data/` and `labels.json`.

The format is FiftyOne's (https://docs.voxel51.com/user_guide/import_datasets.html#fiftyoneimageclassificationdataset).
`labels.json` says why to look; `labels-<annotator>.json`, in the same format, what a machine said. FiftyOne sorts by
file name, and so by rank:

    import fiftyone as fo
    place = {
        "dataset_dir": "out/report/svhn/queue/test-fiftyone",
        "dataset_type": fo.types.FiftyOneImageClassificationDataset,
    }
    queue = fo.Dataset.from_dir(**place, label_field="queue")
    for name in ("cnn1", "cnn2"):
        queue.merge_dir(**place, labels_path=f"labels-{name}.json", label_field=name)

Of several labels an image, a sample has a reason for each label in question, with that label as its attribute `asked`,
and each machine has those of the labels that it gave.
"""

import json
from collections.abc import Mapping
from typing import Any

from analysis.exports import Queue
from analysis.tables import Row
from schemas.manifests import MULTILABEL
from storage import stores

PICTURES = "data"
_TOLD = ("rank", "image_id", "split", "asked", "majority", "reference")  # an attribute may not be called label


def write(queue: Queue) -> None:
    """Write a file of labels for the queue, and one for each machine."""
    several = queue.images.manifest["task"] == MULTILABEL
    reasons: dict[str, list[Row]] = {}
    machines: dict[str, dict[str, list[Row]]] = {name: {} for name in queue.settings.annotators}
    for row in queue.rows:
        stem = queue.pictures[row["image_id"]].rpartition(".")[0]
        told = {key: value for key in _TOLD if (value := {**row, "asked": row["label"]}[key]) is not None}
        reasons.setdefault(stem, []).append({"label": row["reason"], "confidence": row["score"], "attributes": told})
        for one in row["answers"]:
            said = machines[one["annotator"]].setdefault(stem, [])
            if one["label"] is not None:
                said.append({"label": one["label"], "confidence": one["confidence"]})
    _write(queue, "labels.json", reasons, several)
    for name, found in machines.items():
        _write(queue, f"labels-{name}.json", found, several)


def _write(queue: Queue, name: str, found: Mapping[str, list[Row]], several: bool) -> None:
    labels: dict[str, Any] = {stem: rows if several else rows[0] for stem, rows in found.items()}
    stores.write_bytes(stores.join(queue.folder, name), json.dumps({"labels": labels}, indent=1).encode())
