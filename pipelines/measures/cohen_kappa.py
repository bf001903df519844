"""Observed and expected agreement and Cohen's kappa, for two annotators and one label an image.

J. Cohen (1960), "A coefficient of agreement for nominal scales", Educational and Psychological Measurement 20:37-46:
kappa = (observed - expected) / (1 - expected), where expected is the agreement of two annotators who label at random,
each with its own frequencies.
"""

import pyarrow as pa

from pipelines.measures import Counts, Figures, field, ratio

FIELDS = [
    field("observed", pa.float64(), "share of images on which they agree, in [0, 1]"),
    field("expected", pa.float64(), "agreement expected by chance, from how often each gave each label"),
    field("kappa", pa.float64(), "Cohen's kappa; null where chance alone would agree on everything"),
]


def figures(counts: Counts) -> Figures:
    """The figures of `FIELDS`; computed in whole numbers, rounded once."""
    n, n_agree = counts.n, counts.n_agree
    labels_b = counts.marginal("b")
    by_chance = sum(times * labels_b[label] for label, times in counts.marginal("a").items())
    return {
        "observed": ratio(n_agree, n),
        "expected": ratio(by_chance, n * n),
        "kappa": ratio(n * n_agree - by_chance, n * n - by_chance),
    }
