"""Images, from any source, as TFRecord shards.

`stage` is the driver's side. On the workers, `pipeline` takes sources of pixels in slabs, which `encoding` encodes;
`photos` takes photographs. Either ends in `image_shards`, of which `tfds_metadata` makes a folder of
tensorflow_datasets.
"""
