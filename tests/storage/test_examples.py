"""`tf.train.Example` without TensorFlow: the same bytes, and read by TensorFlow."""

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schemas.errors import InputError
from storage import tfrecord


def peer(image: bytes, image_id: str, label: int | str | list[int]) -> Any:
    """The same example as TensorFlow's own class makes it."""
    import tensorflow as tf

    name = "labels" if isinstance(label, list) else "label"
    if isinstance(label, str):
        answer = tf.train.Feature(bytes_list=tf.train.BytesList(value=[label.encode()]))
    else:
        numbers = label if isinstance(label, list) else [label]
        answer = tf.train.Feature(int64_list=tf.train.Int64List(value=numbers))
    feature = {
        "image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[image])),
        "image/id": tf.train.Feature(bytes_list=tf.train.BytesList(value=[image_id.encode()])),
        name: answer,
    }
    return tf.train.Example(features=tf.train.Features(feature=feature))


@given(st.binary(max_size=300), st.text(max_size=40), st.integers(-(2**63), 2**63 - 1))
def test_bytes_are_tensorflows(image: bytes, image_id: str, label: int) -> None:
    expected = peer(image, image_id, label).SerializeToString(deterministic=True)
    assert tfrecord.encode_example(image, image_id, label) == expected


@given(st.binary(max_size=300), st.text(max_size=40), st.text("0123456789", max_size=6) | st.text(max_size=200))
@example(b"", "", "")
@example(b"pixels", "train/1.png", "007")
@example(b"pixels" * 30_000, "train/1.png", "7" * 20_000)
def test_bytes_of_a_text_are_tensorflows(image: bytes, image_id: str, label: str) -> None:
    expected = peer(image, image_id, label).SerializeToString(deterministic=True)
    assert tfrecord.encode_example(image, image_id, label) == expected
    assert tfrecord.decode_example(expected) == (image, image_id)


def test_texts_and_numbers_of_one_length_are_told_apart() -> None:
    """What stands before a label is kept for the next of its length."""
    for label in (7, "7", [7], "8", 8):
        expected = peer(b"x", "i", label).SerializeToString(deterministic=True)
        assert tfrecord.encode_example(b"x", "i", label) == expected


MANY = st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(0, 600), max_size=40)


@given(st.binary(max_size=300), st.text(max_size=40), MANY)
@example(b"", "", [])
@example(b"pixels", "0000000000000000", [])
@example(b"pixels", "0000000000000000", [7])
@example(b"pixels" * 30_000, "0000000000000000", [0, 127, 128, 16_384, 2**63 - 1, -1, 0])
def test_bytes_of_several_labels_are_tensorflows(image: bytes, image_id: str, labels: list[int]) -> None:
    expected = peer(image, image_id, labels).SerializeToString(deterministic=True)
    assert tfrecord.encode_example(image, image_id, labels) == expected
    assert tfrecord.encode_example(image, image_id, tuple(labels)) == expected
    assert tfrecord.decode_example(expected) == (image, image_id)


def test_tensorflow_reads_several_labels_in_their_order() -> None:
    import tensorflow as tf

    for labels in ([], [5], [3, 1, 2, 1]):
        feature = tf.train.Example.FromString(tfrecord.encode_example(b"x", "i", labels)).features.feature
        assert sorted(feature) == ["image", "image/id", "labels"]
        assert list(feature["labels"].int64_list.value) == labels


@given(st.binary(max_size=300), st.text(max_size=40), st.integers(-(2**63), 2**63 - 1))
def test_tensorflow_reads_what_was_encoded(image: bytes, image_id: str, label: int) -> None:
    import tensorflow as tf

    feature = tf.train.Example.FromString(tfrecord.encode_example(image, image_id, label)).features.feature
    assert list(feature["image"].bytes_list.value) == [image]
    assert list(feature["image/id"].bytes_list.value) == [image_id.encode()]
    assert list(feature["label"].int64_list.value) == [label]


@given(st.binary(max_size=300), st.text(max_size=40), st.integers(0, 9))
def test_what_tensorflow_wrote_is_decoded(image: bytes, image_id: str, label: int) -> None:
    # not deterministic: TensorFlow may write the features in any order
    assert tfrecord.decode_example(peer(image, image_id, label).SerializeToString()) == (image, image_id)


@given(st.binary(max_size=300), st.text(max_size=40))
def test_what_was_encoded_comes_back(image: bytes, image_id: str) -> None:
    assert tfrecord.decode_example(tfrecord.encode_example(image, image_id, 7)) == (image, image_id)


def test_the_message_never_meets_tensorflows() -> None:
    import tensorflow as tf

    ours, theirs = tfrecord.example_class().DESCRIPTOR, tf.train.Example.DESCRIPTOR
    assert ours.full_name == "concord.Example"
    assert ours.file.pool is not theirs.file.pool


def test_what_is_no_example_is_an_error() -> None:
    with pytest.raises(InputError, match="is no example with image and id"):
        tfrecord.decode_example(b"\xff" * 10)
