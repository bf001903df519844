"""Networks: a file per architecture, found by its name, in plain Keras 3 so that they run on any Keras backend.

Each module has `build(image_shape, classes) -> keras.Model`, which maps uint8 pixels (n, height, width, channels) to
scores (n, classes); preprocessing is part of the network.
"""
