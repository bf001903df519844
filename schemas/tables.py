"""The Arrow schema of every table, and the one way to write and read a Parquet file."""

import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from schemas import parquet, seals, storage
from schemas.bounds import one_line
from schemas.errors import IncompleteError

CONFIRMED, REJECTED = "confirmed", "rejected"  # verdicts
FINGERPRINT = b"concord.fingerprint"
REPORT = b"concord.report"


_UNIQUE = ("image_id", "sha256")  # a dictionary of values that hardly repeat costs time and space


def _is_real(kind: pa.DataType) -> bool:
    return bool(pa.types.is_floating(kind) or pa.types.is_list(kind))


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


def write(path: str, table: pa.Table, fingerprint: str, report: str = "{}") -> None:
    """Write one Parquet file, whole or not at all, carrying the fingerprint of what it was made from.

    Args:
        path: where to, local, `gs://` or `s3://`.
        table: the rows.
        fingerprint: of the inputs, settings and code that made them.
        report: JSON object of counts, kept in the file's metadata beside the fingerprint.
    """
    tagged = table.replace_schema_metadata({FINGERPRINT: fingerprint.encode(), REPORT: report.encode()})
    repeating = [field.name for field in table.schema if field.name not in _UNIQUE and not _is_real(field.type)]
    name = path.rsplit("/", 1)[-1]
    how = {"compression": "zstd", "use_dictionary": repeating or False, "write_page_checksum": True}
    storage.write_parts(path, seals.parquet(tagged, name, **how))


def read(
    path: str,
    fingerprint: str | None = None,
    schema: pa.Schema | None = None,
    columns: Sequence[str] | None = None,
) -> pa.Table:
    """Read one Parquet file.

    Args:
        path: where from.
        fingerprint: the one that the file has to carry; None takes any.
        schema: the columns that the file has to have; None takes any.
        columns: which to read; None reads all.

    Raises:
        IncompleteError: the file was made from something else, is damaged, or has other columns.
    """
    content = storage.read_bytes(path)
    with _whole(path):
        parquet.check(path, io.BytesIO(content), columns)
        file = pq.ParquetFile(pa.BufferReader(content), page_checksum_verification=True)
        table = file.read(columns=list(columns) if columns else None, use_threads=False)
        table.validate(full=True)
    if "image_id" in table.column_names and (table["image_id"].type != pa.string() or table["image_id"].null_count):
        raise _unfit(path, "has rows without an image_id")
    if fingerprint is not None:
        _check(path, table.schema, fingerprint)
    if schema is not None:
        check_schema(path, table.schema, schema)
    return table


def read_schema(path: str) -> pa.Schema:
    """The columns of a Parquet file, from its footer; IncompleteError where it is damaged."""
    with storage.open_input(path) as file, _whole(path):
        return pq.read_schema(file)


@contextmanager
def _whole(path: str) -> Iterator[None]:
    """Turn what Arrow says of a damaged file into an error that says what to do."""
    try:
        yield
    except parquet.TROUBLES as error:
        if getattr(error, "errno", None) is not None:  # the file could not even be read
            raise
        raise IncompleteError(
            f"{path} is damaged ({one_line(error)}): remove it, and run the stage that writes it again with --force"
        ) from error


def check_schema(path: str, found: pa.Schema, stated: pa.Schema, others: bool = False) -> None:
    """Check the columns of a file, in any order, against those that its table has.

    Args:
        path: of the file.
        found: its columns.
        stated: the columns of the table.
        others: whether the file may have more columns than these.

    Raises:
        IncompleteError: a column is missing, unknown or of another type; the message names file and column.
    """
    for field in stated:
        if field.name not in found.names:
            raise _unfit(path, f"has no column {field.name!r}")
        if found.field(field.name).type != field.type:
            raise _unfit(path, f"has column {field.name!r} as {found.field(field.name).type} instead of {field.type}")
    unknown = [name for name in found.names if name not in stated.names]
    if unknown and not others:
        raise _unfit(path, f"has a column {unknown[0]!r} that its table does not know")


def _unfit(path: str, what: str) -> IncompleteError:
    return IncompleteError(
        f"{path} {what}: another version of Concord wrote it, or something else; "
        "move it away, or run the stage that writes it again with --force"
    )


def read_tags(path: str) -> tuple[str, str]:
    """Fingerprint and JSON report of a Parquet file, from its footer; two empty strings where it has none."""
    with storage.open_input(path) as file:
        try:
            with _whole(path):
                metadata = pq.read_schema(file).metadata or {}
        except IncompleteError:  # cut off, or no Parquet at all: nobody's shard
            metadata = {}
    tags = (metadata.get(key, b"").decode(errors="replace") for key in (FINGERPRINT, REPORT))
    return next(tags), next(tags)


def row_count(path: str) -> int:
    """How many rows a Parquet file has, from its footer; IncompleteError where it is damaged."""
    with storage.open_input(path) as file, _whole(path):
        return int(pq.read_metadata(file).num_rows)


def _check(path: str, schema: pa.Schema, fingerprint: str) -> None:
    found = (schema.metadata or {}).get(FINGERPRINT, b"").decode(errors="replace")
    if found != fingerprint:
        raise IncompleteError(
            f"{path} has fingerprint {found or 'none'}, but its product is {fingerprint}: "
            "it was made from other inputs or settings; run the stage that writes it again"
        )
