"""Networks' files from outside: none runs code, reads other files, or asks for more memory than it can fill."""

import faulthandler
import json
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from models import archives, external_models
from models.tensorflow_setup import keras
from schemas.errors import InputError
from storage import hdf5
from tests.support import peaks

Change = Callable[[dict[str, Any]], Any]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one network as `net.keras` and as `net.h5`."""
    folder = tmp_path_factory.mktemp("networks")
    entry = keras.Input((8, 8, 3))
    scaled = keras.ops.clip(keras.layers.RandomFlip()(entry), 0, 1)
    flat = keras.layers.Flatten()(keras.layers.Conv2D(2, 3, kernel_regularizer="l2")(scaled))
    model = keras.Model(entry, keras.layers.Dense(3, activation="softmax", name="head")(flat))
    model.compile("adam", "categorical_crossentropy")
    model.save(folder / "net.keras")
    keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(3)]).save(folder / "net.h5")
    return folder


def rewritten(whole: Path, path: Path, change: Change) -> Path:
    """The `.keras` file, its configuration changed."""
    with zipfile.ZipFile(whole / "net.keras") as given, zipfile.ZipFile(path, "w") as made:
        for name in given.namelist():
            content = given.read(name)
            if name == "config.json":
                config = json.loads(content)
                change(config)
                content = json.dumps(config).encode()
            made.writestr(name, content)
    return path


def layer(config: dict[str, Any], name: str = "Dense") -> dict[str, Any]:
    found: dict[str, Any] = next(one for one in config["config"]["layers"] if one["class_name"] == name)
    return found


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_whole_networks_are_loaded(whole: Path, suffix: str) -> None:
    network = external_models.load(str(whole / f"net{suffix}"), trusted=False, shown="theirs")
    assert tuple(network.output_shape) == (None, 3)


def calls(module: str, name: str, *given: Any, **more: Any) -> Change:
    """A layer replaced by a call of some function, as published attacks do."""

    def change(config: dict[str, Any]) -> None:
        layer(config).update(module=module, class_name=name, registered_name=name, config={**more, "args": given})

    return change


def gallery(module: str, name: str, path: str = "ran") -> Change:
    """A Lambda layer under some name, which calls a function of Keras that writes a picture at a path of the file."""
    kind = "visualization.plot_image_gallery"
    function = {"module": "keras", "class_name": "function", "config": kind, "registered_name": kind}
    config = {"function": function, "arguments": {"path": path}, "output_shape": [8, 8, 3]}

    def change(whole: dict[str, Any]) -> None:
        layer(whole, "RandomFlip").update(module=module, class_name=name, registered_name=None, config=config)

    return change


def activation(name: str, module: str = "keras") -> Change:
    """A layer whose activation is some function."""
    function = {"module": module, "class_name": "function", "config": name, "registered_name": name}
    return lambda config: layer(config)["config"].update(activation=function)


ATTACKS: dict[str, Change] = {
    "a name that Keras splits otherwise": gallery("keras", "layers.Lambda"),
    "a SavedModel by such a name": calls("keras", "layers.TFSMLayer", filepath="ran", call_endpoint="serve"),
    "a function by such a name": activation("visualization.plot_image_gallery"),
    "a class as a function": activation("layers.TFSMLayer"),
    "a function of the names of activations": activation("deserialize", "builtins"),
    "an operation that calls a function": calls("keras.src.ops.core", "VectorizedMap", function="ran"),
    "CVE-2025-1550": calls("os", "system", "touch ran"),
    "a module of its own": calls("theirs.layers", "Attention"),
    "CVE-2025-8747": calls("keras.src.utils.file_utils", "get_file", fname="ran", origin="file:///etc/hostname"),
    "CVE-2025-9906": calls("keras.config", "enable_unsafe_deserialization"),
    "a function of Keras": calls("keras.utils", "get_file", fname="ran", origin="file:///etc/hostname"),
    "a loader": calls("keras.saving", "load_model", filepath="other.keras"),
    "numpy": calls("numpy", "load", "ran.npy"),
    "a name that begins alike": calls("keras_theirs.layers", "Dense"),
    "CVE-2025-12058": calls("keras.layers", "StringLookup", vocabulary="/etc/passwd"),
    "lambda": calls("keras.layers", "Lambda"),
    "SavedModel within": calls("keras.layers", "TFSMLayer", filepath="ran"),
    "activation": lambda config: layer(config)["config"].update(
        activation={"module": "builtins", "class_name": "__lambda__", "config": {"value": "x"}}
    ),
    "of the training": lambda config: config["compile_config"].update(
        loss={"module": "subprocess", "class_name": "function", "config": "call", "registered_name": "call"}
    ),
}


@pytest.mark.parametrize("module,name", [("keras", "layers.Lambda"), ("keras.layers", "Lambda")])
def test_a_network_that_were_overlooked_could_not_write_when_it_is_tried(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, name: str
) -> None:
    """It is called in a process of its own before it is in this one."""
    target = tmp_path / "ran.png"
    path = rewritten(whole, tmp_path / "net.keras", gallery(module, name, str(target)))
    fit = external_models.Fit("multiclass", ["a", "b", "c"], (8, 8, 3), (), (0, 1), "")
    monkeypatch.setattr(archives, "check", lambda *_, **__: None)
    with pytest.raises(InputError, match="is refused while a file from outside is tried"):
        external_models.load(str(path), trusted=False, shown="theirs", trial=fit)
    assert not target.exists()
    with suppress(Exception):  # no idle fear
        external_models.wrapped(external_models.load(str(path), trusted=False, shown="theirs"), fit, "theirs")
    assert target.exists()


def test_a_network_that_fits_is_loaded_after_it_was_tried(whole: Path) -> None:
    fit = external_models.Fit("multiclass", ["a", "b", "c"], (8, 8, 3), (), (0, 1), "")
    path = str(whole / "net.keras")
    assert external_models.load(path, False, "theirs", fit).output_shape == (None, 3)
    with pytest.raises(InputError, match=r"theirs gives scores of shape \[3\], but 2 classes need \[2\]"):
        external_models.load(
            path, False, "theirs", external_models.Fit("multiclass", ["a", "b"], (8, 8, 3), (), (0, 1), "")
        )


@pytest.mark.parametrize("attack", ATTACKS)
def test_nothing_but_layers_of_keras_is_named(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, attack: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(keras.saving, "load_model", lambda *_, **__: pytest.fail("Keras was asked to load it"))
    path = rewritten(whole, tmp_path / "net.keras", ATTACKS[attack])
    with pytest.raises(InputError, match=r"^Keras cannot load theirs: .*save it without"):
        external_models.load(str(path), trusted=False, shown="theirs")
    assert [found.name for found in tmp_path.iterdir()] == ["net.keras"]


def test_a_lambda_in_a_legacy_file_is_refused(whole: Path, tmp_path: Path) -> None:
    """CVE-2025-9905: older versions of Keras overlooked the safe mode for these."""
    path = tmp_path / "net.h5"
    lambdas = keras.Sequential([keras.Input((2,)), keras.layers.Lambda(lambda x: x)])
    lambdas.save(path)
    with pytest.raises(InputError, match="a Lambda layer can run code of its own"):
        archives.check(str(path), "theirs")


def elsewhere(path: Path, secret: Path) -> None:
    """Put a file's last weights into another one, CVE-2026-1669."""
    with h5py.File(path, "r+") as file:
        sizes: dict[str, int] = {}
        file.visititems(lambda name, one: sizes.update({name: one.size}) if isinstance(one, h5py.Dataset) else None)
        largest = max(sizes, key=lambda name: sizes[name])
        shape = file[largest].shape
        del file[largest]
        file.create_dataset(largest, shape, "f4", external=[(str(secret), 0, 4 * int(np.prod(shape)))])


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_weights_of_another_file_are_refused(whole: Path, tmp_path: Path, suffix: str) -> None:
    secret, path = tmp_path / "secret", tmp_path / f"net{suffix}"
    secret.write_bytes(bytes(10_000))
    if suffix == ".h5":
        path.write_bytes((whole / "net.h5").read_bytes())
        elsewhere(path, secret)
    else:
        weights = tmp_path / "model.weights.h5"
        with zipfile.ZipFile(whole / "net.keras") as given, zipfile.ZipFile(path, "w") as made:
            given.extract(weights.name, tmp_path)
            elsewhere(weights, secret)
            for name in given.namelist():
                made.writestr(name, weights.read_bytes() if name == weights.name else given.read(name))
    with pytest.raises(InputError, match="lies in another file, which is not read"):
        external_models.load(str(path), trusted=False, shown="theirs")


def test_a_packed_archive_that_grows_too_large_is_refused(whole: Path, tmp_path: Path) -> None:
    path = tmp_path / "net.keras"
    path.write_bytes((whole / "net.keras").read_bytes())
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as made:
        made.writestr("assets/zeros", bytes(200 << 20))
    assert path.stat().st_size < 1 << 20
    with pytest.raises(InputError, match=r"theirs: it states 209,\d\d\d,\d\d\d bytes, but only"):
        external_models.load(str(path), trusted=False, shown="theirs")


@pytest.mark.parametrize("name", ["../ran", "/tmp/ran", "assets/../../ran", "a\\ran"])
def test_names_that_lead_out_of_an_archive_are_refused(whole: Path, tmp_path: Path, name: str) -> None:
    path = tmp_path / "net.keras"
    path.write_bytes((whole / "net.keras").read_bytes())
    with zipfile.ZipFile(path, "a") as made:
        made.writestr(name, "x")
    with pytest.raises(InputError, match="which is no path within its folder"):
        archives.check(str(path), "theirs")


def test_weights_that_a_file_has_not_are_never_made(whole: Path, tmp_path: Path) -> None:
    """Of 720 million weights, as of any that do not fit, nothing but the shape is made."""
    path = rewritten(whole, tmp_path / "net.keras", lambda config: layer(config)["config"].update(units=10_000_000))
    peaks.begin_anew()
    before = peaks.peak()
    with pytest.raises(InputError, match=r"Keras cannot load theirs: .* could not be loaded"):
        external_models.load(str(path), trusted=False, shown="theirs")
    with keras.StatelessScope():  # after which Keras makes the variables that have been put off
        pass
    assert peaks.peak() - before < 200 << 20


def test_a_layer_that_makes_too_much_of_an_image_is_refused(whole: Path, tmp_path: Path) -> None:
    entry = keras.Input((8, 8, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(keras.layers.UpSampling2D(2)(entry))
    keras.Model(entry, pooled).save(tmp_path / "net.keras")
    external_models.load(str(tmp_path / "net.keras"), trusted=False, shown="theirs")
    path = rewritten(
        tmp_path,
        tmp_path / "large.keras",
        lambda config: layer(config, "UpSampling2D")["config"].update(size=[10_000, 10_000]),
    )
    with pytest.raises(InputError, match=r"makes \(None, 80000, 80000, 3\) of an image, more than 67,108,864 values"):
        external_models.load(str(path), trusted=False, shown="theirs")


def test_an_operation_that_makes_too_much_of_an_image_is_refused(tmp_path: Path) -> None:
    entry = keras.Input((8, 8, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(keras.ops.image.resize(entry, (9_000, 9_000)))
    keras.Model(entry, keras.layers.Dense(100)(pooled)).save(tmp_path / "net.keras")
    with pytest.raises(InputError, match=r"makes \(None, 9000, 9000, 3\) of an image, more than 67,108,864 values"):
        external_models.load(str(tmp_path / "net.keras"), trusted=False, shown="theirs")


def test_a_configuration_nested_without_end_is_refused(whole: Path, tmp_path: Path) -> None:
    path = tmp_path / "net.keras"
    with zipfile.ZipFile(whole / "net.keras") as given, zipfile.ZipFile(path, "w") as made:
        for name in given.namelist():
            made.writestr(name, b"[" * 1_000_000 if name == "config.json" else given.read(name))
    with pytest.raises(InputError, match="its configuration is nested too deep"):
        archives.check(str(path), "theirs")


@pytest.fixture
def ended() -> Iterator[None]:
    """A test that HDF5 does not come back from: it holds Python's lock, so that nothing of Python ends it."""
    faulthandler.dump_traceback_later(60, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


@pytest.mark.usefixtures("ended")
def test_a_file_that_hdf5_cannot_come_through_is_refused(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found by fuzzing: where the heap of an attribute's text is damaged so, HDF5 1.14 reads it for ever."""
    monkeypatch.setattr(hdf5, "_PROBE_SECONDS", 2.0)
    content = (whole / "net.h5").read_bytes()
    heap = content.index(b"GCOL")
    path = tmp_path / "net.h5"
    for damage in (bytes(64), b"\xff" * 64):
        path.write_bytes(content[: heap + 16] + damage + content[heap + 80 :])
        with pytest.raises(InputError, match=r"theirs is damaged: .*did not end in 2 s|theirs: cannot read"):
            external_models.load(str(path), trusted=False, shown="theirs")
    hdf5.probe(str(whole / "net.h5"), "theirs")


def test_the_weights_within_an_archive_are_looked_through_apart(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str, shown: str) -> None:
        raise InputError(f"{shown} is damaged: {Path(path).name}")

    monkeypatch.setattr(hdf5, "probe", refuse)
    with pytest.raises(InputError, match=r"theirs is damaged: model\.weights\.h5"):
        external_models.load(str(whole / "net.keras"), trusted=False, shown="theirs")


def test_weights_alone_are_looked_at_as_well(whole: Path, tmp_path: Path) -> None:
    path = tmp_path / "net.weights.h5"
    path.write_bytes((whole / "net.h5").read_bytes())
    archives.check_weights(str(path))
    elsewhere(path, whole / "net.keras")
    with pytest.raises(InputError, match="lies in another file"):
        archives.check_weights(str(path))
