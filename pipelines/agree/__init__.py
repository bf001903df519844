"""How much label sets agree: `driver` finds what is to be compared, and writes the manifests.

Of each shard, `transforms` pairs the labels and counts them; `tables` writes the tables that follow from the counts of
all shards, by `metrics`.
"""
