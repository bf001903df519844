"""The tables that say which images people should look at: the queue, and the labels that may be wrong."""

import pyarrow as pa

from schemas.tables import described

MACHINES_DIFFER, LABEL_ERROR, MACHINES_UNSURE = "machines_differ", "label_error", "machines_unsure"
REASONS = (MACHINES_DIFFER, LABEL_ERROR, MACHINES_UNSURE)  # in the order in which they are ranked


def _field(name: str, kind: pa.DataType, description: str, nullable: bool = False) -> pa.Field:
    return described(name, kind, description, nullable, "1" if pa.types.is_floating(kind) else "")


ANSWER = pa.struct(
    [
        _field("annotator", pa.string(), "the machine"),
        _field("label", pa.string(), "what it said; null where it did not give the label in question", True),
        _field("confidence", pa.float32(), "how sure it was, in [0, 1]; null where it gave no label", True),
    ]
)

QUEUE = pa.schema(
    [
        _field("rank", pa.int64(), "1 for what is to be looked at first"),
        _field("image_id", pa.string(), "identity of the image within its dataset"),
        _field("split", pa.string(), "split of the dataset"),
        _field("reason", pa.string(), f"why to look: {', '.join(REASONS)}"),
        _field("score", pa.float64(), "how much it is worth a look within its reason, in [0, 1], higher first"),
        _field("label", pa.string(), "several labels an image: the one in question; otherwise null", True),
        _field("answers", pa.list_(ANSWER), "what each machine said, and how sure it was"),
        _field("majority", pa.string(), "label of more than half of the machines; null where there is none", True),
        _field("truth", pa.string(), "people's label; null where they gave none, or were not asked for", True),
    ]
)

LABEL_ERRORS = pa.schema(
    [
        _field("rank", pa.int64(), "1 for the label that is most likely wrong"),
        _field("image_id", pa.string(), "identity of the image within its dataset"),
        _field("given", pa.string(), "label that the image has"),
        _field("suggested", pa.string(), "label to which the network gives the highest score"),
        _field("label_quality", pa.float64(), "how likely the given label is right, in [0, 1]; see quality"),
        _field("quality", pa.string(), "cleanlab's label quality score: self_confidence or normalized_margin"),
        _field("is_candidate", pa.bool_(), "whether cleanlab's filter takes the label for an error"),
    ]
)
