"""The errors that Concord shows to its users: each names what is wrong, where, and the cure."""

import difflib
import re
from collections.abc import Iterable

_LONGEST = 2000  # characters of a message
_SECRET = re.compile(r"(?<=://)[^/\s@]*@")  # a user, and a password, in an address


class ConcordError(Exception):
    """Something that a user can mend; the message is complete by itself and fits on one line.

    Names and values in it may come from anybody's files: what is not printable, such as what would move a terminal's
    cursor, is escaped. Users and passwords in addresses are not shown.
    """

    def __init__(self, message: str = "") -> None:
        plain = "".join(one if one.isprintable() else ascii(one)[1:-1] for one in _SECRET.sub("***@", str(message)))
        super().__init__(plain if len(plain) <= _LONGEST else f"{plain[:_LONGEST]}...")


class InputError(ConcordError):
    """An input file, a setting or a flag is not what it has to be."""


class StorageError(ConcordError):
    """A file could not be read or written where it should lie."""


class IncompleteError(ConcordError):
    """A product that a stage reads is missing, unfinished or made of shards that do not belong together."""


class TooManyRejectsError(ConcordError):
    """More records were rejected than the stage allows."""


def one_line(error: BaseException, most: int = 200) -> str:
    """What a library says of its trouble, fit for a message."""
    text = " ".join(str(error).split()) or type(error).__name__
    return ascii(text[:most])[1:-1] + ("..." if len(text) > most else "")


def suggest(word: str, known: Iterable[str], cutoff: float = 0.5) -> str:
    """The end of a message about an unknown word: the nearest known word, or all of them."""
    names = list(known)
    near = difflib.get_close_matches(word, names, 1, cutoff)
    return f"did you mean {near[0]}?" if near else f"known: {', '.join(names)}"
