"""Fetch many photographs at once: from S3, GCS, a web server or a folder, with bounded time, memory and patience.

Every request has a time limit, and is tried again with growing pauses when the server fails or breaks off, but not when
it says that the photograph is gone or forbidden.
"""

import asyncio
import functools
import os
import random
import re
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import NotFoundError, PermissionDeniedError, UnauthenticatedError
from obstore.store import GCSStore, HTTPStore, S3Store

from schemas.errors import InputError
from schemas.rejects import Reason
from storage import stores

FIRST_PAUSE = 0.2  # seconds before the first retry; each further one waits twice as long, at most LONGEST_PAUSE
LONGEST_PAUSE = 10.0
MOST_BYTES = 256 << 20  # of one photograph
AT_ONCE = 2  # photographs that are worked on at a time
_S3_REGION = "us-east-1"  # where open-images-dataset lies; AWS_REGION and AWS_DEFAULT_REGION overrule it
_NOT_THERE = (NotFoundError, FileNotFoundError, IsADirectoryError, NotADirectoryError)
_DENIED = (PermissionDeniedError, UnauthenticatedError, PermissionError)
_STATUS = re.compile(r"status code: (\d{3}[^:]*)")
_PREAMBLE = re.compile(r"Generic \w+ error: (Error performing \S+ \S+ in \S+ - )?")


Made = TypeVar("Made")


@dataclass(frozen=True)
class Patience:
    """How to fetch.

    Attributes:
        max_concurrency: requests at once.
        max_attempts: how often a request is tried in all.
        timeout: seconds that one attempt may take.
        signed: whether requests are signed with the usual credentials, or anonymous.
    """

    max_concurrency: int = 64
    max_attempts: int = 5
    timeout: float = 30.0
    signed: bool = False


@dataclass(frozen=True)
class Missing:
    """Why a photograph could not be fetched."""

    reason: Reason
    detail: str


def check_location(location: str) -> None:
    """Raise InputError where nothing could be fetched from such a place."""
    scheme = urlsplit(location).scheme if "://" in location else ""
    stores.check_address(location)
    if scheme not in ("", "s3", "gs", "http", "https"):
        raise InputError(f"cannot fetch from {location}: a place is a folder, s3://, gs://, https:// or http://")
    if scheme in ("http", "https") and re.search("[?#]", location):
        raise InputError(f"cannot fetch from {location}: a web address may hold no ? or # (write %3F or %23 in a name)")


async def fetch(locations: Sequence[str], patience: Patience) -> AsyncIterator[tuple[int, bytes | Missing]]:
    """Fetch all of some photographs; yield each with its number as it comes, in no particular order.

    What has come waits for the caller before more is asked for, so that no more than `max_concurrency` are in memory.
    """
    waiting: set[asyncio.Task[tuple[int, bytes | Missing]]] = set()
    numbers = iter(range(len(locations)))
    for number in numbers:
        waiting.add(asyncio.create_task(_one(number, locations[number], patience)))
        if len(waiting) < patience.max_concurrency:
            continue
        done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            yield task.result()
    while waiting:
        done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            yield task.result()


async def fetch_each(
    locations: Sequence[str], patience: Patience, work: Callable[[int, bytes], Made]
) -> list[Made | Missing]:
    """What `work` makes of each photograph, of its number and content, or why it is missing; in the order given.

    The work is done in threads, so that requests under way go on, and their time limits hold the server to account,
    not us; two at once, so that a processor need not wait for the next.
    """
    made: dict[int, Made | Missing] = {}
    working: dict[asyncio.Task[Made], int] = {}
    async for number, fetched in fetch(locations, patience):
        if isinstance(fetched, Missing):
            made[number] = fetched
        else:
            working[asyncio.create_task(asyncio.to_thread(work, number, fetched))] = number
            await _collect(working, made, AT_ONCE - 1)
    await _collect(working, made, 0)
    return [made[number] for number in range(len(locations))]


def read_each(locations: Sequence[str], patience: Patience, work: Callable[[int, bytes], Made]) -> list[Made | Missing]:
    """As `fetch_each`, and waits; files of this machine are read one by one, which takes less than many at once."""
    if any(map(stores.is_remote, locations)):
        return asyncio.run(fetch_each(locations, patience, work))
    made: list[Made | Missing] = []
    for number, location in enumerate(locations):
        try:
            content = _read(location)
        except (OSError, _TooLargeError) as error:
            made.append(_lost(location, error) or Missing(Reason.FETCH_FAILED, f"{location}: {_why(error)}"))
        else:
            made.append(work(number, content))
    return made


def _lost(location: str, error: Exception) -> Missing | None:
    """What is missing for good, however often it is asked for."""
    if isinstance(error, _NOT_THERE):
        return Missing(Reason.IMAGE_GONE, f"{location} is not there")
    if isinstance(error, _DENIED):
        return Missing(Reason.IMAGE_FORBIDDEN, f"access to {location} is denied")
    if isinstance(error, _TooLargeError):
        return Missing(Reason.IMAGE_TOO_LARGE, str(error))
    return None


async def _collect(working: dict[asyncio.Task[Made], int], made: dict[int, Made | Missing], most: int) -> None:
    """Take what is done, until no more than so many are under way."""
    while len(working) > most:
        done, _ = await asyncio.wait(working, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            made[working.pop(task)] = task.result()


async def _one(number: int, location: str, patience: Patience) -> tuple[int, bytes | Missing]:
    missing = Missing(Reason.FETCH_FAILED, "it was not tried")
    for attempt in range(patience.max_attempts):
        if attempt:
            pause = min(FIRST_PAUSE * 2 ** (attempt - 1), LONGEST_PAUSE)
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # not all at the same moment
        try:
            return number, await asyncio.wait_for(_content(location, patience), patience.timeout)
        except TimeoutError:
            missing = Missing(Reason.FETCH_TIMED_OUT, f"{location}: no answer in {patience.timeout:g} s")
        except Exception as error:  # whatever else the client raises means that this attempt failed
            if lost := _lost(location, error):
                return number, lost
            why = _why(error)
            if why.startswith("the server answered 410"):
                return number, Missing(Reason.IMAGE_GONE, f"{location} is not there any more")
            missing = Missing(Reason.FETCH_FAILED, f"{location}: {why}")
    return number, Missing(missing.reason, f"{missing.detail} ({patience.max_attempts} attempts)")


class _TooLargeError(Exception):
    """A file so large that it is no photograph."""


async def _content(location: str, patience: Patience) -> bytes:
    if not stores.is_remote(location):
        return await asyncio.to_thread(_read, location)
    store, key = _store_of(location, patience)
    found = await obstore.get_async(store, key)
    size = found.meta["size"]
    _check_size(location, size)
    content = bytes(await found.bytes_async())
    if len(content) != size:
        raise OSError(f"{len(content)} of {size} bytes came")
    return content


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        _check_size(path, os.fstat(file.fileno()).st_size)
        return file.read()


def _check_size(location: str, size: int) -> None:
    if size > MOST_BYTES:
        raise _TooLargeError(f"{location} has {size:,} bytes, more than {MOST_BYTES:,}")


def _why(error: Exception) -> str:
    """What the client says, without what differs from request to request: times, and ids in the server's answer."""
    text = str(error) or type(error).__name__
    if status := _STATUS.search(text):
        return f"the server answered {status[1].strip()}"
    return _PREAMBLE.sub("", text.splitlines()[0])[:200]


def _store_of(location: str, patience: Patience) -> tuple[Any, str]:
    parts = urlsplit(location)
    if parts.scheme in ("http", "https"):  # the client quotes the path itself
        return _store("http", f"{parts.scheme}://{parts.netloc}", patience), unquote(parts.path).lstrip("/")
    return _store(parts.scheme, parts.netloc, patience), location.split("/", 3)[-1]


@functools.lru_cache(maxsize=16)
def _store(scheme: str, place: str, patience: Patience) -> Any:
    """The client of a bucket or a web server; it keeps connections open, so a worker has one of each."""
    limit = timedelta(seconds=2 * patience.timeout)  # a net: the limit is kept in `_one`, where it has its name
    client: Any = {"timeout": limit, "connect_timeout": limit, "allow_http": True}
    never: Any = {"max_retries": 0, "retry_timeout": limit}  # retries are counted here, for every store alike
    if scheme == "http":
        return HTTPStore.from_url(place, client_options=client, retry_config=never)
    if scheme == "s3":
        region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or _S3_REGION
        given: Any = {"region": region, "skip_signature": not patience.signed}
        if endpoint := os.environ.get("AWS_ENDPOINT_URL"):
            given |= {"endpoint": endpoint, "virtual_hosted_style_request": False}
        return S3Store(place, client_options=client, retry_config=never, **given)
    given = {"skip_signature": not patience.signed}
    if endpoint := os.environ.get("STORAGE_EMULATOR_HOST"):
        given = {"skip_signature": True, "base_url": endpoint if "://" in endpoint else f"http://{endpoint}"}
    return GCSStore(place, client_options=client, retry_config=never, **given)
