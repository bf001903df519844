"""The queue as tasks of Label Studio: `tasks.json`, the labelling interface `label_config.xml`, pictures in `images/`.

The format is Label Studio's for tasks with predictions (https://labelstud.io/guide/predictions.html): each machine is a
`model_version`, and `score` is how sure it was. People choose a class; of numbers, they write the digits; of several
labels an image, they say whether the image shows the one in question. A picture is a data URI of its stored bytes, or
lies under the address that `--image-url` gives.
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

PICTURES = "images"
YES, NO = "yes", "no"
_CONTROL, _OBJECT = "label", "image"
_KINDS = {"png": "png", "jpg": "jpeg"}


def write(queue: Queue) -> None:
    """Write both files; of the pictures, one is held at a time."""
    stores.write_bytes(stores.join(queue.folder, "label_config.xml"), config(queue).encode())
    stores.write_parts(stores.join(queue.folder, "tasks.json"), _parts(queue))


def _parts(queue: Queue) -> Iterator[bytes]:
    between = b"[\n"
    for row in queue.rows:
        yield between + json.dumps(task(queue, row)).encode()
        between = b",\n"
    yield b"\n]\n" if queue.rows else b"[]\n"


def config(queue: Queue) -> str:
    """The labelling interface, as XML."""
    view = ElementTree.Element("View")
    ElementTree.SubElement(view, "Image", name=_OBJECT, value="$image", zoom="true")
    several = queue.images.manifest["task"] == MULTILABEL
    ElementTree.SubElement(view, "Header", value="Does the image show: $question?" if several else "$reason")
    if queue.images.manifest["task"] == SEQUENCE:
        ElementTree.SubElement(view, "TextArea", name=_CONTROL, toName=_OBJECT, maxSubmissions="1", editable="true")
    else:
        choices = ElementTree.SubElement(view, "Choices", name=_CONTROL, toName=_OBJECT, choice="single")
        for value in (YES, NO) if several else _classes(queue):
            shown = queue.shown_name(value)
            ElementTree.SubElement(choices, "Choice", {"value": value, **({"hint": shown} if shown != value else {})})
    ElementTree.indent(view)
    return ElementTree.tostring(view, encoding="unicode") + "\n"


def _classes(queue: Queue) -> list[str]:
    """The dataset's classes, and after them what machines said that is none of them."""
    said = {one["label"] for row in queue.rows for one in row["answers"]}
    return [*queue.images.classes, *sorted(said - set(queue.images.classes))]


def task(queue: Queue, row: Row) -> dict[str, Any]:
    """A row of the queue as a task."""
    told = {key: row[key] for key in ("image_id", "rank", "split", "reason", "score", "majority", "reference")}
    question = {"label": row["label"], "question": queue.shown_name(row["label"])} if row["label"] is not None else {}
    name = queue.pictures[row["image_id"]]
    predictions = [_prediction(queue, row, one) for one in row["answers"]]
    return {"data": {"image": _address(queue, name), **told, **question}, "predictions": predictions}


def _address(queue: Queue, name: str) -> str:
    if queue.settings.image_url:
        return queue.settings.image_url + name
    encoded = stores.read_bytes(stores.join(queue.folder, PICTURES, name))
    return f"data:image/{_KINDS[name.rpartition('.')[2]]};base64,{base64.b64encode(encoded).decode()}"


def _prediction(queue: Queue, row: Row, said: Row) -> dict[str, Any]:
    """What a machine said; without a score where it is not known how sure it was."""
    kind, value = _value(queue.images.manifest["task"], said["label"])
    region = {
        "id": f"{row['rank']}-{said['annotator']}",
        "from_name": _CONTROL,
        "to_name": _OBJECT,
        "type": kind,
        "value": value,
    }
    score = {} if said["confidence"] is None else {"score": said["confidence"]}
    return {"model_version": said["annotator"], **score, "result": [region]}


def _value(task_name: str, label: str | None) -> tuple[str, dict[str, list[str]]]:
    """Type and value of a region that says this."""
    if task_name == SEQUENCE:
        return "textarea", {"text": [label or ""]}
    if task_name == MULTILABEL:
        return "choices", {"choices": [NO if label is None else YES]}
    return "choices", {"choices": [label or ""]}
