"""The errors that Concord shows to its users, and the reasons for which a record can be rejected.

Each names what is wrong, where, and the cure; the list of reasons is closed.
"""

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

_MAX_LENGTH = 2000  # characters of a message
_SECRET = re.compile(r"(?<=://)[^/\s@]*@")  # a user, and a password, in an address


class ConcordError(Exception):
    """A problem that a user can solve; the message is complete by itself and fits on one line.

    Names and values in it may come from anybody's files: unprintable characters, such as those that move a terminal's
    cursor, are escaped. Users and passwords in addresses are not shown.
    """

    def __init__(self, message: str = "") -> None:
        masked = _SECRET.sub("***@", str(message))
        plain = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in masked)
        super().__init__(plain if len(plain) <= _MAX_LENGTH else f"{plain[:_MAX_LENGTH]}...")


class InputError(ConcordError):
    """An input file, a setting or a flag is not what it has to be."""


class StorageError(ConcordError):
    """A file could not be read or written."""


class IncompleteError(ConcordError):
    """A product that a stage reads is missing, unfinished or made of shards that do not belong together."""


class TooManyRejectsError(ConcordError):
    """More records were rejected than the stage allows."""


def one_line(error: BaseException, limit: int = 200) -> str:
    """A library's error message on one line, truncated and escaped, for a message of ours."""
    text = " ".join(str(error).split()) or type(error).__name__
    return ascii(text[:limit])[1:-1] + ("..." if len(text) > limit else "")


def suggest(word: str, known: Iterable[str], cutoff: float = 0.5) -> str:
    """The end of a message about an unknown word: the nearest known word, or all of them."""
    names = list(known)
    near = difflib.get_close_matches(word, names, 1, cutoff)
    return f"did you mean {near[0]}?" if near else f"known: {', '.join(names)}"


# Why a record can be rejected: a closed list of reasons, each with a hint on what to do.


class Reason(StrEnum):
    """Why a record was rejected."""

    PIXELS_NOT_FINITE = "pixels_not_finite"
    PIXELS_OUT_OF_RANGE = "pixels_out_of_range"
    LABEL_MISSING = "label_missing"
    LABEL_OUTSIDE_CLASSES = "label_outside_classes"
    LABEL_NOT_DIGITS = "label_not_digits"
    LABEL_REPEATED = "label_repeated"
    IMAGE_REPEATED = "image_repeated"
    IMAGE_UNKNOWN = "image_unknown"
    IMAGE_ID_MISSING = "image_id_missing"
    RECORD_DAMAGED = "record_damaged"
    IMAGE_UNDECODABLE = "image_undecodable"
    SCORES_NOT_FINITE = "scores_not_finite"
    MODEL_FAILED = "model_failed"
    OUT_OF_MEMORY = "out_of_memory"
    ROW_MALFORMED = "row_malformed"
    ROW_NOT_UTF8 = "row_not_utf8"
    IMAGE_ID_NOT_HEX = "image_id_not_hex"
    CONFIDENCE_NOT_A_NUMBER = "confidence_not_a_number"
    CONFIDENCE_OUTSIDE = "confidence_outside"
    VERDICT_NOT_CLEAR = "verdict_not_clear"
    IMAGE_GONE = "image_gone"
    IMAGE_FORBIDDEN = "image_forbidden"
    FETCH_FAILED = "fetch_failed"
    FETCH_TIMED_OUT = "fetch_timed_out"
    IMAGE_EMPTY = "image_empty"
    IMAGE_TRUNCATED = "image_truncated"
    NOT_AN_IMAGE = "not_an_image"
    IMAGE_ANIMATED = "image_animated"
    IMAGE_TOO_LARGE = "image_too_large"
    BOX_OUTSIDE = "box_outside"
    BOX_NOT_A_NUMBER = "box_not_a_number"


REJECT_HINTS = {
    Reason.PIXELS_NOT_FINITE: "pixels are NaN or infinite: correct the input file",
    Reason.PIXELS_OUT_OF_RANGE: "pixels lie outside the value range: set the actual one with --value-range",
    Reason.LABEL_MISSING: "there is no label (NaN, empty, not in the table or in --classes): correct the input",
    Reason.LABEL_OUTSIDE_CLASSES: "the label is none of the classes: list them all with --classes",
    Reason.LABEL_NOT_DIGITS: "a number has one to five digits, and nothing else: correct the file, or change --task",
    Reason.LABEL_REPEATED: "the image already has this label, and the first row counts: remove the others",
    Reason.IMAGE_REPEATED: "the image already has a label, and the first row counts: remove the others, or, "
    "if images have several labels, set --task multilabel",
    Reason.IMAGE_UNKNOWN: "the dataset has no such image in that split: set the correct --split, or remove the row",
    Reason.IMAGE_ID_MISSING: "there is no image id: correct the file, or name its columns with --columns",
    Reason.RECORD_DAMAGED: "the record's checksum is wrong: rebuild the shard with concord convert --force",
    Reason.IMAGE_UNDECODABLE: "the image cannot be decoded: copy it again, or rebuild the shard with convert --force",
    Reason.SCORES_NOT_FINITE: "the network's scores are NaN or infinite: train it again",
    Reason.MODEL_FAILED: "the network fails on this image alone: see its error, correct either, and run with --force",
    Reason.OUT_OF_MEMORY: "memory is too small for even one image: free some, and run the command with --force",
    Reason.ROW_MALFORMED: "the row has another number of fields than the header, or an open quote: correct the file",
    Reason.ROW_NOT_UTF8: "the row is not UTF-8 text: save the file as UTF-8",
    Reason.IMAGE_ID_NOT_HEX: "an ImageID has 16 hexadecimal digits: correct the file, or set --columns",
    Reason.CONFIDENCE_NOT_A_NUMBER: "the confidence is no number: correct the file, or name its columns with --columns",
    Reason.CONFIDENCE_OUTSIDE: "a confidence lies in [0, 1]: correct the file",
    Reason.VERDICT_NOT_CLEAR: "a human confidence is 1 (present) or 0 (absent), nothing between: correct the file",
    Reason.IMAGE_GONE: "the image does not exist (404): copy it there, or set another --images-from",
    Reason.IMAGE_FORBIDDEN: "access was denied (401, 403): set credentials, or check --images-from",
    Reason.FETCH_FAILED: "the server failed in every attempt: run the same command later with --force",
    Reason.FETCH_TIMED_OUT: "the server took longer than --timeout allows: raise it, and run with --force",
    Reason.IMAGE_EMPTY: "the file is empty (0 bytes): copy it again",
    Reason.IMAGE_TRUNCATED: "the file is truncated: copy it again",
    Reason.NOT_AN_IMAGE: "the file is no image of a known format: remove or replace it",
    Reason.IMAGE_ANIMATED: "the file has several images: save the intended one alone",
    Reason.IMAGE_TOO_LARGE: "it is larger than --max-pixels, or than any photograph: scale it down, or allow more",
    Reason.BOX_OUTSIDE: "no part of its boxes lies in the image: correct the boxes, or check the image",
    Reason.BOX_NOT_A_NUMBER: "a box is left, top, width and height, in pixels: correct the file of boxes",
}


@dataclass(frozen=True)
class Problem:
    """Why an image, or its label, cannot be stored."""

    reason: Reason
    detail: str  # one line of at most 200 characters


class UnfitError(Exception):
    """An image, or its label, cannot be stored; `problem` states why."""

    def __init__(self, reason: Reason, detail: str) -> None:
        self.problem = Problem(reason, " ".join(detail.split())[:200])
