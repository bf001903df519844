"""Comparisons of several labels an image, as the page shows them: label by label, as scikit-learn finds them."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import precision_recall_fscore_support

from analysis.report.images import group_by_image
from schemas.manifests import MULTILABEL
from schemas.settings.agree import AgreeSettings
from schemas.stage import Context
from tests.support.comparisons import CLASSES, IDS, write_image_ids
from tests.support.label_sets import write_label_set
from tests.support.pages import Outline, page_of
from tests.support.stages import agree

NAMES = ("x", "y", "human")
Given = dict[str, set[tuple[str, str]]]


@pytest.fixture(scope="module")
def given() -> Given:
    rng = np.random.default_rng(5)
    return {name: {(one, label) for one in IDS for label in CLASSES if rng.random() < 0.4} for name in NAMES}


@pytest.fixture(scope="module")
def outline(given: Given, tmp_path_factory: pytest.TempPathFactory) -> Outline:
    root = str(tmp_path_factory.mktemp("several"))
    write_image_ids(root, MULTILABEL)
    for name, rows in given.items():
        frame = pd.DataFrame(sorted(rows), columns=["image_id", "label"])
        write_label_set(
            root, "d", name, frame.assign(confidence=np.float32(0.5)), task=MULTILABEL, covers_all_images=True
        )
    agree(AgreeSettings(dataset="d", annotators=("x", "y"), reference="human"), Context(root))
    manifest = Path(root, "images", "d", "1.0.0", "_concord.json")
    manifest.unlink()
    manifest.parent.rmdir()
    return Outline(page_of(root, "d"))


def test_who_gave_which_label_alone(outline: Outline, given: Given) -> None:
    table = outline.table("x and y, test: images to which both give a label")
    for label, *numbers in table[1:]:
        x, y = ({one for one, said in given[name] if said == label} for name in "xy")
        assert [int(n) for n in numbers] == [len(x & y), len(x - y), len(y - x)]
    assert [row[0] for row in table[1:]] == list(CLASSES)


@pytest.mark.parametrize("name", ["x", "y"])
def test_figures_of_each_label_are_those_of_scikit_learn(outline: Outline, given: Given, name: str) -> None:
    table = outline.table(f"{name} against human, by label, test")
    matrices = [np.array([[(one, label) in given[who] for label in CLASSES] for one in IDS]) for who in ("human", name)]
    figures = precision_recall_fscore_support(*matrices)[:3]
    for number, (label, *shown) in enumerate(table[1:]):
        assert label == CLASSES[number]
        assert shown == [*(f"{column[number]:.3f}" for column in figures), str(len(IDS))]


def test_what_is_of_one_label_is_not_said_of_several(outline: Outline) -> None:
    text = outline.text("agreement")
    assert f"decisions on {len(IDS)} test images" in text
    assert "the micro F1 of x is" in text
    assert "accuracy where they agree" not in text
    shown = [found["id"] for tag, found in outline.tags if tag == "section"]
    assert shown == ["agreement", "classes", "labels", "confusion", "accuracy", "provenance"]


def test_an_image_shows_all_labels_that_it_was_given() -> None:
    told = {"confidence_a": 0.5, "confidence_b": 0.5}
    rows = [
        {"image_id": "1", "label_a": "dog", "label_b": None, "reference": "dog", "correct_a": True, **told},
        {"image_id": "1", "label_a": "cat", "label_b": None, "reference": "cat", "correct_a": True, **told},
        {"image_id": "2", "label_a": "cat", "label_b": "cat", "reference": None, "correct_a": None, **told},
        {"image_id": "3", "label_a": None, "label_b": "cat", "reference": None, "correct_a": True, **told},
    ]
    found = {row["image_id"]: (row["label_a"], row["label_b"], row["reference"]) for row in group_by_image(rows)}
    assert found == {"1": ("cat, dog", "none", "cat, dog"), "2": ("cat", "cat", None), "3": ("none", "cat", "none")}
