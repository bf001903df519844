"""Thumbnails hold the stored pixels, and a bad image spoils nothing but itself."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from analysis import thumbnails
from schemas import layout
from schemas.errors import IncompleteError
from storage import products, stores
from tests.support.pages import decode_pixels
from tests.support.small_root import BIG, DAMAGED, DATASET, PHOTO, SPLIT, VERSION, SmallRoot


def encoded(image: Image.Image, kind: str = "PNG") -> bytes:
    sink = io.BytesIO()
    image.save(sink, format=kind)
    return sink.getvalue()


def load(small: SmallRoot, *ids: str) -> dict[str, str | None]:
    return thumbnails.load(products.image_set(small.root, DATASET, VERSION), SPLIT, ids)


def test_every_image_has_its_own_stored_pixels(pristine: SmallRoot) -> None:
    found = load(pristine, *pristine.order)
    assert set(found) == set(pristine.order)
    for image_id in set(pristine.order) - {DAMAGED, BIG}:
        stored = np.asarray(Image.open(io.BytesIO(pristine.encoded[image_id])))
        np.testing.assert_array_equal(decode_pixels(found[image_id]), stored)


def test_a_photograph_becomes_a_png_of_the_same_pixels(pristine: SmallRoot) -> None:
    assert pristine.encoded[PHOTO].startswith(b"\xff\xd8")
    assert decode_pixels(load(pristine, PHOTO)[PHOTO]).shape == (30, 40, 3)


def test_large_images_are_scaled_down_in_proportion(pristine: SmallRoot) -> None:
    assert decode_pixels(load(pristine, BIG)[BIG]).shape == (48, 96, 3)


def test_damaged_record_has_no_thumbnail(pristine: SmallRoot) -> None:
    found = load(pristine, DAMAGED, BIG)
    assert found[DAMAGED] is None
    assert found[BIG] is not None


def test_undecodable_and_truncated_images_are_refused() -> None:
    whole = encoded(Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 40), dtype=np.uint8)))
    for broken in (b"", b"not an image", whole[:60], whole[: len(whole) // 2]):
        with pytest.raises((OSError, ValueError)):
            thumbnails.to_data_uri(broken)


@pytest.mark.parametrize("size", [(4000, 3000), (3000, 4000), (5000, 3), (2, 3000), (193, 192), (97, 96)])
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_photographs_of_any_size_keep_their_proportions(size: tuple[int, int], kind: str) -> None:
    uri = thumbnails.to_data_uri(encoded(Image.new("RGB", size, (30, 90, 200)), kind), 192)
    found = decode_pixels(uri)
    scale = min(192 / max(size), 1)
    expected = [max(size[1] * scale, 1), max(size[0] * scale, 1)]
    np.testing.assert_allclose(found.shape[:2], expected, atol=0.51)
    np.testing.assert_allclose(found[found.shape[0] // 2, found.shape[1] // 2], (30, 90, 200), atol=4)
    assert len(uri) < 6000


def test_what_is_not_scaled_keeps_its_pixels() -> None:
    exact = np.random.default_rng(1).integers(0, 255, (96, 40, 3), dtype=np.uint8)
    uri = thumbnails.to_data_uri(encoded(Image.fromarray(exact)))
    assert uri.startswith("data:image/png;")
    np.testing.assert_array_equal(decode_pixels(uri), exact)
    larger = np.random.default_rng(1).integers(0, 255, (97, 40, 3), dtype=np.uint8)
    assert thumbnails.to_data_uri(encoded(Image.fromarray(larger))).startswith("data:image/jpeg;")
    assert decode_pixels(thumbnails.to_data_uri(encoded(Image.fromarray(larger)), 97)).shape == (97, 40, 3)


def test_transparency_survives_scaling() -> None:
    found = decode_pixels(thumbnails.to_data_uri(encoded(Image.new("RGBA", (300, 100), (1, 2, 3, 77)))))
    assert found.shape == (32, 96, 4)
    assert (found[..., 3] == 77).all()


def test_decompression_bomb_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thumbnails, "MOST_PIXELS", 100)
    with pytest.raises(ValueError, match="pixels"):
        thumbnails.to_data_uri(encoded(Image.new("RGB", (100, 100))))


def test_truncated_photograph_cannot_be_shown() -> None:
    whole = encoded(Image.effect_noise((800, 600), 90).convert("RGB"), "JPEG")
    assert thumbnails.to_data_uri(whole)
    with pytest.raises(OSError, match="truncated"):
        thumbnails.to_data_uri(whole[: len(whole) * 3 // 5])


@pytest.mark.parametrize("mode", ["1", "P", "CMYK", "RGBA", "LA"])
def test_every_mode_can_be_shown(mode: str) -> None:
    image = Image.new("RGB", (120, 60), (200, 10, 30)).convert(mode)
    kind = "TIFF" if mode == "CMYK" else "PNG"
    found = decode_pixels(thumbnails.to_data_uri(encoded(image, kind)))
    assert found.shape[:2] == (48, 96)


def test_images_that_are_not_in_the_index_name_the_cure(pristine: SmallRoot) -> None:
    with pytest.raises(IncompleteError, match=r"image 'stranger' has labels, but is not in the index .*concord agree"):
        load(pristine, "stranger")


def test_missing_shard_names_the_cure(small: SmallRoot) -> None:
    folder = Path(layout.images(small.root, DATASET, VERSION))
    for shard in range(4):
        stores.remove(str(folder / layout.tfrecord_shard(DATASET, SPLIT, shard, 4)))
    with pytest.raises(IncompleteError, match=r"is missing: run concord convert --force"):
        load(small, BIG)
