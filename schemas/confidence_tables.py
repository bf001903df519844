"""The Arrow schema of the tables that tell how far confidence can be trusted.

Where a table has columns `a` and `b`, `b` is null for an annotator by itself. `confidence` says which one is meant:
`raw`, as the network gives it, or `calibrated`. Intervals are Wilson's, at 95 %.
"""

import pyarrow as pa

from schemas.tables import figure

RAW, CALIBRATED = "raw", "calibrated"
ALL, BIN = "all", "bin"  # scopes
ONE, AGREE, AGREE_AND_SURE = "one", "agree", "agree_and_sure"  # rules by which images are accepted


def _field(name: str, kind: pa.DataType, description: str, nullable: bool = False) -> pa.Field:
    return figure(name, kind, description, nullable)


def _share(name: str, description: str) -> list[pa.Field]:
    """A share, and the ends of its interval."""
    return [
        _field(name, pa.float64(), f"{description}; null where there are none", True),
        _field(f"{name}_low", pa.float64(), "lower end of its 95 % interval (Wilson)", True),
        _field(f"{name}_high", pa.float64(), "upper end of its 95 % interval (Wilson)", True),
    ]


_DATASET = [_field("dataset", pa.string(), "name of the dataset"), _field("split", pa.string(), "split of the dataset")]
_PAIR = [_field("a", pa.string(), "first annotator"), _field("b", pa.string(), "second annotator")]
_RULE = [
    _field("a", pa.string(), "annotator, or the first of two"),
    _field("b", pa.string(), "second annotator; null for one by itself", True),
    _field(
        "rule", pa.string(), "one: it is sure; agree: both agree; agree_and_sure: and the less sure of them is sure"
    ),
    _field("confidence", pa.string(), "raw, as the network gives it, or calibrated"),
]
_ACCEPTED = [
    _field("n", pa.int64(), "images that the annotator, or both of them, labelled"),
    _field("accepted", pa.int64(), "of them, images that are accepted"),
    *_share("share", "accepted / n"),
    _field("known", pa.int64(), "accepted images whose truth is known"),
    _field("correct", pa.int64(), "of them, images labelled as the truth does"),
    *_share("accuracy", "correct / known"),
]


def _reliability(suffix: str, which: str) -> list[pa.Field]:
    return [
        _field(f"n{suffix}", pa.int64(), f"images of known truth whose {which} confidence lies in the bin"),
        _field(f"correct{suffix}", pa.int64(), "of them, images labelled as the truth does"),
        *_share(f"accuracy{suffix}", "share of them labelled as the truth does"),
        _field(f"mean_confidence{suffix}", pa.float64(), f"their mean {which} confidence", True),
        _field(f"ece{suffix}", pa.float64(), f"expected calibration error of {which} confidence; of scope all", True),
        _field(f"brier{suffix}", pa.float64(), "mean of (confidence - correct)^2, Brier score of the label", True),
    ]


CALIBRATION = pa.schema(
    [
        *_DATASET,
        _field("annotator", pa.string(), "whose confidence"),
        _field("scope", pa.string(), "bin, or all for all of them"),
        _field("bin", pa.int32(), "number of the bin, from 0; null for all", True),
        _field("low", pa.float64(), "confidence above which it begins; the first one holds 0 too"),
        _field("high", pa.float64(), "confidence up to which it reaches, which belongs to it"),
        *_reliability("", "raw"),
        *_reliability("_calibrated", "calibrated"),
    ]
)

JOINT_CONFIDENCE = pa.schema(
    [
        *_DATASET,
        *_PAIR,
        _field("confidence", pa.string(), "raw, as the networks give it, or calibrated"),
        _field("scope", pa.string(), "bin, or all for all of them"),
        _field("bin_a", pa.int32(), "tenth of a's confidence, from 0; null for all", True),
        _field("bin_b", pa.int32(), "tenth of b's confidence, from 0; null for all", True),
        _field("n", pa.int64(), "images that both labelled"),
        _field("n_agree", pa.int64(), "of them, images that both gave the same label"),
        _field("n_known", pa.int64(), "of them, images whose truth is known"),
        _field("n_correct_a", pa.int64(), "of those, images that a labelled as the truth does"),
        _field("n_correct_b", pa.int64(), "of those, images that b labelled as the truth does"),
        _field("mean_agree_a", pa.float64(), "mean confidence of a where they agree", True),
        _field("mean_agree_b", pa.float64(), "mean confidence of b where they agree", True),
        _field("mean_differ_a", pa.float64(), "mean confidence of a where they differ", True),
        _field("mean_differ_b", pa.float64(), "mean confidence of b where they differ", True),
    ]
)

COVERAGE = pa.schema(
    [
        *_DATASET,
        *_RULE,
        _field("target", pa.float64(), "accuracy that accepted images should have; null for a rule without one", True),
        _field("chosen_on", pa.string(), "split by which the threshold was chosen; null without one", True),
        _field("threshold", pa.float32(), "confidence at or above which images are accepted; null: none will do", True),
        _field("chosen_known", pa.int64(), "images of known truth accepted there, where it was chosen", True),
        _field("chosen_accuracy", pa.float64(), "their accuracy, where it was chosen", True),
        *_ACCEPTED,
    ]
)

COVERAGE_CURVE = pa.schema(
    [
        *_DATASET,
        *_RULE,
        _field("threshold", pa.float32(), "confidence at or above which images are accepted"),
        *_ACCEPTED,
    ]
)
