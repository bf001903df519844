"""The errors that Concord shows to its users: each names the offending value, where it is, and the cure."""

import difflib
import re
from collections.abc import Iterable

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
