"""Training: repeatable, only where it is needed, and with errors that say what is wrong."""

import hashlib
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow.compute as pc
import pytest

from concord import messages
from models import saved_models
from models.tensorflow_setup import tensorflow as tf
from models.training_job import TrainJob
from pipelines import runner
from pipelines.train.transforms import TrainModels, format_epoch, train_models
from schemas import layout
from schemas.errors import REJECT_HINTS, ConcordError, IncompleteError, InputError, Reason, TooManyRejectsError
from schemas.settings.base import GPU_HINT
from schemas.settings.train import TrainSettings
from schemas.stage import Context
from storage import model_cards, parquet, products
from tests.support.stages import train

Models = tuple[TrainSettings, TrainSettings]


def card(root: str, name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(Path(root, "models", "drawn", name, "model.json").read_text())
    return content


def weights(root: str, name: str) -> list[Any]:
    found: list[Any] = saved_models.load(layout.model(root, "drawn", name)).get_weights()
    return found


def test_a_model_folder_is_whole(trained: str) -> None:
    for name in ("cnn1", "cnn2"):
        folder = Path(trained, "models", "drawn", name)
        files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
        stated = card(trained, name)["files"]
        assert {"model.keras", "serving/saved_model.pb", "model.json"} <= files
        logs = {f"logs/{part}/events.out.tfevents.0.concord" for part in ("train", "validation")}
        assert set(stated) == files - {"model.json"} - logs
        assert logs < files
        for file, facts in stated.items():
            content = (folder / file).read_bytes()
            assert facts == {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
    assert card(trained, "cnn1")["metrics"]["epochs"] == len(card(trained, "cnn1")["history"]["loss"]) == 3
    assert card(trained, "cnn1")["metrics"]["validation_images"] == 80


@pytest.mark.parametrize("name", ["cnn1", "cnn2"])  # cnn2 behaves otherwise in training: dropout, batch statistics
def test_serving_gives_the_scores_of_the_model(trained: str, name: str) -> None:
    folder = layout.model(trained, "drawn", name)
    shard = Path(layout.images(trained, "drawn", "1.0.0"), "drawn-test.tfrecord-00003-of-00008")
    wanted = {"image": tf.io.FixedLenFeature([], tf.string)}
    encoded = [tf.io.parse_single_example(one, wanted)["image"] for one in tf.data.TFRecordDataset(str(shard))]
    pixels = np.stack([tf.io.decode_png(image).numpy() for image in encoded])
    serve = tf.saved_model.load(f"{folder}/serving").signatures["serving_default"]
    found = serve(image=tf.stack(encoded))["scores"].numpy()
    np.testing.assert_allclose(found, saved_models.load(folder).predict(pixels, verbose=0), atol=1e-5)
    assert len(encoded) > 5
    assert np.ptp(found, axis=0).max() > 0.01


def test_training_is_repeatable_and_follows_the_seed(
    converted: str, trained: str, models: Models, tmp_path: Path
) -> None:
    again = str(shutil.copytree(converted, tmp_path / "again"))
    other = models[0].changed(seed=2, epochs=1, name="other")
    results = train([models[0], other], Context(again, ("--runner=DirectRunner", "--direct_num_workers=2")))
    assert [result.built for result in results] == [True, True]
    assert card(again, "cnn1")["history"] == card(trained, "cnn1")["history"]
    assert card(again, "cnn1")["fingerprint"] == card(trained, "cnn1")["fingerprint"]
    for found, expected in zip(weights(again, "cnn1"), weights(trained, "cnn1"), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert card(again, "other")["history"]["loss"][0] != card(trained, "cnn1")["history"]["loss"][0]
    assert not np.allclose(weights(again, "other")[0], weights(trained, "cnn1")[0])


def test_a_second_call_does_nothing(trained: str, models: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "run", no_pipeline)
    before = {path: path.stat().st_mtime_ns for path in Path(trained).rglob("*")}
    results = train(models, Context(trained))
    assert [(result.built, result.seconds, result.counters) for result in results] == [(False, 0.0, {})] * 2
    assert results[0].counts == card(trained, "cnn1")["metrics"]
    assert {path: path.stat().st_mtime_ns for path in Path(trained).rglob("*")} == before


def test_a_changed_setting_retrains_only_its_model(root: str, models: Models) -> None:
    untouched = Path(root, "models/drawn/cnn1/model.keras").stat().st_mtime_ns
    old = card(root, "cnn2")
    changed = models[1].changed(learning_rate=0.01, epochs=1, batch_size=50)
    results = train([models[0], changed], Context(root))
    assert [result.built for result in results] == [False, True]
    assert results[1].counters["train.elements"] == 1
    assert Path(root, "models/drawn/cnn1/model.keras").stat().st_mtime_ns == untouched
    assert card(root, "cnn2")["fingerprint"] != old["fingerprint"]
    assert card(root, "cnn2")["settings"]["learning_rate"] == 0.01
    assert not np.allclose(weights(root, "cnn2")[0], 0)


def no_pipeline(*_: object) -> dict[str, int]:
    raise RuntimeError("a pipeline was run")


def retrained(root: str, models: Sequence[TrainSettings], monkeypatch: pytest.MonkeyPatch, force: bool = False) -> str:
    """The models that would be trained: from that moment until they are done they have no card."""
    monkeypatch.setattr(runner, "run", no_pipeline)
    with pytest.raises(RuntimeError, match="a pipeline was run"):
        train(models, Context(root, force=force))
    model_cards = {name: Path(root, "models", "drawn", name, "model.json") for name in ("cnn1", "cnn2")}
    return " ".join(name for name, path in model_cards.items() if not path.exists())


@pytest.mark.parametrize("file", ["model.json", "model.keras", "serving/saved_model.pb"])
def test_a_model_that_is_not_whole_is_trained_again(
    root: str, models: Models, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path(root, "models/drawn/cnn1", file).unlink()
    assert retrained(root, models, monkeypatch) == "cnn1"


def test_other_labels_train_every_model_again(root: str, models: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = Path(layout.labels(root, "drawn", "human", "validation"), "_concord.json")
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "fingerprint": "0" * 16}))
    assert retrained(root, models, monkeypatch) == "cnn1 cnn2"


def test_force_trains_every_model_again(root: str, models: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    assert retrained(root, models, monkeypatch, force=True) == "cnn1 cnn2"


@pytest.mark.parametrize(
    ("changed", "kind", "message"),
    [
        ({"network": "cnn_1"}, InputError, r"no network 'cnn_1'; did you mean 'cnn1'\? \(known: .*cnn1, cnn2"),
        ({"labels": "people"}, IncompleteError, r"no complete label set of 'people' for split 'train' of 'drawn'"),
        ({"dataset": "drawm"}, IncompleteError, r"no complete dataset 'drawm' in .*: run concord convert first"),
        ({"split": "training"}, InputError, r"dataset 'drawn' has no split 'training'; its splits are .*train"),
    ],
)
def test_what_is_not_there_is_named(
    trained: str, models: Models, changed: dict[str, str], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        train([models[0].changed(**changed)], Context(trained))  # type: ignore[arg-type]


def test_two_models_of_one_name_are_refused(trained: str, models: Models) -> None:
    with pytest.raises(InputError, match=r"two models would be written to one folder: .*drawn/cnn1.*give each a name"):
        train([models[0], models[1].changed(name="cnn1")], Context(trained))


def stand_in(folder: Path, monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    """Put a shell script in the place of the interpreter that trains."""
    script = folder / "python"
    script.write_text("\n".join(["#!/bin/sh", "read job", *lines, ""]))
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))


def test_a_crash_shows_the_last_lines_of_the_process(
    tmp_path: Path, models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = "; ".join(f"echo 'line {number}' >&2" for number in range(40))
    stand_in(tmp_path, monkeypatch, lines, "echo 'ValueError: no such thing' >&2", "exit 3")
    with pytest.raises(
        ConcordError, match=r"^training 'cnn1' ended with status 3: line 26 \| .*no such thing$"
    ) as caught:
        train_models([TrainJob(str(tmp_path), models[0], "f" * 16)])
    assert "\n" not in str(caught.value)


def test_a_killed_process_is_told_by_its_signal(
    tmp_path: Path, models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(tmp_path, monkeypatch, "echo 'Allocator ran out of memory' >&2", "kill -9 $$")
    with pytest.raises(ConcordError, match=r"'cnn1' ended with status -9: Allocator ran out of memory"):
        train_models([TrainJob(str(tmp_path), models[0], "f" * 16)])


def test_an_error_that_the_process_tells_comes_back_as_itself(
    tmp_path: Path, models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = json.dumps({"kind": "InputError", "error": "'human' labels no image"})
    stand_in(tmp_path, monkeypatch, "echo 'noise' >&2", f'echo "{told.replace(chr(34), chr(92) + chr(34))}"', "exit 1")
    with pytest.raises(InputError, match=r"^'human' labels no image$"):
        train_models([TrainJob(str(tmp_path), models[0], "f" * 16)])


def test_a_crash_names_the_one_of_several_that_was_at_work(
    tmp_path: Path, models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(tmp_path, monkeypatch, """echo '{"metrics": {}}'""", "exit 1")
    with pytest.raises(ConcordError, match=r"^training 'cnn2' ended with status 1"):
        train_models([TrainJob(str(tmp_path), one, "f" * 16) for one in models])


def test_a_process_that_does_too_little_is_an_error(
    tmp_path: Path, models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(tmp_path, monkeypatch, """echo '{"metrics": {}}'""")
    with pytest.raises(ConcordError, match=r"^training 'cnn2' ended with status 0"):
        train_models([TrainJob(str(tmp_path), one, "f" * 16) for one in models])


def test_an_epoch_is_told_in_a_line() -> None:
    said = {"model": "m", "epoch": 2, "epochs": 5, "accuracy": 0.25, "loss": 0.5, "val_average_precision": 0.125}
    assert format_epoch("m/fold/1", {**said, "phase": 0, "val_loss": 1}) == (
        "train m/fold/1: epoch 2/5, loss 0.500, validation loss 1.000, accuracy 0.250, "
        "validation average precision 0.125"
    )
    assert format_epoch("m", {"epoch": 1, "epochs": 3, "phase": 1}).startswith("train m: epoch 1/3 of fine-tuning")


def test_only_the_fit_asks_for_an_accelerator(models: Models) -> None:
    jobs = tuple((TrainJob("out", one, "f" * 16),) for one in models)
    pipeline = beam.Pipeline()
    pipeline | TrainModels(jobs, GPU_HINT)
    proto = pipeline.to_runner_api()
    hints = {}
    for transform in proto.components.transforms.values():
        environment = proto.components.environments.get(transform.environment_id)
        if environment and not transform.subtransforms:
            asked = {key.rpartition("accelerator:")[1]: value for key, value in environment.resource_hints.items()}
            hints[transform.unique_name] = asked.get("accelerator:")
    assert {name for name, hint in hints.items() if hint} == {"TrainModels/Fit"}
    assert hints["TrainModels/Fit"] == GPU_HINT.encode()
    assert len(hints) > 3


def test_without_an_accelerator_nothing_is_asked_for(models: Models) -> None:
    pipeline = beam.Pipeline()
    pipeline | TrainModels(((TrainJob("out", models[0], "f" * 16),),), "")
    environments = pipeline.to_runner_api().components.environments.values()
    assert [environment.resource_hints for environment in environments if environment.resource_hints] == []


def test_damaged_records_are_excluded_and_named(root: str, models: Models) -> None:
    images = products.image_set(root, "drawn", "1.0.0")
    rows = images.index("train").read(5).to_pylist()
    shard = Path(images.tfrecord("train", 5))
    whole = shard.read_bytes()
    content = bytearray(whole)
    content[rows[3]["offset"] + 20] ^= 1  # data
    content[rows[6]["offset"] - 12] ^= 1  # length
    shard.write_bytes(content[:-1])
    gone = {row: rows[row]["image_id"] for row in (3, 6, len(rows) - 1)}
    named = [f"{shard}, record {row} ({image_id})" for row, image_id in gone.items()]
    [result] = train([models[0].changed(name="damaged", epochs=1)], Context(root))
    assert result.counts["excluded"] == {"images": 3, "damaged": named}
    assert result.counts["train_images"] == images.images_in("train") - 3
    assert f"3 images excluded, which cannot be read, the first {named[0]}: run convert" in messages.describe_training(
        result.counts
    )
    assert shard.read_bytes() == bytes(content[:-1])  # nothing is mended where it lies
    with pytest.raises(TooManyRejectsError, match=r"train has to exclude 3 of 480 images .*fraction 0.001") as caught:
        train([models[0].changed(name="strict", max_reject_fraction=0.001)], Context(root))
    assert f"The first: {named[0]}: {REJECT_HINTS[Reason.RECORD_DAMAGED]}" in str(caught.value)
    assert not Path(root, "models/drawn/strict/model.json").exists()


def test_a_training_without_damaged_records_is_that_on_the_other_images(root: str, models: Models) -> None:
    """The same weights as where people never labelled the image whose record is damaged."""
    images = products.image_set(root, "drawn", "1.0.0")
    gone = images.index("train").read(5).to_pylist()[3]
    labels = products.label_set(root, "drawn", "human", "train")
    rows = labels.read(5)
    kept = rows.filter(pc.not_equal(rows["image_id"], gone["image_id"]))
    parquet.write(labels.path(5), kept, labels.fingerprint)
    twin = models[0].changed(epochs=1)
    train([twin.changed(name="unlabelled")], Context(root))
    parquet.write(labels.path(5), rows, labels.fingerprint)
    shard = Path(images.tfrecord("train", 5))
    content = bytearray(shard.read_bytes())
    content[gone["offset"] + 20] ^= 1
    shard.write_bytes(content)
    train([twin.changed(name="damaged")], Context(root))
    found = [model_cards.require_card(layout.model(root, "drawn", name)) for name in ("unlabelled", "damaged")]
    assert found[0].weights_sha256 == found[1].weights_sha256
    assert found[0].history == found[1].history
