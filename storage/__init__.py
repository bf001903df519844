"""Bytes: how files are opened, written, checked and hashed, wherever they lie; no Beam, no TensorFlow, no stage.

Read `stores` first: the one module that opens paths. Then `parquet` and `tfrecord` for the two kinds of shards, and
`products` for what a folder of shards states of itself; `tables` lists every table. `hashing` assigns images to shards
and splits. What comes from outside passes `sandbox`, `hdf5`, `parquet_limits` and `formats/`; `fetching` downloads it.
"""
