"""Beam: the list of stages, what runs a chain of them, and a folder (or a file) per verb.

Read `stages` first, then `chain`, which plans and runs them, and `runner`, which runs one Beam job. In a verb's folder,
`driver` plans on this machine and writes the manifest, and `transforms` is what workers do. `scoring` is shared by the
verbs that run a network over images. `plan` and `checks` are `concord plan`; `progress` is the log; `runners/` has what
single runners need.
"""
