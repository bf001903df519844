"""Photographs that are fetched: whether they can be, and how large they are."""

from collections.abc import Mapping
from typing import Any

from pipelines.convert.driver import PHOTO_BYTES
from pipelines.convert.sources import PhotoSource
from pipelines.preflight.prospect import Prospect, store_of
from schemas.errors import InputError
from storage import stores
from storage.fetching import Missing, Patience, read_each

LOOKED_FOR, LOOK_SECONDS = 3, 10.0  # photographs that are tried, and how long


def check_images_from(settings: Any) -> None:
    """Raise InputError where the folder is not there that photographs are fetched from."""
    folder = stores.parent(settings.images_from)
    if settings.source == "open_images" and not stores.is_remote(folder) and not stores.is_folder(folder):
        raise InputError(f"--images-from: there is no folder {folder}: name the one that holds the photographs")


def check_photographs(
    settings: Any, prospect: Prospect, source: PhotoSource, counts: Mapping[str, int], shards: int
) -> None:
    """See that of the first photographs that lie elsewhere at least one can be fetched; single ones may be gone."""
    split = max(counts, key=lambda name: counts[name])
    first = source.photos(prospect.root, split, 0, shards, source.listed(split, 0, shards))[:LOOKED_FOR]
    remote = [photo.location for photo in first if stores.is_remote(photo.location)]
    patience = Patience(LOOKED_FOR, 1, LOOK_SECONDS, settings.signed or bool(settings.input))
    lost = [one for one in read_each(remote, patience, lambda _, content: len(content)) if type(one) is Missing]
    if lost and len(lost) == len(remote):
        where = "--images-from" if settings.source == "open_images" else "--input"
        prospect.tell("convert", f"{remote[0]} cannot be fetched ({lost[0].detail}): see that {where} is right")


def photo_bytes(settings: Any) -> float:
    """Bytes of a photograph: the mean of a folder's own, else of Open Images."""
    folder = stores.parent(settings.images_from)
    local = {} if store_of(folder) or settings.source != "open_images" else stores.list_files(folder)
    mean = sum(local.values()) / len(local) if local else PHOTO_BYTES
    return min(mean, settings.max_side**2 / 2) if settings.max_side else mean


def folder_bytes(settings: Any, records: int) -> float:
    """Bytes of an image of the folders that a source reads, of which there are so many."""
    size = sum(status.size for folder in settings.input for status in stores.list_tree(folder).values())
    mean = size / max(1, records)
    return min(mean, settings.max_side**2 / 2) if settings.max_side else mean
