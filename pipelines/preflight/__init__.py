"""The pre-flight of a run: what there is, what is missing, and what it would take; nothing is started or changed.

Files by kind of check: `inputs` (draw, confirm, convert, import), `learning` (train, features, label, explain) and
`comparing` (agree, generations, and what is read) follow a chain stage by stage on paper; `places` asks whether
folders, stores and disks are fit, `runners` whether what runs the jobs is there; `sizes`, `paces` and `estimates` say
how large and how long.
"""
