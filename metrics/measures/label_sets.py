"""Whole sets of labels: how many are equal (subset accuracy), and the share of wrong decisions (Hamming loss).

R. E. Schapire and Y. Singer (2000), "BoosTexter", Machine Learning 39:135-168; M. S. Sorower (2010), "A literature
survey on algorithms for multi-label learning".
"""

import pyarrow as pa

from metrics.counts import MultilabelCounts
from metrics.measures import Figures, absent, field, fields, proportion, ratio

COUNTS = (MultilabelCounts,)
FIELDS = [
    field("n_decisions", pa.int64(), "image-class decisions: images times the labels that occur"),
    field("hamming_loss", pa.float64(), "share of image-class decisions on which they differ"),
    *fields("subset_agreement", "share of images to which both gave the same set of labels", "Wilson"),
    field("n_truth_images", pa.int64(), "images of which the truth tells anything"),
    field("hamming_loss_a", pa.float64(), "share of the decisions known that a has wrong"),
    field("hamming_loss_b", pa.float64(), "share of the decisions known that b has wrong"),
    *fields("subset_accuracy_a", "share of images on which a is right about all that is known", "Wilson"),
    *fields("subset_accuracy_b", "share of images on which b is right about all that is known", "Wilson"),
]


def figures(counts: MultilabelCounts) -> Figures:
    """The figures of `FIELDS`."""
    pooled, images = counts.pooled, counts.told.images
    found: Figures = {"n_decisions": pooled.n, "n_truth_images": images}
    found["hamming_loss"] = ratio(pooled.n - pooled.n_agree, pooled.n, "no label was given")
    found |= proportion("subset_agreement", counts.n_agree, counts.n)
    for annotator in "ab":
        right, known = pooled.correct(annotator)
        loss = ratio(known - right, known, "nothing is known of a label") if images else None
        found[f"hamming_loss_{annotator}"] = loss
    for annotator in "ab":
        name = f"subset_accuracy_{annotator}"
        found |= proportion(name, counts.right(annotator), images) if images else absent(name, None)
    return found
