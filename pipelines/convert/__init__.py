"""Images, from any source, as TFRecord shards with an index and the label set `human`.

`driver` plans. `transforms` has a job for each kind of source: pixels in slabs, which `encoding` encodes, and
photographs, which are fetched. Both end in `shards`, of which `tfds_metadata` makes a folder that tensorflow_datasets
opens. `sources/` has a file per input format.
"""
