"""Train a network on the images of a dataset and one label set.

concord train --network cnn2 --dataset svhn --labels human --augment shift=0.1,rotation=10 --root out
"""

from collections.abc import Mapping
from typing import Any, Literal

from schemas.errors import InputError
from schemas.settings.base import MACHINES, Name, Names, NetworkSettings, OptionalName, Split, setting

Precision = Literal["auto", "float32", "mixed_float16", "mixed_bfloat16"]
AUGMENTATIONS = {
    "flip": "probability of mirroring it left to right",
    "shift": "largest shift, as a share of its sides",
    "rotation": "largest turn, in degrees",
    "crop": "largest share of its sides that is cut away, the rest being scaled up again",
    "zoom": "largest change of size, up or down",
    "perspective": "largest shift of a corner, as a share of its sides",
    "contrast": "largest change of contrast: factors in [1 - x, 1 + x]",
    "brightness": "largest change of brightness, as a share of white",
}
_GREATEST = {"rotation": 180, "crop": 0.9, "zoom": 0.9}  # something has to remain of an image that is cut or shrunk
_DATA, _NETWORK, _FITTING, _AUGMENTATION = "Data", "Network", "Fitting", "Augmentation"


class TrainSettings(NetworkSettings):
    """What a network learns from, how it is built, how it is fitted, and where."""

    labels: Name = setting("annotator whose labels it learns, humans or another network", default="human", group=_DATA)
    min_confidence: float = setting(
        "learn only labels with at least this confidence", default=0.0, ge=0, le=1, group=_DATA
    )
    missing_labels: Literal["auto", "absent", "ignored"] = setting(
        "multilabel: classes that the label set does not mention for an image are absent, ignored, or auto: ignored "
        "where the label set also states what images do not have",
        default="auto",
        group=_DATA,
        renamed_from=("unknown",),
    )
    split: Split = setting("split it learns from", default="train", group=_DATA)
    validation: Split = setting("split that decides when to stop", default="validation", group=_DATA)
    validation_fraction: float = setting(
        "share of the training split held out where there is no validation split; 0: none, and the last epoch counts",
        default=0.1,
        ge=0,
        le=1,
        group=_DATA,
    )
    evaluate: Names = setting("splits on which the trained model is evaluated", default=(), group=_DATA)
    reference: OptionalName = setting(
        "annotator against whom it is evaluated (default: the one it learns from)",
        default="",
        group=_DATA,
        renamed_from=("truth",),
    )

    network: str = setting("architecture", plugins="models.networks", group=_NETWORK)
    name: Name = setting(
        "name of the model, and of the label set it will write (default: the network's)",
        default_factory=lambda values: values["network"],
        group=_NETWORK,
    )
    image_size: int = setting(
        "side to which images are scaled (default: the network's own, else the images')",
        default=0,
        ge=0,
        group=_NETWORK,
    )
    width: float = setting(
        "width of a network that takes it, relative to its own width", default=0.0, ge=0, group=_NETWORK
    )
    dropout: float = setting(
        "dropout before the scores of a network that takes it (default: its own)", default=-1.0, lt=1, group=_NETWORK
    )
    weights: str = setting(
        "a transfer network's weights: imagenet, or a file; otherwise random", default="", path=True, group=_NETWORK
    )
    features_from: str = setting(
        "inner layer whose output (LAYER.input: input) a transfer network stops at", default="", group=_NETWORK
    )
    precision: Precision = setting(
        "number format of the computation; auto: mixed on GPUs made for it", default="auto", group=_NETWORK
    )

    epochs: int = setting("maximum epochs", default=30, ge=1, group=_FITTING)
    patience: int = setting(
        "epochs without a better validation figure before it stops", default=8, ge=1, group=_FITTING
    )
    batch_size: int = setting("images per step", default=32, ge=1, group=_FITTING)
    learning_rate: float = setting("of Adam", default=0.001, gt=0, group=_FITTING)
    schedule: Literal["constant", "cosine"] = setting(
        "of the learning rate: constant, or cosine (to nothing over all epochs)", default="constant", group=_FITTING
    )
    warm_up: float = setting(
        "epochs over which the learning rate rises to its value", default=0.0, ge=0, group=_FITTING
    )
    weight_decay: float = setting("of AdamW; 0 is Adam", default=0.0, ge=0, group=_FITTING)
    label_smoothing: float = setting(
        "share of each label that is spread over all classes", default=0.0, ge=0, lt=1, group=_FITTING
    )
    ema_momentum: float = setting(
        "momentum of an exponential moving average of the weights, which replaces them; 0: none",
        default=0.0,
        ge=0,
        lt=1,
        group=_FITTING,
        renamed_from=("averaging",),
    )
    class_weights: Literal["", "balanced"] = setting(
        "balanced: images of rare classes weigh more", default="", group=_FITTING
    )
    fine_tune_from: str = setting(
        "layer from which a transfer network is trained further, once its head is; or all", default="", group=_FITTING
    )
    fine_tune_epochs: int = setting("maximum epochs of fine-tuning", default=5, ge=1, group=_FITTING)
    fine_tune_learning_rate: float = setting("of fine-tuning", default=0.00001, gt=0, group=_FITTING)
    seed: int = setting("seed of weights, order, augmentation and dropout", default=1, group=_FITTING)

    augment: Mapping[str, float] = setting(
        f"change training images at random: {', '.join(AUGMENTATIONS)}",
        default={},
        group=_AUGMENTATION,
        metavar="NAME=X,...",
    )
    augment_validation: bool = setting("change validation images too", default=False, group=_AUGMENTATION)

    folds: int = setting(
        "train this many models, each of which labels the fold that it did not see", default=0, ge=0, group="Ensembles"
    )
    sweep: tuple[Mapping[str, Any], ...] = setting(
        "settings to try, each a value, a list, or a range", default=(), group="Ensembles"
    )

    threads: int = setting(
        "CPU threads of the training process; another number gives other weights", default=1, ge=1, group=MACHINES
    )
    gpus: int = setting("GPUs per model, where there are any", default=1, ge=1, group=MACHINES)

    def check(self) -> None:
        """No two settings contradict each other."""
        if not (self.dropout == -1 or self.dropout >= 0):
            raise InputError(f"dropout must lie in [0, 1), got {self.dropout}")
        if self.folds == 1:
            raise InputError(f"folds must be 0 (none) or at least 2, got {self.folds}")
        if self.folds and self.sweep:
            raise InputError("give either folds or a sweep, not both")
        for key, amount in self.augment.items():
            if key not in AUGMENTATIONS:
                raise InputError(f"augment must be one of {', '.join(AUGMENTATIONS)}; got {key!r}")
            greatest = _GREATEST.get(key, 1)
            if not 0 <= amount <= greatest:
                raise InputError(f"augment {key} ({AUGMENTATIONS[key]}) must lie in [0, {greatest}], got {amount:g}")
        if self.augment_validation and not self.augment:
            raise InputError("augment_validation needs augment: state what is to be changed")

    def passes_on(self, shared: Mapping[str, Any]) -> dict[str, Any]:
        """The model, to label with."""
        return {"models": tuple(dict.fromkeys((*shared.get("models", ()), self.name)))}
