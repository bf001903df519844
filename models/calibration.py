"""Temperature scaling: one number that makes a network as confident as it is accurate, fitted on images it did not see.

Guo et al. 2017, "On Calibration of Modern Neural Networks" (https://arxiv.org/abs/1706.04599): scores are a softmax of
logits z; softmax(z / T) has the same order, and T is the one of the least negative log likelihood (NLL). The logits of
scores p are log p, up to a number that softmax does not see. Logits are never below the logarithm of float32's smallest
normal number, so that one confident error does not outweigh all others.

A temperature is fitted at the end of a training, on its validation split or else the share that was held out, and
towards the labels of the training; never on images that were learnt from. Models that Concord did not train have none,
and label without a calibrated confidence. Labels stay those of the uncalibrated scores.

Where the images do not determine it:

- Fewer than `LEAST_IMAGES` images have no temperature.
- Where every choice is right, NLL falls with T for ever, and would give everything a confidence of 1; where the least
  lies below `LOWEST`, T is 1, and confidence stays as it is.
- Uninformative scores have their least above `HIGHEST`; they get `HIGHEST`, close to even scores.
"""

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import optimize

from schemas.errors import IncompleteError, one_line
from schemas.manifests import Calibration
from storage import small_files

LEAST_IMAGES = 30
LOWEST, HIGHEST = 0.05, 20.0
FOLD_FILE = "validation.npz"  # a fold's scores of the validation images, for the temperature of the mean of folds
_TINY = np.finfo(np.float32).tiny
_CHUNK = 1 << 20  # scores that are computed with in float64 at once
_CLOSE = 1e-10  # of the logarithm of T

Floats = npt.NDArray[np.float32]
Temperatures = Mapping[str, Any]  # by what they are of; each a number, or (n,) one per image


@dataclass(frozen=True)
class Choices:
    """Choices between classes, each of which is right or wrong.

    Attributes:
        scores: (k, c) probabilities.
        right: (k,) the index of the right class.
    """

    scores: Floats
    right: npt.NDArray[np.int64]


def fit(choices: Mapping[str, Choices], images: int) -> Calibration:
    """The temperature of each kind of choice.

    Args:
        choices: of a network on the images it is calibrated on, by the name of the temperature.
        images: how many images these are.

    Returns:
        the temperatures, or no temperatures and the reason.
    """
    if images < LEAST_IMAGES:
        return Calibration(reason=f"{images} images to calibrate on, fewer than {LEAST_IMAGES}")
    temperatures, at_bound = {}, []
    for name, some in choices.items():
        temperatures[name], bounded = fit_temperature(some)
        at_bound += [name] if bounded else []
    return Calibration(
        temperatures=temperatures,
        nll_before={name: mean_nll(some) for name, some in choices.items()},
        nll_after={name: mean_nll(some, temperatures[name]) for name, some in choices.items()},
        images=images,
        at_bound=at_bound,
    )


def fit_temperature(choices: Choices) -> tuple[float, bool]:
    """The temperature of the least NLL, and whether it lies beyond the bounds.

    NLL is convex in 1 / T, so that its slope has one root: mean logit by softmax(z / T) = logit of what is right.
    """

    def slope(log: float) -> float:
        inverse, total = np.exp(-log), 0.0
        for logits, right in _chunks(choices):
            weights = np.exp(logits * inverse)
            mean = (weights * logits).sum(axis=1) / weights.sum(axis=1)
            total += float((mean - logits[np.arange(len(right)), right]).sum())
        return total

    lowest, highest = float(np.log(LOWEST)), float(np.log(HIGHEST))
    if slope(lowest) <= 0:
        return 1.0, True
    if slope(highest) >= 0:
        return HIGHEST, True
    return float(np.exp(optimize.brentq(slope, lowest, highest, xtol=_CLOSE))), False


def mean_nll(choices: Choices, temperature: float = 1.0) -> float | None:
    """Mean negative log likelihood of a choice, in nats; None without any."""
    total = 0.0
    for logits, right in _chunks(choices):
        scaled = logits / temperature
        total += float((np.log(np.exp(scaled).sum(axis=1)) - scaled[np.arange(len(right)), right]).sum())
    return total / len(choices.right) if len(choices.right) else None


def _chunks(choices: Choices) -> Iterator[tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]]:
    """Logits, the highest of each choice 0, and what is right, some choices at a time."""
    size = max(1, _CHUNK // max(1, choices.scores.shape[1]))
    for start in range(0, len(choices.right), size):
        logits = np.log(np.maximum(choices.scores[start : start + size], _TINY, dtype=np.float64))
        yield logits - logits.max(axis=1, keepdims=True), choices.right[start : start + size]


def highest(scores: Floats, temperature: Any) -> Floats:
    """The highest probability of each choice at a temperature; its class is the same at every one.

    Args:
        scores: (..., c) probabilities.
        temperature: a number, or an array that broadcasts to (..., 1).

    Returns:
        (...) probabilities; NaN where the temperature is.
    """
    logits = np.log(np.maximum(scores, _TINY))
    logits -= logits.max(axis=-1, keepdims=True)
    logits /= np.asarray(temperature, dtype=np.float32)
    return np.asarray(1 / np.exp(logits, out=logits).sum(axis=-1), dtype=np.float32)


def select_by_fold(each: tuple[Mapping[str, float] | None, ...], folds: npt.NDArray[np.int64]) -> Temperatures:
    """The temperatures (n,) of images, each that of its fold; NaN where the fold has none.

    Args:
        each: the temperatures of each fold.
        folds: (n,) the fold of each image.
    """
    names = dict.fromkeys(name for one in each if one for name in one)
    return {name: np.array([one[name] if one else np.nan for one in each], np.float32)[folds] for name in names}


def pack_scores(values: npt.NDArray[Any], scores: Floats) -> bytes:
    """Targets and scores of validation images, as a fold keeps them."""
    content = io.BytesIO()
    np.savez(content, values=values, scores=scores)
    return content.getvalue()


def unpack_scores(content: bytes) -> tuple[npt.NDArray[Any], Floats]:
    """The targets and scores of `pack_scores`; IncompleteError where it is something else."""
    try:
        arrays = small_files.read_npz(content)
        return arrays["values"], arrays["scores"]
    except small_files.NPZ_ERRORS as error:
        raise IncompleteError(f"a fold's {FOLD_FILE} is damaged ({one_line(error)}): train it again") from error
