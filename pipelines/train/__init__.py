"""Models: `driver` plans trainings, `transforms` runs each in a process of its own, with a GPU if requested.

`ensembles` combines the models of folds, and keeps the best of a sweep.
"""
