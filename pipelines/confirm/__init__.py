"""Labels of a machine that human annotators confirmed: `driver` plans, `transforms` is the Beam job.

`label_rows` turns lines of CSV into checked rows, `bloom` keeps what cannot match out of the shuffle, `join` adds the
human verdicts to a shard's machine rows, `tallies` adds counts up, and `statistics` makes tables of them.
"""
