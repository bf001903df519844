"""How sure annotators are, in counts: where they agree and differ, and where thresholds would lie."""

from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.agree.confidence import confidences, coverage, joint, marks, reliability
from pipelines.agree.pairing import looked_up

RAW, CALIBRATED = "raw", "calibrated"
_COLUMNS = {RAW: "confidence", CALIBRATED: "confidence_calibrated"}


@dataclass(frozen=True, eq=False)
class Sureness:
    """Counts of two annotators' confidences, by kind: raw, and calibrated where both have it.

    Attributes:
        joint: how often both are how sure.
        coverage: how right they are from which threshold on; empty without a truth.
    """

    joint: dict[str, joint.Counts]
    coverage: dict[str, coverage.Counts]

    @classmethod
    def merged(cls, parts: Iterable["Sureness"]) -> "Sureness":
        """The sum of counts; a kind that some parts lack is left out."""
        found = [part for part in parts if part.joint]
        kinds = [kind for kind in _COLUMNS if found and all(kind in part.joint for part in found)]
        return cls(
            {kind: joint.merge(part.joint[kind] for part in found) for kind in kinds},
            {
                kind: coverage.merge(part.coverage[kind] for part in found)
                for kind in kinds
                if all(kind in part.coverage for part in found)
            },
        )


def count(pairs: pa.Table, coverage_too: bool) -> Sureness:
    """Count the confidences of a table of pairs.

    Args:
        pairs: of schema `PAIRS`.
        coverage_too: whether thresholds are asked for, which takes a truth.
    """
    if not pairs.num_rows:
        return Sureness({}, {})
    agree = pairs["agree"].to_numpy()
    right_a, right_b = (marks(pairs[f"correct_{annotator}"]) for annotator in "ab")
    joints, coverages = {}, {}
    for kind, name in _COLUMNS.items():
        columns = [pairs[f"{name}_{annotator}"] for annotator in "ab"]
        if kind == CALIBRATED and any(column.null_count == len(column) for column in columns):
            continue
        sure_a, sure_b = (confidences(column) for column in columns)
        joints[kind] = joint.count(sure_a, sure_b, agree, right_a, right_b)
        if coverage_too:
            coverages[kind] = coverage.count_agreed(sure_a, sure_b, agree, right_a)
    return Sureness(joints, coverages)


@dataclass(frozen=True, eq=False)
class Alone:
    """Counts of one annotator's confidences.

    Attributes:
        reliability: how right it is when it is how sure.
        coverage: how right it is from which threshold on, by kind of confidence.
    """

    reliability: reliability.Counts
    coverage: dict[str, coverage.Counts]

    @classmethod
    def merged(cls, parts: Iterable["Alone"]) -> "Alone":
        """The sum of counts."""
        found = list(parts)
        kinds = [kind for kind in _COLUMNS if any(kind in part.coverage for part in found)]
        summed = {
            kind: coverage.merge(part.coverage[kind] for part in found if kind in part.coverage) for kind in kinds
        }
        return cls(reliability.merge(part.reliability for part in found), summed)


def count_alone(labels: pa.Table, truth: pa.Table) -> Alone:
    """Count how right an annotator is when it is how sure.

    Args:
        labels: its labels, a row an image.
        truth: those of the annotator taken as truth.
    """
    correct = marks(pc.equal(labels["label"], looked_up(labels["image_id"], truth)))
    sure = {kind: confidences(labels[name]) for kind, name in _COLUMNS.items()}
    known = [kind for kind, name in _COLUMNS.items() if labels[name].null_count < len(labels)]
    return Alone(
        reliability.count(sure[RAW], sure[CALIBRATED], correct),
        {kind: coverage.count(sure[kind], correct) for kind in known},
    )
