"""Names in networks' configurations: looked up as Keras does it, and on the list or refused."""

import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from models import allowed, external_models
from models.tensorflow_setup import keras
from schemas.errors import InputError

KERAS = keras.src.api_export.REGISTERED_NAMES_TO_OBJS
Config = dict[str, Any]


def named(module: Any, name: Any, **more: Any) -> Config:
    return {"module": module, "class_name": name, "config": {}, **more}


def function(module: str, name: str, **more: Any) -> Config:
    return {"module": module, "class_name": "function", "config": name, **more}


def is_allowed(config: Any, training: Any = None) -> bool:
    try:
        allowed.check("theirs", config, training)
    except InputError as error:
        assert str(error).startswith("Keras cannot load theirs: ") and "save it without" in str(error)
        return False
    return True


ALLOWED = [
    *(
        named("keras.layers", "Dense"),
        named("keras.layers", "Dense", registered_name="Dense"),
        named("keras", "Sequential"),
    ),
    *(named("keras.src.models.functional", "Functional"), named("keras.src.ops.numpy", "Clip")),
    *(named("keras.src.ops.linalg", "Norm"), named("keras.src.applications.convnext", "LayerScale")),
    *(named("keras.initializers", "GlorotUniform"), named("keras", "DTypePolicy"), named("keras.regularizers", "L2")),
    *(function("builtins", "relu"), function("keras.activations", "gelu"), {"class_name": "Dense", "config": {}}),
    *({"class_name": "GlorotUniform", "config": {}}, {"class_name": "Functional", "config": {}}, {"class": "Lambda"}),
    *(
        {"class_name": "__tuple__", "items": [1]},
        {"class_name": "__numpy__", "config": {"value": [1], "dtype": "int8"}},
    ),
]
REFUSED = [
    # Keras joins module and name, and finds what is not theirs
    *(named("keras", "layers.Lambda"), named("keras", "layers.Dense"), named("keras.layers", "core.dense.Dense")),
    *(named("keras.src.layers", "Dense"), named("keras.layers.core", "Dense"), named("keras.activations", "Dense")),
    *(named("keras.src.layers.core.lambda_layer", "Lambda"), named("keras.src.export.tfsm_layer", "TFSMLayer")),
    # what calls, reads or loads
    *(named("keras.layers", name) for name in ("Lambda", "TFSMLayer", "TorchModuleWrapper", "FlaxLayer", "JaxLayer")),
    *(named("keras.layers", name) for name in ("TextVectorization", "StringLookup", "IntegerLookup")),
    *(named("keras.src.ops.core", name) for name in ("Map", "Scan", "Cond", "WhileLoop", "ForiLoop", "VectorizedMap")),
    *(
        named("keras.src.ops.linalg", "JVP"),
        named("keras.utils", "FeatureSpace"),
        named("keras.callbacks", "CSVLogger"),
    ),
    *(named("keras.saving", "KerasFileEditor"), named("keras", "Operation"), named("keras", "Layer")),
    # functions, where none or another may be, and classes in their place
    *(function("keras", "visualization.plot_image_gallery"), function("keras.visualization", "plot_image_gallery")),
    *(function("keras.utils", "get_file"), function("builtins", "deserialize"), function("builtins", "get")),
    *(function("keras.layers", "Dense"), function("keras.ops", "vectorized_map"), named("keras.activations", "relu")),
    *(function("builtins", "eval"), function("os", "system"), {"class_name": "function", "config": "relu"}),
    # without a module, as legacy files have it
    *(
        {"class_name": name, "config": {}}
        for name in ("Lambda", "TFSMLayer", "deserialize", "add", "IndexLookup", "core", "")
    ),
    *({"class_name": name} for name in ("TypeSpec", "CompositeTensor", "__lambda__", "__typespec__", "Unheard")),
    # shapes of objects that are none
    *(named(None, "Lambda"), named(5, "Dense"), named(["keras"], "Dense"), named("keras.layers", ["Dense"])),
    *(named("keras.layers", "Dense", registered_name=["x"]), named("keras.layers", None), {"class_name": {}}),
    named("tensorflow", "__typespec__", spec_name="TensorSpec", registered_name=None),
    *(
        {"class_name": "__numpy__", "config": {"value": [0], "dtype": one}}
        for one in ("S1000000000", "O", ["i4"], None)
    ),
    *({"class_name": "__tensor__", "config": 5}, named("keras.src.utils.torch_utils", "__tuple__")),
    named("keras.src.ops.core", "Sl"),
]


@pytest.mark.parametrize("one", ALLOWED, ids=json.dumps)
def test_what_networks_consist_of_is_allowed(one: Config) -> None:
    assert is_allowed({"layers": [{"x": one}]})


@pytest.mark.parametrize("one", REFUSED, ids=json.dumps)
def test_all_else_is_refused_wherever_it_stands(one: Config) -> None:
    for config in (one, {"layers": [{"x": one}]}, named("keras.layers", "Dense", build_config={"x": [[one]]})):
        assert not is_allowed(config)
    assert not is_allowed(named("keras", "Sequential", compile_config={"loss": one}))  # of a network within another


def test_a_name_is_allowed_only_as_keras_itself_spells_it() -> None:
    """Of all names that Keras has, at all places where they may be split."""
    count = 0
    for whole, found in KERAS.items():
        parts = whole.split(".")
        for place in range(1, len(parts)):
            module, name = ".".join(parts[:place]), ".".join(parts[place:])
            kind = function(module, name) if inspect.isfunction(found) else named(module, name)
            if is_allowed(kind):
                assert "." not in name and allowed._is_allowed(found, inspect.isfunction(found))
                resolve = keras.src.saving.serialization_lib._retrieve_class_or_fn
                assert resolve(name, None, module, "class", kind) is found
                count += 1
    assert count > 250


def test_whatever_keras_finds_by_a_name_alone_is_allowed_or_known() -> None:
    """Its lists of initializers, losses and so on, in which texts are looked up as well, which are not checked."""
    for each in allowed._LISTS[2:]:
        refused = {name for name, one in each.items() if not allowed._is_allowed(one, inspect.isfunction(one))}
        assert refused <= {"optimizermap", "AWQConfig", "awq_config"}


def test_a_registered_object_that_goes_before_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    def theirs() -> None:
        pass

    monkeypatch.setitem(keras.saving.get_custom_objects(), "theirs>Dense", theirs)
    monkeypatch.setitem(keras.saving.get_custom_objects(), "gelu", theirs)
    assert not is_allowed(named("keras.layers", "Dense", registered_name="theirs>Dense"))
    assert not is_allowed(function("keras.activations", "gelu"))
    assert is_allowed(named("keras.layers", "Dense", registered_name="ours>Dense"))  # Keras refuses it itself


def test_what_it_was_compiled_with_may_be_unknown_but_not_another_thing() -> None:
    for one in (function("builtins", "my_loss"), named(None, "MyLoss"), named("keras.optimizers.legacy", "Adam")):
        assert is_allowed({}, {"loss": one}) and not is_allowed({"loss": one})
    for one in (function("keras.utils", "get_file"), function("os", "system"), named("theirs", "Loss")):
        assert not is_allowed({}, {"loss": one})


def test_a_network_with_a_loss_of_its_own_is_loaded(tmp_path: Path) -> None:
    def my_loss(expected: Any, found: Any) -> Any:
        return keras.ops.mean(keras.ops.square(expected - found))

    model = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Flatten(), keras.layers.Dense(2)])
    model.compile("adam", my_loss)
    for name in ("net.keras", "net.h5"):
        model.save(tmp_path / name)
        assert external_models.load(str(tmp_path / name), False, "theirs").output_shape == (None, 2)


def rich() -> list[Any]:
    """Layers of many kinds, with all that may belong to them."""
    layers = keras.layers
    return [
        *(layers.Normalization(mean=0.5, variance=1.0), layers.RandomFlip(), layers.Resizing(9, 9)),
        layers.Conv2D(2, 3, activation=keras.ops.relu, kernel_constraint="max_norm", dtype="mixed_bfloat16"),
        *(layers.SpectralNormalization(layers.Conv2D(2, 1, activation="gelu")), layers.Activation("swish")),
        *(layers.PReLU(), layers.LeakyReLU(), layers.GroupNormalization(1), layers.Reshape((49, 2))),
        *(layers.TimeDistributed(layers.Dense(4, kernel_initializer=keras.initializers.HeNormal(3))),),
        layers.Bidirectional(layers.LSTM(3, return_sequences=True, recurrent_regularizer=keras.regularizers.L1L2())),
        *(layers.RNN(layers.StackedRNNCells([layers.GRUCell(3), layers.SimpleRNNCell(3)])), layers.Dropout(0.1)),
        layers.Dense(3, activation="softmax", kernel_initializer=keras.initializers.Constant(0.1), dtype="float32"),
    ]


def with_operations() -> keras.Model:
    """A functional network of Keras' operations, slices and shared layers, and of another network."""
    entry, ops, shared = keras.Input((8, 8, 3)), keras.ops, keras.layers.Conv2D(3, 1)
    x = ops.concatenate([shared(entry[:, 1:, ::2]), shared(entry[:, :7, 1::2])], axis=-1)
    x = keras.layers.Add()([x, ops.cast(ops.expand_dims(ops.arange(6), 0), "float32") / 255.0])
    x = keras.layers.MultiHeadAttention(2, 3)(x, x)
    x = ops.where(x > 0, x, ops.stop_gradient(ops.nn.gelu(x)))
    x = ops.normalize(ops.mean(ops.image.resize(x, (4, 4)), axis=[1, 2]))
    inner = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3)])
    return keras.Model(entry, keras.layers.Softmax()(inner(x)))


@pytest.mark.parametrize("make", [lambda: keras.Sequential([keras.Input((9, 9, 2)), *rich()]), with_operations])
def test_networks_of_many_kinds_of_layers_are_loaded(tmp_path: Path, make: Callable[[], keras.Model]) -> None:
    model = make()
    model.compile(keras.optimizers.AdamW(keras.optimizers.schedules.CosineDecay(0.1, 9)), keras.losses.Dice())
    model.save(tmp_path / "net.keras")
    assert external_models.load(str(tmp_path / "net.keras"), False, "theirs").output_shape[1:] == (3,)


@pytest.mark.parametrize("name", ["MobileNetV3Small", "EfficientNetV2B0", "ConvNeXtTiny", "Xception"])
def test_networks_of_keras_applications_are_allowed(name: str) -> None:
    """Those that have layers of their own, or operations as well as layers."""
    with keras.StatelessScope(initialize_variables=False):  # their weights are of no interest
        model = getattr(keras.applications, name)(weights=None, include_top=False, input_shape=(75, 75, 3))
        config = json.loads(json.dumps(keras.saving.serialize_keras_object(model)))
    assert is_allowed(config)
