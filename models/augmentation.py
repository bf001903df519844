"""Change training images at random, in one resampling; all random numbers follow from a seed alone.

First come the source positions of the four corners of a changed image: flip, crop, zoom, rotation, perspective and
shift each move them. The projective map that takes corners to corners is then solved for, and the image resampled once,
so that no change blurs what another has blurred already. `schemas.settings.train.AUGMENTATIONS` explains each amount.
"""

import math
from collections.abc import Mapping

from models.tensorflow_setup import tensorflow as tf

_CORNERS = ((-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5))  # in shares of the sides, from the centre
_GEOMETRIC = ("flip", "crop", "zoom", "rotation", "perspective", "shift")


def augment(pixels: tf.Tensor, amounts: Mapping[str, float], seed: tf.Tensor) -> tf.Tensor:
    """Changed images; what lies outside an image continues its edge.

    Args:
        pixels: (n, height, width, channels), uint8.
        amounts: how much of each change.
        seed: two integers; the same seed gives the same changes.

    Returns:
        uint8, of the same shape.
    """
    changed = tf.cast(pixels, tf.float32)
    if any(amounts.get(name) for name in _GEOMETRIC):
        changed = _resample(changed, source_corners(tf.shape(pixels), amounts, seed))
    if amounts.get("contrast"):
        factor = 1 + _draw(pixels, (1, 1, 1), amounts["contrast"], seed, 1)
        mean = tf.reduce_mean(changed, axis=(1, 2, 3), keepdims=True)
        changed = (changed - mean) * factor + mean
    if amounts.get("brightness"):
        changed += 255 * _draw(pixels, (1, 1, 1), amounts["brightness"], seed, 2)
    return tf.ensure_shape(tf.saturate_cast(tf.round(changed), tf.uint8), pixels.shape)


def source_corners(shape: tf.Tensor, amounts: Mapping[str, float], seed: tf.Tensor) -> tf.Tensor:
    """Where the corners of each changed image come from, (n, 4, 2) x and y in pixels from the image's centre.

    Args:
        shape: of the images: n, height, width, channels.
        amounts: how much of each change.
        seed: two integers.
    """
    count, sides = shape[0], tf.cast(tf.stack([shape[2], shape[1]]), tf.float32)

    def draw(name: str, size: tuple[int, ...], number: int) -> tf.Tensor:
        return _uniform((count, *size), seed, number) * amounts.get(name, 0.0)

    points = tf.tile(tf.constant(_CORNERS)[None], (count, 1, 1))
    flipped = _uniform((count, 1), seed, 3) < 2 * amounts.get("flip", 0.0) - 1
    points *= tf.stack([tf.where(flipped, -1.0, 1.0), tf.ones((count, 1))], axis=-1)
    window = 1 - tf.abs(draw("crop", (1, 1), 4))
    points = points * window + (1 - window) / 2 * _uniform((count, 1, 2), seed, 5)
    points = (points + draw("perspective", (4, 2), 6)) / (1 + draw("zoom", (1, 1), 7)) * sides
    angle = draw("rotation", (1,), 8) * math.pi / 180
    x, y = points[..., 0], points[..., 1]
    rotated = tf.stack([x * tf.cos(angle) - y * tf.sin(angle), x * tf.sin(angle) + y * tf.cos(angle)], axis=-1)
    return rotated + draw("shift", (1, 2), 9) * sides


def _uniform(shape: tuple[int | tf.Tensor, ...], seed: tf.Tensor, number: int) -> tf.Tensor:
    """Numbers in [-1, 1), which follow from the seed and the number of the draw."""
    return tf.random.stateless_uniform(tf.stack(shape), tf.stack([seed[0], seed[1] * 16 + number]), -1.0, 1.0)


def _draw(pixels: tf.Tensor, size: tuple[int, ...], amount: float, seed: tf.Tensor, number: int) -> tf.Tensor:
    return _uniform((tf.shape(pixels)[0], *size), seed, number) * amount


def _resample(images: tf.Tensor, source: tf.Tensor) -> tf.Tensor:
    """Images (n, h, w, c) float32, each resampled so that its corners come from `source`."""
    shape = tf.shape(images)
    centre = tf.cast(tf.stack([shape[2], shape[1]]) - 1, tf.float32) / 2
    sides = tf.cast(tf.stack([shape[2], shape[1]]), tf.float32)
    target = tf.broadcast_to(tf.constant(_CORNERS)[None] * sides, tf.shape(source))
    transforms = solve_projective(target + centre, source + centre)
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=transforms,
        output_shape=shape[1:3],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="NEAREST",
    )


def solve_projective(points: tf.Tensor, images: tf.Tensor) -> tf.Tensor:
    """The maps, (n, 8), that take four points each, (n, 4, 2), to their images.

    (x, y) goes to ((a0 x + a1 y + a2) / k, (b0 x + b1 y + b2) / k) with k = c0 x + c1 y + 1, as
    https://www.tensorflow.org/api_docs/python/tf/raw_ops/ImageProjectiveTransformV3 has it: eight linear equations.
    """
    x, y = points[..., 0], points[..., 1]
    u, v = images[..., 0], images[..., 1]
    zero, one = tf.zeros_like(x), tf.ones_like(x)
    first = tf.stack([x, y, one, zero, zero, zero, -u * x, -u * y], axis=-1)
    second = tf.stack([zero, zero, zero, x, y, one, -v * x, -v * y], axis=-1)
    equations = tf.concat([first, second], axis=1)
    return tf.linalg.solve(equations, tf.concat([u, v], axis=1)[..., None])[..., 0]
