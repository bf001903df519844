"""Plugins, cards, layout and the closed list of reasons: small files with one duty each."""

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from schemas import errors, layout, plugins
from schemas.errors import IncompleteError, InputError
from storage import model_cards, stores
from tests.support.manifests import model_card


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """A package with two modules, found by their files' names."""
    folder = tmp_path / "made_up_measures"
    folder.mkdir()
    for name in ("__init__", "kappa", "accuracy"):
        (folder / f"{name}.py").write_text(f"NAME = {name!r}\n")
    (folder / "notes.txt").write_text("no module")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield importlib.import_module("made_up_measures")
    for name in [name for name in sys.modules if name.startswith("made_up_measures")]:
        del sys.modules[name]


def test_a_module_is_found_by_its_files_name(package: ModuleType) -> None:
    assert plugins.names(package) == ["accuracy", "kappa"]
    assert plugins.load(package, "measure", "kappa").NAME == "kappa"
    plugins.check(package, "measure", "accuracy")


def test_adding_a_file_is_enough(package: ModuleType) -> None:
    Path(package.__path__[0], "alpha.py").write_text("NAME = 'alpha'\n")
    importlib.invalidate_caches()
    assert plugins.names(package) == ["accuracy", "alpha", "kappa"]
    assert plugins.load(package, "measure", "alpha").NAME == "alpha"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("kapa", "there is no measure 'kapa'; did you mean 'kappa'? (known: accuracy, kappa)"),
        ("zzz", "there is no measure 'zzz' (known: accuracy, kappa)"),
        ("", "there is no measure '' (known: accuracy, kappa)"),
        ("notes", "there is no measure 'notes' (known: accuracy, kappa)"),
        ("../kappa", "there is no measure '../kappa'; did you mean 'kappa'? (known: accuracy, kappa)"),
    ],
)
def test_an_unknown_name_names_the_nearest(package: ModuleType, name: str, message: str) -> None:
    with pytest.raises(InputError) as raised:
        plugins.load(package, "measure", name)
    assert str(raised.value) == message


def test_a_model_is_whole_once_its_card_is_there(tmp_path: Path) -> None:
    folder = str(tmp_path)
    assert model_cards.find_card(folder) is None
    with pytest.raises(IncompleteError, match=f"no complete model in {folder}: run concord train first"):
        model_cards.require_card(folder)
    (tmp_path / model_cards.MODEL_FILE).write_bytes(b"weights")
    model_cards.write_card(
        folder, model_card(fingerprint="now", files={model_cards.MODEL_FILE: {"size": 7, "sha256": "s"}})
    )
    assert model_cards.require_card(folder).fingerprint == "now"
    assert model_cards.is_current(folder, "now")
    assert not model_cards.is_current(folder, "before")
    (tmp_path / model_cards.MODEL_FILE).write_bytes(b"weights cut")
    assert not model_cards.is_current(folder, "now")
    (tmp_path / model_cards.MODEL_FILE).unlink()
    assert not model_cards.is_current(folder, "now")
    assert json.loads((tmp_path / model_cards.CARD_FILE).read_text())["files"] == {
        "model.keras": {"size": 7, "sha256": "s"}
    }


def test_every_path_lies_where_the_design_says() -> None:
    root = "gs://bucket/out"
    shard = layout.parquet_shard(3, 16)
    assert shard == "part-00003-of-00016.parquet"
    assert layout.tfrecord_shard("d", "train", 15, 16) == "d-train.tfrecord-00015-of-00016"
    assert layout.images(root, "d", "1.0.0") == f"{root}/images/d/1.0.0"
    assert layout.index(root, "d", "test") == f"{root}/index/dataset=d/split=test"
    assert layout.labels(root, "d", "human", "test") == f"{root}/labels/dataset=d/annotator=human/split=test"
    assert layout.model(root, "d", "cnn2") == f"{root}/models/d/cnn2"
    assert (
        layout.pairs(root, "d", "x", "y", "s")
        == f"{root}/agreement/pairs/dataset=d/annotator_a=x/annotator_b=y/split=s"
    )
    tables = {layout.agreement_table(root, "summary", "d", pair, "s") for pair in (("x", "y"), ("y", "x"))}
    assert {path.rpartition("/")[0] for path in tables} == {f"{root}/agreement/summary"}
    assert len(tables) == 2
    assert layout.convert_rejects(root, "d", "s").startswith(f"{root}/rejects/convert/")
    assert layout.label_rejects(root, "d", "cnn2", "s").startswith(f"{root}/rejects/label/")
    assert layout.run_manifest(root, "one") == f"{root}/runs/one.json"
    assert stores.join(layout.report(root), "index.html") == f"{root}/report/index.html"


@pytest.mark.parametrize("name", ["a", "svhn_2", "x" * 200])
def test_a_good_name_is_returned(name: str) -> None:
    assert layout.check_name("dataset", name) == name


def test_every_reason_has_a_remedy() -> None:
    assert set(errors.REJECT_HINTS) == set(errors.Reason)
    assert len(set(errors.REJECT_HINTS.values())) == len(errors.Reason)
    assert [reason.value for reason in errors.Reason] == [reason.name.lower() for reason in errors.Reason]
