"""Counts of annotators' confidences, raw and calibrated: joint confidence, reliability and coverage of one shard."""

from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from metrics import calibration, coverage
from metrics.calibration import confidences, marks
from metrics.pairing import look_up_labels
from schemas.tables import CALIBRATED, RAW

_COLUMNS = {RAW: "confidence", CALIBRATED: "confidence_calibrated"}


@dataclass(frozen=True, eq=False)
class ConfidenceCounts:
    """Counts of two annotators' confidences, by kind: raw, and calibrated where both have it.

    Attributes:
        joint: how often each pair of confidences occurs.
        coverage: their accuracy by threshold; empty without a reference.
    """

    joint: dict[str, calibration.JointCounts]
    coverage: dict[str, coverage.CoverageCounts]

    @classmethod
    def merged(cls, parts: Iterable["ConfidenceCounts"]) -> "ConfidenceCounts":
        """The sum of counts; a kind that some parts lack is excluded."""
        filled = [part for part in parts if part.joint]
        kinds = [kind for kind in _COLUMNS if filled and all(kind in part.joint for part in filled)]
        return cls(
            {kind: calibration.merge_joint(part.joint[kind] for part in filled) for kind in kinds},
            {
                kind: coverage.merge_coverage(part.coverage[kind] for part in filled)
                for kind in kinds
                if all(kind in part.coverage for part in filled)
            },
        )


def count_confidence(pairs: pa.Table, with_coverage: bool) -> ConfidenceCounts:
    """Count the confidences of a table of pairs.

    Args:
        pairs: of schema `PAIRS`.
        with_coverage: whether to count for thresholds too, which takes a reference.
    """
    if not pairs.num_rows:
        return ConfidenceCounts({}, {})
    agree = pairs["agree"].to_numpy()
    right_a, right_b = (marks(pairs[f"correct_{annotator}"]) for annotator in "ab")
    joints, coverages = {}, {}
    for kind, name in _COLUMNS.items():
        columns = [pairs[f"{name}_{annotator}"] for annotator in "ab"]
        if kind == CALIBRATED and any(column.null_count == len(column) for column in columns):
            continue
        a, b = (confidences(column) for column in columns)
        joints[kind] = calibration.count_joint(a, b, agree, right_a, right_b)
        if with_coverage:
            coverages[kind] = coverage.count_agreed(a, b, agree, right_a)
    return ConfidenceCounts(joints, coverages)


@dataclass(frozen=True, eq=False)
class AnnotatorConfidence:
    """Counts of one annotator's confidences.

    Attributes:
        reliability: its accuracy by confidence.
        coverage: its accuracy by threshold, by kind of confidence.
    """

    reliability: calibration.ReliabilityCounts
    coverage: dict[str, coverage.CoverageCounts]

    @classmethod
    def merged(cls, parts: Iterable["AnnotatorConfidence"]) -> "AnnotatorConfidence":
        """The sum of counts."""
        parts = list(parts)
        kinds = [kind for kind in _COLUMNS if any(kind in part.coverage for part in parts)]
        summed = {
            kind: coverage.merge_coverage(part.coverage[kind] for part in parts if kind in part.coverage)
            for kind in kinds
        }
        return cls(calibration.merge_reliability(part.reliability for part in parts), summed)


def count_annotator_confidence(labels: pa.Table, reference: pa.Table) -> AnnotatorConfidence:
    """Count how accurate an annotator is at each confidence.

    Args:
        labels: its labels, one row per image.
        reference: those of the annotator taken as reference.
    """
    correct = marks(pc.equal(labels["label"], look_up_labels(labels["image_id"], reference)))
    by_kind = {kind: confidences(labels[name]) for kind, name in _COLUMNS.items()}
    known = [kind for kind, name in _COLUMNS.items() if labels[name].null_count < len(labels)]
    return AnnotatorConfidence(
        calibration.count_reliability(by_kind[RAW], by_kind[CALIBRATED], correct),
        {kind: coverage.count_coverage(by_kind[kind], correct) for kind in known},
    )
