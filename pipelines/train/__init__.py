"""Train models: `driver` plans and gathers, `transforms` runs on workers, `ensembles` combines folds and sweeps."""
