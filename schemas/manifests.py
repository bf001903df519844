"""schemas.manifests"""

# A dataset's task: one label an image, a set of them, or a number, which is a string of digits.
MULTICLASS, MULTILABEL, SEQUENCE = "multiclass", "multilabel", "sequence"


NO_IMAGES = "none"  # stands for the images of label sets whose dataset has none, and that fit each other by this


IMPORT = "import"  # the stage that a manifest of somebody's labels names
