"""Rank the labels that may be wrong, by confident learning (cleanlab) from out-of-fold scores."""

from typing import Literal

from schemas.errors import InputError
from schemas.settings.base import DatasetSettings, Name, Split, setting


class LabelErrorSettings(DatasetSettings):
    """Which labels are checked, and by whose scores."""

    annotator: Name = setting("model of folds by whose scores labels are checked", group="Data")
    labels: Name = setting("label set that is checked", default="human", group="Data")
    split: Split = setting("split of the images: the one that was divided into folds", default="train", group="Data")
    quality: Literal["self_confidence", "normalized_margin"] = setting(
        "cleanlab's label quality score", default="self_confidence", group="Ranking"
    )

    def check(self) -> None:
        """The labels are another's than the scores."""
        if self.annotator == self.labels:
            raise InputError(f"labels of {self.labels!r} cannot be checked by its own scores: name another --annotator")
