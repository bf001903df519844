"""Anybody's labels as label sets: `driver` plans and writes the manifest, `transforms` is the Beam job.

`files` divides files into parts that are read side by side, `rows` reads and checks their rows.
"""
