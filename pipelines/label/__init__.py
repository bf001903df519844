"""What networks say of images: labels, features, and where they looked.

On the workers, `shards` runs a network over shards of images; on the driver, `shard_sets` says which are missing. The
verbs `label` (`label_stage`; `adoption` takes networks of others), `features` and `explain` are made of these two.
"""
