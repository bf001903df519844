"""The Arrow schema of every table: its columns, each with a description and a unit."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

CONFIRMED, REJECTED = "confirmed", "rejected"  # verdicts
ALL, CLASS, BIN = "all", "class", "bin"  # scopes
RAW, CALIBRATED = "raw", "calibrated"  # kinds of confidence
ONE, AGREE, AGREE_AND_CONFIDENT = "one", "agree", "agree_and_confident"  # rules by which images are accepted


def column(name: str, kind: pa.DataType, description: str, nullable: bool = False, unit: str = "") -> pa.Field:
    """A column with its description and unit; real numbers without one have `1`, that of shares and probabilities."""
    real = pa.types.is_floating(kind) or (pa.types.is_list(kind) and pa.types.is_floating(kind.value_type))
    unit = unit or ("1" if real else "")
    return pa.field(
        name, kind, nullable=nullable, metadata={"description": description} | ({"unit": unit} if unit else {})
    )


def _text(name: str, description: str, nullable: bool = False) -> pa.Field:
    return column(name, pa.string(), description, nullable)


def _count(name: str, description: str, unit: str = "images", nullable: bool = False) -> pa.Field:
    return column(name, pa.int64(), description, nullable, unit)


def _real(name: str, description: str, nullable: bool = True) -> pa.Field:
    return column(name, pa.float64(), description, nullable)


def _interval(name: str, description: str, method: str) -> list[pa.Field]:
    """A figure, and the ends of its 95 % interval."""
    return [
        _real(name, description),
        _real(f"{name}_low", f"lower end of its 95 % interval ({method})"),
        _real(f"{name}_high", f"upper end of its 95 % interval ({method})"),
    ]


_IMAGE_ID = _text("image_id", "identity of the image within its dataset")
_DATASET = _text("dataset", "name of the dataset")
_SPLIT = _text("split", "split of the dataset")
_PAIR = [_text("annotator_a", "first annotator"), _text("annotator_b", "second annotator")]

INDEX = pa.schema(
    [
        _IMAGE_ID,
        column("shard", pa.int32(), "number of the TFRecord shard that holds it"),
        _count("offset", "where its record's payload begins in that shard, in bytes", "bytes"),
        _count("length", "length of the record's payload, in bytes", "bytes"),
        _text("sha256", "SHA-256 of the encoded image, in hexadecimal"),
        _text("format", "how it is encoded: png or jpeg"),
        column("height", pa.int32(), "height in pixels", unit="pixels"),
        column("width", pa.int32(), "width in pixels", unit="pixels"),
        column("channels", pa.int32(), "1 for grey, 3 for colour", unit="channels"),
        _text("reencoded", "why it is not stored as it came; null where it is, or came as pixels", True),
    ]
)

LABELS = pa.schema(
    [
        _IMAGE_ID,
        _text("label", "class name, or the digits of a number"),
        column("confidence", pa.float32(), "confidence of the annotator, in [0, 1]; humans: 1 present, 0 absent"),
        column("confidence_calibrated", pa.float32(), "confidence after calibration; null where not calibrated", True),
        _text("verdict", "confirmed or rejected by human annotators; null but in a confirmed set", True),
        column("scores", pa.list_(pa.float32()), "score of each class, in class order; null unless requested", True),
    ]
)

IMPORTED = ("image_id", "label", "confidence")  # columns that anybody's labels have; the last may be missing


def _side(side: str) -> list[pa.Field]:
    """The columns of one of two annotators."""
    return [
        _text(f"label_{side}", f"label of annotator {side}; multilabel: null where {side} did not give it", True),
        column(
            f"confidence_{side}", pa.float32(), f"confidence of {side} in it, in [0, 1]; null with label_{side}", True
        ),
        column(f"confidence_calibrated_{side}", pa.float32(), "the same, calibrated; null where not calibrated", True),
    ]


PAIRS = pa.schema(
    [
        _IMAGE_ID,
        *_side("a"),
        *_side("b"),
        column("agree", pa.bool_(), "whether the two labels are the same; multilabel: both gave it, or neither"),
        _text("reference", "label of the annotator taken as reference; null where it gave none", True),
        column("correct_a", pa.bool_(), "whether a is correct; null where the reference is not known", True),
        column("correct_b", pa.bool_(), "whether b is correct; null where the reference is not known", True),
    ]
)

CONFUSION = pa.schema(
    [
        _DATASET,
        _SPLIT,
        *_PAIR,
        _text("label_a", "label of annotator a; multilabel: null where it did not give label_b", True),
        _text("label_b", "label of annotator b; multilabel: null where it did not give label_a", True),
        _count("n", "images to which a and b gave these labels"),
        _real("mean_confidence_a", "mean confidence of a over them; null with label_a"),
        _real("mean_confidence_b", "mean confidence of b over them; null with label_b"),
    ]
)

REJECTS = pa.schema(
    [
        _text("image_id", "identity the record would have had"),
        _text("source", "file it came from"),
        _text("position", "where in that file"),
        _text("reason", "one of the closed list in schemas/errors.py"),
        _text("detail", "the offending value, as it was read"),
    ]
)

FEATURES = pa.schema(
    [
        column("image_id", pa.string(), "identity of the image"),
        column("features", pa.list_(pa.float32()), "output of the backbone, of one length in the whole folder"),
    ]
)

EXPLANATIONS = pa.schema(
    [
        _text("image_id", "identity of the image"),
        _text("label", "most probable label, which is explained"),
        column("confidence", pa.float32(), "confidence of the network in it, in [0, 1]"),
        column("image", pa.binary(), "the image as the network receives it, a PNG file; small ones enlarged"),
        column("heat_map", pa.binary(), "heat map of the regions that drove the prediction, laid over it, a PNG file"),
    ]
)

MACHINE_PRECISION = pa.schema(
    [
        _DATASET,
        _text("scope", "all, decile, class or class_decile"),
        _text("label", "the class; null where it is of all", True),
        _text("display_name", "its display name, where one is known", True),
        column(
            "decile",
            pa.int32(),
            "tenth of the machine's confidence: 0 for [0, 0.1), 9 for [0.9, 1]; null for all",
            True,
        ),
        _count("machine_rows", "well-formed rows of the machine that were not filtered out", "rows"),
        _count("confirmed", "of them, images and labels that human annotators confirmed", "rows"),
        _count("rejected", "of them, images and labels that human annotators rejected", "rows"),
        _count("verified", "confirmed + rejected", "rows"),
        _count("excluded", "repeated rows of verified images and labels, and conflicts that were dropped", "rows"),
        _count("without_verdict", "machine_rows - verified - excluded: not reviewed", "rows"),
        *_interval("precision", "confirmed / verified; null where nothing is verified", "Wilson"),
    ]
)

LABELS_PER_IMAGE = pa.schema(
    [
        _DATASET,
        _text("annotator", "whose labels"),
        column("labels", pa.int32(), "labels per image", unit="labels"),
        _count("images", "images that have so many"),
    ]
)

VERDICT_SOURCES = pa.schema(
    [
        _DATASET,
        _text("source", "where the human verdicts come from, as the file states"),
        _count("confirmed", "rows with confidence 1", "rows"),
        _count("rejected", "rows with confidence 0", "rows"),
    ]
)

TALLY = pa.schema(
    [
        _text("what", "what is counted"),
        _text("name", "of whom or of what: a side, a class, an annotator; empty for all"),
        column("number", pa.int32(), "of which: a decile of confidence, a number of labels; 0 for all"),
        _count("n", "how many", "rows"),
    ]
)

SWEEP = pa.schema(
    [
        _text("run", "name of the run, a folder beside the table", True),
        column("best", pa.bool_(), "whether it was the best by validation, and became the model", True),
    ]
)


# Agreement: the long table of every measure, and the summary of what is needed most.

MEASURES = pa.schema(
    [
        _DATASET,
        _SPLIT,
        _text("annotator_a", "first annotator; of three or more together, the names of all, joined by commas"),
        _text("annotator_b", "second annotator; null for three or more together", True),
        _text("scope", "all, or class for the figures of one label"),
        _text("label", "the label of scope class; null for all", True),
        _text("measure", "name of the measure, as listed below; a and b in it are annotator_a and annotator_b"),
        _real("value", "its value; null where it is not defined"),
        _real("low", "lower end of its 95 % interval; null where it has none"),
        _real("high", "upper end of its 95 % interval; null where it has none"),
        _text("method", "how the interval was computed; null where there is none", True),
        _text("undefined_because", "why the value, or its interval alone, is not defined; null where it is", True),
    ]
)
_NORMAL = "normal, cut off at -1 and 1"
SUMMARY = pa.schema(
    [
        _DATASET,
        _SPLIT,
        *_PAIR,
        _text("task", "multiclass, multilabel or sequence"),
        _count("n", "images that both annotators labelled"),
        _count("n_agree", "images to which both gave the same label; multilabel: the same set of labels"),
        _count("n_compared", "what the figures below are of: images; multilabel: image-class decisions", "comparisons"),
        _count("n_reference", "of n_compared, how many have a known reference; 0 without a reference", "comparisons"),
        *_interval("accuracy_a", "share of n_reference on which a is as the reference; null without one", "Wilson"),
        *_interval("accuracy_b", "share of n_reference on which b is as the reference; null without one", "Wilson"),
        *_interval("observed_agreement", "share of n_compared on which they agree", "Wilson"),
        *_interval(
            "chance_agreement",
            "agreement expected by chance, from how often each annotator gave each label",
            f"delta method, {_NORMAL}",
        ),
        *_interval(
            "cohen_kappa",
            "Cohen's kappa; see gwet_ac1 where one label is nearly all",
            f"Fleiss, Cohen & Everitt 1969, {_NORMAL}",
        ),
        *_interval("gwet_ac1", "Gwet's AC1, of the labels that occur", f"Gwet 2008, {_NORMAL}"),
        *_interval("krippendorff_alpha", "Krippendorff's alpha, nominal", f"Gwet 2014, {_NORMAL}"),
        *(
            _real(f"mean_confidence_{side}_{where}", f"mean confidence of {side} where they {where}")
            for side in "ab"
            for where in ("agree", "differ")
        ),
        _text("undefined", "which of these figures are not defined, and why; null where all are", True),
    ]
)


def label_rows(columns: Mapping[str, Any]) -> pa.Table:
    """Rows of a label set from the columns that are known, `image_id`, `label` and `confidence` at least."""
    count = len(columns["confidence"])
    whole = {field.name: columns.get(field.name, pa.nulls(count, field.type)) for field in LABELS}
    return pa.table(whole, schema=LABELS)


def reject_counts(rejects: pa.Table) -> dict[str, int]:
    """How many rejects have each reason, in order of the reasons."""
    return dict(sorted(Counter(rejects["reason"].to_pylist()).items()))


def present(labels: pa.Table) -> pa.ChunkedArray:
    """Which rows of a label set state that an image has the label: human noes and rejected rows state the opposite."""
    return pc.coalesce(pc.equal(labels["verdict"], CONFIRMED), pc.greater(labels["confidence"], 0))


# How far confidence can be relied on: calibration, joint confidence, coverage.

_RULE = [
    _text("annotator_a", "annotator, or the first of two"),
    _text("annotator_b", "second annotator; null for one by itself", True),
    _text(
        "rule",
        "one: its confidence reaches the threshold; agree: both agree; agree_and_confident: and the lower of their "
        "confidences reaches the threshold",
    ),
    _text("confidence", "raw, as the network outputs it, or calibrated"),
]
_ACCEPTED = [
    _count("n", "images that the annotator, or both of them, labelled"),
    _count("accepted", "of them, images that are accepted"),
    *_interval("coverage", "accepted / n; null where there are none", "Wilson"),
    _count("known", "accepted images with a reference label"),
    _count("correct", "of them, images labelled as the reference"),
    *_interval("accuracy", "correct / known; null where there are none", "Wilson"),
]


def _reliability(suffix: str, which: str) -> list[pa.Field]:
    return [
        _count(f"n{suffix}", f"images with a reference label whose {which} confidence lies in the bin"),
        _count(f"correct{suffix}", "of them, images labelled as the reference"),
        *_interval(f"accuracy{suffix}", "share of them labelled as the reference; null where there are none", "Wilson"),
        _real(f"mean_confidence{suffix}", f"their mean {which} confidence"),
        _real(f"ece{suffix}", f"expected calibration error of {which} confidence; of scope all"),
        _real(f"brier{suffix}", "mean of (confidence - correct)^2, Brier score of the label"),
    ]


CALIBRATION = pa.schema(
    [
        _DATASET,
        _SPLIT,
        _text("annotator", "whose confidence"),
        _text("scope", "bin, or all for all of them"),
        column("bin", pa.int32(), "number of the bin, from 0; null for all", True),
        _real("low", "confidence above which the bin begins; the first one holds 0 too", False),
        _real("high", "confidence up to which the bin reaches, which belongs to it", False),
        *_reliability("", "raw"),
        *_reliability("_calibrated", "calibrated"),
    ]
)

JOINT_CONFIDENCE = pa.schema(
    [
        _DATASET,
        _SPLIT,
        *_PAIR,
        _text("confidence", "raw, as the networks output it, or calibrated"),
        _text("scope", "bin, or all for all of them"),
        column("bin_a", pa.int32(), "tenth of a's confidence, from 0; null for all", True),
        column("bin_b", pa.int32(), "tenth of b's confidence, from 0; null for all", True),
        _count("n", "images that both labelled"),
        _count("n_agree", "of them, images to which both gave the same label"),
        _count("n_known", "of them, images with a reference label"),
        _count("n_correct_a", "of those, images that a labelled as the reference"),
        _count("n_correct_b", "of those, images that b labelled as the reference"),
        _real("mean_agree_a", "mean confidence of a where they agree"),
        _real("mean_agree_b", "mean confidence of b where they agree"),
        _real("mean_differ_a", "mean confidence of a where they differ"),
        _real("mean_differ_b", "mean confidence of b where they differ"),
    ]
)

COVERAGE = pa.schema(
    [
        _DATASET,
        _SPLIT,
        *_RULE,
        _real("target", "accuracy that accepted images should have; null for a rule without one"),
        _text("threshold_split", "split by which the threshold was chosen; null without one", True),
        column(
            "threshold",
            pa.float32(),
            "confidence at or above which images are accepted; null where none reaches the target",
            True,
        ),
        _count(
            "threshold_split_known", "images of threshold_split accepted there, with a reference label", nullable=True
        ),
        _real("threshold_split_accuracy", "their accuracy"),
        *_ACCEPTED,
    ]
)

COVERAGE_CURVE = pa.schema(
    [
        _DATASET,
        _SPLIT,
        *_RULE,
        column("threshold", pa.float32(), "confidence at or above which images are accepted"),
        *_ACCEPTED,
    ]
)


# The table of `generations`: how accurate each student is, and how many human labels it needed.

GENERATION, LABELLED_SHARE, EVERYTHING = "generation", "labelled_share", "everything"  # kinds of rows


def _mean_interval(name: str, description: str, method: str) -> list[pa.Field]:
    over = "of a mean over seeds, Student's t over them, cut off where no figure can lie; null for one seed"
    return _interval(name, description, f"{method}; {over}")


def _mean_count(name: str, description: str) -> pa.Field:
    return column(name, pa.float64(), f"{description}; of a mean over seeds, their mean", True, "images")


GENERATIONS = pa.schema(
    [
        _DATASET,
        _text("name", "name of the study"),
        _text(
            "kind",
            "generation; or a baseline: labelled_share (the same network, trained on the human labels of that share "
            "alone) or everything (trained on the human labels of the whole split)",
        ),
        column(
            "generation",
            pa.int32(),
            "0 is trained on human labels, 1 on labels of generation 0, ...; null for a baseline",
            True,
        ),
        _real("cut", "confidence threshold below which labels were not used; null for human labels"),
        column("seed", pa.int64(), "seed of the network and of its teachers; null for the mean over seeds", True),
        column("seeds", pa.int32(), "how many seeds the row is of; excluded networks do not count"),
        _text("network", "its architecture, by name"),
        _text("annotator", "name of the model and of its label set; null for the mean over seeds", True),
        _text("teacher", "annotator whose labels it was trained on; null for the mean over seeds of students", True),
        _text("label_set", "the label set of those labels; null as teacher is", True),
        _mean_count("n_labels", "labels that it was trained on"),
        _mean_count("n_human_labels", "of them, labels that human annotators had to give"),
        _real("human_label_share", "n_human_labels, as a share of the split's images, in [0, 1]"),
        _mean_count("labels_saved", "of n_labels, labels that no human annotator had to give"),
        _mean_count("validation", "labels of the validation split that stopped its training, of the same teacher"),
        _mean_count(
            "pseudo_labels_known", "pseudo-labels of images that have a human label as well; null for human labels"
        ),
        _real("pseudo_label_accuracy", "share of pseudo_labels_known that is as the human label, in [0, 1]"),
        _count("n", "test images that it was evaluated on; null where it was excluded", nullable=True),
        *_mean_interval("accuracy", "share of them that it labels as human annotators do, in [0, 1]", "Wilson"),
        *_mean_interval(
            "agreement", "share of test images it labels as its teacher does; null for human labels", "Wilson"
        ),
        *_mean_interval(
            "accuracy_drop",
            "accuracy of the baseline `everything` of the same seed minus its own, on the same images; negative where "
            "it is the better one",
            "of paired proportions, method 10 of Newcombe 1998",
        ),
        _text("note", "why a network was excluded; null where it was not", True),
    ]
)


# The tables that list which images to review: the queue, and the labels that may be wrong.

MACHINES_DIFFER, LABEL_ERROR, MACHINES_UNSURE = "machines_differ", "label_error", "machines_unsure"
REASONS = (MACHINES_DIFFER, LABEL_ERROR, MACHINES_UNSURE)  # in the order in which they are ranked

ANSWER = pa.struct(
    [
        _text("annotator", "the machine"),
        _text("label", "its label; null where it did not give the label in question", True),
        column("confidence", pa.float32(), "its confidence, in [0, 1]; null where it gave no label", True),
    ]
)

QUEUE = pa.schema(
    [
        column("rank", pa.int64(), "1 for what to review first"),
        _IMAGE_ID,
        _SPLIT,
        _text("reason", f"why to review it: {', '.join(REASONS)}"),
        _real("score", "how much it is worth a review within its reason, in [0, 1], higher first", False),
        _text("label", "multilabel: the one in question; otherwise null", True),
        column("answers", pa.list_(ANSWER), "label and confidence of each machine"),
        _text("majority", "label of more than half of the machines; null where there is none", True),
        _text("reference", "human label; null where there is none, or none was requested", True),
    ]
)

LABEL_ERRORS = pa.schema(
    [
        column("rank", pa.int64(), "1 for the label that is most likely wrong"),
        _IMAGE_ID,
        _text("given", "label that the image has"),
        _text("suggested", "label to which the network gives the highest score"),
        _real("label_quality", "how likely the label is right, in [0, 1]; see quality", False),
        _text("quality", "cleanlab's label quality score: self_confidence or normalized_margin"),
        column("is_candidate", pa.bool_(), "whether cleanlab's filter takes the label for an error"),
    ]
)
