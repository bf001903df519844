"""Fetch many photographs at once from S3, GCS, a web server or a folder, with limited time, memory and retries.

Every request has a time limit, and is repeated after growing pauses when the server fails or breaks the connection, but
not when it reports that the photograph is gone or forbidden.
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

from schemas.errors import InputError, Reason
from storage import stores

FIRST_PAUSE = 0.2  # seconds before the first retry; it doubles for each further one, up to LONGEST_PAUSE
LONGEST_PAUSE = 10.0
MAX_BYTES = 256 << 20  # of one photograph
MAX_WORKERS = 2  # photographs that are processed at a time
_S3_REGION = "us-east-1"  # of open-images-dataset; AWS_REGION and AWS_DEFAULT_REGION override it
_GONE = (NotFoundError, FileNotFoundError, IsADirectoryError, NotADirectoryError)
_DENIED = (PermissionDeniedError, UnauthenticatedError, PermissionError)
_STATUS = re.compile(r"status code: (\d{3}[^:]*)")
_PREAMBLE = re.compile(r"Generic \w+ error: (Error performing \S+ \S+ in \S+ - )?")

Result = TypeVar("Result")


@dataclass(frozen=True)
class FetchPolicy:
    """How to fetch.

    Attributes:
        max_concurrency: concurrent requests.
        max_attempts: attempts per request, the first included.
        timeout: seconds per attempt.
        signed: whether requests are signed with the usual credentials, or anonymous.
    """

    max_concurrency: int = 64
    max_attempts: int = 5
    timeout: float = 30.0
    signed: bool = False


@dataclass(frozen=True)
class FetchFailure:
    """Why a photograph could not be fetched."""

    reason: Reason
    detail: str


def check_location(location: str) -> None:
    """Raise InputError if photographs cannot be fetched from such a location."""
    scheme = urlsplit(location).scheme if "://" in location else ""
    stores.check_address(location)
    if scheme not in ("", "s3", "gs", "http", "https"):
        raise InputError(f"cannot fetch from {location}: give a folder, s3://, gs://, https:// or http://")
    if scheme in ("http", "https") and re.search("[?#]", location):
        raise InputError(
            f"cannot fetch from {location}: a web address may contain no ? or # (write %3F or %23 in a name)"
        )


async def fetch(locations: Sequence[str], policy: FetchPolicy) -> AsyncIterator[tuple[int, bytes | FetchFailure]]:
    """Fetch photographs; yield each with its number as it arrives, in no particular order.

    What has arrived waits for the caller before more is requested: at most `max_concurrency` are in memory.
    """
    waiting: set[asyncio.Task[tuple[int, bytes | FetchFailure]]] = set()
    for number, location in enumerate(locations):
        waiting.add(asyncio.create_task(_fetch_one(number, location, policy)))
        if len(waiting) == policy.max_concurrency:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                yield task.result()
    for completed in asyncio.as_completed(waiting):
        yield await completed


async def fetch_each(
    locations: Sequence[str], policy: FetchPolicy, work: Callable[[int, bytes], Result]
) -> list[Result | FetchFailure]:
    """The result of `work` for the number and content of each photograph, or why it is missing; in order.

    The work is done in threads, so that open requests continue and their time limits measure the server, not us; in two
    of them, so that a processor need not wait for the next photograph.
    """
    results: dict[int, Result | FetchFailure] = {}
    working: dict[asyncio.Task[Result], int] = {}
    async for number, content in fetch(locations, policy):
        if isinstance(content, FetchFailure):
            results[number] = content
        else:
            working[asyncio.create_task(asyncio.to_thread(work, number, content))] = number
            await _collect(working, results, MAX_WORKERS - 1)
    await _collect(working, results, 0)
    return [results[number] for number in range(len(locations))]


def read_each(
    locations: Sequence[str], policy: FetchPolicy, work: Callable[[int, bytes], Result]
) -> list[Result | FetchFailure]:
    """`fetch_each` for callers that are not asynchronous; local files are read one by one, which is faster."""
    if any(map(stores.is_remote, locations)):
        return asyncio.run(fetch_each(locations, policy, work))
    results: list[Result | FetchFailure] = []
    for number, location in enumerate(locations):
        try:
            content = _read(location)
        except (OSError, _TooLargeError) as error:
            results.append(
                _permanent_failure(location, error)
                or FetchFailure(Reason.FETCH_FAILED, f"{location}: {_describe_error(error)}")
            )
        else:
            results.append(work(number, content))
    return results


def _permanent_failure(location: str, error: Exception) -> FetchFailure | None:
    """Why a photograph is missing for good; None if another attempt may succeed."""
    if isinstance(error, _GONE):
        return FetchFailure(Reason.IMAGE_GONE, f"{location} is not there")
    if isinstance(error, _DENIED):
        return FetchFailure(Reason.IMAGE_FORBIDDEN, f"access to {location} is denied")
    if isinstance(error, _TooLargeError):
        return FetchFailure(Reason.IMAGE_TOO_LARGE, str(error))
    return None


async def _collect(
    working: dict[asyncio.Task[Result], int], results: dict[int, Result | FetchFailure], limit: int
) -> None:
    """Collect the results of finished tasks, until no more than `limit` are running."""
    while len(working) > limit:
        done, _ = await asyncio.wait(working, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            results[working.pop(task)] = task.result()


async def _fetch_one(number: int, location: str, policy: FetchPolicy) -> tuple[int, bytes | FetchFailure]:
    failure = FetchFailure(Reason.FETCH_FAILED, "it was not tried")
    for attempt in range(policy.max_attempts):
        if attempt:
            pause = min(FIRST_PAUSE * 2 ** (attempt - 1), LONGEST_PAUSE)
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # so that retries do not coincide
        try:
            return number, await asyncio.wait_for(_read_content(location, policy), policy.timeout)
        except TimeoutError:
            failure = FetchFailure(Reason.FETCH_TIMED_OUT, f"{location}: no answer in {policy.timeout:g} s")
        except Exception as error:  # whatever else the client raises means that this attempt failed
            if permanent := _permanent_failure(location, error):
                return number, permanent
            detail = _describe_error(error)
            if detail.startswith("the server answered 410"):
                return number, FetchFailure(Reason.IMAGE_GONE, f"{location} is not there any more")
            failure = FetchFailure(Reason.FETCH_FAILED, f"{location}: {detail}")
    return number, FetchFailure(failure.reason, f"{failure.detail} ({policy.max_attempts} attempts)")


class _TooLargeError(Exception):
    """A file is too large to be a photograph."""


async def _read_content(location: str, policy: FetchPolicy) -> bytes:
    if not stores.is_remote(location):
        return await asyncio.to_thread(_read, location)
    store, key = _store_of(location, policy)
    response = await obstore.get_async(store, key)
    size = response.meta["size"]
    _check_size(location, size)
    content = bytes(await response.bytes_async())
    if len(content) != size:
        raise OSError(f"{len(content)} of {size} bytes arrived")
    return content


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        _check_size(path, os.fstat(file.fileno()).st_size)
        return file.read()


def _check_size(location: str, size: int) -> None:
    if size > MAX_BYTES:
        raise _TooLargeError(f"{location} has {size:,} bytes, more than {MAX_BYTES:,}")


def _describe_error(error: Exception) -> str:
    """The client's message, without what differs between requests: times, and ids in the server's answer."""
    text = str(error) or type(error).__name__
    if status := _STATUS.search(text):
        return f"the server answered {status[1].strip()}"
    return _PREAMBLE.sub("", text.splitlines()[0])[:200]


def _store_of(location: str, policy: FetchPolicy) -> tuple[Any, str]:
    parts = urlsplit(location)
    if parts.scheme in ("http", "https"):  # the client quotes the path itself
        return _store("http", f"{parts.scheme}://{parts.netloc}", policy), unquote(parts.path).lstrip("/")
    return _store(parts.scheme, parts.netloc, policy), location.split("/", 3)[-1]


@functools.lru_cache(maxsize=16)
def _store(scheme: str, host: str, policy: FetchPolicy) -> Any:
    """The client of a bucket or a web server, one per worker, which keeps connections open."""
    limit = timedelta(seconds=2 * policy.timeout)  # a safety net: `_fetch_one` enforces the limit
    client: Any = {"timeout": limit, "connect_timeout": limit, "allow_http": True}
    no_retries: Any = {
        "max_retries": 0,
        "retry_timeout": limit,
    }  # retries are counted here, in the same way for every store
    if scheme == "http":
        return HTTPStore.from_url(host, client_options=client, retry_config=no_retries)
    if scheme == "s3":
        region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or _S3_REGION
        options: Any = {"region": region, "skip_signature": not policy.signed}
        if endpoint := os.environ.get("AWS_ENDPOINT_URL"):
            options |= {"endpoint": endpoint, "virtual_hosted_style_request": False}
        return S3Store(host, client_options=client, retry_config=no_retries, **options)
    options = {"skip_signature": not policy.signed}
    if endpoint := os.environ.get("STORAGE_EMULATOR_HOST"):
        options = {"skip_signature": True, "base_url": endpoint if "://" in endpoint else f"http://{endpoint}"}
    return GCSStore(host, client_options=client, retry_config=no_retries, **options)
