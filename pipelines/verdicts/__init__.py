"""What `confirm` is made of: rows of label CSVs, a filter, a join, and what the counts tell.

`label_rows` turns lines into checked rows, `bloom` keeps what cannot match out of the shuffle, `join` gives a shard's
machine rows people's verdicts, `tallies` adds counts up, and `statistics` makes tables of them. `class_names` reads
what classes are called.
"""
