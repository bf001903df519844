"""How sure annotators are, in counts: where they agree and differ, and where thresholds would lie."""

from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from metrics import calibration
from metrics import coverage as metrics_coverage
from metrics.confidence_bins import confidences, marks
from metrics.pairing import looked_up

RAW, CALIBRATED = "raw", "calibrated"
_COLUMNS = {RAW: "confidence", CALIBRATED: "confidence_calibrated"}


@dataclass(frozen=True, eq=False)
class ConfidenceCounts:
    """Counts of two annotators' confidences, by kind: raw, and calibrated where both have it.

    Attributes:
        joint: how often both are how sure.
        coverage: how right they are from which threshold on; empty without a truth.
    """

    joint: dict[str, calibration.JointCounts]
    coverage: dict[str, metrics_coverage.CoverageCounts]

    @classmethod
    def merged(cls, parts: Iterable["ConfidenceCounts"]) -> "ConfidenceCounts":
        """The sum of counts; a kind that some parts lack is left out."""
        found = [part for part in parts if part.joint]
        kinds = [kind for kind in _COLUMNS if found and all(kind in part.joint for part in found)]
        return cls(
            {kind: calibration.merge_joint(part.joint[kind] for part in found) for kind in kinds},
            {
                kind: metrics_coverage.merge_coverage(part.coverage[kind] for part in found)
                for kind in kinds
                if all(kind in part.coverage for part in found)
            },
        )


def count_confidence(pairs: pa.Table, coverage_too: bool) -> ConfidenceCounts:
    """Count the confidences of a table of pairs.

    Args:
        pairs: of schema `PAIRS`.
        coverage_too: whether thresholds are asked for, which takes a truth.
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
        sure_a, sure_b = (confidences(column) for column in columns)
        joints[kind] = calibration.count_joint(sure_a, sure_b, agree, right_a, right_b)
        if coverage_too:
            coverages[kind] = metrics_coverage.count_agreed(sure_a, sure_b, agree, right_a)
    return ConfidenceCounts(joints, coverages)


@dataclass(frozen=True, eq=False)
class AnnotatorConfidence:
    """Counts of one annotator's confidences.

    Attributes:
        reliability: how right it is when it is how sure.
        coverage: how right it is from which threshold on, by kind of confidence.
    """

    reliability: calibration.ReliabilityCounts
    coverage: dict[str, metrics_coverage.CoverageCounts]

    @classmethod
    def merged(cls, parts: Iterable["AnnotatorConfidence"]) -> "AnnotatorConfidence":
        """The sum of counts."""
        found = list(parts)
        kinds = [kind for kind in _COLUMNS if any(kind in part.coverage for part in found)]
        summed = {
            kind: metrics_coverage.merge_coverage(part.coverage[kind] for part in found if kind in part.coverage)
            for kind in kinds
        }
        return cls(calibration.merge_reliability(part.reliability for part in found), summed)


def count_annotator_confidence(labels: pa.Table, truth: pa.Table) -> AnnotatorConfidence:
    """Count how right an annotator is when it is how sure.

    Args:
        labels: its labels, a row an image.
        truth: those of the annotator taken as truth.
    """
    correct = marks(pc.equal(labels["label"], looked_up(labels["image_id"], truth)))
    sure = {kind: confidences(labels[name]) for kind, name in _COLUMNS.items()}
    known = [kind for kind, name in _COLUMNS.items() if labels[name].null_count < len(labels)]
    return AnnotatorConfidence(
        calibration.count_reliability(sure[RAW], sure[CALIBRATED], correct),
        {kind: metrics_coverage.count_coverage(sure[kind], correct) for kind in known},
    )
