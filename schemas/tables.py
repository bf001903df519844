"""The Arrow schema of every table, and the one way to write and read a Parquet file."""

import pyarrow as pa
import pyarrow.parquet as pq

from schemas import storage
from schemas.errors import IncompleteError

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
        _field("height", pa.int32(), "height in pixels"),
        _field("width", pa.int32(), "width in pixels"),
    ]
)

LABELS = pa.schema(
    [
        _field("image_id", pa.string(), "identity of the image within its dataset"),
        _field("label", pa.string(), "class name"),
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
        _field("label_a", pa.string(), "label of annotator a"),
        _field("label_b", pa.string(), "label of annotator b"),
        _field("n", pa.int64(), "images that a and b gave these labels"),
        _field("mean_confidence_a", pa.float64(), "mean confidence of a over them, in [0, 1]"),
        _field("mean_confidence_b", pa.float64(), "mean confidence of b over them, in [0, 1]"),
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


def summary(figures: list[pa.Field]) -> pa.Schema:
    """The schema of the summary table: its keys and counts, then the figures of every measure."""
    scope = _field("scope", pa.string(), "all, or class for the figures of one label")
    label = _field("label", pa.string(), "the label of a class scope; null for all", True)
    n = _field("n", pa.int64(), "images that both annotators labelled")
    n_agree = _field("n_agree", pa.int64(), "images that both gave the same label")
    return pa.schema([*_PAIR_KEYS, scope, label, n, n_agree, *figures])


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


def _check(path: str, schema: pa.Schema, fingerprint: str) -> None:
    found = (schema.metadata or {}).get(FINGERPRINT, b"").decode()
    if found != fingerprint:
        raise IncompleteError(
            f"{path} has fingerprint {found or 'none'}, but its product is {fingerprint}: "
            "it was made from other inputs or settings; run the stage that writes it again"
        )
