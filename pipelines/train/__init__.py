"""Models: `stage` is the driver's side, `pipeline` the workers'; `members` makes one model of folds or of a sweep."""
