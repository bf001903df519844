"""What there is to learn of each image: which labels count, and which images are left out, on any division."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xxhash

from models import training_data
from models.tasks import Targets
from storage import hashing
from storage.products import ImageSet
from tests.support import small_dataset

IDS = [f"image-{number:03d}" for number in range(120)]
CLASSES = ["a", "b", "c"]


def images(root: Path, task: str = "multiclass", ids: list[str] = IDS) -> ImageSet:
    pixels = small_dataset.random_pixels(len(ids), (2, 2, 1))
    return small_dataset.write_images(root, {"train": dict(zip(ids, pixels, strict=True))}, task, CLASSES)


def learnt(found: ImageSet, rows: list[dict[str, Any]], least: float = 0.0, shards: int = 0) -> dict[str, list[int]]:
    """What is to be learnt of each image of which something is known."""
    labels = small_dataset.write_labels(found, "train", rows, "someone", shards)
    return by_id(found, training_data.encode_targets(found, "train", labels, least))


def by_id(found: ImageSet, targets: tuple[Targets, ...]) -> dict[str, list[int]]:
    whole: dict[str, list[int]] = {}
    for shard, one in enumerate(targets):
        ids = found.index("train").read(shard)["image_id"].to_pylist()
        assert len(ids) == len(one.known) == len(one.values)
        whole |= {ids[row]: one.values[row].tolist() for row in np.flatnonzero(one.known)}
    return whole


def split_fold(found: ImageSet, targets: tuple[Targets, ...], fold: int) -> tuple[tuple[Targets, ...], ...]:
    return training_data.split_by_ids(found, "train", targets, lambda ids: hashing.fold_of(ids, 3) == fold)


@pytest.mark.parametrize("shards", [1, 2, 4, 8])
def test_a_label_set_may_have_fewer_shards_than_the_images(tmp_path: Path, shards: int) -> None:
    rows = [{"image_id": one, "label": CLASSES[number % 3]} for number, one in enumerate(IDS) if number % 5]
    rows += [{"image_id": f"elsewhere-{number}", "label": "a"} for number in range(20)]
    found = learnt(images(tmp_path), rows, shards=shards)
    assert found == {one: [number % 3] for number, one in enumerate(IDS) if number % 5}


def test_labels_that_are_not_sure_enough_are_not_learnt(tmp_path: Path) -> None:
    found = images(tmp_path)
    rows = [{"image_id": IDS[row], "label": "b", "confidence": sure} for row, sure in enumerate((0.69, 0.7, 0.71, 1.0))]
    assert learnt(found, rows, least=0.7) == {IDS[row]: [1] for row in (1, 2, 3)}
    assert len(learnt(found, rows)) == 4
    several = [{"image_id": IDS[0], "label": label, "confidence": sure} for label, sure in (("a", 0.9), ("c", 0.5))]
    assert learnt(found, several, least=0.95) == {}


def test_of_one_label_an_image_a_no_tells_nothing(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"image_id": IDS[0], "label": "a", "confidence": 0.9, "verdict": "rejected"},
        {"image_id": IDS[1], "label": "b", "confidence": 0.0},  # people's no
        {"image_id": IDS[2], "label": "c", "confidence": 0.6, "verdict": "confirmed"},
        {"image_id": IDS[3], "label": "a", "confidence": 0.95, "verdict": "rejected"},
        {"image_id": IDS[3], "label": "b", "confidence": 0.1, "verdict": "confirmed"},
    ]
    assert learnt(images(tmp_path), rows) == {IDS[2]: [2], IDS[3]: [1]}


def test_of_several_labels_an_image_a_no_is_learnt_however_unsure(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"image_id": IDS[0], "label": "a", "confidence": 0.4, "verdict": "rejected"},
        {"image_id": IDS[1], "label": "b", "confidence": 0.0},
        {"image_id": IDS[2], "label": "c", "confidence": 0.4, "verdict": "confirmed"},
        {"image_id": IDS[3], "label": "a", "confidence": 0.9},
        {"image_id": IDS[3], "label": "c", "confidence": 0.8},
    ]
    found = learnt(images(tmp_path, "multilabel"), rows, least=0.5)
    # the first byte says what it has, the second of what it is known; of the third nothing is sure enough
    assert found == {IDS[0]: [0, 0b10000000], IDS[1]: [0, 0b01000000], IDS[3]: [0b10100000, 0b10100000]}


def test_what_is_not_spoken_of_is_absent_where_a_label_set_denies_nothing_or_as_it_is_asked_for(tmp_path: Path) -> None:
    found = images(tmp_path, "multilabel")
    yes: list[dict[str, Any]] = [{"image_id": IDS[number], "label": "a", "confidence": 0.9} for number in range(20)]
    no = [*yes, {"image_id": IDS[20], "label": "b", "confidence": 0.0}]
    for rows, unknown, complete in (
        *((yes, "auto", True), (yes, "ignored", False)),
        *((no, "auto", False), (no, "absent", True), (no, "ignored", False)),
    ):
        people = small_dataset.write_labels(found, "train", rows, "someone")
        targets = training_data.encode_targets(found, "train", people, unknown=unknown)
        assert {one.values.shape[1] for one in targets} == {1 if complete else 2}, (unknown, len(rows))


def test_what_is_held_out_is_drawn_by_the_hash_of_its_id(tmp_path: Path) -> None:
    found = images(tmp_path)
    labels = small_dataset.write_labels(found, "train", [{"image_id": one, "label": "a"} for one in IDS[:100]])
    targets = training_data.encode_targets(found, "train", labels)
    kept, held = training_data.split_by_ids(found, "train", targets, lambda ids: hashing.is_held_out(ids, 0.3))
    expected = {one for one in IDS[:100] if xxhash.xxh64_intdigest(one.encode(), seed=2) / 2**64 >= 0.7}
    assert set(by_id(found, held)) == expected
    assert set(by_id(found, kept)) == set(IDS[:100]) - expected
    assert 17 < len(expected) < 43  # 30, and three standard deviations of 4.6


@pytest.mark.parametrize("share", [0.1, 0.25])
def test_a_dataset_whose_splits_were_drawn_still_has_a_share_to_hold_out(tmp_path: Path, share: float) -> None:
    every = [f"photo-{number}" for number in range(6000)]
    ids = [one for one, split in zip(every, hashing.split_of(every, {"train": 0.5, "test": 0.5}), strict=True)]
    train = np.array(ids)[hashing.split_of(every, {"train": 0.5, "test": 0.5}) == "train"].tolist()
    out = hashing.is_held_out(train, share)
    deviation = (share * (1 - share) / len(train)) ** 0.5
    assert abs(out.mean() - share) < 4 * deviation
    shard = hashing.shard_of(hashing.image_hashes(train), 8)
    assert all(abs(out[shard == one].mean() - share) < 4 * deviation * 8**0.5 for one in range(8))


def test_folds_part_the_images_whatever_else_was_drawn(tmp_path: Path) -> None:
    found = images(tmp_path)
    labels = small_dataset.write_labels(found, "train", [{"image_id": one, "label": "a"} for one in IDS[:110]])
    targets = training_data.encode_targets(found, "train", labels)
    unseen = []
    for fold in range(3):
        kept, out = (by_id(found, one) for one in split_fold(found, targets, fold))
        assert set(kept) | set(out) == set(IDS[:110]) and not set(kept) & set(out)
        unseen.append(set(out))
    assert unseen[0] | unseen[1] | unseen[2] == set(IDS[:110])
    assert sum(map(len, unseen)) == 110
    many = np.array([f"photo-{number}" for number in range(6000)])
    train = many[hashing.split_of(many.tolist(), {"train": 0.5, "test": 0.5}) == "train"]
    train = train[~hashing.is_held_out(train.tolist(), 0.2)]
    sizes = np.bincount(hashing.fold_of(train.tolist(), 4), minlength=4) / len(train)
    assert np.abs(sizes - 0.25).max() < 0.04
