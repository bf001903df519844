"""The queue as tasks of Label Studio: `tasks.json`, the labelling interface `label_config.xml`, images in `images/`.

The format is Label Studio's for tasks with predictions (https://labelstud.io/guide/predictions.html): each machine is a
`model_version`, and `score` is its confidence. Humans choose a class; of numbers, they write the digits; for multilabel
data, they answer whether the image shows the label in question. An image is a data URI of its stored bytes, or lies
under the address that `--image-url` states.
"""

import base64
import json
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree

from analysis.exports import Queue
from analysis.tables import Row
from schemas.manifests import MULTILABEL, SEQUENCE
from storage import stores

IMAGE_FOLDER = "images"
TAKES_IMAGE_URL = True
YES, NO = "yes", "no"
_CONTROL, _OBJECT = "label", "image"
_KINDS = {"png": "png", "jpg": "jpeg"}


def write(queue: Queue) -> None:
    """Write both files; of the images, one is in memory at a time."""
    stores.write_bytes(stores.join(queue.folder, "label_config.xml"), build_config(queue).encode())
    stores.write_parts(stores.join(queue.folder, "tasks.json"), _encode_tasks(queue))


def _encode_tasks(queue: Queue) -> Iterator[bytes]:
    between = b"[\n"
    for row in queue.rows:
        yield between + json.dumps(build_task(queue, row)).encode()
        between = b",\n"
    yield b"\n]\n" if queue.rows else b"[]\n"


def build_config(queue: Queue) -> str:
    """The labelling interface, as XML."""
    view = ElementTree.Element("View")
    ElementTree.SubElement(view, "Image", name=_OBJECT, value="$image", zoom="true")
    multilabel = queue.images.manifest.task == MULTILABEL
    ElementTree.SubElement(view, "Header", value="Does the image show: $question?" if multilabel else "$reason")
    if queue.images.manifest.task == SEQUENCE:
        ElementTree.SubElement(view, "TextArea", name=_CONTROL, toName=_OBJECT, maxSubmissions="1", editable="true")
    else:
        choices = ElementTree.SubElement(view, "Choices", name=_CONTROL, toName=_OBJECT, choice="single")
        for value in (YES, NO) if multilabel else _classes(queue):
            hint = {"hint": name} if (name := queue.display_name(value)) != value else {}
            ElementTree.SubElement(choices, "Choice", {"value": value, **hint})
    ElementTree.indent(view)
    return ElementTree.tostring(view, encoding="unicode") + "\n"


def _classes(queue: Queue) -> list[str]:
    """The dataset's classes, and after them the labels of machines that are none of them."""
    labels = {one["label"] for row in queue.rows for one in row["answers"]}
    return [*queue.images.classes, *sorted(labels - set(queue.images.classes))]


def build_task(queue: Queue, row: Row) -> dict[str, Any]:
    """A row of the queue as a task."""
    known = {key: row[key] for key in ("image_id", "rank", "split", "reason", "score", "majority", "reference")}
    question = {"label": row["label"], "question": queue.display_name(row["label"])} if row["label"] is not None else {}
    name = queue.image_files[row["image_id"]]
    predictions = [_prediction(queue, row, one) for one in row["answers"]]
    return {"data": {"image": _address(queue, name), **known, **question}, "predictions": predictions}


def _address(queue: Queue, name: str) -> str:
    if queue.settings.image_url:
        return queue.settings.image_url + name
    encoded = stores.read_bytes(stores.join(queue.folder, IMAGE_FOLDER, name))
    return f"data:image/{_KINDS[name.rpartition('.')[2]]};base64,{base64.b64encode(encoded).decode()}"


def _prediction(queue: Queue, row: Row, answer: Row) -> dict[str, Any]:
    """The label of a machine; without a score where its confidence is not known."""
    kind, value = _value(queue.images.manifest.task, answer["label"])
    region = {
        "id": f"{row['rank']}-{answer['annotator']}",
        "from_name": _CONTROL,
        "to_name": _OBJECT,
        "type": kind,
        "value": value,
    }
    score = {} if answer["confidence"] is None else {"score": answer["confidence"]}
    return {"model_version": answer["annotator"], **score, "result": [region]}


def _value(task_name: str, label: str | None) -> tuple[str, dict[str, list[str]]]:
    """Type and value of a region with this label."""
    if task_name == SEQUENCE:
        return "textarea", {"text": [label or ""]}
    if task_name == MULTILABEL:
        return "choices", {"choices": [NO if label is None else YES]}
    return "choices", {"choices": [label or ""]}
