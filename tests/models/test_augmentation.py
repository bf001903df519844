"""Random changes of images: each against OpenCV or NumPy with its draw forced, and within its bounds as drawn."""

from collections.abc import Callable, Mapping
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings, strategies
from hypothesis.extra import numpy as arrays

from models import augmentation
from models.augmentation import augment, solve_projective, source_corners
from models.tensorflow_setup import tensorflow as tf
from schemas.settings.train import AUGMENTATIONS

HEIGHT, WIDTH = 24, 32
EVERY = {"flip": 0.5, "shift": 0.1, "rotation": 15.0, "crop": 0.3, "zoom": 0.2, "perspective": 0.1}
EVERY |= {"contrast": 0.3, "brightness": 0.2}
BASE = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]]) * [WIDTH, HEIGHT]  # from the centre, in pixels
Force = Callable[[float], None]


def pictures(count: int = 6, channels: int = 3, low: int = 0, high: int = 256) -> npt.NDArray[np.uint8]:
    """Pictures without edges, so that ways of resampling do not differ much."""
    small = np.random.default_rng(4).integers(low, high, (count, 5, 5, channels), dtype=np.uint8)
    grown = [cv2.resize(one, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR) for one in small]
    return np.stack(grown).reshape(count, HEIGHT, WIDTH, channels).astype(np.uint8)


def changed(pixels: npt.NDArray[np.uint8], amounts: Mapping[str, float], *seed: int) -> npt.NDArray[np.uint8]:
    found: npt.NDArray[np.uint8] = augment(tf.constant(pixels), amounts, tf.constant(seed or (1, 2), tf.int64)).numpy()
    return found


@pytest.fixture
def force(monkeypatch: pytest.MonkeyPatch) -> Force:
    """Let every draw be the same number."""

    def forced(value: float) -> None:
        def drawn(shape: tuple[Any, ...], seed: tf.Tensor, number: int) -> tf.Tensor:
            return tf.fill(tf.stack(shape), value)

        monkeypatch.setattr(augmentation, "_uniform", drawn)

    return forced


def warped(pixels: npt.NDArray[np.uint8], source: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """What OpenCV makes of an image whose corners, from the centre on, come from `source`."""
    centre = (np.array([WIDTH, HEIGHT]) - 1) / 2
    there = cv2.getPerspectiveTransform(np.float32(BASE + centre), np.float32(source + centre))
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpPerspective(pixels, there, (WIDTH, HEIGHT), flags=flags, borderMode=cv2.BORDER_REPLICATE))


def assert_close(found: npt.NDArray[np.uint8], expected: npt.NDArray[Any], most: int = 3) -> None:
    """OpenCV interpolates in steps of a 32nd of a pixel."""
    apart = np.abs(found.astype(int) - expected.reshape(found.shape))
    assert apart.max() <= most, f"{apart.max()} levels apart"


@pytest.mark.parametrize("amounts", [{}, dict.fromkeys(AUGMENTATIONS, 0.0)])
def test_without_amounts_nothing_changes(amounts: dict[str, float]) -> None:
    np.testing.assert_array_equal(changed(pictures(), amounts), pictures())


@pytest.mark.parametrize("name", EVERY)
def test_a_seed_gives_the_same_changes_and_another_one_others(name: str) -> None:
    amounts = {name: EVERY[name]}
    first = changed(pictures(), amounts, 3, 4)
    assert first.shape == pictures().shape
    assert first.dtype == np.dtype(np.uint8)
    np.testing.assert_array_equal(changed(pictures(), amounts, 3, 4), first)
    for other in ((3, 5), (4, 4), (4, 3)):
        assert (changed(pictures(), amounts, *other) != first).any(), other


def test_every_change_is_known() -> None:
    assert set(EVERY) == set(AUGMENTATIONS)


def test_images_of_a_batch_change_each_in_its_own_way() -> None:
    same = np.repeat(pictures(1), 8, axis=0)
    for name in set(EVERY) - {"flip"}:
        assert len(np.unique(changed(same, {name: EVERY[name]}).reshape(8, -1), axis=0)) == 8, name


def test_a_surely_flipped_image_is_mirrored_left_to_right() -> None:
    np.testing.assert_array_equal(changed(pictures(), {"flip": 1.0}), pictures()[:, :, ::-1])


def test_the_probability_of_a_flip_is_as_asked_for() -> None:
    same = np.repeat(pictures(1, 1), 2000, axis=0)
    found = changed(same, {"flip": 0.3})
    mirrored = (found == same[:, :, ::-1]).all(axis=(1, 2, 3))
    assert ((found == same).all(axis=(1, 2, 3)) | mirrored).all()
    assert 0.3 - 0.04 < mirrored.mean() < 0.3 + 0.04  # four standard deviations


def test_a_shift_is_a_share_of_each_side(force: Force) -> None:
    force(1.0)
    found = changed(pictures(), {"shift": 0.25})
    np.testing.assert_array_equal(found[:, :-6, :-8], pictures()[:, 6:, 8:])
    edge = np.broadcast_to(pictures()[:, -1:, 8:], found[:, -6:, :-8].shape)  # goes on outside
    np.testing.assert_array_equal(found[:, -6:, :-8], edge)


def test_a_turn_is_in_degrees(force: Force) -> None:
    force(1.0)
    square = pictures()[:, :, :HEIGHT]
    np.testing.assert_array_equal(changed(square, {"rotation": 90.0}), np.rot90(square, axes=(1, 2)))
    np.testing.assert_array_equal(changed(square, {"rotation": 180.0}), square[:, ::-1, ::-1])
    turn = cv2.getRotationMatrix2D(((WIDTH - 1) / 2, (HEIGHT - 1) / 2), 20, 1)
    force(-1.0)
    back = changed(pictures(), {"rotation": 20.0})
    force(1.0)
    for one, found, other in zip(pictures(), changed(pictures(), {"rotation": 20.0}), back, strict=True):
        assert_close(found, cv2.warpAffine(one, turn, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REPLICATE))
        unturned = cv2.warpAffine(other, turn, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REPLICATE)
        assert_close(one[8:-8, 8:-8], unturned[8:-8, 8:-8], most=25)


@pytest.mark.parametrize("value", [1.0, -1.0, 0.5])
@pytest.mark.parametrize(
    ("amounts", "source"),
    [
        ({"zoom": 0.5}, lambda value: BASE / (1 + 0.5 * value)),
        (
            {"crop": 0.4},
            lambda value: BASE * (1 - 0.4 * abs(value)) + np.array([WIDTH, HEIGHT]) * 0.2 * abs(value) * value,
        ),
        ({"perspective": 0.2}, lambda value: BASE + np.array([WIDTH, HEIGHT]) * 0.2 * value),
    ],
)
def test_what_an_image_is_made_of_follows_from_the_draw(
    force: Force, value: float, amounts: dict[str, float], source: Callable[[float], npt.NDArray[Any]]
) -> None:
    force(value)
    for one, found in zip(pictures(), changed(pictures(), amounts), strict=True):
        assert_close(found, warped(one, source(value)))


@pytest.mark.parametrize("channels", [1, 3])
def test_corners_that_were_drawn_are_where_the_image_comes_from(channels: int) -> None:
    geometric = {name: amount for name, amount in EVERY.items() if name not in ("contrast", "brightness")}
    images, seed = pictures(24, channels), tf.constant((8, 9), tf.int64)
    drawn = source_corners(tf.shape(images), geometric, seed).numpy()
    for one, found, source in zip(images, changed(images, geometric, 8, 9), drawn, strict=True):
        assert_close(found, warped(one, source), most=6)


QUADS = arrays.arrays(np.float32, (3, 4, 2), elements=strategies.floats(-0.25, 0.25, width=32, allow_subnormal=False))


@given(QUADS, QUADS)
@settings(max_examples=25)
def test_maps_are_those_of_opencv(one: npt.NDArray[np.float32], other: npt.NDArray[np.float32]) -> None:
    points = (BASE + one * 20).astype(np.float32)
    images = (BASE + other * 20).astype(np.float32)
    found = solve_projective(tf.constant(points), tf.constant(images)).numpy()
    for eight, before, after in zip(found, points, images, strict=True):
        expected = cv2.getPerspectiveTransform(before, after)
        placed = cv2.perspectiveTransform(before[None], np.append(eight, 1).reshape(3, 3).astype(np.float64))[0]
        np.testing.assert_allclose(placed, after, atol=0.02)
        np.testing.assert_allclose(eight, (expected / expected[2, 2]).ravel()[:8], atol=0.02)


def drawn_corners(amounts: Mapping[str, float], count: int = 3000) -> npt.NDArray[np.float64]:
    """Corners that were drawn, in shares of the sides."""
    shape = tf.constant((count, HEIGHT, WIDTH, 3))
    found = source_corners(shape, amounts, tf.constant((5, 6), tf.int64)).numpy().astype(np.float64)
    return np.asarray(found / [WIDTH, HEIGHT])


UNIT = BASE / [WIDTH, HEIGHT]


def test_shifts_and_moved_corners_reach_their_bounds_and_no_further() -> None:
    shifts = drawn_corners({"shift": 0.2}) - UNIT
    assert np.ptp(shifts, axis=1).max() < 1e-5, "corners moved apart"
    moved = drawn_corners({"perspective": 0.2}) - UNIT
    for found in (shifts[:, :1], moved):
        assert np.abs(found).max() <= 0.2 + 1e-5
        for place in found.reshape(len(found), -1).T:
            assert place.min() < -0.19 and place.max() > 0.19
    together = np.corrcoef(moved.reshape(len(moved), -1).T)
    assert np.abs(together - np.eye(8)).max() < 0.1, "corners move together"
    assert np.abs(np.corrcoef(shifts[:, 0].T) - np.eye(2)).max() < 0.1


def test_what_is_cut_away_lies_within_its_bound_and_inside_the_picture() -> None:
    found = drawn_corners({"crop": 0.4})
    sides = found[:, 2] - found[:, 0]
    np.testing.assert_allclose(sides[:, 0], sides[:, 1], atol=1e-6)
    assert 0.6 - 1e-6 <= sides.min() < 0.61 and 0.99 < sides.max() <= 1 + 1e-6
    assert np.abs(found).max() <= 0.5 + 1e-6
    centres = found.mean(axis=1)
    assert centres.min() < -0.17 and centres.max() > 0.17, "windows lie in the middle"


def test_zooms_and_turns_reach_their_bounds_and_no_further() -> None:
    zooms = 1 / (drawn_corners({"zoom": 0.25})[:, 2] * 2)
    assert 0.75 - 1e-5 <= zooms.min() < 0.76 and 1.24 < zooms.max() <= 1.25 + 1e-5
    turned = drawn_corners({"rotation": 30.0}) * [WIDTH, HEIGHT]
    angles = np.degrees(np.arctan2(*turned[:, 2, ::-1].T) - np.arctan2(HEIGHT, WIDTH))
    assert -30.01 <= angles.min() < -29 and 29 < angles.max() <= 30.01
    np.testing.assert_allclose(np.hypot(*turned[:, 2].T), np.hypot(WIDTH, HEIGHT) / 2, rtol=1e-5)


def test_changes_are_drawn_apart() -> None:
    found = drawn_corners({"zoom": 0.25, "rotation": 30.0, "shift": 0.2}) * [WIDTH, HEIGHT]
    centres, across = found.mean(axis=1), found[:, 2] - found[:, 0]
    drawn = [np.hypot(*across.T), np.arctan2(*across.T), *centres.T]
    assert np.abs(np.corrcoef(drawn) - np.eye(4)).max() < 0.1  # five standard deviations
    images = pictures(400, low=100, high=150)
    brighter = changed(images, {"brightness": 0.2}).mean(axis=(1, 2, 3)) - images.mean(axis=(1, 2, 3))
    spread = changed(images, {"contrast": 0.5}).std(axis=(1, 2, 3)) / images.std(axis=(1, 2, 3))
    assert abs(float(np.corrcoef(brighter, spread).min())) < 0.25


def test_contrast_spreads_levels_about_their_mean() -> None:
    images = pictures(300, low=100, high=150)
    found = changed(images, {"contrast": 0.5}).astype(float)
    means = images.mean(axis=(1, 2, 3), keepdims=True)
    np.testing.assert_allclose(found.mean(axis=(1, 2, 3), keepdims=True), means, atol=0.6)
    factors = ((found - means) * (images - means)).sum(axis=(1, 2, 3)) / ((images - means) ** 2).sum(axis=(1, 2, 3))
    assert 0.49 < factors.min() < 0.55 and 1.45 < factors.max() < 1.51
    np.testing.assert_allclose(found, (images - means) * factors[:, None, None, None] + means, atol=1.5)


def test_brightness_moves_all_levels_alike_and_stops_at_black_and_white() -> None:
    images = pictures(300, low=100, high=150)
    moved = changed(images, {"brightness": 0.2}).astype(int) - images
    assert np.ptp(moved, axis=(1, 2, 3)).max() == 0
    assert -51 <= moved.min() < -48 and 48 < moved.max() <= 51
    extreme = changed(pictures(300), {"brightness": 1.0})
    assert {0, 255} <= set(extreme.min(axis=(1, 2, 3))) | set(extreme.max(axis=(1, 2, 3)))
    bright = extreme.mean(axis=(1, 2, 3)) > pictures(300).mean(axis=(1, 2, 3))
    assert (extreme[bright] >= pictures(300)[bright]).all() and (extreme[~bright] <= pictures(300)[~bright]).all()


def test_a_change_does_not_hang_on_the_others() -> None:
    images = pictures(low=100, high=150)
    geometry = changed(images, {"shift": 0.2, "rotation": 20.0})
    both = changed(images, {"brightness": 0.1, "shift": 0.2, "rotation": 20.0}).astype(int)
    brighter = changed(images, {"brightness": 0.1}).astype(int) - images
    assert np.abs(both - geometry - brighter[:, :1, :1, :1]).max() <= 1
