"""Labels that may be wrong: what cleanlab finds in the same arrays, with the planted errors first."""

import builtins
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow.parquet as pq
import pytest
from cleanlab.filter import find_label_issues
from cleanlab.rank import get_label_quality_scores

from analysis import label_errors
from schemas import layout
from schemas.errors import IncompleteError, InputError
from schemas.settings.label_errors import LabelErrorSettings
from schemas.tables import LABEL_ERRORS
from storage import model_cards
from storage.products import ImageSet
from tests.support.manifests import model_card
from tests.support.small_dataset import random_pixels, write_images, write_labels

CLASSES = ["cat", "dog", "émeu"]
COUNT, PLANTED = 240, 12
IDS = [f"img/{number:04d}" for number in range(COUNT)]
Array = npt.NDArray[Any]


def drawn(seed: int = 3) -> tuple[Array, Array, Array]:
    """True classes, given ones of which the first are wrong, and scores that know the true ones, mostly."""
    rng = np.random.default_rng(seed)
    true = rng.choice(3, COUNT, p=[0.5, 0.3, 0.2])
    logits = rng.normal(size=(COUNT, 3)) + 3.5 * np.eye(3)[true]
    logits[:PLANTED] += 4 * np.eye(3)[true[:PLANTED]]
    scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    given = true.copy()
    given[:PLANTED] = (true[:PLANTED] + 1) % 3
    return true, given, scores.astype(np.float32)


def dataset(root: Path, task: str = "multiclass") -> ImageSet:
    pixels = dict(zip(IDS, random_pixels(COUNT, (4, 4, 1)), strict=True))
    return write_images(root, {"train": pixels, "test": {"t": random_pixels(1, (4, 4, 1))[0]}}, task, CLASSES)


def write_sets(images: ImageSet, kept: bool = True, folds_of: str = "train", **changed: Any) -> None:
    """People's labels, and those of a network of folds with its scores."""
    _, given, scores = drawn()
    people = [{"image_id": one, "label": CLASSES[of]} for one, of in zip(IDS, given, strict=True)]
    machine = [
        {"image_id": one, "label": CLASSES[row.argmax()], "confidence": row.max(), "scores": row if kept else None}
        for one, row in zip(IDS, scores, strict=True)
    ]
    write_labels(images, "train", changed.get("people", people))
    facts: dict[str, Any] = {"folds": 5, "folds_of": folds_of} if folds_of else {}
    write_labels(images, "train", changed.get("machine", machine), "net", **facts)


def write_card(root: Path, folds: bool = True, split: str = "train") -> None:
    more: dict[str, Any] = {"folds": 5, "members": {"fold/0": "f"}} if folds else {}
    card = model_card(network="cnn2", settings={"network": "cnn2", "split": split}, **more)
    model_cards.write_card(layout.model(str(root), "small", "net"), card)


def asked(**changed: Any) -> LabelErrorSettings:
    return LabelErrorSettings(**{"dataset": "small", "annotator": "net", **changed})


def made(root: Path, **changed: Any) -> tuple[pd.DataFrame, dict[str, Any]]:
    plan = label_errors.plan_label_errors(asked(**changed), str(root))
    counts = label_errors.write_label_errors(plan)
    assert plan.is_done
    found = pq.read_table(plan.path)
    assert found.schema.remove_metadata().equals(LABEL_ERRORS)
    return found.to_pandas(), counts


@pytest.mark.parametrize("quality", ["self_confidence", "normalized_margin"])
def test_the_table_is_what_cleanlab_finds_in_the_same_arrays(tmp_path: Path, quality: str) -> None:
    write_sets(dataset(tmp_path))
    found, counts = made(tmp_path, quality=quality)
    _, given, scores = drawn()
    first = find_label_issues(given, scores.astype(float), return_indices_ranked_by=quality, n_jobs=1)
    likely = get_label_quality_scores(given, scores.astype(float), method=quality)
    assert found["image_id"].tolist()[: len(first)] == [IDS[row] for row in first]
    assert found["is_candidate"].tolist() == [True] * len(first) + [False] * (COUNT - len(first))
    rest = found["image_id"][len(first) :].tolist()
    assert rest == sorted(rest, key=lambda one: (likely[IDS.index(one)], one))
    rows = [IDS.index(one) for one in found["image_id"]]
    np.testing.assert_allclose(found["label_quality"], likely[rows], atol=1e-12)
    assert found["given"].tolist() == [CLASSES[of] for of in given[rows]]
    assert found["suggested"].tolist() == [CLASSES[of] for of in scores[rows].argmax(axis=1)]
    assert found["rank"].tolist() == list(range(1, COUNT + 1))
    assert set(found["quality"]) == {quality}
    assert counts == {"in": COUNT, "out": COUNT, "unpaired": {}, "candidates": len(first)}


def test_candidates_come_before_less_likely_labels_that_are_none() -> None:
    """The filter goes by class: in rare classes it takes labels that are likelier than some it leaves in others."""
    rng = np.random.default_rng(2)
    given = rng.choice(3, COUNT, p=[0.8, 0.15, 0.05])
    scores = rng.dirichlet([0.6, 0.3, 0.1], COUNT)
    found = label_errors.rank_labels(IDS, given, scores, CLASSES, "self_confidence").to_pandas()
    first = find_label_issues(given, scores, return_indices_ranked_by="self_confidence", n_jobs=1)
    assert found["image_id"].tolist()[: len(first)] == [IDS[row] for row in first]
    wrong = found["is_candidate"]
    assert found["label_quality"][wrong].max() > found["label_quality"][~wrong].min()


def test_planted_errors_come_first(tmp_path: Path) -> None:
    write_sets(dataset(tmp_path))
    true, _, _ = drawn()
    found, _ = made(tmp_path)
    top = found[:PLANTED].set_index("image_id")
    assert set(top.index) == set(IDS[:PLANTED])
    assert top["is_candidate"].all()
    assert top["suggested"].to_dict() == {one: CLASSES[of] for one, of in zip(IDS, true[:PLANTED], strict=False)}


def test_what_cannot_be_judged_is_counted(tmp_path: Path) -> None:
    images = dataset(tmp_path)
    _, given, scores = drawn()
    people = [{"image_id": one, "label": CLASSES[of]} for one, of in zip(IDS[:200], given, strict=False)]
    people[0]["label"] = "unicorn"
    people[1] |= {"confidence": 0.0}
    people.append({"image_id": people[2]["image_id"], "label": "émeu", "confidence": 0.5})  # type: ignore[dict-item]
    machine = [
        {"image_id": one, "label": "cat", "scores": row}
        for one, row in zip(IDS[:150] + IDS[199:], scores, strict=False)
    ]
    write_sets(images, people=people, machine=machine)
    found, counts = made(tmp_path)
    assert set(found["image_id"]) == {*IDS[2:150], IDS[199]}
    assert counts["unpaired"] == {"no_label": 41, "no_scores": 49, "label_outside_classes": 1}
    assert (counts["in"], counts["out"]) == (149 + 91, 149)
    assert found.set_index("image_id")["given"][IDS[2]] == CLASSES[given[2]], "the surer of two labels"


def test_a_table_is_made_again_where_something_changed(tmp_path: Path) -> None:
    write_sets(dataset(tmp_path))
    made(tmp_path)
    assert label_errors.plan_label_errors(asked(), str(tmp_path)).is_done
    assert not label_errors.plan_label_errors(asked(quality="normalized_margin"), str(tmp_path)).is_done


RELABEL = "concord label --models net --splits train --scores --force --dataset small"
RETRAIN = "run concord train --network cnn2 --name net --folds 5 --split train --dataset small, then " + RELABEL


@pytest.mark.parametrize(
    ("folds", "split", "why"),
    [
        (False, "train", f"'net' is no model of folds; {RETRAIN}"),
        (True, "test", f"'net' divided split 'test' into folds, and has no fold of 'train'; {RETRAIN}"),
        (True, "train", f"they were made before the model had folds, or do not state them; run {RELABEL}"),
    ],
)
def test_scores_of_seen_images_are_refused(tmp_path: Path, folds: bool, split: str, why: str) -> None:
    write_sets(dataset(tmp_path), folds_of="" if split == "train" else split)
    write_card(tmp_path, folds, split)
    with pytest.raises(InputError) as raised:
        label_errors.plan_label_errors(asked(), str(tmp_path))
    assert str(raised.value) == f"scores of 'net' on split 'train' of 'small' are not out of fold: {why}"


def test_a_model_that_became_folds_does_not_vouch_for_earlier_labels(tmp_path: Path) -> None:
    """The label set says what made it; the model folder says only what is there now."""
    write_sets(dataset(tmp_path), folds_of="")
    write_card(tmp_path)
    with pytest.raises(InputError, match="not out of fold: they were made before the model had folds"):
        label_errors.plan_label_errors(asked(), str(tmp_path))


def test_scores_that_were_not_kept_are_asked_for(tmp_path: Path) -> None:
    write_sets(dataset(tmp_path), kept=False)
    with pytest.raises(
        InputError, match=r"'net' .* were not kept: run concord label --models net --splits train --sco"
    ):
        made(tmp_path)


def test_scores_of_other_classes_are_refused(tmp_path: Path) -> None:
    machine = [{"image_id": one, "label": "cat", "scores": [0.5, 0.5]} for one in IDS]
    write_sets(dataset(tmp_path), machine=machine)
    with pytest.raises(IncompleteError, match=r"has \[2\] scores per image, but 'small' has 3 classes"):
        made(tmp_path)


@pytest.mark.parametrize("task", ["multilabel", "sequence"])
def test_other_tasks_are_refused(tmp_path: Path, task: str) -> None:
    dataset(tmp_path, task)
    with pytest.raises(InputError, match=f"one label per image, but 'small' is of task '{task}'"):
        label_errors.plan_label_errors(asked(), str(tmp_path))


def test_one_class_tells_nothing(tmp_path: Path) -> None:
    write_sets(dataset(tmp_path), people=[{"image_id": one, "label": "cat"} for one in IDS])
    with pytest.raises(InputError, match="labels of at least two classes"):
        made(tmp_path)


def test_without_cleanlab_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_sets(dataset(tmp_path))
    usual = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.partition(".")[0] == "cleanlab":
            raise ImportError(name)
        return usual(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InputError, match=r"needs cleanlab, which is not installed: pip install 'concord\[quality\]'"):
        made(tmp_path)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"annotator": "human"}, "cannot be checked by its own scores"),
        ({"quality": "entropy"}, "quality must be one of self_confidence, normalized_margin; got 'entropy'"),
        ({"split": "all"}, "no split may be called 'all'"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        asked(**changed)


def test_nothing_is_warned_of(tmp_path: Path) -> None:
    write_sets(dataset(tmp_path))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made(tmp_path)
