"""Pictures of heat: the image's own pixels below colours that grow lighter evenly."""

import io
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from matplotlib import colormaps
from PIL import Image

from pipelines.explain import heat_maps


def shown(content: bytes) -> npt.NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(content)))


def drawn(*shape: int) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(4).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize(
    ("size", "factor"), [((32, 32), 4), ((28, 28), 5), ((1, 100), 2), ((127, 3), 2), ((128, 9), 1), ((299, 299), 1)]
)
@pytest.mark.parametrize("depth", [1, 3])
def test_small_images_are_enlarged_pixel_by_pixel(size: tuple[int, int], factor: int, depth: int) -> None:
    pixels = drawn(*size, depth)
    found = shown(heat_maps.encode_image(pixels))
    expected = np.kron(pixels, np.ones((factor, factor, 1), np.uint8))
    np.testing.assert_array_equal(found, expected if depth == 3 else expected[..., 0])
    heat = shown(heat_maps.overlay_heat(pixels, np.zeros(size, np.float32)))
    assert heat.shape == (size[0] * factor, size[1] * factor, 3)


def test_heat_has_the_colours_of_viridis_over_grey() -> None:
    pixels, heat = drawn(130, 140, 3), np.random.default_rng(1).random((130, 140)).astype(np.float32)
    grey = pixels @ np.array([0.299, 0.587, 0.114])
    expected = 0.6 * 255 * colormaps["viridis"](heat)[..., :3] + 0.4 * grey[..., None]
    np.testing.assert_allclose(shown(heat_maps.overlay_heat(pixels, heat)), expected, atol=3)


def test_hotter_is_lighter_for_everybody() -> None:
    """On an even image lightness alone, which all eyes see alike, tells which place is hotter."""
    heat = np.linspace(0, 1, 200, dtype=np.float32)[None].repeat(150, axis=0)
    found = shown(heat_maps.overlay_heat(np.full((150, 200, 1), 128, np.uint8), heat))[0].astype(float)
    lightness = found @ np.array([0.2126, 0.7152, 0.0722])
    assert (np.diff(lightness[::10]) > 0).all()
    assert np.ptp(lightness) > 80


def row(name: str, label: str = "7", size: tuple[int, int] = (32, 32)) -> dict[str, Any]:
    pixels = drawn(*size, 1)
    heat = heat_maps.overlay_heat(pixels, np.ones(size, np.float32))
    said = {"image_id": name, "label": label, "confidence": 0.5}
    return {**said, "image": heat_maps.encode_image(pixels), "heat_map": heat}


@pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 13])
def test_a_sheet_has_four_images_a_row(count: int) -> None:
    found = shown(heat_maps.draw_sheet("cnn1", [row(f"test-{number}") for number in range(count)]))
    rows = -(-count // 4)
    assert found.shape[0] == 68 + rows * (128 + 2 * 18 + 14)
    assert found.shape[1] >= min(count, 4) * 2 * 128
    assert (found[-1] == 255).all() and (found[:, -1] == 255).all(), "something is cut off"


def test_large_images_make_narrower_rows() -> None:
    found = shown(heat_maps.draw_sheet("xception", [row(str(number), size=(299, 299)) for number in range(5)]))
    assert 1800 < found.shape[1] < 2400


def test_long_texts_are_shortened_in_their_middle() -> None:
    name = "train-" + "0123456789" * 20
    long = shown(heat_maps.draw_sheet("cnn1", [row(name, label="a very long name of a class " * 9)] * 2))
    assert long.shape == shown(heat_maps.draw_sheet("cnn1", [row("0")] * 2)).shape
    between = long[68 + 128 :, 14 + 256 + 4 + 2 : 14 + 284]  # the gap behind the first image's texts
    assert (between == 255).all()
