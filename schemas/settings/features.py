"""Compute the features that a frozen backbone extracts from the images of a dataset, once, for heads to learn from."""

from schemas.settings.base import SharedModelSettings, Splits, setting
from schemas.settings.train import Precision, TrainSettings


class FeatureSettings(SharedModelSettings):
    """Which backbone, and of which images."""

    splits: Splits = setting(
        "splits to compute features of", default=("train", "validation", "test"), min_length=1, group="Data"
    )
    network: str = setting("transfer network whose backbone it is", plugins="models.networks", group="Backbone")
    image_size: int = setting(
        "side to which images are scaled (default: the network's own)", default=0, ge=0, group="Backbone"
    )
    weights: str = setting("imagenet, or a file; otherwise random", default="", path=True, group="Backbone")
    features_from: str = setting("inner layer whose output (LAYER.input: input) is taken", default="", group="Backbone")
    precision: Precision = setting(
        "number format of the computation; auto: mixed on GPUs made for it", default="auto", group="Backbone"
    )
    seed: int = setting("seed of random weights", default=1, group="Backbone")
    batch_size: int = setting("images per batch", default=32, ge=1, group="Backbone")

    @staticmethod
    def of(training: TrainSettings, splits: tuple[str, ...]) -> "FeatureSettings":
        """The features that a training can learn a head from."""
        shared = ("dataset", "network", "version", "image_size", "weights", "features_from", "precision")
        values = {key: getattr(training, key) for key in (*shared, "max_reject_fraction")}
        seed = 0 if training.weights else training.seed  # weights that are given do not depend on it
        return FeatureSettings(**values, **training.hints(), splits=splits, seed=seed)
