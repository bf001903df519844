"""Settings, a file per verb: each field states everything about itself; flags, run-file keys and docs follow.

Read `base` first: what a field can state, how values are checked, and the fields that several verbs share.
"""
