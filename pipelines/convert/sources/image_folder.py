"""Source `image_folder`: photographs in folders, `<split>/<class>/<file>` or `<class>/<file>`, or with a label table.

    concord convert --source image_folder --input fer2013 --dataset emotions --root out
    concord convert --source image_folder --input photos --splits train=0.8,test=0.2 --dataset fruit --root out
    concord convert --source image_folder --input tiles --labels tags.csv --dataset tiles --root out

An image's id is its path within the folder. Files that are no images by their name are counted and left.
"""

import dataclasses
import os
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from pipelines.convert.sources import Photo, PhotoSourcePlan, trees_identity
from schemas import layout
from schemas.errors import InputError
from schemas.manifests import MULTICLASS, MULTILABEL
from schemas.settings.base import setting
from schemas.settings.convert import PhotoSettings
from storage import hashing, stores
from storage.formats.csv_tables import read_label_table

EXTENSIONS = (".jpg", ".jpeg", ".png", ".gif", ".bmp", ".tif", ".tiff", ".webp")


class SourceSettings(PhotoSettings):
    """What only folders need stated."""

    labels: str = setting(
        "CSV file of the labels: filename,labels (several separated by spaces)", default="", path=True, group="Source"
    )


def make(settings: SourceSettings) -> "ImageFolder":
    """The source that the settings describe."""
    if not settings.input:
        raise InputError("image_folder needs at least one folder: give --input")
    return ImageFolder(tuple(settings.input), settings.labels, settings.split, dict(settings.splits), settings.classes)


@dataclass(frozen=True)
class ImageFile:
    """An image file: its id, its place, and its split and class, where the folders state them."""

    image_id: str
    location: str
    split: str
    label: str


@dataclass
class ImageFolder:
    """The images of some folders; `table` is the path of the CSV file of their labels, if any."""

    folders: tuple[str, ...]
    table: str
    split: str
    fractions: dict[str, float]
    classes: tuple[str, ...]
    _trees: dict[str, Mapping[str, stores.FileStat]] = field(default_factory=dict, repr=False)
    _photos: dict[str, list[Photo]] = field(default_factory=dict, repr=False)
    _shards: dict[tuple[str, int], list[tuple[Photo, ...]]] = field(default_factory=dict, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        """Workers get their photographs with their element, not all of them with the source."""
        return {**self.__dict__, "_trees": {}, "_photos": {}, "_shards": {}}

    def inputs(self, root: str) -> list[dict[str, Any]]:
        """A hash of every file's path, size and time of change."""
        table = stores.stat(self.table) if self.table else None
        files = trees_identity(map(self._files, self.folders))
        return [{**files, "table": [table.size, table.modified] if table else None}]

    def plan_photos(self, root: str) -> PhotoSourcePlan:
        """List the photographs."""
        labels = read_label_table(self.table) if self.table else None
        files, aside = self._find(labels or {})
        photos = _foldered(files) if labels is None else _tabled(files, labels, self.folders[0])
        photos = [_chosen(photo, self.classes) for photo in photos] if self.classes else photos
        splits = self._splits([photo.image_id for photo in photos], files)
        self._photos = {name: [] for name in self.fractions or sorted(set(splits))}
        for photo, split in zip(photos, splits, strict=True):
            self._photos[split].append(photo)
        known = {label for photo in photos for label in photo.labels or ()}
        return PhotoSourcePlan(
            {split: len(listed) for split, listed in self._photos.items()},
            MULTICLASS if labels is None else MULTILABEL,
            self.classes or tuple(sorted(known)),
            annotator=layout.HUMAN,
            facts={"left_aside": dict(sorted(aside.items()))},
            seek_repeats=True,
        )

    def listed(self, split: str, shard: int, shards: int) -> tuple[Photo, ...]:
        """The photographs of a shard, in hash order."""
        if (split, shards) not in self._shards:
            photos = self._photos[split]
            rows = hashing.rows_by_shard(hashing.image_hashes([photo.image_id for photo in photos]), shards)
            self._shards[split, shards] = [tuple(photos[row] for row in of_shard.tolist()) for of_shard in rows]
        return self._shards[split, shards][shard]

    def photos(self, root: str, split: str, shard: int, shards: int, listed: tuple[Photo, ...]) -> list[Photo]:
        """Just those that were listed."""
        return list(listed)

    def _files(self, folder: str) -> Mapping[str, stores.FileStat]:
        """What a folder holds; it is listed once."""
        if folder not in self._trees:
            self._trees[folder] = stores.list_tree(folder)
        if not self._trees[folder]:
            raise InputError(f"there are no files in {folder}: image_folder needs a folder of images")
        return self._trees[folder]

    def _find(self, named: Collection[str]) -> tuple[list[ImageFile], Counter[str]]:
        """Every image file, by its extension or because it is named; and how many others there are, by extension."""
        files: list[ImageFile] = []
        aside: Counter[str] = Counter()
        for folder in self.folders:
            for path in sorted(self._files(folder)):
                if not path.lower().endswith(EXTENSIONS) and path not in named:
                    aside[_extension(path)] += 1
                    continue
                _check_name(stores.join(folder, path))
                split, label = ("", "") if self.table else _place(folder, path)
                files.append(ImageFile(path, stores.join(folder, path), split, label))
        if not files:
            raise InputError(f"there is no image in {', '.join(self.folders)}: names end in {' '.join(EXTENSIONS)}")
        twice = [image_id for image_id, n in Counter(one.image_id for one in files).items() if n > 1]
        if twice:
            raise InputError(f"two folders hold {twice[0]}, and ids must differ: convert them apart, or move one")
        _check_depth(files)
        return files, aside

    def _splits(self, image_ids: list[str], files: list[ImageFile]) -> list[str]:
        if self.fractions:
            return [str(name) for name in hashing.split_of(image_ids, self.fractions)]
        by_id = {one.image_id: one.split for one in files}
        return [self.split or by_id.get(image_id) or "train" for image_id in image_ids]


def _extension(path: str) -> str:
    name = path.rsplit("/", 1)[-1]
    return "." + name.rsplit(".", 1)[-1].lower() if "." in name else "(none)"


def _place(folder: str, path: str) -> tuple[str, str]:
    """Split and class of an image by its folders."""
    parts = path.split("/")
    if len(parts) == 2:
        return "", parts[0]
    if len(parts) == 3:
        try:
            return layout.check_split(parts[0].lower()), parts[1]
        except InputError as error:
            raise InputError(f"{stores.join(folder, path)}: {error}") from error
    raise InputError(
        f"{stores.join(folder, path)}: images lie in <split>/<class>/<file> or <class>/<file>; "
        "give the folder above, or a table with --labels"
    )


def _check_depth(files: list[ImageFile]) -> None:
    """Folders are of one kind: an image in <class>/ beside others in <split>/<class>/ would be a guess."""
    deep = next((one for one in files if one.split), None)
    flat = next((one for one in files if one.label and not one.split), None)
    if deep and flat:
        raise InputError(
            f"{deep.location} lies in <split>/<class>/, but {flat.location} in <class>/: images must lie in one way"
        )


def _check_name(path: str) -> None:
    """An image's id is its path, and text; file systems take any bytes."""
    try:
        path.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"the name of {os.fsencode(path)!r} is not UTF-8: rename it") from error


def _foldered(files: list[ImageFile]) -> list[Photo]:
    """Photographs whose folder is their class."""
    return [Photo(one.image_id, one.location, (one.label,)) for one in files]


def _chosen(photo: Photo, classes: tuple[str, ...]) -> Photo:
    """The photograph with those of its labels that are chosen; one that had only others has none."""
    kept = tuple(label for label in photo.labels or () if label in classes)
    return dataclasses.replace(photo, labels=kept if kept or photo.labels == () else None)


def _tabled(files: list[ImageFile], labels: Mapping[str, tuple[str, ...]], folder: str) -> list[Photo]:
    """Photographs with the table's labels, and its rows that have no file; names there may lack their extension."""
    photos, used = [], set()
    for one in files:
        stem = one.image_id.rsplit(".", 1)[0]
        name = one.image_id if one.image_id in labels else stem
        used.add(name)
        photos.append(Photo(one.image_id, one.location, labels.get(name)))
    gone = [name for name in labels if name not in used]
    return photos + [Photo(name, stores.join(folder, name), labels[name]) for name in gone]
