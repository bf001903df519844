"""The settings of `train`: what a network learns from, how it is built, how it is fitted, and where.

concord train --network cnn2 --dataset svhn --labels human --augment shift=0.1,rotation=10 --root out
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from schemas.errors import InputError
from schemas.fields import ACCELERATOR_HELP, GPU_HINT, MIN_RAM_HELP, Checked, check_choice, check_distinct, setting

_PRECISIONS = ("auto", "float32", "mixed_float16", "mixed_bfloat16")
AUGMENTATIONS = {
    "flip": "probability of mirroring it left to right",
    "shift": "largest shift, as a share of its sides",
    "rotation": "largest turn, in degrees",
    "crop": "largest share of its sides that is cut away, what is left being scaled up again",
    "zoom": "largest change of size, up or down",
    "perspective": "largest shift of a corner, as a share of its sides",
    "contrast": "largest change of contrast: factors in [1 - x, 1 + x]",
    "brightness": "largest change of brightness, as a share of white",
}
_MOST = {"rotation": 180, "crop": 0.9, "zoom": 0.9}  # of an image that is cut or shrunk something has to be left


@dataclass(frozen=True)
class TrainSettings(Checked):
    """Train a network on the images of a dataset and one label set."""

    dataset: str = setting("", "name of the dataset")
    network: str = setting("", "architecture, one of the files of models/networks")
    name: str = setting("", "name of the model, and of the label set it will write (default: the network's)")
    version: str = setting("1.0.0", "version of the dataset")

    labels: str = setting("human", "annotator whose labels it learns, people or another network")
    min_confidence: float = setting(0.0, "learn only labels at least this confident")
    unknown: str = setting(
        "auto",
        "several labels: classes of which nothing is said of an image are absent, ignored, or auto: ignored where "
        "the label set also says what images do not have",
    )
    split: str = setting("train", "split it learns from")
    validation: str = setting("validation", "split that decides when to stop")
    validation_fraction: float = setting(
        0.1,
        "share of the training split held out where there is no validation split; 0: none, and the last epoch counts",
    )
    evaluate: tuple[str, ...] = setting((), "splits on which the trained model is judged", "list")
    truth: str = setting("", "annotator by whom it is judged (default: the one it learns from)")

    image_size: int = setting(0, "side to which images are scaled (default: the network's own, else the images')")
    width: float = setting(0.0, "how wide a network that takes it is, relative to its own width")
    dropout: float = setting(-1.0, "dropout before the scores of a network that takes it (default: its own)")
    weights: str = setting("", "a transfer network's weights: imagenet, or a file; otherwise random", "path")
    features_from: str = setting("", "inner layer whose output (LAYER.input: input) a transfer network stops at")
    fine_tune_from: str = setting("", "layer from which a transfer network is trained on, once its head is; or all")
    fine_tune_epochs: int = setting(5, "most epochs of fine-tuning")
    fine_tune_learning_rate: float = setting(0.00001, "of fine-tuning")

    epochs: int = setting(30, "most epochs")
    patience: int = setting(8, "epochs without a better validation figure before it stops")
    batch_size: int = setting(32, "images a step")
    learning_rate: float = setting(0.001, "of Adam")
    schedule: str = setting("constant", "of the learning rate: constant, or cosine (to nothing over all epochs)")
    warm_up: float = setting(0.0, "epochs over which the learning rate rises to its value")
    weight_decay: float = setting(0.0, "of AdamW; 0 is Adam")
    label_smoothing: float = setting(0.0, "share of each label that is spread over all classes")
    averaging: float = setting(0.0, "momentum of a moving average of the weights, kept in their place; 0: none")
    class_weights: str = setting("", "balanced: images of rare classes count more")
    precision: str = setting("auto", "float32, mixed_float16, mixed_bfloat16, or auto: mixed on GPUs made for it")
    augment: Mapping[str, float] = setting(
        None, f"change training images at random: {', '.join(AUGMENTATIONS)}", "amounts"
    )
    augment_validation: bool = setting(False, "change validation images too")

    folds: int = setting(0, "train so many models, each of which labels the fold that it did not see")
    sweep: tuple[Mapping[str, Any], ...] = setting((), "settings to try, each a value, a list, or a range", "tables")

    max_reject_fraction: float = setting(0.01, "share of images that may be damaged before the stage fails")
    seed: int = setting(1, "seed of weights, order, augmentation and dropout")
    threads: int = setting(1, "CPU threads of the training process; another number gives other weights")
    gpus: int = setting(1, "GPUs a model is trained on, where there are any")
    accelerator: str = setting(GPU_HINT, ACCELERATOR_HELP)
    min_ram: str = setting("", MIN_RAM_HELP)

    def __post_init__(self) -> None:
        if not self.name:
            object.__setattr__(self, "name", self.network)
        super().__post_init__()

    def check(self) -> None:
        """Numbers lie where they can, and no two settings contradict each other."""
        for key in ("learning_rate", "fine_tune_learning_rate"):
            if not 0 < getattr(self, key) < float("inf"):
                raise InputError(f"{key} must be positive, got {getattr(self, key)}")
        if not 0 <= self.min_confidence <= 1:
            raise InputError(f"min_confidence must lie in [0, 1], got {self.min_confidence}")
        for key in ("label_smoothing", "averaging"):
            if not 0 <= getattr(self, key) < 1:
                raise InputError(f"{key} must lie in [0, 1), got {getattr(self, key)}")
        for key in ("image_size", "width", "warm_up", "weight_decay"):
            if not 0 <= getattr(self, key) < float("inf"):
                raise InputError(f"{key} must be 0 or more, got {getattr(self, key)}")
        if not (self.dropout == -1 or 0 <= self.dropout < 1):
            raise InputError(f"dropout must lie in [0, 1), got {self.dropout}")
        if self.folds == 1 or self.folds < 0:
            raise InputError(f"folds must be 0 (none) or at least 2, got {self.folds}")
        if self.folds and self.sweep:
            raise InputError("give either folds or a sweep, not both")
        check_choice("unknown", self.unknown, ("auto", "absent", "ignored"))
        check_choice("schedule", self.schedule, ("constant", "cosine"))
        check_choice("class_weights", self.class_weights, ("", "balanced"))
        check_choice("precision", self.precision, _PRECISIONS)
        check_distinct("evaluate", self.evaluate, 0)
        self._check_augmentation()

    def passes_on(self, shared: Mapping[str, Any]) -> dict[str, Any]:
        """The model, to label with."""
        return {"models": tuple(dict.fromkeys((*shared.get("models", ()), self.name)))}

    def _check_augmentation(self) -> None:
        for key, amount in (self.augment or {}).items():
            check_choice("augment", key, tuple(AUGMENTATIONS))
            most = _MOST.get(key, 1)
            if not 0 <= amount <= most:
                raise InputError(f"augment {key} ({AUGMENTATIONS[key]}) must lie in [0, {most}], got {amount}")
        if self.augment_validation and not self.augment:
            raise InputError("augment_validation needs augment: say what is to be changed")


@dataclass(frozen=True)
class FeatureSettings(Checked):
    """Compute what a frozen backbone sees in the images of a dataset, once, for heads to be trained on."""

    dataset: str = setting("", "name of the dataset")
    network: str = setting("", "transfer network whose backbone it is: vgg16, xception or efficientnet_v2")
    splits: tuple[str, ...] = setting(("train", "validation", "test"), "splits to compute features of", "list")
    version: str = setting("1.0.0", "version of the dataset")
    image_size: int = setting(0, "side to which images are scaled (default: the network's own)")
    weights: str = setting("", "imagenet, or a file; otherwise random", "path")
    features_from: str = setting("", "inner layer whose output (LAYER.input: input) is taken")
    precision: str = setting("auto", "float32, mixed_float16, mixed_bfloat16, or auto: mixed on GPUs made for it")
    seed: int = setting(1, "seed of random weights")
    batch_size: int = setting(32, "images the backbone sees at once")
    max_reject_fraction: float = setting(0.01, "share of images that may be rejected before the stage fails")
    one_model: bool = setting(False, "one model a worker, shared by its processes: for a GPU that has room for one")
    accelerator: str = setting(GPU_HINT, ACCELERATOR_HELP)
    min_ram: str = setting("", MIN_RAM_HELP)

    def check(self) -> None:
        """There is something to compute, and nothing twice."""
        check_distinct("splits", self.splits, 1)
        check_choice("precision", self.precision, _PRECISIONS)

    @staticmethod
    def of(training: TrainSettings, splits: tuple[str, ...]) -> "FeatureSettings":
        """The features that a training can learn a head from."""
        shared = ("dataset", "network", "version", "image_size", "weights", "features_from", "precision")
        values = {key: getattr(training, key) for key in (*shared, "accelerator", "min_ram", "max_reject_fraction")}
        seed = 0 if training.weights else training.seed  # weights that are given do not depend on it
        return FeatureSettings(**values, splits=splits, seed=seed)
