"""Whether a saved network has convolutions, read from its file wherever it lies."""

from pathlib import Path

import keras
import pytest

from models import archives
from schemas.errors import InputError, StorageError
from storage import stores


def saved(model: keras.Model, folder: Path) -> bytes:
    model.save(folder / "model.keras")
    return (folder / "model.keras").read_bytes()


def test_convolutions_are_found_anywhere(place: str, tmp_path: Path) -> None:
    within = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.SeparableConv2D(2, 3)])
    nested = keras.Sequential([keras.Input((8, 8, 1)), keras.Sequential([within, keras.layers.Flatten()])])
    path = stores.join(place, "nested", "model.keras")
    stores.write_bytes(path, saved(nested, tmp_path))
    assert archives.convolves(path)


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (keras.layers.Conv2D(2, 3), True),
        (keras.layers.DepthwiseConv2D(3, name="plain"), True),
        (keras.layers.MaxPooling2D(2, name="Conv2D"), False),  # a name is not what a layer is
        (keras.layers.Dense(3), False),
    ],
)
def test_what_counts_is_the_kind_of_a_layer(tmp_path: Path, layer: keras.layers.Layer, expected: bool) -> None:
    saved(keras.Sequential([keras.Input((8, 8, 1)), layer, keras.layers.Flatten()]), tmp_path)
    assert archives.convolves(str(tmp_path / "model.keras")) == expected


def test_what_is_no_network_is_named(tmp_path: Path) -> None:
    (tmp_path / "page.keras").write_bytes(b"<html>404 Not Found</html>")
    with pytest.raises(InputError, match=r"page\.keras is no \.keras file \(.*\): train the model again"):
        archives.convolves(str(tmp_path / "page.keras"))
    with pytest.raises(StorageError, match=r"cannot read .*gone\.keras: no such file"):
        archives.convolves(str(tmp_path / "gone.keras"))
