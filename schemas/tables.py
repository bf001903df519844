"""The Arrow schema of every table, and the one way to write and read a Parquet file."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

CONFIRMED, REJECTED = "confirmed", "rejected"  # verdicts


def described(name: str, kind: pa.DataType, description: str, nullable: bool = True, unit: str = "") -> pa.Field:
    """A column that says what it holds, and in which unit; `1` is the unit of shares and other plain figures."""
    said = {"description": description} | ({"unit": unit} if unit else {})
    return pa.field(name, kind, nullable=nullable, metadata=said)


def figure(name: str, kind: pa.DataType, description: str, nullable: bool = True, unit: str = "") -> pa.Field:
    """A column of figures: its unit, if none is given, is images for counts, and 1 for real numbers."""
    own = "1" if pa.types.is_floating(kind) else "images" if pa.types.is_int64(kind) else ""
    return described(name, kind, description, nullable, unit or own)


def _field(name: str, kind: pa.DataType, description: str, nullable: bool = False, unit: str = "") -> pa.Field:
    return described(name, kind, description, nullable, unit)


INDEX = pa.schema(
    [
        _field("image_id", pa.string(), "identity of the image within its dataset"),
        _field("shard", pa.int32(), "number of the TFRecord shard that holds it"),
        _field("offset", pa.int64(), "where its record's payload begins in that shard, in bytes", unit="bytes"),
        _field("length", pa.int64(), "length of the record's payload, in bytes", unit="bytes"),
        _field("sha256", pa.string(), "SHA-256 of the encoded image, in hexadecimal"),
        _field("format", pa.string(), "how it is encoded: png or jpeg"),
        _field("height", pa.int32(), "height in pixels", unit="pixels"),
        _field("width", pa.int32(), "width in pixels", unit="pixels"),
        _field("channels", pa.int32(), "1 for grey, 3 for colour", unit="channels"),
        _field("reencoded", pa.string(), "why it is not stored as it came; null where it is, or came as pixels", True),
    ]
)

LABELS = pa.schema(
    [
        _field("image_id", pa.string(), "identity of the image within its dataset"),
        _field("label", pa.string(), "class name, or the digits of a number"),
        _field(
            "confidence", pa.float32(), "how sure the annotator was, in [0, 1]; people: 1 present, 0 absent", unit="1"
        ),
        _field(
            "confidence_calibrated",
            pa.float32(),
            "confidence after calibration; null where not calibrated",
            True,
            unit="1",
        ),
        _field("verdict", pa.string(), "confirmed or rejected by people; null but in a confirmed set", True),
        _field(
            "scores",
            pa.list_(pa.float32()),
            "score of each class, in class order; null unless asked for",
            True,
            unit="1",
        ),
    ]
)

IMPORTED = ("image_id", "label", "confidence")  # columns that anybody's labels have; the last may be left out

PAIRS = pa.schema(
    [
        _field("image_id", pa.string(), "identity of the image within its dataset"),
        _field(
            "label_a", pa.string(), "label of annotator a; null where images have several and a did not give it", True
        ),
        _field("confidence_a", pa.float32(), "confidence of a in it, in [0, 1]; null with label_a", True, unit="1"),
        _field("confidence_calibrated_a", pa.float32(), "the same, calibrated; null where it is not", True, unit="1"),
        _field(
            "label_b", pa.string(), "label of annotator b; null where images have several and b did not give it", True
        ),
        _field("confidence_b", pa.float32(), "confidence of b in it, in [0, 1]; null with label_b", True, unit="1"),
        _field("confidence_calibrated_b", pa.float32(), "the same, calibrated; null where it is not", True, unit="1"),
        _field("agree", pa.bool_(), "whether the two labels are the same; of several: both gave it, or neither"),
        _field("truth", pa.string(), "label of the annotator taken as truth; null where it gave none", True),
        _field("correct_a", pa.bool_(), "whether a is right; null where the truth is not known", True),
        _field("correct_b", pa.bool_(), "whether b is right; null where the truth is not known", True),
    ]
)

_PAIR_KEYS = [
    _field("dataset", pa.string(), "name of the dataset"),
    _field("split", pa.string(), "split of the dataset"),
    _field("a", pa.string(), "first annotator"),
    _field("b", pa.string(), "second annotator"),
]

CONFUSION = pa.schema(
    [
        *_PAIR_KEYS,
        _field("label_a", pa.string(), "label of annotator a; null where, of several, it did not give label_b", True),
        _field("label_b", pa.string(), "label of annotator b; null where, of several, it did not give label_a", True),
        _field("n", pa.int64(), "images that a and b gave these labels", unit="images"),
        _field("mean_confidence_a", pa.float64(), "mean confidence of a over them; null with label_a", True, unit="1"),
        _field("mean_confidence_b", pa.float64(), "mean confidence of b over them; null with label_b", True, unit="1"),
    ]
)

REJECTS = pa.schema(
    [
        _field("image_id", pa.string(), "identity the record would have had"),
        _field("source", pa.string(), "file it came from"),
        _field("position", pa.string(), "where in that file"),
        _field("reason", pa.string(), "one of the closed list in schemas/rejects.py"),
        _field("detail", pa.string(), "the offending value, as found"),
    ]
)

FEATURES = pa.schema(
    [
        _field("image_id", pa.string(), "identity of the image"),
        _field(
            "features", pa.list_(pa.float32()), "output of the backbone, of one length in the whole folder", unit="1"
        ),
    ]
)

EXPLANATIONS = pa.schema(
    [
        _field("image_id", pa.string(), "identity of the image"),
        _field("label", pa.string(), "most probable label, for which the network was asked"),
        _field("confidence", pa.float32(), "how sure the network was of it, in [0, 1]", unit="1"),
        _field("picture", pa.binary(), "the image as the network saw it, a PNG file; small ones enlarged"),
        _field("heat", pa.binary(), "where the network looked, laid over the picture, a PNG file of the same size"),
    ]
)

LABEL_STATISTICS = pa.schema(
    [
        _PAIR_KEYS[0],
        _field("scope", pa.string(), "all, decile, class or class_decile"),
        _field("label", pa.string(), "the class; null where it is of all", True),
        _field("display_name", pa.string(), "its name for people, where one is known", True),
        _field(
            "decile",
            pa.int32(),
            "tenth of the machine's confidence: 0 for [0, 0.1), 9 for [0.9, 1]; null for all",
            True,
        ),
        _field("machine_rows", pa.int64(), "rows of the machine, well-formed and of interest", unit="rows"),
        _field("confirmed", pa.int64(), "of them, images and labels that people confirmed", unit="rows"),
        _field("rejected", pa.int64(), "of them, images and labels that people rejected", unit="rows"),
        _field("verified", pa.int64(), "confirmed + rejected", unit="rows"),
        _field(
            "left_out",
            pa.int64(),
            "repeated rows of verified images and labels, and conflicts that were dropped",
            unit="rows",
        ),
        _field("without_verdict", pa.int64(), "machine_rows - verified - left_out: nobody has looked", unit="rows"),
        _field("precision", pa.float64(), "confirmed / verified; null where nothing is verified", True, unit="1"),
        _field("precision_low", pa.float64(), "lower end of its 95 % interval (Wilson)", True, unit="1"),
        _field("precision_high", pa.float64(), "upper end of its 95 % interval (Wilson)", True, unit="1"),
    ]
)

LABELS_PER_IMAGE = pa.schema(
    [
        _PAIR_KEYS[0],
        _field("annotator", pa.string(), "whose labels"),
        _field("labels", pa.int32(), "labels an image", unit="labels"),
        _field("images", pa.int64(), "images that have so many", unit="images"),
    ]
)

VERDICT_SOURCES = pa.schema(
    [
        _PAIR_KEYS[0],
        _field("source", pa.string(), "where people's verdicts come from, as the file says"),
        _field("confirmed", pa.int64(), "rows with confidence 1", unit="rows"),
        _field("rejected", pa.int64(), "rows with confidence 0", unit="rows"),
    ]
)

TALLY = pa.schema(
    [
        _field("what", pa.string(), "what is counted"),
        _field("name", pa.string(), "of whom or of what: a side, a class, an annotator; empty for all"),
        _field("number", pa.int32(), "of which: a decile of confidence, a number of labels; 0 for all"),
        _field("n", pa.int64(), "how many", unit="rows"),
    ]
)

SWEEP = pa.schema(
    [
        _field("run", pa.string(), "name of the run, a folder beside the table", True),
        _field("best", pa.bool_(), "whether it was the best by validation, and became the model", True),
    ]
)


_SCOPE = [
    _field("scope", pa.string(), "all, or class for the figures of one label against the rest"),
    _field("label", pa.string(), "the label of a class scope; null for all", True),
]
_UNDEFINED = _field("undefined", pa.string(), "which figures are not defined, and why; null where all are", True)


def summary(figures: list[pa.Field]) -> pa.Schema:
    """The schema of the summary table: its keys and counts, then the figures of every measure."""
    n = _field("n", pa.int64(), "images that both annotators labelled", unit="images")
    same = "images that both gave the same label, or the same set of labels"
    n_agree = _field("n_agree", pa.int64(), same, unit="images")
    return pa.schema([*_PAIR_KEYS, *_SCOPE, n, n_agree, *figures, _UNDEFINED])


def annotators(figures: list[pa.Field]) -> pa.Schema:
    """The schema of the table of many annotators: its keys and counts, then the figures of every measure."""
    names = _field("annotators", pa.string(), "their names, in order, joined by commas")
    n = _field("n", pa.int64(), "images that at least one of them labelled", unit="images")
    pairable = _field("n_pairable", pa.int64(), "images that at least two of them labelled", unit="images")
    return pa.schema([*_PAIR_KEYS[:2], names, *_SCOPE, n, pairable, *figures, _UNDEFINED])


def label_rows(columns: Mapping[str, Any]) -> pa.Table:
    """Rows of a label set from the columns that are known, `image_id`, `label` and `confidence` at least."""
    count = len(columns["confidence"])
    whole = {field.name: columns.get(field.name, pa.nulls(count, field.type)) for field in LABELS}
    return pa.table(whole, schema=LABELS)


def reject_counts(rejects: pa.Table) -> dict[str, int]:
    """How many rejects have each reason, in order of the reasons."""
    return dict(sorted(Counter(rejects["reason"].to_pylist()).items()))


def present(labels: pa.Table) -> pa.ChunkedArray:
    """Which rows of a label set say that an image has the label: people's no and rejected rows say that it has not."""
    return pc.coalesce(pc.equal(labels["verdict"], CONFIRMED), pc.greater(labels["confidence"], 0))


# The Arrow schema of the tables that tell how far confidence can be trusted.

RAW, CALIBRATED = "raw", "calibrated"
ALL, BIN = "all", "bin"  # scopes
ONE, AGREE, AGREE_AND_SURE = "one", "agree", "agree_and_sure"  # rules by which images are accepted


def _confidence_field(name: str, kind: pa.DataType, description: str, nullable: bool = False) -> pa.Field:
    return figure(name, kind, description, nullable)


def _share(name: str, description: str) -> list[pa.Field]:
    """A share, and the ends of its interval."""
    return [
        _confidence_field(name, pa.float64(), f"{description}; null where there are none", True),
        _confidence_field(f"{name}_low", pa.float64(), "lower end of its 95 % interval (Wilson)", True),
        _confidence_field(f"{name}_high", pa.float64(), "upper end of its 95 % interval (Wilson)", True),
    ]


_DATASET = [
    _confidence_field("dataset", pa.string(), "name of the dataset"),
    _confidence_field("split", pa.string(), "split of the dataset"),
]
_PAIR = [
    _confidence_field("a", pa.string(), "first annotator"),
    _confidence_field("b", pa.string(), "second annotator"),
]
_RULE = [
    _confidence_field("a", pa.string(), "annotator, or the first of two"),
    _confidence_field("b", pa.string(), "second annotator; null for one by itself", True),
    _confidence_field(
        "rule", pa.string(), "one: it is sure; agree: both agree; agree_and_sure: and the less sure of them is sure"
    ),
    _confidence_field("confidence", pa.string(), "raw, as the network gives it, or calibrated"),
]
_ACCEPTED = [
    _confidence_field("n", pa.int64(), "images that the annotator, or both of them, labelled"),
    _confidence_field("accepted", pa.int64(), "of them, images that are accepted"),
    *_share("share", "accepted / n"),
    _confidence_field("known", pa.int64(), "accepted images whose truth is known"),
    _confidence_field("correct", pa.int64(), "of them, images labelled as the truth does"),
    *_share("accuracy", "correct / known"),
]


def _reliability(suffix: str, which: str) -> list[pa.Field]:
    return [
        _confidence_field(f"n{suffix}", pa.int64(), f"images of known truth whose {which} confidence lies in the bin"),
        _confidence_field(f"correct{suffix}", pa.int64(), "of them, images labelled as the truth does"),
        *_share(f"accuracy{suffix}", "share of them labelled as the truth does"),
        _confidence_field(f"mean_confidence{suffix}", pa.float64(), f"their mean {which} confidence", True),
        _confidence_field(
            f"ece{suffix}", pa.float64(), f"expected calibration error of {which} confidence; of scope all", True
        ),
        _confidence_field(
            f"brier{suffix}", pa.float64(), "mean of (confidence - correct)^2, Brier score of the label", True
        ),
    ]


CALIBRATION = pa.schema(
    [
        *_DATASET,
        _confidence_field("annotator", pa.string(), "whose confidence"),
        _confidence_field("scope", pa.string(), "bin, or all for all of them"),
        _confidence_field("bin", pa.int32(), "number of the bin, from 0; null for all", True),
        _confidence_field("low", pa.float64(), "confidence above which it begins; the first one holds 0 too"),
        _confidence_field("high", pa.float64(), "confidence up to which it reaches, which belongs to it"),
        *_reliability("", "raw"),
        *_reliability("_calibrated", "calibrated"),
    ]
)

JOINT_CONFIDENCE = pa.schema(
    [
        *_DATASET,
        *_PAIR,
        _confidence_field("confidence", pa.string(), "raw, as the networks give it, or calibrated"),
        _confidence_field("scope", pa.string(), "bin, or all for all of them"),
        _confidence_field("bin_a", pa.int32(), "tenth of a's confidence, from 0; null for all", True),
        _confidence_field("bin_b", pa.int32(), "tenth of b's confidence, from 0; null for all", True),
        _confidence_field("n", pa.int64(), "images that both labelled"),
        _confidence_field("n_agree", pa.int64(), "of them, images that both gave the same label"),
        _confidence_field("n_known", pa.int64(), "of them, images whose truth is known"),
        _confidence_field("n_correct_a", pa.int64(), "of those, images that a labelled as the truth does"),
        _confidence_field("n_correct_b", pa.int64(), "of those, images that b labelled as the truth does"),
        _confidence_field("mean_agree_a", pa.float64(), "mean confidence of a where they agree", True),
        _confidence_field("mean_agree_b", pa.float64(), "mean confidence of b where they agree", True),
        _confidence_field("mean_differ_a", pa.float64(), "mean confidence of a where they differ", True),
        _confidence_field("mean_differ_b", pa.float64(), "mean confidence of b where they differ", True),
    ]
)

COVERAGE = pa.schema(
    [
        *_DATASET,
        *_RULE,
        _confidence_field(
            "target", pa.float64(), "accuracy that accepted images should have; null for a rule without one", True
        ),
        _confidence_field("chosen_on", pa.string(), "split by which the threshold was chosen; null without one", True),
        _confidence_field(
            "threshold", pa.float32(), "confidence at or above which images are accepted; null: none will do", True
        ),
        _confidence_field(
            "chosen_known", pa.int64(), "images of known truth accepted there, where it was chosen", True
        ),
        _confidence_field("chosen_accuracy", pa.float64(), "their accuracy, where it was chosen", True),
        *_ACCEPTED,
    ]
)

COVERAGE_CURVE = pa.schema(
    [
        *_DATASET,
        *_RULE,
        _confidence_field("threshold", pa.float32(), "confidence at or above which images are accepted"),
        *_ACCEPTED,
    ]
)


# The table of `generations`: how right each network is that a network taught, and what its labels cost people.

GENERATION, TAUGHT_SHARE, EVERYTHING = "generation", "taught_share", "everything"  # kinds of rows


def _study_field(name: str, kind: pa.DataType, description: str, nullable: bool = False, unit: str = "") -> pa.Field:
    return described(name, kind, description, nullable, unit or ("1" if pa.types.is_floating(kind) else ""))


def _interval(name: str, what: str, method: str) -> list[pa.Field]:
    over = "of a mean over seeds, Student's t over them, cut off where no figure can lie; null for one seed"
    return [
        _study_field(name, pa.float64(), what, True),
        _study_field(f"{name}_low", pa.float64(), f"lower end of its 95 % interval ({method}; {over})", True),
        _study_field(f"{name}_high", pa.float64(), f"upper end of its 95 % interval ({method}; {over})", True),
    ]


def _count(name: str, what: str) -> pa.Field:
    return _study_field(name, pa.float64(), f"{what}; of a mean over seeds, their mean", True, "images")


GENERATIONS = pa.schema(
    [
        _study_field("dataset", pa.string(), "name of the dataset"),
        _study_field("name", pa.string(), "name of the study"),
        _study_field(
            "kind",
            pa.string(),
            "generation; or what it is to be held against: taught_share (the same network, taught by people's labels "
            "of the taught share alone) or everything (by people's labels of the whole split)",
        ),
        _study_field(
            "generation", pa.int32(), "0 is taught by people, 1 by generation 0, ...; null for a reference", True
        ),
        _study_field("cut", pa.float64(), "labels less confident were not taught; null where people teach", True),
        _study_field(
            "seed", pa.int64(), "seed of the network and of all before it; null for the mean over seeds", True
        ),
        _study_field("seeds", pa.int32(), "how many seeds the row speaks of; those left out do not count"),
        _study_field("network", pa.string(), "its architecture, by name"),
        _study_field(
            "annotator", pa.string(), "name of the model and of its label set; null for the mean over seeds", True
        ),
        _study_field(
            "teacher", pa.string(), "annotator whose labels taught it; null for the mean over seeds of pupils", True
        ),
        _study_field("label_set", pa.string(), "the label set of those labels; null as teacher is", True),
        _count("taught", "labels that it learnt from, in the split that is learnt from"),
        _count("by_people", "of them, labels that people had to give"),
        _study_field("by_people_share", pa.float64(), "by_people, as a share of the split's images, in [0, 1]", True),
        _count("spared", "of taught, labels that no person had to give"),
        _count("validation", "labels of the validation split by which its training stopped, of the same teacher"),
        _count(
            "taught_known", "labels taught by a machine of images that people labelled as well; null where people teach"
        ),
        _study_field("taught_right", pa.float64(), "share of taught_known that is as people say, in [0, 1]", True),
        _study_field("n", pa.int64(), "test images that it was judged on; null where it was left out", True, "images"),
        *_interval("accuracy", "share of them that it labels as people do, in [0, 1]", "Wilson"),
        *_interval(
            "agreement", "share of test images it labels as its teacher does; null where people teach", "Wilson"
        ),
        *_interval(
            "lost",
            "accuracy of the reference `everything` of the same seed minus its own, on the same images; negative where "
            "it is the better one",
            "of paired proportions, method 10 of Newcombe 1998",
        ),
        _study_field("note", pa.string(), "why a network was left out; null where it was not", True),
    ]
)


# The tables that say which images people should look at: the queue, and the labels that may be wrong.

MACHINES_DIFFER, LABEL_ERROR, MACHINES_UNSURE = "machines_differ", "label_error", "machines_unsure"
REASONS = (MACHINES_DIFFER, LABEL_ERROR, MACHINES_UNSURE)  # in the order in which they are ranked


def _queue_field(name: str, kind: pa.DataType, description: str, nullable: bool = False) -> pa.Field:
    return described(name, kind, description, nullable, "1" if pa.types.is_floating(kind) else "")


ANSWER = pa.struct(
    [
        _queue_field("annotator", pa.string(), "the machine"),
        _queue_field("label", pa.string(), "what it said; null where it did not give the label in question", True),
        _queue_field("confidence", pa.float32(), "how sure it was, in [0, 1]; null where it gave no label", True),
    ]
)

QUEUE = pa.schema(
    [
        _queue_field("rank", pa.int64(), "1 for what is to be looked at first"),
        _queue_field("image_id", pa.string(), "identity of the image within its dataset"),
        _queue_field("split", pa.string(), "split of the dataset"),
        _queue_field("reason", pa.string(), f"why to look: {', '.join(REASONS)}"),
        _queue_field("score", pa.float64(), "how much it is worth a look within its reason, in [0, 1], higher first"),
        _queue_field("label", pa.string(), "several labels an image: the one in question; otherwise null", True),
        _queue_field("answers", pa.list_(ANSWER), "what each machine said, and how sure it was"),
        _queue_field(
            "majority", pa.string(), "label of more than half of the machines; null where there is none", True
        ),
        _queue_field("truth", pa.string(), "people's label; null where they gave none, or were not asked for", True),
    ]
)

LABEL_ERRORS = pa.schema(
    [
        _queue_field("rank", pa.int64(), "1 for the label that is most likely wrong"),
        _queue_field("image_id", pa.string(), "identity of the image within its dataset"),
        _queue_field("given", pa.string(), "label that the image has"),
        _queue_field("suggested", pa.string(), "label to which the network gives the highest score"),
        _queue_field("label_quality", pa.float64(), "how likely the given label is right, in [0, 1]; see quality"),
        _queue_field("quality", pa.string(), "cleanlab's label quality score: self_confidence or normalized_margin"),
        _queue_field("is_candidate", pa.bool_(), "whether cleanlab's filter takes the label for an error"),
    ]
)
