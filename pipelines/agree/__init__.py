"""How far label sets agree: `stage` is the driver's side, `pipeline` the workers'.

Of a shard, `pairing` makes the pairs, which are counted as `pipelines.counts` says, and by `sureness`; `tables` and
`summaries` make figures of the counts, by `pipelines.measures` and `confidence`.
"""
