"""Manifests: what `_concord.json` states of a finished product, a class per kind of product.

Every manifest names the stage that made the product, what it was made from (the fingerprint), and the tables' files
that belong to it, each with the hash of its footer, so that one check serves all stages.
"""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt

# A dataset's task: one label per image, a set of them, or a number, which is a string of digits.
MULTICLASS, MULTILABEL, SEQUENCE = "multiclass", "multilabel", "sequence"
NO_IMAGES = "none"  # stands for the images of label sets whose dataset has none, and that fit each other by this
PLACES = 5  # digits of a number that are told apart
LENGTHS = PLACES + 2  # of numbers: none to five digits, and more
MORE = "+"  # stands behind the first five digits of a longer number
ShardCount = Annotated[int, Field(strict=True, ge=1, le=1 << 20)]

Shape = tuple[int | None, int | None, int]  # height, width and channels; None where images are of different sizes


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TableFiles(_Record):
    """Parquet files of one table that belong to a product.

    Attributes:
        table: its name, such as `labels`.
        folder: under the root.
        files: the hash of each file's footer, by the file's name.
        rows: of all files together; None where the manifest does not state it.
        counted: which count of the files' own reports is their rows: `out` or `rejected`; empty for none.
    """

    table: str
    folder: str
    files: dict[str, str]
    rows: NonNegativeInt | None = None
    counted: str = ""


class Manifest(_Record):
    """What every manifest states.

    Attributes:
        stage: which made the product, by its verb.
        product: as runs, `status` and `plan` call it, such as `svhn/cnn1/test`.
        fingerprint: of everything that the product follows from.
        tables: the tables' files that belong to it.
        counts: of its records: in = out + rejected, by stage also in parts.
    """

    stage: str
    product: str
    fingerprint: str
    tables: tuple[TableFiles, ...] = ()
    counts: dict[str, Any] = Field(default_factory=dict)


class DatasetManifest(Manifest):
    """A dataset: of images, or of label sets alone.

    Attributes:
        shards: of every split, a power of two.
        splits: counts of each split.
        classes: names, in the order of the integer labels.
        display_names: shown names of the classes that have another one.
        settings: what it was made with.
    """

    dataset: str
    task: str
    shards: ShardCount
    splits: dict[str, Any]
    classes: list[str]
    display_names: dict[str, str] = Field(default_factory=dict)
    settings: dict[str, Any] = Field(default_factory=dict)


class ImagesManifest(DatasetManifest):
    """A dataset that `convert` made.

    Attributes:
        version: as `tensorflow_datasets` has it.
        image_shape: None where there are labels alone.
        in_two_splits: how many images are in more than one split, and the first of them.
        source_facts: what else is worth knowing of the source.
    """

    version: str
    image_shape: Shape | None = None
    in_two_splits: dict[str, Any] = Field(default_factory=dict)
    source_facts: dict[str, Any] = Field(default_factory=dict)


class ConfirmationManifest(DatasetManifest):
    """The label sets that `confirm` made.

    Attributes:
        splits: the share of each split.
        label_sets: the labels of each label set, by annotator.
    """

    label_sets: dict[str, list[str]] = Field(default_factory=dict)


class LabelsManifest(Manifest):
    """The labels of one annotator on one split.

    Attributes:
        images: fingerprint of the dataset that it belongs to; `NO_IMAGES` where it has none.
        covers_all_images: whether an image without a row was seen, and has none of the labels.
        task: of label sets that stand alone or were imported; empty where the dataset's manifest says it.
        model: fingerprint of the model that labelled; empty where none did.
        weights: hash of its weights.
        folds: how many folds the model has; 0 for none.
        folds_of: the split that was divided into folds, each of whose images another fold labelled.
        thresholds: score from which on a label is given, by class; of several labels per image.
        calibration: how confidences were calibrated.
        inputs: names of the files that were imported.
        drawn_from: annotator from whose labels these are drawn.
    """

    annotator: str
    split: str
    images: str
    shards: ShardCount
    rows: NonNegativeInt
    covers_all_images: bool = False
    labelled_images: int | None = None
    content: int | None = None
    task: str = ""
    classes: list[str] | None = None
    model: str = ""
    weights: str = ""
    folds: int = 0
    folds_of: str = ""
    thresholds: dict[str, float] = Field(default_factory=dict)
    calibration: dict[str, Any] = Field(default_factory=dict)
    inputs: list[str] = Field(default_factory=list)
    drawn_from: str = ""


class PairsManifest(Manifest):
    """The comparison of two annotators on one split.

    Attributes:
        reference: annotator taken as right; empty for none.
        labels: fingerprint of each annotator's label set.
        has_pairs: whether there is a row for each image.
    """

    dataset: str
    split: str
    annotator_a: str
    annotator_b: str
    reference: str = ""
    task: str
    labels: dict[str, str]
    shards: ShardCount
    has_pairs: bool
    rows: NonNegativeInt


class ScoresManifest(Manifest):
    """What a network made of the images of one split: features, or explanations.

    Attributes:
        name: of the model or backbone.
        images: fingerprint of the dataset.
        weights: hash of the network's weights; empty for features, whose name follows from them.
        parts: the shards that have files; None where all have.
        requested: ids of the images that were to be explained.
        explained_by: of a model of folds: which of them explained.
    """

    name: str
    split: str
    images: str
    shards: ShardCount
    rows: NonNegativeInt
    weights: str = ""
    parts: list[int] | None = None
    requested: list[str] = Field(default_factory=list)
    explained_by: str = ""


class ReportManifest(Manifest):
    """A page of the report.

    Attributes:
        headlines: the findings, a line each.
        written: when, in ISO 8601.
    """

    dataset: str
    title: str
    headlines: list[str]
    written: str


class ModelFile(_Record):
    """A file of a model folder."""

    size: NonNegativeInt
    sha256: str


class Calibration(_Record):
    """How a model's confidence is calibrated: its temperatures, or the reason why it has none.

    Attributes:
        temperatures: by what they are of, such as `label`; None where there are none.
        nll_before: mean negative log likelihood of a choice in nats, before; `nll_after`, at the temperature.
        images: how many they were fitted on.
        at_bound: the temperatures whose NLL is least beyond the bounds.
        split: of the images.
        held_out: share of the training split that the images are; None where they are a validation split.
        labels: annotator whose labels they were fitted to.
        folds: of a model of folds: that of each fold.
    """

    temperatures: dict[str, float] | None = None
    reason: str = ""
    nll_before: dict[str, float | None] = Field(default_factory=dict)
    nll_after: dict[str, float | None] = Field(default_factory=dict)
    images: NonNegativeInt = 0
    at_bound: list[str] = Field(default_factory=list)
    split: str = ""
    held_out: float | None = None
    labels: str = ""
    folds: tuple["Calibration", ...] = ()


class Spread(_Record):
    """A metric over the runs of a sweep; `deviation` is the standard deviation (n - 1)."""

    mean: float
    deviation: float
    least: float
    most: float


class Sweep(_Record):
    """The runs of a sweep, of which the model is the best.

    Attributes:
        best: the folder of the best run within the model's.
        main_metrics: which of the metrics are of whole splits.
    """

    runs: int
    best: str
    main_metrics: list[str]
    metrics: dict[str, Spread]


class ExcludedImages(_Record):
    """Labelled images that could not be read: how many, and the first damaged records."""

    images: NonNegativeInt
    damaged: list[str]


class ExternalModel(_Record):
    """Where an imported model comes from, and how it was fitted to the dataset.

    Attributes:
        file: its name.
        sha256: of each of its files.
        value_range: what black and white are to it.
        classes: in the order of its scores; empty: the dataset's own order.
        activation: softmax or sigmoid, where its scores are logits; otherwise empty.
        trust_model: whether a SavedModel was trusted to run its own code.
    """

    file: str
    sha256: dict[str, str]
    value_range: tuple[float, ...] = (0.0, 1.0)
    classes: tuple[str, ...] = ()
    activation: str = ""
    trust_model: bool = False


class ModelCard(Manifest):
    """A model: of one training, of folds, the best of a sweep, or imported.

    Attributes:
        network: its architecture; `external` where it was imported.
        images: fingerprint of the dataset.
        image_shape: of the network's input.
        training_labels: annotator whose labels it learned from.
        weights_from: the file of weights that the training started from, or `imagenet`.
        settings: of the training.
        fold: the fold that it did not see; None where there are no folds.
        folds: how many there are.
        members: of a model of folds: the fingerprint of each fold's model, by its folder.
        weights_sha256: of all weights in order.
        files: by name within the folder.
        thresholds: of independent classes, the score from which on each label is given.
        evaluation: metrics of each split that it was evaluated on.
        history: of each metric its value in each epoch.
        metrics: of the epoch whose weights were kept.
    """

    name: str
    dataset: str
    task: str
    classes: list[str]
    network: str = ""
    images: str = ""
    image_shape: Shape | None = None
    training_labels: str = ""
    weights_from: str = ""
    settings: dict[str, Any] = Field(default_factory=dict)
    fold: int | None = None
    folds: int = 0
    members: dict[str, str] = Field(default_factory=dict)
    versions: dict[str, str] = Field(default_factory=dict)
    parameters: NonNegativeInt = 0
    weights_sha256: str = ""
    files: dict[str, ModelFile] = Field(default_factory=dict)
    calibration: Calibration | None = None
    thresholds: tuple[float, ...] | None = None
    evaluation: dict[str, dict[str, Any]] = Field(default_factory=dict)
    history: dict[str, list[float]] = Field(default_factory=dict)
    metrics: dict[str, int | float] = Field(default_factory=dict)
    sweep: Sweep | None = None
    excluded: ExcludedImages | None = None
    external: ExternalModel | None = None

    @property
    def fold_split(self) -> str:
        """Of a model of folds, the split that was divided into them; otherwise empty."""
        return str(self.settings["split"]) if self.members else ""


def total_rejected(counts: Mapping[str, Any]) -> int:
    """The number of rejected records, of counts that name them by reason."""
    return sum(counts.get("rejected", {}).values())
