"""How much a file that came from outside may ask for: memory in proportion to what there is of it."""

from schemas.errors import InputError

SMALL = 64 << 20  # bytes that need no reason
PACKED = 1032  # bytes that zlib packs into one at the most (https://zlib.net/zlib_tech.html)
MOST_NESTED = 64  # groups in groups, folders in folders


def check_bytes(path: str, what: str, asked: int, stored: int, ratio: int = PACKED) -> None:
    """Raise InputError where so many bytes cannot have come from those that are stored.

    Args:
        path: of the file.
        what: which part of it, for people.
        asked: bytes that it says it has.
        stored: bytes that there are of it.
        ratio: how many of the first can come from one of the second.
    """
    if asked > max(SMALL, ratio * stored):
        raise InputError(
            f"{path}: {what} says that it has {asked:,} bytes, but only {stored:,} are stored: the file is damaged, or "
            "made to exhaust memory; copy it again, or leave it out"
        )


def one_line(error: BaseException, most: int = 200) -> str:
    """What a library says of its trouble, fit for a message."""
    text = " ".join(str(error).split()) or type(error).__name__
    return ascii(text[:most])[1:-1] + ("..." if len(text) > most else "")
