"""Why a record can be turned away: a closed list, each with what to do about it."""

from enum import StrEnum


class Reason(StrEnum):
    """Why a record was rejected."""

    PIXELS_NOT_FINITE = "pixels_not_finite"
    PIXELS_OUT_OF_RANGE = "pixels_out_of_range"
    LABEL_MISSING = "label_missing"
    LABEL_OUTSIDE_CLASSES = "label_outside_classes"
    RECORD_DAMAGED = "record_damaged"
    IMAGE_UNDECODABLE = "image_undecodable"
    SCORES_NOT_FINITE = "scores_not_finite"


REMEDIES = {
    Reason.PIXELS_NOT_FINITE: "pixels are NaN or infinite: mend the input file",
    Reason.PIXELS_OUT_OF_RANGE: "pixels lie outside the value range: give the true one with --value-range",
    Reason.LABEL_MISSING: "the label is NaN: mend the input file",
    Reason.LABEL_OUTSIDE_CLASSES: "the label is none of the classes: list them all with --classes",
    Reason.RECORD_DAMAGED: "the record's checksum does not fit: remake the shard with concord convert --force",
    Reason.IMAGE_UNDECODABLE: "the image cannot be decoded: remake the shard with concord convert --force",
    Reason.SCORES_NOT_FINITE: "the network's scores are NaN or infinite: train it again",
}
