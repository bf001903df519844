"""The queue as datasets of FiftyOne's type `FiftyOneImageClassificationDataset`: `data/` and `labels.json`.

The format is FiftyOne's (https://docs.voxel51.com/user_guide/import_datasets.html#fiftyoneimageclassificationdataset).
`labels.json` has the reason to review, `labels-<annotator>.json` in the same format the label of a machine. FiftyOne
sorts by file name, and so by rank:

    import fiftyone as fo
    location = {
        "dataset_dir": "out/report/svhn/queue/test-fiftyone",
        "dataset_type": fo.types.FiftyOneImageClassificationDataset,
    }
    queue = fo.Dataset.from_dir(**location, label_field="queue")
    for name in ("cnn1", "cnn2"):
        queue.merge_dir(**location, labels_path=f"labels-{name}.json", label_field=name)

For multilabel data, a sample has a reason for each label in question, with that label as its attribute `question`, and
each machine has those of the labels that it gave.
"""

import json
from collections.abc import Mapping
from typing import Any

from analysis.exports import Queue
from analysis.tables import Row
from schemas.manifests import MULTILABEL
from storage import stores

IMAGE_FOLDER = "data"
_ATTRIBUTES = ("rank", "image_id", "split", "question", "majority", "reference")  # an attribute may not be called label


def write(queue: Queue) -> None:
    """Write a file of labels for the queue, and one for each machine."""
    multilabel = queue.images.manifest.task == MULTILABEL
    reasons: dict[str, list[Row]] = {}
    machines: dict[str, dict[str, list[Row]]] = {name: {} for name in queue.settings.annotators}
    for row in queue.rows:
        stem = queue.image_files[row["image_id"]].rpartition(".")[0]
        known = {**row, "question": row["label"]}
        attributes = {key: known[key] for key in _ATTRIBUTES if known[key] is not None}
        reason = {"label": row["reason"], "confidence": row["score"], "attributes": attributes}
        reasons.setdefault(stem, []).append(reason)
        for one in row["answers"]:
            labels = machines[one["annotator"]].setdefault(stem, [])
            if one["label"] is not None:
                labels.append({"label": one["label"], "confidence": one["confidence"]})
    _write(queue, "labels.json", reasons, multilabel)
    for name, labels_of in machines.items():
        _write(queue, f"labels-{name}.json", labels_of, multilabel)


def _write(queue: Queue, name: str, samples: Mapping[str, list[Row]], multilabel: bool) -> None:
    labels: dict[str, Any] = {stem: rows if multilabel else rows[0] for stem, rows in samples.items()}
    stores.write_bytes(stores.join(queue.folder, name), json.dumps({"labels": labels}, indent=1).encode())
