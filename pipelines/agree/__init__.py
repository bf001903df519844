"""How far label sets agree: `stage` is the driver's side, `pipeline` the workers'.

Of a shard, `pairing` makes the pairs, which are counted as `metrics.cross_tables` says, and by `sureness`; `tables` and
`summaries` make figures of the counts, by `metrics.measures` and `confidence`.
"""
