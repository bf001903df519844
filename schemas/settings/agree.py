"""Compare the label sets of every pair of annotators."""

from typing import Literal

from schemas.settings.base import Name, Names, OptionalName, OptionalSplit, Settings, Splits, setting


class AgreeSettings(Settings):
    """Who is compared, and on which images."""

    dataset: Name = setting("name of the dataset", group="Data")
    annotators: Names = setting("two or more annotators to compare", min_length=2, group="Data")
    reference: OptionalName = setting(
        "annotator whose labels are taken as right, if any", default="", group="Data", renamed_from=("truth",)
    )
    splits: Splits = setting("splits to compare on", default=("test",), min_length=1, group="Data")
    pairs: Literal["all", "none"] = setting(
        "write one row per image: all, or none for the figures alone", default="all", group="Output"
    )
    threshold_split: OptionalSplit = setting(
        "split on which confidence thresholds are chosen; no thresholds where it is missing",
        default="validation",
        group="Thresholds",
        renamed_from=("tuned_on",),
    )
    targets: tuple[float, ...] = setting(
        "accuracies for which thresholds are chosen", default=(0.9, 0.95, 0.98, 0.99, 0.995), group="Thresholds"
    )
