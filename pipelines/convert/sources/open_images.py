"""Source `open_images`: the photographs of a label set, fetched by their ids.

    concord confirm --machine machine.csv --human human.csv --dataset open_images --root out
    concord convert --source open_images --dataset open_images --root out

Which photographs, their splits and their labels are those of a label set that `concord confirm` wrote; where the bytes
come from is a pattern such as `s3://open-images-dataset/train/{image_id}.jpg`.
"""

from dataclasses import dataclass
from typing import Any, Literal

from pipelines.convert.sources import Photo, PhotoSourcePlan
from schemas import layout, tables
from schemas.errors import InputError
from schemas.manifests import MULTICLASS, MULTILABEL, ConfirmationManifest, LabelsManifest
from schemas.settings.base import Name, setting
from schemas.settings.convert import PhotoSettings
from storage import fetching, products, stores

PLACE = "{image_id}"


class SourceSettings(PhotoSettings):
    """What only photographs of a label set need stated."""

    label_set: Name = setting(
        "label set whose photographs are fetched, and whose labels they get", default="confirmed", group="Source"
    )
    images_from: str = setting(
        "where each photograph lies; s3://, gs://, https:// or a folder",
        default="s3://open-images-dataset/train/{image_id}.jpg",
        path=True,
        group="Source",
    )
    one_label: Literal["", "best"] = setting(
        "best: give each photograph its most confident label alone", default="", group="Source"
    )

    def reads(self, root: str) -> list[str]:
        """The label set; photographs are fetched on workers, and single ones may be gone."""
        return [layout.label_sets(root, self.dataset, self.label_set)]


def make(settings: SourceSettings) -> "OpenImages":
    """The source that the settings describe."""
    if settings.input:
        raise InputError("open_images reads the label sets that concord confirm wrote: leave out --input")
    if settings.splits or settings.split:
        raise InputError("open_images keeps the splits of its label set: give --splits to concord confirm")
    if PLACE not in settings.images_from:
        raise InputError(f"--images-from must hold {PLACE}, got {settings.images_from!r}")
    fetching.check_location(settings.images_from)
    return OpenImages(settings.dataset, settings.label_set, settings.images_from, settings.one_label, settings.classes)


@dataclass(frozen=True)
class OpenImages:
    """The photographs of one label set of a dataset; `pattern` says where each lies."""

    dataset: str
    label_set: str
    pattern: str
    one_label: str
    classes: tuple[str, ...]

    def inputs(self, root: str) -> list[dict[str, Any]]:
        """What the label set holds, and the pattern (of a folder, only its last part: it may be moved)."""
        where = self.pattern if stores.is_remote(self.pattern) else self.pattern.rsplit("/", 1)[-1]
        facts = self._facts(root)
        contents = {split: self._label_set(root, split).content for split in facts.splits}
        return [{"label_set": contents, "task": self._task(facts), "from": where}]

    def plan_photos(self, root: str) -> PhotoSourcePlan:
        """Count the photographs that have a label."""
        facts = self._facts(root)
        counts = {split: self._label_set(root, split).labelled_images or 0 for split in facts.splits}
        classes = self.classes or tuple(facts.label_sets[self.label_set])
        if not sum(counts.values()):
            raise InputError(f"the label set {self.label_set!r} of {self.dataset!r} gives no image a label")
        task, names = self._task(facts), facts.display_names
        return PhotoSourcePlan(counts, task, classes, names, least_shards=facts.shards)

    def listed(self, split: str, shard: int, shards: int) -> tuple[Photo, ...]:
        """None: a worker reads its part of the label set itself."""
        return ()

    def photos(self, root: str, split: str, shard: int, shards: int, listed: tuple[Photo, ...]) -> list[Photo]:
        """The photographs of a shard that have a label, with all of the classes, or the most confident one."""
        rows = products.label_set(root, self.dataset, self.label_set, split).read_part(shard, shards)
        rows = rows.filter(tables.present(rows))
        ids = rows["image_id"].to_pylist()
        labels, confidences = rows["label"].to_pylist(), rows["confidence"].to_pylist()
        photos: dict[str, list[tuple[float, str]]] = {}
        for image_id, label, confidence in zip(ids, labels, confidences, strict=True):
            photos.setdefault(image_id, []).append((-confidence, label))
        return [self._photo(image_id, pairs) for image_id, pairs in photos.items()]

    def _photo(self, image_id: str, pairs: list[tuple[float, str]]) -> Photo:
        layout.check_inside(f"label set {self.label_set!r} of {self.dataset!r}", image_id)
        known = [pair for pair in pairs if not self.classes or pair[1] in self.classes]
        labels = [label for _, label in sorted(known)[:1]] if self.one_label else sorted(label for _, label in known)
        return Photo(image_id, self.pattern.replace(PLACE, image_id), tuple(labels) or None)

    def _task(self, facts: ConfirmationManifest) -> str:
        """One label each where the settings say so, or those of `concord confirm` did for the confirmed set."""
        confirmed_one = self.label_set == layout.CONFIRMED and facts.task == MULTICLASS
        return MULTICLASS if self.one_label or confirmed_one else MULTILABEL

    def _label_set(self, root: str, split: str) -> LabelsManifest:
        folder = layout.labels(root, self.dataset, self.label_set, split)
        remedy = f"run concord confirm, with --label-sets=images if {self.label_set!r} is to be written as well"
        manifest = products.require_manifest(folder, LabelsManifest, f"label set {self.label_set!r}", remedy)
        if manifest.content is None:
            known = ", ".join(sorted(self._facts(root).label_sets))
            raise InputError(f"label set {self.label_set!r} is none that concord confirm wrote; those are {known}")
        return manifest

    def _facts(self, root: str) -> ConfirmationManifest:
        home = layout.confirmation(root, self.dataset)
        what = f"confirmed label set of {self.dataset!r}"
        return products.require_manifest(home, ConfirmationManifest, what, "run concord confirm first")
