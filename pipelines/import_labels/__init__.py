"""Anybody's labels as label sets: `stage` is the driver's side, `pipeline` the workers'.

`files` cuts files into parts that are read side by side, `rows` reads and checks their rows.
"""
