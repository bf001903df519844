"""Ask a model where it looked: its network, or of folds the one that did not see the image."""

from collections.abc import Sequence

import numpy as np

from models import saved
from models.decoding import decode_image, images_of
from models.gradcam import Heat, Looker, Pixels, Scores, scaled
from models.halving import FAILURES, Fault, Halving
from models.quiet import tensorflow as tf
from schemas import hashing, storage
from schemas.cards import require_card
from schemas.errors import InputError
from schemas.rejects import Reason


class Explainer:
    """A model, ready to be asked; it is loaded once a worker and shared by its threads.

    Args:
        lookers: its network, or one a fold, in order.
        folded: the split that was divided into folds.
        batch: images that a network sees at once.
    """

    failures = FAILURES  # what an undecodable image raises

    def __init__(self, lookers: Sequence[Looker], folded: str, batch: int) -> None:
        self._lookers, self._folded, self._halving = lookers, folded, Halving(batch, Reason.MODEL_FAILED)

    def decode(self, payload: bytes) -> Pixels:
        """The image of a serialised example as the network takes it; one of `failures` where there is none."""
        encoded = images_of(tf.constant([payload]))[0]
        pixels: Pixels = decode_image(encoded, self._lookers[0].image_shape).numpy()
        return pixels

    def look(self, pixels: Pixels, ids: Sequence[str], split: str) -> tuple[Heat, Scores, dict[int, Fault]]:
        """Where it looked in images of a split, for the label that it gives each, its scores, and where it failed.

        Of folds an image is shown to the one that did not see it. Images of another split, which none of them saw, get
        the mean of their scores, and of where they looked for the label that it stands for. An image on which it fails
        has no heat, and scores that are NaN.
        """
        worked = self._halving.over(
            len(ids), lambda part: self._look_at(pixels[part.start : part.stop], ids[part.start : part.stop], split)
        )
        heats = np.zeros(pixels.shape[:3], np.float32)
        scores = np.full((len(ids), self._lookers[0].scored), np.nan, np.float32)
        for part, found in worked.parts:
            heats[part.start : part.stop], scores[part.start : part.stop] = found
        return heats, scores, worked.faults

    def _look_at(self, pixels: Pixels, ids: Sequence[str], split: str) -> tuple[Heat, Scores]:
        if len(self._lookers) == 1:
            return self._lookers[0].heat(pixels)
        if split == self._folded:
            folds = hashing.fold_of(ids, len(self._lookers)).tolist()
            return _joined([self._lookers[fold].heat(pixels[row : row + 1]) for row, fold in enumerate(folds)])
        said = np.asarray(np.stack([looker.scores(pixels) for looker in self._lookers]).mean(axis=0))
        heats = np.stack([looker.heat(pixels, said)[0] for looker in self._lookers])
        return scaled(np.asarray(heats.mean(axis=0))), said


def _joined(found: Sequence[tuple[Heat, Scores]]) -> tuple[Heat, Scores]:
    return np.concatenate([heat for heat, _ in found]), np.concatenate([scores for _, scores in found])


def load(folder: str, batch: int) -> Explainer:
    """What explains a model folder, or the folds in it.

    Raises:
        InputError: it has no convolutions.
    """
    card = require_card(folder)
    members = [storage.join(folder, member) for member in card.get("members", ())] or [folder]
    try:
        lookers = [Looker(saved.load(member), card["task"], len(card["classes"])) for member in members]
    except InputError as error:
        raise InputError(f"model {card['name']!r}: {error}") from error
    return Explainer(lookers, card.get("settings", {}).get("split", ""), batch)
