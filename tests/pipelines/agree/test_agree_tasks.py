"""`agree` on several labels an image, and on numbers: what pandas and scikit-learn make of the same rows."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import cohen_kappa_score, f1_score, hamming_loss

from schemas import layout, tables
from schemas.errors import InputError
from schemas.manifests import MULTILABEL, SEQUENCE
from schemas.settings.agree import AgreeSettings
from schemas.stage import Context
from storage import products
from storage.products import ShardFolder
from tests.support.comparisons import CLASSES, IDS, write_image_ids
from tests.support.label_sets import write_label_set, write_shards
from tests.support.measure_rows import by_scope
from tests.support.stages import agree

IMAGES = len(IDS)


def rows(root: str, name: str) -> pd.DataFrame:
    found: pd.DataFrame = pq.read_table(layout.agreement_table(root, name, "d", ("x", "y"), "test")).to_pandas()
    return found


def measures(root: str) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    return by_scope(pq.read_table(layout.agreement_table(root, "measures", "d", ("x", "y"), "test")))


@pytest.fixture(scope="module")
def sets() -> dict[str, Any]:
    """0/1 for each image and class: of two machines and of people, who say of some neither yes nor no."""
    rng = np.random.default_rng(3)
    truth = rng.random((IMAGES, len(CLASSES))) < (0.5, 0.2, 0.05)
    flipped = {name: truth ^ (rng.random(truth.shape) < share) for name, share in (("x", 0.1), ("y", 0.2))}
    return {"truth": truth, "known": rng.random(truth.shape) < 0.6, **flipped}


def frame_of(given: Any, sure: float = 0.75) -> pd.DataFrame:
    image, label = np.nonzero(given)
    columns = {"image_id": np.array(IDS)[image], "label": np.array(CLASSES)[label]}
    return pd.DataFrame(columns).assign(confidence=np.float32(sure))


@pytest.fixture(scope="module")
def labelled(sets: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> str:
    """A root with two machines that saw every image (y all but one, which it rejected), and people's yes and no."""
    root = str(tmp_path_factory.mktemp("several"))
    write_image_ids(root, MULTILABEL)
    write_label_set(root, "d", "x", frame_of(sets["x"]), covers_all_images=True)
    seen = sets["y"] & (np.array(IDS) != IDS[7])[:, None]
    write_label_set(root, "d", "y", frame_of(seen), covers_all_images=True)
    rejects = ShardFolder(
        layout.label_rejects(root, "d", "y", "test"), 8, products.label_set(root, "d", "y", "test").fingerprint
    )
    gone = pd.DataFrame([{"image_id": IDS[7], "source": "s", "position": "p", "reason": "r", "detail": "d"}])
    write_shards(rejects, gone, tables.REJECTS)
    yes = frame_of(sets["truth"] & sets["known"]).assign(confidence=np.float32(1), verdict="confirmed")
    no = frame_of(~sets["truth"] & sets["known"]).assign(confidence=np.float32(0), verdict="rejected")
    write_label_set(root, "d", "human", pd.concat([yes, no]))
    (result,) = agree(AgreeSettings(dataset="d", annotators=("x", "y"), reference="human"), Context(root))
    assert result.counts == {"in": IMAGES, "out": IMAGES - 1, "unpaired": {"only_a": 1}}
    return root


def test_several_labels_agree_as_their_decisions_do(labelled: str, sets: dict[str, Any]) -> None:
    there = np.array(IDS) != IDS[7]
    x, y, truth, known = (sets[name][there] for name in ("x", "y", "truth", "known"))
    whole, classes = measures(labelled)
    (summary,) = rows(labelled, "summary").to_dict("records")
    assert (summary["task"], summary["n_compared"]) == (MULTILABEL, x.size)
    assert (whole["n"], whole["n_agree"]) == (summary["n"], summary["n_agree"])
    assert (whole["n"], whole["n_agree"]) == (len(x), (x == y).all(axis=1).sum())
    assert summary["observed_agreement"] == pytest.approx((x == y).mean())
    assert whole["hamming_loss"] == pytest.approx(hamming_loss(x, y))
    for side, given in (("a", x), ("b", y)):
        assert whole[f"micro_f1_{side}"] == pytest.approx(f1_score(truth[known], given[known]))
    for number, label in enumerate(CLASSES):
        row = classes[label]
        assert row["one_vs_rest_cohen_kappa"] == pytest.approx(cohen_kappa_score(x[:, number], y[:, number]))
        of = known[:, number]
        assert row["f1_b"] == pytest.approx(f1_score(truth[of, number], y[of, number]))
    confusion: Any = rows(labelled, "confusion").fillna("-").set_index(["label_a", "label_b"])["n"]
    assert confusion["dog", "-"] == (x & ~y)[:, 1].sum()


def test_who_leaves_labels_open_is_the_truth_or_nothing(labelled: str) -> None:
    with pytest.raises(InputError, match=r"'human' also says which labels images have not.*--reference human"):
        agree(AgreeSettings(dataset="d", annotators=("x", "human")), Context(labelled))


def test_numbers_agree_whole_and_place_by_place(tmp_path: Path) -> None:
    root, rng = str(tmp_path), np.random.default_rng(4)
    write_image_ids(root, SEQUENCE)
    truth = np.array(["".join(rng.choice(list("0123456789"), rng.integers(1, 6))) for _ in IDS])
    sets = {}
    for name in ("x", "y"):
        wrong = rng.random(IMAGES) < 0.3
        sets[name] = np.where(wrong, [text[:-1] + "0" if len(text) > 1 else "7" for text in truth], truth)
        frame = pd.DataFrame({"image_id": IDS, "label": sets[name], "confidence": np.float32(0.5)})
        write_label_set(root, "d", name, frame)
    write_label_set(root, "d", "human", pd.DataFrame({"image_id": IDS, "label": truth, "confidence": np.float32(1)}))
    agree(AgreeSettings(dataset="d", annotators=("x", "y"), reference="human"), Context(root))
    row, classes = measures(root)
    assert classes == {}, "a number is no class"
    assert row["observed_agreement"] == pytest.approx((sets["x"] == sets["y"]).mean())
    assert row["accuracy_a"] == pytest.approx((sets["x"] == truth).mean())
    first = [(a[0], b[0]) for a, b in zip(sets["x"], sets["y"], strict=True)]
    assert row["same_digit_1"] == pytest.approx(np.mean([a == b for a, b in first]))
