"""From TFRecord payloads to pixels, in TensorFlow: the one way in, for training and labelling alike."""

from models.quiet import tensorflow as tf

FEATURES = {
    "image": tf.io.FixedLenFeature([], tf.string),
    "image/id": tf.io.FixedLenFeature([], tf.string),
}


def decode_image(encoded: tf.Tensor, image_shape: tuple[int, int, int]) -> tf.Tensor:
    """Encoded image bytes, a scalar, to uint8 pixels of the shape that a network takes.

    A colour image for a grey network is turned grey, and a grey one for a colour network repeated; an image of another
    size is scaled to it, sides apart (bilinear, smoothed where it shrinks).
    """
    pixels = tf.io.decode_image(encoded, channels=image_shape[2], expand_animations=False)
    fits = tf.reduce_all(tf.shape(pixels)[:2] == image_shape[:2])
    return tf.ensure_shape(tf.cond(fits, lambda: pixels, lambda: scaled(pixels, image_shape)), image_shape)


def scaled(pixels: tf.Tensor, image_shape: tuple[int, int, int]) -> tf.Tensor:
    """uint8 pixels (height, width, channels) at another size, rounded to whole levels."""
    found = tf.image.resize(tf.ensure_shape(pixels, (None, None, image_shape[2])), image_shape[:2], antialias=True)
    return tf.saturate_cast(tf.round(found), tf.uint8)


def decode_batch(encoded: tf.Tensor, image_shape: tuple[int, int, int]) -> tf.Tensor:
    """Encoded images (n,) to uint8 pixels (n, *image_shape); one that cannot be decoded fails them all.

    A loop within one graph costs half of what a `tf.data` element an image does.
    """
    one = tf.TensorSpec(image_shape, tf.uint8)
    return tf.map_fn(lambda image: decode_image(image, image_shape), encoded, fn_output_signature=one)


def images_of(payloads: tf.Tensor) -> tf.Tensor:
    """The encoded images (n,) of serialised examples (n,)."""
    return tf.io.parse_example(payloads, FEATURES)["image"]
