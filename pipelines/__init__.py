"""Beam: a file per verb, a file per source format (`sources`), a file per kind of agreement measure (`measures`)."""
