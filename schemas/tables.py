"""The Arrow schema of every table, and the one way to write and read a Parquet file."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from schemas import storage
from schemas.errors import IncompleteError

CONFIRMED, REJECTED = "confirmed", "rejected"  # verdicts
FINGERPRINT = b"concord.fingerprint"
REPORT = b"concord.report"


def _field(name: str, kind: pa.DataType, description: str, nullable: bool = False) -> pa.Field:
    return pa.field(name, kind, nullable=nullable, metadata={"description": description})


INDEX = pa.schema(
    [
        _field("image_id", pa.string(), "identity of the image within its dataset"),
        _field("shard", pa.int32(), "number of the TFRecord shard that holds it"),
        _field("offset", pa.int64(), "where its record's payload begins in that shard, in bytes"),
        _field("length", pa.int64(), "length of the record's payload, in bytes"),
        _field("sha256", pa.string(), "SHA-256 of the encoded image, in hexadecimal"),
        _field("format", pa.string(), "how it is encoded: png or jpeg"),
        _field("height", pa.int32(), "height in pixels"),
        _field("width", pa.int32(), "width in pixels"),
        _field("channels", pa.int32(), "1 for grey, 3 for colour"),
        _field("reencoded", pa.string(), "why it is not stored as it came; null where it is, or came as pixels", True),
    ]
)

LABELS = pa.schema(
    [
        _field("image_id", pa.string(), "identity of the image within its dataset"),
        _field("label", pa.string(), "class name, or the digits of a number"),
        _field("confidence", pa.float32(), "how sure the annotator was, in [0, 1]; people: 1 present, 0 absent"),
        _field("confidence_calibrated", pa.float32(), "confidence after calibration; null where not calibrated", True),
        _field("verdict", pa.string(), "confirmed or rejected by people; null but in a confirmed set", True),
        _field("scores", pa.list_(pa.float32()), "score of each class, in class order; null unless asked for", True),
    ]
)

PAIRS = pa.schema(
    [
        _field("image_id", pa.string(), "identity of the image within its dataset"),
        _field("label_a", pa.string(), "label of annotator a"),
        _field("confidence_a", pa.float32(), "confidence of annotator a, in [0, 1]"),
        _field("label_b", pa.string(), "label of annotator b"),
        _field("confidence_b", pa.float32(), "confidence of annotator b, in [0, 1]"),
        _field("agree", pa.bool_(), "whether the two labels are the same"),
        _field("truth", pa.string(), "label of the annotator taken as truth; null where it gave none", True),
        _field("correct_a", pa.bool_(), "whether a's label is the truth's; null where there is no truth", True),
        _field("correct_b", pa.bool_(), "whether b's label is the truth's; null where there is no truth", True),
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
        _field("n", pa.int64(), "images that a and b gave these labels"),
        _field(
            "mean_confidence_a", pa.float64(), "mean confidence of a over them, in [0, 1]; null without label_a", True
        ),
        _field(
            "mean_confidence_b", pa.float64(), "mean confidence of b over them, in [0, 1]; null without label_b", True
        ),
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
        _field("features", pa.list_(pa.float32()), "output of the backbone, of one length in the whole folder"),
    ]
)

EXPLANATIONS = pa.schema(
    [
        _field("image_id", pa.string(), "identity of the image"),
        _field("label", pa.string(), "most probable label, for which the network was asked"),
        _field("confidence", pa.float32(), "how sure the network was of it, in [0, 1]"),
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
        _field("machine_rows", pa.int64(), "rows of the machine, well-formed and of interest"),
        _field("confirmed", pa.int64(), "of them, images and labels that people confirmed"),
        _field("rejected", pa.int64(), "of them, images and labels that people rejected"),
        _field("verified", pa.int64(), "confirmed + rejected"),
        _field("left_out", pa.int64(), "repeated rows of verified images and labels, and conflicts that were dropped"),
        _field("without_verdict", pa.int64(), "machine_rows - verified - left_out: nobody has looked"),
        _field("precision", pa.float64(), "confirmed / verified; null where nothing is verified", True),
        _field("precision_low", pa.float64(), "lower end of its 95 % interval (Wilson)", True),
        _field("precision_high", pa.float64(), "upper end of its 95 % interval (Wilson)", True),
    ]
)

LABELS_PER_IMAGE = pa.schema(
    [
        _PAIR_KEYS[0],
        _field("annotator", pa.string(), "whose labels"),
        _field("labels", pa.int32(), "labels an image"),
        _field("images", pa.int64(), "images that have so many"),
    ]
)

VERDICT_SOURCES = pa.schema(
    [
        _PAIR_KEYS[0],
        _field("source", pa.string(), "where people's verdicts come from, as the file says"),
        _field("confirmed", pa.int64(), "rows with confidence 1"),
        _field("rejected", pa.int64(), "rows with confidence 0"),
    ]
)


_SCOPE = [
    _field("scope", pa.string(), "all, or class for the figures of one label against the rest"),
    _field("label", pa.string(), "the label of a class scope; null for all", True),
]
_UNDEFINED = _field("undefined", pa.string(), "which figures are not defined, and why; null where all are", True)


def summary(figures: list[pa.Field]) -> pa.Schema:
    """The schema of the summary table: its keys and counts, then the figures of every measure."""
    n = _field("n", pa.int64(), "images that both annotators labelled")
    n_agree = _field("n_agree", pa.int64(), "images that both gave the same label, or the same set of labels")
    return pa.schema([*_PAIR_KEYS, *_SCOPE, n, n_agree, *figures, _UNDEFINED])


def annotators(figures: list[pa.Field]) -> pa.Schema:
    """The schema of the table of many annotators: its keys and counts, then the figures of every measure."""
    names = _field("annotators", pa.string(), "their names, in order, joined by commas")
    n = _field("n", pa.int64(), "images that at least one of them labelled")
    pairable = _field("n_pairable", pa.int64(), "images that at least two of them labelled")
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


def write(path: str, table: pa.Table, fingerprint: str, report: str = "{}") -> None:
    """Write one Parquet file, whole or not at all, carrying the fingerprint of what it was made from.

    Args:
        path: where to, local, `gs://` or `s3://`.
        table: the rows.
        fingerprint: of the inputs, settings and code that made them.
        report: JSON object of counts, kept in the file's metadata beside the fingerprint.
    """
    tagged = table.replace_schema_metadata({FINGERPRINT: fingerprint.encode(), REPORT: report.encode()})
    sink = pa.BufferOutputStream()
    pq.write_table(tagged, sink, compression="zstd")
    storage.write_bytes(path, memoryview(sink.getvalue()))


def read(path: str, fingerprint: str | None = None) -> pa.Table:
    """Read one Parquet file.

    Args:
        path: where from.
        fingerprint: the one that the file has to carry; None takes any.

    Raises:
        IncompleteError: the file was made from something else, or is damaged.
    """
    content = storage.read_bytes(path)
    try:
        table = pq.read_table(pa.BufferReader(content))
    except (pa.ArrowInvalid, OSError) as error:
        raise IncompleteError(
            f"{path} is damaged ({error}): remove it, and run the stage that writes it again with --force"
        ) from error
    if fingerprint is not None:
        _check(path, table.schema, fingerprint)
    return table


def read_tags(path: str) -> tuple[str, str]:
    """Fingerprint and JSON report of a Parquet file, from its footer; two empty strings where it has none."""
    with storage.open_input(path) as file:
        try:
            metadata = pq.read_schema(file).metadata or {}
        except pa.ArrowInvalid:  # cut off, or no Parquet at all: nobody's shard
            metadata = {}
    return metadata.get(FINGERPRINT, b"").decode(), metadata.get(REPORT, b"").decode()


def row_count(path: str) -> int:
    """How many rows a Parquet file has, from its footer."""
    with storage.open_input(path) as file:
        return int(pq.read_metadata(file).num_rows)


def _check(path: str, schema: pa.Schema, fingerprint: str) -> None:
    found = (schema.metadata or {}).get(FINGERPRINT, b"").decode()
    if found != fingerprint:
        raise IncompleteError(
            f"{path} has fingerprint {found or 'none'}, but its product is {fingerprint}: "
            "it was made from other inputs or settings; run the stage that writes it again"
        )
