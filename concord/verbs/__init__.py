"""The verbs that are no stage: a file each, with `SETTINGS`, whose fields are its flags, and `run`."""
