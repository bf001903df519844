"""Settings, a file per verb: each field states everything about itself; flags, run-file keys and docs follow."""
