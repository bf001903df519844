"""The queue: a ranked table of the images that people should look at.

    concord queue --annotators cnn1,cnn2,xception --reference human --dataset svhn --split test --root out

Shard *k* of every label set speaks of the same images. Shards are read side by side, a few at once, and of each only
its first rows are kept, so that memory does not grow with the number of images. `queue_ranking.py` says what comes
first.
"""

import json
import logging
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from analysis import queue_ranking
from analysis.queue_ranking import Rules
from schemas import layout
from schemas.errors import IncompleteError
from schemas.manifests import MULTICLASS
from schemas.settings.queue import QueueSettings
from schemas.tables import QUEUE, REASONS
from storage import parquet, products, stores
from storage.products import ImageSet, ShardFolder

_log = logging.getLogger("concord")
_READERS = 8  # shards in memory at once, at most


@dataclass(frozen=True)
class QueuePlan:
    """A queue that is to be made, and what from.

    Attributes:
        machines: the label set of each annotator.
        people: that of people; None where they are not asked.
        errors: tables of label errors that are of just these label sets.
        shards: of the finest of the label sets.
    """

    path: str
    rules: Rules
    machines: dict[str, ShardFolder]
    people: ShardFolder | None
    errors: tuple[str, ...]
    shards: int
    fingerprint: str

    @property
    def is_done(self) -> bool:
        """Whether the table is there, made from just this."""
        return stores.stat(self.path) is not None and parquet.read_tags(self.path)[0] == self.fingerprint


def plan(settings: QueueSettings, root: str) -> QueuePlan:
    """The queue that settings ask for.

    Raises:
        IncompleteError: the images or a label set are not there, or label sets speak of different images.
    """
    images = products.image_set(root, settings.dataset, settings.version)
    images.images_in(settings.split)
    names = [*settings.annotators, *([settings.reference] if settings.reference else [])]
    sets = {name: products.label_set(root, settings.dataset, name, settings.split) for name in names}
    _check_images(images, settings.split, sets)
    machines = {name: sets[name] for name in settings.annotators}
    people = sets.get(settings.reference)
    errors = _errors(settings, root, machines, people) if images.manifest["task"] == MULTICLASS else ()
    made_of = {"labels": [found.fingerprint for found in sets.values()], "names": names, "images": images.fingerprint}
    judged = [parquet.read_tags(path)[0] for path in errors]
    asked = {"split": settings.split, "unsure_below": settings.unsure_below, "limit": settings.limit}
    return QueuePlan(
        path=layout.queue(root, settings.dataset, settings.split),
        rules=Rules(images.manifest["task"], settings.split, settings.unsure_below, settings.limit),
        machines=machines,
        people=people,
        errors=errors,
        shards=max(found.shards for found in sets.values()),
        fingerprint=products.fingerprint("queue", dataset=settings.dataset, errors=judged, **made_of, **asked),
    )


def _check_images(images: ImageSet, split: str, sets: dict[str, ShardFolder]) -> None:
    """Make sure that no label set is known to speak of another conversion of the dataset."""
    for name, labels in sets.items():
        told = products.require_manifest(labels.folder, "label set", "run concord label").get("images")
        if told not in (None, images.fingerprint):
            raise IncompleteError(
                f"the labels of {name!r} for split {split!r} of {images.dataset!r} were made from another conversion "
                "of the dataset: run concord label again"
            )


def _errors(
    settings: QueueSettings, root: str, machines: dict[str, ShardFolder], people: ShardFolder | None
) -> tuple[str, ...]:
    """The tables of label errors that judge just these people's labels by just these machines' scores."""
    found = []
    for name, labels in machines.items():
        path = layout.label_errors(root, settings.dataset, name, settings.split)
        if people is not None and stores.stat(path) is not None:
            made_of = json.loads(parquet.read_tags(path)[1] or "{}")
            if made_of == {"labels": people.fingerprint, "scores": labels.fingerprint}:
                found.append(path)
            else:
                _log.info("queue: %s is of other labels or scores, and left out: run concord label-errors again", path)
    return tuple(found)


def write(made: QueuePlan) -> dict[str, Any]:
    """Write the table, and count its rows and all that could have been rows, by reason.

    Raises:
        IncompleteError: a shard is missing, or was made from something else than its manifest says.
    """
    errors = _candidates(made.errors)
    first, counts = QUEUE.empty_table(), Counter[str]()
    with ThreadPoolExecutor(_READERS) as pool:
        for start in range(0, made.shards, _READERS):  # no further ahead than can be held
            some = range(start, min(start + _READERS, made.shards))
            for rows, found in pool.map(lambda shard: _rank_shard(made, errors, shard), some):
                first = queue_ranking.merged([first, rows], made.rules.limit)
                counts += found
    stores.remove_partial_file(made.path)
    parquet.write(made.path, first, made.fingerprint)
    return {"queued": first.num_rows, "found": {reason: counts[reason] for reason in REASONS}}


def _rank_shard(made: QueuePlan, errors: pa.Table | None, shard: int) -> tuple[pa.Table, Counter[str]]:
    machines = {name: labels.read_part(shard, made.shards) for name, labels in made.machines.items()}
    people = made.people.read_part(shard, made.shards) if made.people else None
    return queue_ranking.rank(machines, people, errors, made.rules)


def _candidates(paths: tuple[str, ...]) -> pa.Table | None:
    """Image and quality of the labels that the tables take for errors."""
    if not paths:
        return None
    found = [parquet.read(path) for path in paths]
    kept = [rows.filter(pc.field("is_candidate")).select(["image_id", "label_quality"]) for rows in found]
    return pa.concat_tables(kept)
