"""How far label sets agree: `stage` is the driver's side, `pipeline` the workers'.

Of a shard, `pairing` makes the pairs, `counts` and `sureness` count them; `tables` and `summaries` make figures of what
was counted, by `pipelines.measures` and `confidence`.
"""
