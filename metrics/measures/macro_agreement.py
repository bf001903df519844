"""Macro averages of agreement on sets of labels: the mean over labels, each against its absence."""

import math

import pyarrow as pa

from metrics.counts import MultilabelCounts
from metrics.measures import (
    Figures,
    Undefined,
    cohen_kappa,
    field,
    gwet_ac1,
    krippendorff_alpha,
    scott_pi,
    specific_agreement,
)

COUNTS = (MultilabelCounts,)
_OF = {
    "kappa": cohen_kappa,
    "pi": scott_pi,
    "alpha": krippendorff_alpha,
    "ac1": gwet_ac1,
    "positive_agreement": specific_agreement,
}
FIELDS = [
    field(f"macro_{name}", pa.float64(), f"mean {name.replace('_', ' ')} over the labels for which it is defined")
    for name in _OF
]


def figures(counts: MultilabelCounts) -> Figures:
    """The figures of `FIELDS`."""
    by_label = [one for _, one in counts.by_label()]
    found: Figures = {}
    for name, module in _OF.items():
        values = [module.figures(one)[name] for one in by_label]
        defined = [value for value in values if not isinstance(value, Undefined)]
        found[f"macro_{name}"] = math.fsum(defined) / len(defined) if defined else Undefined("defined for no label")
    return found
