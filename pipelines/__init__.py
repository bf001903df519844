"""Beam: a folder per verb, and a file per source format (`sources`), sample (`samples`) and measure (`measures`).

In a verb's folder, `stage` is the driver's side: what is wanted, what is there already, what is declared at the end.
`pipeline` is the workers'. `cli` is the command, `chain` calls the stages, and `execution` runs a stage's job.
"""
