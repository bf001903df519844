"""What to do about files that cannot be read or written, by what operating systems and object stores say."""

import errno
import itertools
import re

_REMEDIES = {
    errno.ENOSPC: "no space left there; free some, or choose another place",
    errno.EDQUOT: "the disk quota is used up; free some space, or choose another place",
    errno.EFBIG: "the file would be larger than this system allows; raise the file-size limit (ulimit -f)",
    errno.EROFS: "the file system is read-only; choose another place",
    errno.EACCES: "permission denied; choose another place, or mend its permissions",
    errno.EPERM: "permission denied; choose another place, or mend its permissions",
    errno.ENOTDIR: "a file stands where a folder is needed; move it, or choose another place",
}
# What object stores say of themselves, in the words of Arrow's clients, and what to do.
_STORE_REMEDIES = (
    (
        re.compile(r"HTTP status 40[13]|ACCESS_DENIED|PERMISSION_DENIED|UNAUTHENTICATED|_ACCESS_KEY|SIGNATURE"),
        "give credentials that may do this (AWS_*, GOOGLE_APPLICATION_CREDENTIALS)",
    ),
    (
        re.compile(r"HTTP status (429|5\d\d)|NETWORK_CONNECTION|SLOW_DOWN|THROTTL|TIMEOUT|UNAVAILABLE|Retry policy"),
        "the store kept failing for about a minute; see whether it can be reached, and run the same command again",
    ),
)
_INNER = re.compile(r" error_info=\{.*\}")  # what Google's client says of its own workings


def of(said: str, number: int | None) -> str:
    """What an error says, or what to do about it, or both.

    Args:
        said: the error's own words.
        number: of an error of the operating system, of which the remedy says enough; 0 or None for other errors.
    """
    if number in _REMEDIES:
        return _REMEDIES[number]
    line = _INNER.sub("", " ".join(said.split()))
    known = (remedy for pattern, remedy in _STORE_REMEDIES if pattern.search(line))
    return "; ".join([line.rstrip("."), *itertools.islice(known, 1)])
