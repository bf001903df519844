"""The settings of every stage: one dataclass each, from which both the flags and the run file's keys follow."""

import dataclasses
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from schemas.errors import InputError
from schemas.layout import CONFIRMED, HUMAN, MACHINE, check_name, check_split

_VERSION = re.compile(r"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*)){2}")  # as tensorflow_datasets wants it
GPU_HINT = "type:nvidia-tesla-t4;count:1;install-nvidia-driver"

_NO_PART_OF_THE_RESULT = (
    "max_reject_fraction",
    "accelerator",
    "one_model",
    "in_flight",
    "attempts",
    "timeout",
    "signed",
)

_AT_LEAST_ONE = (
    *("epochs", "fine_tune_epochs", "patience", "batch_size", "threads", "gpus"),
    *("in_flight", "attempts", "max_pixels"),
)


def _setting(default: Any, help_text: str, flag: str = "text") -> Any:
    """A field with its help; `flag` tells what it holds: text, path, paths, list, fractions, counts, keys, shape."""
    metadata = {"help": help_text, "flag": flag}
    if isinstance(default, dict):
        return field(default_factory=lambda: dict(default), metadata={**metadata, "default": default})
    return field(default=default, metadata=metadata)


class _Checked:
    """Names and ranges are checked when settings are made, before anything runs."""

    def __post_init__(self) -> None:
        values = {entry.name: getattr(self, entry.name) for entry in dataclasses.fields(self)}  # type: ignore[arg-type]
        for key in ("dataset", "name", "label_set"):
            if key in values:
                check_name(key, values[key])
        for key in ("models", "annotators", "splits"):
            for name in values.get(key) or ():
                check_name(key, name)
        if not _VERSION.fullmatch(values.get("version", "1.0.0")):
            raise InputError(f"version must be three numbers, such as 1.0.0; got {values['version']!r}")
        for key in _AT_LEAST_ONE:
            if values.get(key, 1) < 1:
                raise InputError(f"{key} must be at least 1, got {values[key]}")
        for key in ("max_reject_fraction", "validation_fraction"):
            if not 0 <= values.get(key, 0.0) <= 1:
                raise InputError(f"{key} must lie in [0, 1], got {values[key]}")
        self.check()

    def check(self) -> None:
        """What only this stage's settings have to hold."""

    def identity(self) -> dict[str, Any]:
        """Everything that can change the result, fit for a fingerprint.

        Where files lie is left out: a root that is moved whole stays what it is (`products.input_identity` tells one
        input from another).
        """
        values = dataclasses.asdict(self)  # type: ignore[call-overload]
        paths = {entry.name for entry in dataclasses.fields(self) if entry.metadata["flag"] in ("path", "paths")}  # type: ignore[arg-type]
        return {key: values[key] for key in sorted(values) if key not in {*paths, *_NO_PART_OF_THE_RESULT}}


@dataclass(frozen=True)
class DrawSettings(_Checked):
    """Draw a sample: house-number crops as in the SVHN course file, or labelled scenes as in Open Images."""

    output: str = _setting("", "what to write: the .h5 file of house_numbers, the folder of scenes", "path")
    sample: str = _setting("house_numbers", "which sample, one of pipelines/samples: house_numbers or scenes")
    train: int = _setting(6000, "house_numbers: crops of the train split")
    test: int = _setting(2000, "house_numbers: crops of the test split")
    validation: int = _setting(1000, "house_numbers: crops of the validation split")
    images: int = _setting(1200, "scenes: pictures")
    seed: int = _setting(7, "seed of everything drawn")

    def check(self) -> None:
        """Every split holds at least one crop; there are pictures enough for each oddity to have its own."""
        for key in ("train", "test", "validation"):
            if getattr(self, key) < 1:
                raise InputError(f"{key} must be at least 1 crop, got {getattr(self, key)}")
        if self.images < 100:
            raise InputError(f"images must be at least 100 pictures, got {self.images}")


@dataclass(frozen=True)
class ConvertSettings(_Checked):
    """Turn a source of labelled images into TFRecords, their index, and a label set by `human`."""

    dataset: str = _setting("", "name of the dataset to write")
    source: str = _setting("", "format of the input, one of the files of pipelines/sources")
    input: tuple[str, ...] = _setting((), "input files or folders; local, gs:// or s3://", "paths")
    version: str = _setting("1.0.0", "version of the dataset")
    shards: int = _setting(0, "shards of each split, a power of two; 0 chooses by size, at least 8")
    classes: tuple[str, ...] = _setting(
        (), "class names in the order of the integer labels (default: the source's own; digits)", "list"
    )
    keys: Mapping[str, str] = _setting(
        None,
        "where an .h5 file keeps a split: SPLIT=IMAGES:LABELS (default: the course file's X_train:y_train ...)",
        "keys",
    )
    image_shape: tuple[int, ...] = _setting((), "height,width[,channels] of images that the file keeps flat", "shape")
    value_range: tuple[float, ...] = _setting((0.0, 255.0), "black and white in the file's pixel values", "shape")
    split: str = _setting("", "split of all images (default: the source's own, else train)")
    splits: Mapping[str, float] = _setting(
        None, "draw the splits by hashed id: train=0.8,validation=0.1,...", "fractions"
    )
    labels: str = _setting("", "CSV file of a folder's labels: filename,labels (several separated by spaces)", "path")
    label_set: str = _setting("confirmed", "label set whose photographs open_images fetches, and whose labels they get")
    images_from: str = _setting(
        "s3://open-images-dataset/train/{image_id}.jpg",
        "where open_images finds a photograph; s3://, gs://, https:// or a folder",
        "path",
    )
    one_label: str = _setting("", "best: give each photograph its most confident label alone")
    image_size: tuple[int, ...] = _setting(
        (64, 64), "height,width of the pictures that svhn_full crops and mnist_numbers draws", "shape"
    )
    margin: float = _setting(0.3, "svhn_full: by what share the crop is higher and wider than the digits' boxes")
    numbers: Mapping[str, int] = _setting(
        {"train": 20_000, "validation": 1000, "test": 2000}, "mnist_numbers: pictures of each split", "counts"
    )
    digits: Mapping[str, str] = _setting(
        None,
        "mnist_numbers: the rows of the files that a split's digits are drawn from, SPLIT=START:STOP "
        "(default: the last fifth for test, the others for every other split)",
        "keys",
    )
    seed: int = _setting(7, "mnist_numbers: seed of everything drawn")
    max_side: int = _setting(0, "scale photographs down to this longest side, in pixels; 0 keeps their bytes")
    quality: int = _setting(95, "JPEG quality of photographs that have to be encoded anew")
    max_pixels: int = _setting(100_000_000, "photographs with more pixels are rejected unseen")
    in_flight: int = _setting(64, "requests at once, of each worker")
    attempts: int = _setting(5, "how often a request is tried in all")
    timeout: float = _setting(30.0, "seconds that a request may take")
    signed: bool = _setting(False, "sign open_images' requests with the usual credentials instead of anonymously")
    max_reject_fraction: float = _setting(0.01, "share of records that may be rejected before the stage fails")

    def check(self) -> None:
        """Shards, ranges, classes and splits make sense together."""
        _check_shards(self.shards)
        check_value_range(self.value_range)
        if len(set(self.classes)) != len(self.classes):
            raise InputError(f"classes must be distinct names, got {', '.join(self.classes)}")
        _check_choice("one_label", self.one_label, ("", "best"))
        if not 1 <= self.quality <= 100 or self.max_side < 0:
            raise InputError(
                f"quality must lie in [1, 100] and max_side be 0 or more, got {self.quality} and {self.max_side}"
            )
        if len(self.image_size) != 2 or not all(8 <= side <= 1024 for side in self.image_size):
            raise InputError(f"image_size must be HEIGHT,WIDTH, each 8 to 1024 pixels, got {list(self.image_size)}")
        if not 0 <= self.margin <= 10:
            raise InputError(f"margin must lie in [0, 10], got {self.margin}")
        if not 0 < self.timeout < math.inf:
            raise InputError(f"timeout must be a number of seconds above 0, got {self.timeout}")
        for name in [*([self.split] if self.split else []), *(self.keys or {}), *self.numbers, *(self.digits or {})]:
            check_split(name)
        _check_splits(self.splits or {"train": 1})
        if self.split and self.splits:
            raise InputError("give either split (one for all images) or splits (shares), not both")


@dataclass(frozen=True)
class ConfirmSettings(_Checked):
    """Join machine-made label rows with people's verdicts, and keep what people confirmed or rejected."""

    dataset: str = _setting("", "name of the dataset to write")
    machine: tuple[str, ...] = _setting((), "CSV files of machine-made labels; may hold * and ?", "paths")
    human: tuple[str, ...] = _setting(
        (), "CSV files of people's verdicts (confidence 1 or 0); may hold * and ?", "paths"
    )
    columns: tuple[str, ...] = _setting((), "columns of files that have no header", "list")
    classes: str = _setting(
        "", "CSV file of the classes to keep: LabelName, DisplayName (default: every class)", "path"
    )
    images: str = _setting(
        "", "CSV file of the images to keep: a column ImageID, or an id a line (default: all)", "path"
    )
    min_confidence: float = _setting(0.0, "keep only machine rows at least this confident")
    one_label: str = _setting("", "keep one confirmed label an image: the best (most confident) or the first")
    on_conflict: str = _setting(
        "rejected", "verdict where people differ on an image and label: rejected, confirmed, majority, first or drop"
    )
    label_sets: str = _setting(
        "images", "also write every row of machine and human: of the images with a confirmed label, of all, or none"
    )
    splits: Mapping[str, float] = _setting(
        {"train": 0.8, "validation": 0.1, "test": 0.1}, "splits drawn by hashed id, and their shares", "fractions"
    )
    shards: int = _setting(0, "shards of each split, a power of two; 0 chooses by size, at least 8")
    max_reject_fraction: float = _setting(0.01, "share of rows that may be rejected before the stage fails")

    def check(self) -> None:
        """Choices are among those that there are."""
        _check_shards(self.shards)
        _check_splits(self.splits)
        _check_choice("one_label", self.one_label, ("", "best", "first"))
        _check_choice("on_conflict", self.on_conflict, ("rejected", "confirmed", "majority", "first", "drop"))
        _check_choice("label_sets", self.label_sets, ("images", "all", "none"))
        if not 0 <= self.min_confidence <= 1:
            raise InputError(f"min_confidence must lie in [0, 1], got {self.min_confidence}")


@dataclass(frozen=True)
class LabelSettings(_Checked):
    """Label the images of a dataset with trained models, of our own or anybody's, a label set each."""

    dataset: str = _setting("", "name of the dataset")
    models: tuple[str, ...] = _setting((), "models to label with, each named after its folder", "list")
    splits: tuple[str, ...] = _setting(("test",), "splits to label", "list")
    version: str = _setting("1.0.0", "version of the dataset")
    model_file: str = _setting("", "network that Concord did not train: .keras, .h5 or a SavedModel's folder", "path")
    annotator: str = _setting("", "name of that network, and of its label set")
    value_range: tuple[float, ...] = _setting((0.0, 255.0), "black and white, as that network takes them", "shape")
    classes: tuple[str, ...] = _setting((), "classes in the order of its scores (default: the dataset's)", "list")
    activation: str = _setting("", "what makes its scores probabilities, if they are logits: softmax or sigmoid")
    trust_model: bool = _setting(False, "load a SavedModel, which can run code of its own")
    scores: bool = _setting(False, "keep the score of every class as well")
    batch_size: int = _setting(256, "images the network sees at once")
    max_reject_fraction: float = _setting(0.01, "share of images that may be rejected before the stage fails")
    one_model: bool = _setting(False, "one model a worker, shared by its processes: for a GPU that has room for one")
    accelerator: str = _setting(GPU_HINT, "Beam resource hint of the labelling step, ignored locally; empty for none")

    def check(self) -> None:
        """There is something to label, and nothing twice; what is said of a foreign network makes sense."""
        _check_distinct("models", self.models, 0 if self.model_file else 1)
        _check_distinct("splits", self.splits, 1)
        if bool(self.model_file) != bool(self.annotator):
            raise InputError("model_file and annotator go together: the file of a network, and what it is called")
        if self.annotator:
            check_name("annotator", self.annotator)
        if self.annotator in (*self.models, HUMAN, MACHINE, CONFIRMED):
            raise InputError(
                f"annotator {self.annotator!r} is taken: give the network of {self.model_file} another name"
            )
        check_value_range(self.value_range)
        _check_choice("activation", self.activation, ("", "softmax", "sigmoid"))


@dataclass(frozen=True)
class AgreeSettings(_Checked):
    """Compare the label sets of every pair of annotators."""

    dataset: str = _setting("", "name of the dataset")
    annotators: tuple[str, ...] = _setting((), "two or more annotators to compare", "list")
    truth: str = _setting("", "annotator taken as truth, if any")
    splits: tuple[str, ...] = _setting(("test",), "splits to compare on", "list")

    def check(self) -> None:
        """There are at least two annotators, and none twice."""
        _check_distinct("annotators", self.annotators, 2)
        _check_distinct("splits", self.splits, 1)


@dataclass(frozen=True)
class ExplainSettings(_Checked):
    """Show where networks looked (Grad-CAM): in the images on which annotators differ, and in chosen ones."""

    dataset: str = _setting("", "name of the dataset")
    models: tuple[str, ...] = _setting((), "models to ask, each named after its folder", "list")
    split: str = _setting("test", "split of the images")
    version: str = _setting("1.0.0", "version of the dataset")
    images: tuple[str, ...] = _setting((), "ids of images to explain, beside those on which annotators differ", "list")
    disagreements: int = _setting(12, "images of each comparison of a model: those on which both were most sure")
    batch_size: int = _setting(32, "images the network sees at once")
    max_reject_fraction: float = _setting(0.5, "share of images that may be rejected before the stage fails")
    one_model: bool = _setting(False, "one model a worker, shared by its processes: for a GPU that has room for one")
    accelerator: str = _setting(GPU_HINT, "Beam resource hint of this step, ignored locally; empty for none")

    def check(self) -> None:
        """There are models to ask, none twice, and images to ask about."""
        _check_distinct("models", self.models, 1)
        _check_distinct("images", self.images, 0)
        check_split(self.split)
        if self.disagreements < 0 or not (self.disagreements or self.images):
            raise InputError(
                f"disagreements must be 0 or more images, and above 0 without chosen images; got {self.disagreements}"
            )


@dataclass(frozen=True)
class ReportSettings(_Checked):
    """Draw the report page from the agreement tables, label sets and images."""

    dataset: str = _setting("", "name of the dataset")
    version: str = _setting("1.0.0", "version of the dataset")
    models: tuple[str, ...] = _setting(
        (), "models whose learning curves are shown (default: all of the dataset)", "list"
    )


def _check_distinct(key: str, names: tuple[str, ...], least: int) -> None:
    if len(names) < least or len(set(names)) != len(names):
        raise InputError(f"{key} must be {least} or more distinct names, got {', '.join(names) or 'none'}")


def _check_shards(shards: int) -> None:
    if shards < 0 or shards & (shards - 1):
        raise InputError(f"shards must be a power of two, got {shards}")


def _check_splits(splits: Mapping[str, float]) -> None:
    for name in splits:
        check_split(name)
    if not (splits and min(splits.values()) >= 0 and abs(sum(splits.values()) - 1) <= 1e-9):
        raise InputError(f"the shares of splits must be 0 or more and add up to 1, got {json.dumps(dict(splits))}")


def check_value_range(given: tuple[float, ...]) -> None:
    """Raise InputError where this is no black and white."""
    if len(given) != 2 or not -math.inf < given[0] < given[1] < math.inf:
        raise InputError(f"value_range must be BLACK,WHITE with BLACK < WHITE, got {list(given)}")


def _check_choice(key: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise InputError(f"{key} must be one of {', '.join(filter(None, choices))}; got {value!r}")
