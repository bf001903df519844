"""From TFRecord payloads to pixels, in TensorFlow: the one way in, for training and labelling alike."""

from models.quiet import tensorflow as tf

FEATURES = {
    "image": tf.io.FixedLenFeature([], tf.string),
    "image/id": tf.io.FixedLenFeature([], tf.string),
}


def decode_image(encoded: tf.Tensor, image_shape: tuple[int, int, int]) -> tf.Tensor:
    """Encoded image bytes, a scalar, to uint8 pixels of the shape that a network takes.

    A colour image for a grey network is turned grey, and a grey one for a colour network repeated; an image of another
    size is an error (`InvalidArgumentError`).
    """
    pixels = tf.io.decode_image(encoded, channels=image_shape[2], expand_animations=False)
    return tf.ensure_shape(pixels, image_shape)


def image_of(payload: tf.Tensor, image_shape: tuple[int, int, int]) -> tf.Tensor:
    """The pixels of one serialised example."""
    return decode_image(tf.io.parse_single_example(payload, FEATURES)["image"], image_shape)
