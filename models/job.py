"""What a training process is told: which model to train, and where."""

import dataclasses
import json
from dataclasses import dataclass

from schemas import layout
from schemas.settings import TrainSettings


@dataclass(frozen=True)
class TrainJob:
    """One model to train: where, with which settings, and the fingerprint that it will carry."""

    root: str
    settings: TrainSettings
    fingerprint: str

    @property
    def folder(self) -> str:
        """The model folder."""
        return layout.model(self.root, self.settings.dataset, self.settings.name)

    def to_json(self) -> str:
        """The job in one line."""
        return json.dumps(dataclasses.asdict(self))

    @staticmethod
    def from_json(text: str) -> "TrainJob":
        """The job that `to_json` wrote."""
        parts = json.loads(text)
        return TrainJob(parts["root"], TrainSettings(**parts["settings"]), parts["fingerprint"])
