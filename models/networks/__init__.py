"""Networks: one file per architecture, loaded by its name, in plain Keras 3 so that they run on any Keras backend.

Each module has `build(image_shape, head, **settings) -> keras.Model`: from uint8 pixels (n, height, width, channels) to
the scores of `head`, preprocessing inside. It names the settings that it takes (`width`, `dropout`, ...), each with a
default. `IMAGE_SHAPE`, where a module has it, is its own input; others take the dataset's images as
they are. A transfer network has a `TRANSFER` as well, by which its backbone and its head can be had apart.
"""
