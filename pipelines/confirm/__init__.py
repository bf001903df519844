"""Machine-made labels that people confirmed: `stage` is the driver's side, `pipeline` the workers'.

`label_rows` turns lines of CSV into checked rows, `bloom` keeps what cannot match out of the shuffle, `join` gives a
shard's machine rows people's verdicts, `tallies` adds counts up, and `statistics` makes tables of them. `class_names`
reads what classes are called.
"""
