"""Images of the dataset: a sample, the most confident disagreements, and the regions that drove predictions.

The sample is in the order of a hash of the ids, effectively random, and the same every time: of images that are
compared, with their labels, or else of images with human verdicts.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from analysis import thumbnails
from analysis.tables import AGREE_FIRST, LabelSet, Pair, Row, Sources, display_names, read_shard, read_shards
from schemas import layout
from storage.products import ImageSet, ShardFolder

TITLE, ORDER = "Images", 60
SAMPLE = 48  # images
PHOTOGRAPH = 192  # pixels of a photograph's longer side
EXPLAINED = 160  # pixels of the longer side of an image beside its heat maps

_CONVERT_FIRST = "run concord convert first"
_NONE = "none"
_PREFERRED = ("confirmed", "human")  # the first annotator that there is
HeatMaps = Mapping[tuple[str, str], Mapping[str, Row]]  # by annotator and split, and then by image id
Thumbnails = dict[tuple[str, str], str | None]  # by split and image id; None where an image cannot be shown


def build_section(sources: Sources) -> Row | None:
    """The parts for which there is something to show; each image shard is read at most once."""
    samples = sample_compared(sources) if sources.pairs else sample_reviewed(sources, SAMPLE)
    loaded = _load_thumbnails(sources, samples)
    sheets = [
        {
            "split": split,
            "images": [{**image, "thumbnail": loaded[split, image["image_id"]]} for image in images],
            "reference": next((pair.reference for pair in sources.pairs if pair.split == split), ""),
        }
        for split, images in samples.items()
    ]
    data = {
        "sample": sheets if sources.pairs else [],
        "reviewed": [] if sources.pairs else sheets,
        "disagreements": list(_build_disagreements(sources, loaded)),
        "explanations": _build_explanations(sources),
    }
    shown = {"images": len(loaded), "unreadable": sum(thumbnail is None for thumbnail in loaded.values())}
    disagreements = sum(len(entry.digest.disagreements) for entry in sources.comparisons)
    return {**data, "totals": {**shown, "disagreements": disagreements}} if any(data.values()) else None


def _load_thumbnails(sources: Sources, samples: Mapping[str, Sequence[Row]]) -> Thumbnails:
    """Of the samples and of all disagreements; none where the dataset has no images."""
    loaded: Thumbnails = {}
    if sources.images is not None:
        for split, sample in samples.items():
            entries = [entry for entry in sources.comparisons if entry.pair.split == split]
            rows = [*sample, *(row for entry in entries for row in entry.digest.disagreements)]
            largest = thumbnails.LARGEST if sources.pairs else PHOTOGRAPH
            of_split = thumbnails.load(sources.images, split, (row["image_id"] for row in rows), largest)
            loaded |= {(split, image_id): thumbnail for image_id, thumbnail in of_split.items()}
    return loaded


def sample_compared(sources: Sources) -> dict[str, list[Row]]:
    """The first images of each split that a comparison covers; none where the dataset has no images."""
    if sources.images is None:
        return {}
    splits = dict.fromkeys(pair.split for pair in sources.pairs)
    return {
        split: list_first_compared(sources.images, [pair for pair in sources.pairs if pair.split == split], SAMPLE)
        for split in splits
    }


def list_first_compared(images: ImageSet, pairs: Sequence[Pair], limit: int) -> list[Row]:
    """The first images of a split, in shard order, that a comparison covers.

    Args:
        images: the dataset.
        pairs: comparisons, all of one split.
        limit: how many images, at most.

    Returns:
        rows of `image_id`, `reference` (None where not known) and `labels`: (label, confidence) by annotator.
    """
    first: dict[str, Row] = {}
    shards = max(images.shards, *(pair.shards.shards for pair in pairs))
    for shard in range(shards):
        tables = [(pair, read_shard(pair.shards, shard, AGREE_FIRST, shards)) for pair in pairs]
        ids = read_shard(images.index(pairs[0].split), shard, _CONVERT_FIRST, shards)["image_id"]
        compared = pa.chunked_array([chunk for _, rows in tables for chunk in rows["image_id"].chunks], pa.string())
        chosen = ids.filter(pc.is_in(ids, value_set=compared)).slice(0, limit - len(first)).combine_chunks()
        first |= {image_id: {"image_id": image_id, "reference": None, "labels": {}} for image_id in chosen.to_pylist()}
        for pair, rows in tables:
            of_chosen = rows.filter(pc.is_in(rows["image_id"], value_set=chosen)).to_pylist()
            for row in group_by_image(of_chosen) if pair.is_multilabel else of_chosen:
                image = first[row["image_id"]]
                image["reference"] = row["reference"] if image["reference"] is None else image["reference"]
                image["labels"] |= _labels_of(pair, row)
        if len(first) == limit:
            break
    return list(first.values())


def _labels_of(pair: Pair, row: Row) -> dict[str, tuple[str, float]]:
    """Label and confidence by annotator, of a row of a comparison."""
    return {pair.a: (row["label_a"], row["confidence_a"]), pair.b: (row["label_b"], row["confidence_b"])}


def group_by_image(rows: Iterable[Row]) -> list[Row]:
    """Rows per image and label as rows per image: each annotator's labels in one text, without a confidence."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row["image_id"], []).append(row)
    return [
        {
            "image_id": image_id,
            "reference": _join_labels(group, "reference")
            if any(row["correct_a"] is not None for row in group)
            else None,
            **{f"label_{side}": _join_labels(group, f"label_{side}") for side in "ab"},
            **{f"confidence_{side}": None for side in "ab"},
        }
        for image_id, group in groups.items()
    ]


def _join_labels(rows: Iterable[Row], column: str) -> str:
    return ", ".join(sorted(row[column] for row in rows if row[column] is not None)) or _NONE


def sample_reviewed(sources: Sources, limit: int) -> dict[str, list[Row]]:
    """The first images with human verdicts, in shard order, by split; `limit` at most of all splits together.

    Returns:
        rows of `image_id` and `labels`: rows of `name`, `confirmed`, `confidence`, the confirmed ones first.
    """
    names = display_names(sources.confirmation.figures("class")) if sources.confirmation else {}
    samples: dict[str, list[Row]] = {}
    for split, entry in _reviewed_label_sets(sources).items():
        missing = limit - sum(map(len, samples.values()))
        if sources.images is None or not missing:
            break
        folder = layout.labels(sources.root, sources.dataset, entry.annotator, split)
        labels = ShardFolder(folder, entry.manifest.shards, entry.manifest.fingerprint)
        images = list(_first_reviewed(sources.images, split, labels, missing))
        if images:
            samples[split] = [{"image_id": one, "labels": _sort_labels(rows, names)} for one, rows in images]
    return samples


def _reviewed_label_sets(sources: Sources) -> dict[str, LabelSet]:
    """The label set that holds what humans confirmed, by split, in the order of the images' splits."""
    splits = sources.images.manifest.splits if sources.images else ()
    for annotator in _PREFERRED:
        sets = {entry.split: entry for entry in sources.label_sets if entry.annotator == annotator}
        if sets:
            return {split: sets[split] for split in splits if split in sets}
    return {}


def _first_reviewed(images: ImageSet, split: str, labels: ShardFolder, limit: int) -> Iterator[tuple[str, list[Row]]]:
    """The first images that have labels, with the rows of their labels."""
    for shard in range(images.shards):
        rows = _rows_of_shard(labels, shard, images.shards)
        ids = read_shard(images.index(split), shard, _CONVERT_FIRST)["image_id"]
        chosen = ids.filter(pc.is_in(ids, value_set=rows["image_id"].combine_chunks())).slice(0, limit)
        groups: dict[str, list[Row]] = {image_id: [] for image_id in chosen.to_pylist()}
        for row in rows.filter(pc.is_in(rows["image_id"], value_set=chosen.combine_chunks())).to_pylist():
            groups[row["image_id"]].append(row)
        yield from groups.items()
        limit -= len(groups)
        if not limit:
            return


def _rows_of_shard(labels: ShardFolder, shard: int, shards: int) -> pa.Table:
    """The label rows of the images of a shard, whether the label set has more or fewer shards itself.

    Shards are the top bits of one hash, and their numbers powers of two: the larger are whole numbers of the smaller.
    """
    first = shard * labels.shards // shards
    last = max(first + 1, (shard + 1) * labels.shards // shards)
    return read_shards(labels, "run concord confirm again", range(first, last))


def _sort_labels(rows: Iterable[Row], names: Mapping[str, str]) -> list[Row]:
    """Labels as they are shown: the confirmed ones first, of each kind the most confident first."""
    labels = [
        {
            "name": names.get(row["label"], row["label"]),
            "confirmed": row["verdict"] == "confirmed" if row["verdict"] else row["confidence"] > 0,
            "confidence": row["confidence"] if row["verdict"] else None,  # that of humans is 1 or 0
        }
        for row in rows
    ]
    return sorted(labels, key=lambda row: (not row["confirmed"], -(row["confidence"] or 0), row["name"]))


def _build_disagreements(sources: Sources, loaded: Thumbnails) -> Iterator[Row]:
    """The images on which the annotators of a pair were both most confident of different labels."""
    for entry in sources.comparisons:
        pair = entry.pair
        if not pair.is_multilabel:
            images = [
                {
                    "image_id": row["image_id"],
                    "reference": row["reference"],
                    "labels": _labels_of(pair, row),
                    "thumbnail": loaded[pair.split, row["image_id"]] if sources.images else "",
                }
                for row in entry.digest.disagreements
            ]
            yield {"pair": pair, "images": images, "different": entry.summary["n"] - entry.summary["n_agree"]}


def _build_explanations(sources: Sources) -> Row | None:
    """The heat maps of images on which a pair differs, and of those that were chosen by hand."""
    stale = [one for one in sources.explanations if one.is_stale]
    heat_maps = read_heat_maps(sources)
    shown: set[tuple[str, str]] = set()
    entries = []
    for entry in sources.comparisons:
        pair = entry.pair
        maps = {name: heat_maps[name, pair.split] for name in (pair.a, pair.b) if (name, pair.split) in heat_maps}
        rows = [row for row in entry.digest.disagreements if _are_explained(maps, row["image_id"])]
        shown |= {(pair.split, row["image_id"]) for row in rows}
        if rows:
            images = [_build_explained(row["image_id"], _labels_of(pair, row), maps, row["reference"]) for row in rows]
            entries.append({"pair": pair, "images": images})
    chosen = [
        {"split": split, "images": images}
        for split in dict.fromkeys(split for _, split in heat_maps)
        if (images := list(_build_chosen(heat_maps, split, shown)))
    ]
    return {"entries": entries, "chosen": chosen, "stale": stale} if entries or chosen or stale else None


def read_heat_maps(sources: Sources) -> dict[tuple[str, str], dict[str, Row]]:
    """By annotator and split, and then by image: `label`, `confidence`, and `image` and `heat_map` as data URIs.

    Images are in the order in which they were chosen. Stale explanations are excluded.

    Raises:
        IncompleteError: a shard is missing, or was made from something else than its manifest says.
    """
    heat_maps = {}
    for one in sources.explanations:
        if not one.is_stale:
            folder = layout.explanations(sources.root, sources.dataset, one.annotator, one.split)
            shards = ShardFolder(folder, one.manifest.shards, one.manifest.fingerprint)
            rows = read_shards(shards, "run concord explain again", one.manifest.parts).to_pylist()
            maps = {row["image_id"]: _with_data_uris(row) for row in rows}
            chosen = [image_id for image_id in one.manifest.requested if image_id in maps]
            heat_maps[one.annotator, one.split] = {image_id: maps[image_id] for image_id in chosen}
    return heat_maps


def _with_data_uris(row: Row) -> Row:
    image = thumbnails.to_data_uri(row["image"], EXPLAINED)
    return {**row, "image": image, "heat_map": thumbnails.to_data_uri(row["heat_map"], EXPLAINED, exact=False)}


def _are_explained(maps: Mapping[str, Mapping[str, Row]], image_id: str) -> bool:
    """Whether those of a pair that have heat maps, one at least, have one of this image."""
    return bool(maps) and all(image_id in one for one in maps.values())


def _build_chosen(heat_maps: HeatMaps, split: str, shown: set[tuple[str, str]]) -> Iterator[Row]:
    """The images of a split that were explained, but are not shown beside a comparison."""
    maps = {annotator: one for (annotator, of), one in heat_maps.items() if of == split}
    for image_id in dict.fromkeys(image_id for one in maps.values() for image_id in one):
        if (split, image_id) not in shown:
            rows = {annotator: one[image_id] for annotator, one in maps.items() if image_id in one}
            labels = {annotator: (row["label"], row["confidence"]) for annotator, row in rows.items()}
            yield _build_explained(image_id, labels, maps, None)


def _build_explained(image_id: str, labels: Row, maps: Mapping[str, Mapping[str, Any]], reference: str | None) -> Row:
    """An image, and each annotator's label with its heat map; None for one that has none."""
    rows = {annotator: maps.get(annotator, {}).get(image_id) for annotator in labels}
    image = next(row["image"] for row in rows.values() if row)
    shown = [
        {"annotator": name, "label": label, "confidence": confidence, "heat_map": row["heat_map"] if row else None}
        for (name, (label, confidence)), row in zip(labels.items(), rows.values(), strict=True)
    ]
    return {"image_id": image_id, "reference": reference, "image": image, "heat_maps": shown}
