"""What TensorBoard shows of a training: event files, a scalar a figure and epoch, for training and validation apart.

An event file is a TFRecord of `tensorflow.Event` messages. It is written anew after each epoch from the whole history,
so that a training that was killed and resumed has one unbroken log, on any kind of storage.
"""

import time
from collections.abc import Mapping

from models.quiet import tensorflow as tf
from schemas import storage, tfrecord

FOLDER = "logs"
_HELD = "val_"


def write(folder: str, history: Mapping[str, list[float]]) -> None:
    """Write the event files of a model folder; `val_` figures go to `logs/validation`, the others to `logs/train`."""
    for run, held in (("train", False), ("validation", True)):
        figures = {name.removeprefix(_HELD): told for name, told in history.items() if name.startswith(_HELD) == held}
        if figures:
            path = storage.join(folder, FOLDER, run, "events.out.tfevents.0.concord")
            storage.write_bytes(path, event_file(figures))


def event_file(figures: Mapping[str, list[float]]) -> bytes:
    """An event file of scalars: for each figure its value in each epoch, from 1 on."""
    now = time.time()
    events = [tf.compat.v1.Event(wall_time=now, file_version="brain.Event:2")]
    for name, values in figures.items():
        for epoch, value in enumerate(values, start=1):
            scalar = tf.compat.v1.Summary.Value(tag=name, simple_value=value)
            summary = tf.compat.v1.Summary(value=[scalar])
            events.append(tf.compat.v1.Event(wall_time=now, step=epoch, summary=summary))
    return b"".join(tfrecord.frame(event.SerializeToString()) for event in events)
