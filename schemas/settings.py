"""The settings of the stages: one dataclass each, from which both the flags and the run file's keys follow.

Those of `train` and `features` stand in `train_settings.py`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from schemas.errors import InputError
from schemas.fields import (
    ACCELERATOR_HELP,
    GPU_HINT,
    MIN_RAM_HELP,
    Checked,
    check_choice,
    check_distinct,
    check_shards,
    check_splits,
    check_value_range,
    setting,
)
from schemas.layout import CONFIRMED, HUMAN, MACHINE, check_name, check_split
from schemas.manifests import MULTICLASS, MULTILABEL, SEQUENCE
from schemas.tables import IMPORTED


@dataclass(frozen=True)
class DrawSettings(Checked):
    """Draw a sample: house-number crops as in the SVHN course file, or labelled scenes as in Open Images."""

    output: str = setting("", "what to write: the .h5 file of house_numbers, the folder of scenes", "path")
    sample: str = setting("house_numbers", "which sample, one of samples: house_numbers or scenes")
    train: int = setting(6000, "house_numbers: crops of the train split")
    test: int = setting(2000, "house_numbers: crops of the test split")
    validation: int = setting(1000, "house_numbers: crops of the validation split")
    images: int = setting(1200, "scenes: pictures")
    seed: int = setting(7, "seed of everything drawn")

    def check(self) -> None:
        """Every split holds at least one crop; there are pictures enough for each oddity to have its own."""
        for key in ("train", "test", "validation"):
            if getattr(self, key) < 1:
                raise InputError(f"{key} must be at least 1 crop, got {getattr(self, key)}")
        if self.images < 100:
            raise InputError(f"images must be at least 100 pictures, got {self.images}")


@dataclass(frozen=True)
class ConvertSettings(Checked):
    """Turn a source of labelled images into TFRecords, their index, and a label set by `human`."""

    dataset: str = setting("", "name of the dataset to write")
    source: str = setting("", "format of the input, one of the files of pipelines/convert/sources")
    input: tuple[str, ...] = setting((), "input files or folders; local, gs:// or s3://", "paths")
    version: str = setting("1.0.0", "version of the dataset")
    shards: int = setting(0, "shards of each split, a power of two; 0 chooses by size, at least 8")
    classes: tuple[str, ...] = setting(
        (), "class names in the order of the integer labels (default: the source's own; digits)", "list"
    )
    keys: Mapping[str, str] = setting(
        None,
        "where an .h5 file keeps a split: SPLIT=IMAGES:LABELS (default: the course file's X_train:y_train ...)",
        "keys",
    )
    image_shape: tuple[int, ...] = setting((), "height,width[,channels] of images that the file keeps flat", "shape")
    value_range: tuple[float, ...] = setting((0.0, 255.0), "black and white in the file's pixel values", "shape")
    split: str = setting("", "split of all images (default: the source's own, else train)")
    splits: Mapping[str, float] = setting(
        None, "draw the splits by hashed id: train=0.8,validation=0.1,...", "fractions"
    )
    labels: str = setting("", "CSV file of a folder's labels: filename,labels (several separated by spaces)", "path")
    label_set: str = setting("confirmed", "label set whose photographs open_images fetches, and whose labels they get")
    images_from: str = setting(
        "s3://open-images-dataset/train/{image_id}.jpg",
        "where open_images finds a photograph; s3://, gs://, https:// or a folder",
        "path",
    )
    one_label: str = setting("", "best: give each photograph its most confident label alone")
    image_size: tuple[int, ...] = setting(
        (64, 64), "height,width of the pictures that svhn_full crops and mnist_numbers draws", "shape"
    )
    margin: float = setting(0.3, "svhn_full: by what share the crop is higher and wider than the digits' boxes")
    numbers: Mapping[str, int] = setting(
        {"train": 20_000, "validation": 1000, "test": 2000}, "mnist_numbers: pictures of each split", "counts"
    )
    digits: Mapping[str, str] = setting(
        None,
        "mnist_numbers: the rows of the files that a split's digits are drawn from, SPLIT=START:STOP "
        "(default: the last fifth for test, the others for every other split)",
        "keys",
    )
    seed: int = setting(7, "mnist_numbers: seed of everything drawn")
    max_side: int = setting(0, "scale photographs down to this longest side, in pixels; 0 keeps their bytes")
    quality: int = setting(95, "JPEG quality of photographs that have to be encoded anew")
    max_pixels: int = setting(100_000_000, "photographs with more pixels are rejected unseen")
    in_flight: int = setting(64, "requests at once, of each worker")
    attempts: int = setting(5, "how often a request is tried in all")
    timeout: float = setting(30.0, "seconds that a request may take")
    signed: bool = setting(False, "sign open_images' requests with the usual credentials instead of anonymously")
    max_reject_fraction: float = setting(0.01, "share of records that may be rejected before the stage fails")

    def check(self) -> None:
        """Shards, ranges, classes and splits make sense together."""
        check_shards(self.shards)
        check_value_range(self.value_range)
        if len(set(self.classes)) != len(self.classes):
            raise InputError(f"classes must be distinct names, got {', '.join(self.classes)}")
        check_choice("one_label", self.one_label, ("", "best"))
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
        check_splits(self.splits or {"train": 1})
        if self.split and self.splits:
            raise InputError("give either split (one for all images) or splits (shares), not both")


@dataclass(frozen=True)
class ConfirmSettings(Checked):
    """Join machine-made label rows with people's verdicts, and keep what people confirmed or rejected."""

    dataset: str = setting("", "name of the dataset to write")
    machine: tuple[str, ...] = setting((), "CSV files of machine-made labels; may hold * and ?", "paths")
    human: tuple[str, ...] = setting(
        (), "CSV files of people's verdicts (confidence 1 or 0); may hold * and ?", "paths"
    )
    columns: tuple[str, ...] = setting((), "columns of files that have no header", "list")
    classes: str = setting("", "CSV file of the classes to keep: LabelName, DisplayName (default: every class)", "path")
    images: str = setting(
        "", "CSV file of the images to keep: a column ImageID, or an id a line (default: all)", "path"
    )
    min_confidence: float = setting(0.0, "keep only machine rows at least this confident")
    one_label: str = setting("", "keep one confirmed label an image: the best (most confident) or the first")
    on_conflict: str = setting(
        "rejected", "verdict where people differ on an image and label: rejected, confirmed, majority, first or drop"
    )
    label_sets: str = setting(
        "images", "also write every row of machine and human: of the images with a confirmed label, of all, or none"
    )
    splits: Mapping[str, float] = setting(
        {"train": 0.8, "validation": 0.1, "test": 0.1}, "splits drawn by hashed id, and their shares", "fractions"
    )
    shards: int = setting(0, "shards of each split, a power of two; 0 chooses by size, at least 8")
    max_reject_fraction: float = setting(0.01, "share of rows that may be rejected before the stage fails")

    def check(self) -> None:
        """Choices are among those that there are."""
        check_shards(self.shards)
        check_splits(self.splits)
        check_choice("one_label", self.one_label, ("", "best", "first"))
        check_choice("on_conflict", self.on_conflict, ("rejected", "confirmed", "majority", "first", "drop"))
        check_choice("label_sets", self.label_sets, ("images", "all", "none"))
        if not 0 <= self.min_confidence <= 1:
            raise InputError(f"min_confidence must lie in [0, 1], got {self.min_confidence}")


@dataclass(frozen=True)
class ImportSettings(Checked):
    """Take anybody's labels, from CSV or Parquet files of image_id, label and perhaps confidence, as a label set."""

    dataset: str = setting("", "name of the dataset, of images or of label sets alone")
    annotator: str = setting("", "whose labels they are: the name of the label set")
    split: str = setting("", "split of the images")
    input: tuple[str, ...] = setting((), "CSV or Parquet files; local, gs:// or s3://; may hold * and ?", "paths")
    columns: Mapping[str, str] = setting(
        None, "columns that the files call otherwise: image_id=ImageID,label=LabelName,confidence=Confidence", "columns"
    )
    version: str = setting("1.0.0", "version of the dataset, where it has images")
    task: str = setting("", "multiclass, multilabel or sequence (default: the dataset's own, else multiclass)")
    classes: tuple[str, ...] = setting((), "labels to take (default: the dataset's classes, else every label)", "list")
    shards: int = setting(0, "shards of label sets alone, a power of two; 0 chooses by size, at least 8")
    max_reject_fraction: float = setting(0.01, "share of rows that may be rejected before the stage fails")

    def check(self) -> None:
        """Names can be names, and columns are renamed to what there is."""
        check_name("annotator", self.annotator)
        check_split(self.split)
        check_shards(self.shards)
        check_distinct("classes", self.classes, 0)
        check_choice("task", self.task, ("", MULTICLASS, MULTILABEL, SEQUENCE))
        for key in self.columns or {}:
            check_choice("columns", key, IMPORTED)
        check_distinct("columns", self.column_names, 0)

    def passes_on(self, shared: Mapping[str, Any]) -> dict[str, Any]:
        """Its annotator, to be compared with others."""
        return {"annotators": tuple(dict.fromkeys((*shared.get("annotators", ()), self.annotator)))}

    @property
    def column_names(self) -> tuple[str, ...]:
        """What the files call image_id, label and confidence."""
        return tuple((self.columns or {}).get(name, name) for name in IMPORTED)


@dataclass(frozen=True)
class LabelSettings(Checked):
    """Label the images of a dataset with trained models, of our own or anybody's, a label set each."""

    dataset: str = setting("", "name of the dataset")
    models: tuple[str, ...] = setting((), "models to label with, each named after its folder", "list")
    splits: tuple[str, ...] = setting(("test",), "splits to label", "list")
    version: str = setting("1.0.0", "version of the dataset")
    model_file: str = setting("", "network that Concord did not train: .keras, .h5 or a SavedModel's folder", "path")
    annotator: str = setting("", "name of that network, and of its label set")
    value_range: tuple[float, ...] = setting((0.0, 255.0), "black and white, as that network takes them", "shape")
    classes: tuple[str, ...] = setting((), "classes in the order of its scores (default: the dataset's)", "list")
    activation: str = setting("", "what makes its scores probabilities, if they are logits: softmax or sigmoid")
    trust_model: bool = setting(False, "load a SavedModel, which can run code of its own")
    scores: bool = setting(False, "keep the score of every class as well")
    batch_size: int = setting(256, "images the network sees at once")
    max_reject_fraction: float = setting(0.01, "share of images that may be rejected before the stage fails")
    one_model: bool = setting(False, "one model a worker, shared by its processes: for a GPU that has room for one")
    accelerator: str = setting(GPU_HINT, ACCELERATOR_HELP)
    min_ram: str = setting("", MIN_RAM_HELP)

    def check(self) -> None:
        """There is something to label, and nothing twice; what is said of a foreign network makes sense."""
        check_distinct("models", self.models, 0 if self.model_file else 1)
        check_distinct("splits", self.splits, 1)
        if bool(self.model_file) != bool(self.annotator):
            raise InputError("model_file and annotator go together: the file of a network, and what it is called")
        if self.annotator:
            check_name("annotator", self.annotator)
        if self.annotator in (*self.models, HUMAN, MACHINE, CONFIRMED):
            raise InputError(
                f"annotator {self.annotator!r} is taken: give the network of {self.model_file} another name"
            )
        check_value_range(self.value_range)
        check_choice("activation", self.activation, ("", "softmax", "sigmoid"))

    def passes_on(self, shared: Mapping[str, Any]) -> dict[str, Any]:
        """The networks that label, to be compared and explained."""
        networks = (*self.models, *([self.annotator] if self.annotator else []))
        return {"models": networks, "annotators": tuple(dict.fromkeys((*shared.get("annotators", ()), *networks)))}


@dataclass(frozen=True)
class AgreeSettings(Checked):
    """Compare the label sets of every pair of annotators."""

    dataset: str = setting("", "name of the dataset")
    annotators: tuple[str, ...] = setting((), "two or more annotators to compare", "list")
    truth: str = setting("", "annotator taken as truth, if any")
    splits: tuple[str, ...] = setting(("test",), "splits to compare on", "list")
    pairs: str = setting("all", "write a row for each image: all, or none for the figures alone")
    tuned_on: str = setting(
        "validation", "split by which thresholds of confidence are chosen; none where it is missing"
    )
    targets: tuple[float, ...] = setting(
        (0.9, 0.95, 0.98, 0.99, 0.995), "accuracies for which thresholds are chosen", "shape"
    )

    def check(self) -> None:
        """There are at least two annotators, and none twice."""
        check_choice("pairs", self.pairs, ("all", "none"))
        check_distinct("annotators", self.annotators, 2)
        check_distinct("splits", self.splits, 1)


@dataclass(frozen=True)
class ExplainSettings(Checked):
    """Show where networks looked (Grad-CAM): in the images on which annotators differ, and in chosen ones."""

    dataset: str = setting("", "name of the dataset")
    models: tuple[str, ...] = setting((), "models to ask, each named after its folder", "list")
    split: str = setting("test", "split of the images")
    version: str = setting("1.0.0", "version of the dataset")
    images: tuple[str, ...] = setting((), "ids of images to explain, beside those on which annotators differ", "list")
    disagreements: int = setting(12, "images of each comparison of a model: those on which both were most sure")
    batch_size: int = setting(32, "images the network sees at once")
    max_reject_fraction: float = setting(0.5, "share of images that may be rejected before the stage fails")
    one_model: bool = setting(False, "one model a worker, shared by its processes: for a GPU that has room for one")
    accelerator: str = setting(GPU_HINT, ACCELERATOR_HELP)
    min_ram: str = setting("", MIN_RAM_HELP)

    def check(self) -> None:
        """There are models to ask, none twice, and images to ask about."""
        check_distinct("models", self.models, 1)
        check_distinct("images", self.images, 0)
        check_split(self.split)
        if self.disagreements < 0 or not (self.disagreements or self.images):
            raise InputError(
                f"disagreements must be 0 or more images, and above 0 without chosen images; got {self.disagreements}"
            )


@dataclass(frozen=True)
class ReportSettings(Checked):
    """Draw the report page from the agreement tables, label sets and images."""

    dataset: str = setting("", "name of the dataset")
    version: str = setting("1.0.0", "version of the dataset")
    models: tuple[str, ...] = setting(
        (), "models whose learning curves are shown (default: all of the dataset)", "list"
    )
