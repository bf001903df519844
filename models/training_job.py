"""The job of a training process: which model to train, and where."""

import dataclasses
import json
from dataclasses import dataclass

from schemas import layout
from schemas.settings.train import TrainSettings
from storage import stores


@dataclass(frozen=True)
class TrainJob:
    """One model to train: where, with which settings, and the fingerprint that it will carry.

    Attributes:
        member: where within the model's folder, for one of several: `fold/3`, `sweep/003`; empty: the model itself.
        fold: the fold that it does not see; -1: there are no folds.
        features: folder of the features to learn from instead of images, by split; empty where it sees images.
    """

    root: str
    settings: TrainSettings
    fingerprint: str
    member: str = ""
    fold: int = -1
    features: dict[str, str] = dataclasses.field(default_factory=dict)

    @property
    def folder(self) -> str:
        """The model folder."""
        folder = layout.model(self.root, self.settings.dataset, self.settings.name)
        return stores.join(folder, *self.member.split("/")) if self.member else folder

    @property
    def title(self) -> str:
        """Its name in messages."""
        return f"{self.settings.name}/{self.member}" if self.member else self.settings.name

    def to_json(self) -> str:
        """The job in one line."""
        return json.dumps({**vars(self), "settings": vars(self.settings)})

    @staticmethod
    def from_json(text: str) -> "TrainJob":
        """The job that `to_json` wrote."""
        parts = json.loads(text)
        return TrainJob(**{**parts, "settings": TrainSettings.from_table(parts["settings"], "train")})
