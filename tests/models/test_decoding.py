"""Decoding: pixels as they are where the size fits, scaled as Pillow scales where it does not."""

import io
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings, strategies
from PIL import Image

from models import inputs
from models.tensorflow_setup import tensorflow as tf
from storage import tfrecord


def encoded(pixels: npt.NDArray[np.uint8], kind: str = "png", **settings: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels.squeeze()).save(buffer, kind, **settings)
    return buffer.getvalue()


def smooth(height: int, width: int, channels: int = 3, seed: int = 2) -> npt.NDArray[np.uint8]:
    """A picture without edges, over which ways of scaling do not differ much."""
    small = np.random.default_rng(seed).integers(30, 226, (4, 4, channels), dtype=np.uint8)
    grown = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray(grown, np.uint8).reshape(height, width, channels)


@pytest.mark.parametrize("channels", [1, 3])
def test_an_image_that_fits_is_left_as_it_is(channels: int) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (9, 7, channels), dtype=np.uint8)
    np.testing.assert_array_equal(inputs.decode_image(encoded(pixels), (9, 7, channels)), pixels)
    np.testing.assert_array_equal(inputs.scale_image(tf.constant(pixels), (9, 7, channels)), pixels)


@pytest.mark.parametrize("kind", ["png", "jpeg"])
@pytest.mark.parametrize(("height", "width"), [(12, 20), (60, 48), (24, 96), (37, 41)])
@pytest.mark.parametrize("channels", [1, 3])
def test_an_image_of_another_size_is_scaled_sides_apart(kind: str, height: int, width: int, channels: int) -> None:
    image = encoded(smooth(height, width, channels), kind)
    found = inputs.decode_image(image, (24, 32, channels)).numpy()
    decoded = np.array(Image.open(io.BytesIO(image)))
    expected = Image.fromarray(decoded).resize((32, 24), Image.Resampling.BILINEAR)
    assert (found.shape, found.dtype) == ((24, 32, channels), np.uint8)
    apart = np.abs(found.squeeze().astype(int) - np.array(expected, int))
    assert apart.max() <= (1 if kind == "png" else 4)  # TensorFlow decodes JPEG in a quicker way than Pillow


def test_shrinking_averages_over_areas_and_does_not_skip_pixels() -> None:
    stripes = np.zeros((64, 64, 1), np.uint8)
    stripes[:, ::2] = 255
    found = inputs.scale_image(tf.constant(stripes), (8, 8, 1)).numpy()[1:-1, 1:-1]
    area = cv2.resize(stripes, (8, 8), interpolation=cv2.INTER_AREA)[1:-1, 1:-1]
    assert np.abs(found[..., 0].astype(int) - area).max() <= 2


def test_levels_are_rounded_and_not_cut_off() -> None:
    pixels = np.array([[[10], [11]], [[11], [12]]], np.uint8)
    found = inputs.scale_image(tf.constant(pixels), (4, 4, 1)).numpy()[..., 0]
    expected = tf.image.resize(pixels.astype(np.float64), (4, 4), antialias=True).numpy()[..., 0]
    np.testing.assert_array_equal(found, np.rint(expected))
    assert (found != np.floor(expected)).any()


@given(strategies.integers(1, 40), strategies.integers(1, 40), strategies.integers(0, 255))
@settings(max_examples=20)
def test_an_image_of_one_level_keeps_it_at_every_size(height: int, width: int, level: int) -> None:
    found = inputs.scale_image(tf.fill((height, width, 3), tf.cast(level, tf.uint8)), (16, 16, 3)).numpy()
    assert set(np.unique(found)) == {level}


def test_grey_is_repeated_and_colour_turned_grey() -> None:
    grey = smooth(8, 8, 1)
    np.testing.assert_array_equal(inputs.decode_image(encoded(grey), (8, 8, 3)), np.repeat(grey, 3, axis=2))
    colour = smooth(8, 8, 3)
    found = inputs.decode_image(encoded(colour), (8, 8, 1)).numpy()[..., 0].astype(int)
    assert np.abs(found - np.array(Image.fromarray(colour).convert("L"), int)).max() <= 1


def test_a_batch_is_decoded_image_by_image() -> None:
    pictures = [smooth(24, 32), smooth(24, 32, 1), smooth(50, 20), smooth(24, 32, seed=3)]
    images = [encoded(one) for one in pictures]
    found = inputs.decode_batch(tf.constant(images), (24, 32, 3)).numpy()
    for one, image in zip(found, images, strict=True):
        np.testing.assert_array_equal(one, inputs.decode_image(image, (24, 32, 3)))
    np.testing.assert_array_equal(found[3], pictures[3])
    assert inputs.decode_batch(tf.constant([], tf.string), (24, 32, 3)).shape == (0, 24, 32, 3)


def test_images_are_found_in_their_payloads() -> None:
    payloads = [tfrecord.encode_example(b"first", "a", 3), tfrecord.encode_example(b"", "b", [1, 2])]
    assert inputs.encoded_images(tf.constant(payloads)).numpy().tolist() == [b"first", b""]
