"""Fetching: every outcome, how often and how many at once a server is asked, and what is held in memory."""

import asyncio
import collections
import os
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from schemas.errors import InputError, Reason
from storage import fetching, stores
from storage.fetching import FetchFailure, FetchPolicy, fetch
from tests.support import faulty_server
from tests.support.faulty_server import Fault, FaultyServer, Rule, listed, serving

BODY = random.Random(7).randbytes(20_000)
SCHEMES = ("http", "s3", "gs")


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Short pauses, no credentials, and clients made anew, for each test has servers of its own."""
    monkeypatch.setattr(fetching, "FIRST_PAUSE", 0.005)
    for name in [name for name in os.environ if name.startswith(("AWS_", "GOOGLE_"))]:
        monkeypatch.delenv(name)
    fetching._store.cache_clear()
    yield
    fetching._store.cache_clear()


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with the bucket `photos`, which holds 40 files."""
    folder = tmp_path / "files"
    (folder / "photos").mkdir(parents=True)
    for number in range(40):
        (folder / "photos" / f"{number:02d}.jpg").write_bytes(BODY + bytes([number]))
    return folder


@contextmanager
def served(files: Path, rule: Rule = lambda path, attempt: None, delay: float = 0.0) -> Iterator[FaultyServer]:
    """A server of the files, which is a web server and speaks S3 and GCS as well."""
    with serving(faulty_server.folder(files), rule, delay) as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", server.address)
        patch.setenv("STORAGE_EMULATOR_HOST", server.address)
        yield server


def place(scheme: str, server: FaultyServer, name: str) -> str:
    return f"{server.address}/photos/{name}" if scheme == "http" else f"{scheme}://photos/{name}"


def fetched(locations: list[str], patience: FetchPolicy) -> list[bytes | FetchFailure]:
    async def gather() -> dict[int, bytes | FetchFailure]:
        found: dict[int, bytes | FetchFailure] = {}
        async for number, content in fetch(locations, patience):
            assert number not in found
            found[number] = content
        return found

    found = asyncio.run(gather())
    assert sorted(found) == list(range(len(locations)))
    return [found[number] for number in range(len(locations))]


def only(location: str, patience: FetchPolicy) -> bytes | FetchFailure:
    [found] = fetched([location], patience)
    return found


# --- Every outcome ------------------------------------------------------------------------------

THREE = FetchPolicy(max_attempts=3, timeout=0.3)
OUTCOMES: dict[Fault, tuple[Reason, int, str]] = {
    Fault.MISSING: (Reason.IMAGE_GONE, 1, "is not there"),
    Fault.GONE: (Reason.IMAGE_GONE, 1, "is not there"),
    Fault.FORBIDDEN: (Reason.IMAGE_FORBIDDEN, 1, "is denied"),
    Fault.UNKNOWN: (Reason.IMAGE_FORBIDDEN, 1, "is denied"),
    Fault.BUSY: (Reason.FETCH_FAILED, 3, "503 Service Unavailable"),
    Fault.BROKEN: (Reason.FETCH_FAILED, 3, "500 Internal Server Error"),
    Fault.RESET: (Reason.FETCH_FAILED, 3, "error sending request"),
    Fault.CUT: (Reason.FETCH_FAILED, 3, "response body error"),
    Fault.SLOW: (Reason.FETCH_TIMED_OUT, 3, "no answer in 0.3 s"),
    Fault.DRIP: (Reason.FETCH_TIMED_OUT, 3, "no answer in 0.3 s"),
}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_what_each_failure_is_called_and_how_often_it_is_tried(files: Path, scheme: str) -> None:
    faults = {f"{number:02d}.jpg": fault for number, fault in enumerate(OUTCOMES)}
    began = time.monotonic()
    with served(files, listed(dict(faults))) as server:
        locations = [place(scheme, server, name) for name in [*faults, "39.jpg"]]
        *found, whole = fetched(locations, THREE)
    assert time.monotonic() - began < 3 * 0.3 + 1.5
    assert whole == BODY + bytes([39])
    for number, (reason, attempts, detail) in enumerate(OUTCOMES.values()):
        one = found[number]
        assert isinstance(one, FetchFailure)
        assert (one.reason, server.requests[f"/photos/{number:02d}.jpg"]) == (reason, attempts), one
        assert locations[number] in one.detail
        assert detail in one.detail
        assert ("(3 attempts)" in one.detail) == (attempts == 3)
        assert one.detail.splitlines() == [one.detail]
    assert server.requests["/photos/39.jpg"] == 1


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_time_limit_is_always_called_so(files: Path, scheme: str) -> None:
    """The client has a clock of its own, which must not strike first and call it something else."""
    with served(files, lambda path, attempt: Fault.SLOW if path < "/photos/20" else Fault.DRIP) as server:
        found = fetched(
            [place(scheme, server, f"{n:02d}.jpg") for n in range(40)], FetchPolicy(max_attempts=2, timeout=0.2)
        )
    reasons = collections.Counter(one.reason for one in found if isinstance(one, FetchFailure))
    assert reasons == {Reason.FETCH_TIMED_OUT: 40}


def test_the_same_failure_has_the_same_words(files: Path) -> None:
    """They go to a table, and tables do not differ from run to run: no milliseconds."""
    with served(files, lambda path, attempt: Fault.BUSY) as server:
        location = place("s3", server, "00.jpg")
        details = {only(location, THREE) for _ in range(3)}
    assert details == {
        FetchFailure(
            Reason.FETCH_FAILED,
            "s3://photos/00.jpg: the server answered 503 Service Unavailable (3 attempts)",
        )
    }


def test_a_moved_file_is_followed(files: Path) -> None:
    with served(files, listed({"05.jpg": Fault.MOVED})) as server:
        assert only(place("http", server, "05.jpg"), THREE) == BODY + b"\5"


def test_what_comes_whole_is_nobodys_business_here(files: Path) -> None:
    """That a page is no image, and half a file no whole one, is found out by looking at it."""
    faults: dict[str, Fault | list[Fault | None]] = {"0.jpg": Fault.PAGE, "1.jpg": Fault.SHORT, "2.jpg": Fault.EMPTY}
    for name in faults:
        (files / "photos" / name).write_bytes(BODY)
    with served(files, listed(faults)) as server:
        found = fetched([place("s3", server, name) for name in faults], THREE)
    assert found == [faulty_server.PAGE, BODY[:10_000], b""]
    assert set(server.requests.values()) == {1}


def test_what_fails_once_or_twice_comes_in_the_end(files: Path) -> None:
    faults: dict[str, Fault | list[Fault | None]] = {
        "00.jpg": [Fault.BUSY],
        "01.jpg": [Fault.SLOW, Fault.RESET],
        "02.jpg": [Fault.CUT, Fault.DRIP],
        "03.jpg": [Fault.BUSY, Fault.MISSING, None],
        "04.jpg": [Fault.BUSY, Fault.BUSY, Fault.BUSY, None],
    }
    with served(files, listed(faults)) as server:
        found = fetched([place("s3", server, name) for name in faults], THREE)
    assert found[:3] == [BODY + bytes([number]) for number in range(3)]
    assert [one.reason for one in found[3:] if isinstance(one, FetchFailure)] == [
        Reason.IMAGE_GONE,
        Reason.FETCH_FAILED,
    ]
    assert [server.requests[f"/photos/{name}"] for name in faults] == [2, 3, 3, 2, 3]


def test_pauses_grow(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr(fetching, "FIRST_PAUSE", 0.2)
    monkeypatch.setattr("storage.fetching.asyncio.sleep", sleep)
    with served(files, lambda path, attempt: Fault.BUSY) as server:
        only(place("http", server, "00.jpg"), FetchPolicy(max_attempts=9))
    assert len(pauses) == 8
    longest = [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10, 10]
    assert all(most / 2 <= pause <= most for pause, most in zip(pauses, longest, strict=True))


@pytest.mark.parametrize("scheme", [*SCHEMES, "local"])
def test_what_is_too_large_is_left_there(files: Path, scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "MAX_BYTES", len(BODY))
    (files / "photos" / "fits.jpg").write_bytes(BODY)
    with served(files) as server:
        where = str(files / "photos" / "{}") if scheme == "local" else place(scheme, server, "{}")
        found = fetched([where.format("00.jpg"), where.format("fits.jpg")], THREE)
    detail = f"{where.format('00.jpg')} has 20,001 bytes, more than 20,000"
    assert found == [FetchFailure(Reason.IMAGE_TOO_LARGE, detail), BODY]
    assert all(count == 1 for count in server.requests.values())


def test_a_server_that_is_not_there() -> None:
    with serving(lambda raw: (200, b"")) as server:
        address = server.address
    began = time.monotonic()
    found = only(f"{address}/a.jpg", THREE)
    assert isinstance(found, FetchFailure)
    assert (found.reason, time.monotonic() - began < 1) == (Reason.FETCH_FAILED, True)


# --- Local folders ------------------------------------------------------------------------------

ODD = (
    "a b.jpg",
    "50%.jpg",
    "a%20b.jpg",
    "Äpfel ß.jpg",
    "a#b.jpg",
    "a?b=c&d.jpg",
    "a+b.jpg",
    "日本.jpg",
    "[1]*.jpg",
    "~'\".jpg",
)


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("scheme", ["local", "s3", "gs"])
def test_odd_names_are_found(files: Path, scheme: str, name: str) -> None:
    (files / "photos" / name).write_bytes(name.encode())
    with served(files) as server:
        where = str(files / "photos" / name) if scheme == "local" else place(scheme, server, name)
        assert only(where, THREE) == name.encode()


def test_a_web_address_is_one_already(files: Path) -> None:
    """What is quoted in it is not quoted again, and what should be quoted is."""
    for name in ("a b.jpg", "50%.jpg", "Ä.jpg", "a#b?.jpg"):
        (files / "photos" / name).write_bytes(name.encode())
    with served(files) as server:
        names = ["a%20b.jpg", "a b.jpg", "50%25.jpg", "50%.jpg", "%C3%84.jpg", "Ä.jpg", "a%23b%3F.jpg"]
        found = fetched([place("http", server, name) for name in names], THREE)
    expected = ["a b.jpg", "a b.jpg", "50%.jpg", "50%.jpg", "Ä.jpg", "Ä.jpg", "a#b?.jpg"]
    assert found == [name.encode() for name in expected]


def test_a_relative_folder(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(files / "photos")
    assert fetched(["07.jpg", "./07.jpg", "../photos/07.jpg"], THREE) == [BODY + b"\7"] * 3


def test_what_is_no_file_is_not_there(files: Path) -> None:
    gone = [str(files / "photos"), str(files / "absent.jpg"), str(files / "photos/00.jpg/deeper.jpg")]
    assert fetched(gone, THREE) == [FetchFailure(Reason.IMAGE_GONE, f"{path} is not there") for path in gone]


@pytest.mark.parametrize("scheme", ["local", "s3"])
def test_what_is_made_of_each_file_stands_in_its_place(
    files: Path, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "MAX_BYTES", 30_000)
    (files / "photos" / "large.jpg").write_bytes(bytes(30_001))
    names = ["09.jpg", "absent.jpg", "05.jpg", "large.jpg", "09.jpg"]
    with served(files) as server:
        where = [str(files / "photos" / one) if scheme == "local" else place("s3", server, one) for one in names]
        made = fetching.read_each(where, THREE, lambda number, content: (number, content[-1]))
    assert made == [
        (0, 9),
        FetchFailure(Reason.IMAGE_GONE, f"{where[1]} is not there"),
        (2, 5),
        FetchFailure(Reason.IMAGE_TOO_LARGE, f"{where[3]} has 30,001 bytes, more than 30,000"),
        (4, 9),
    ]


def test_a_file_that_may_not_be_read(files: Path) -> None:
    path = files / "photos" / "00.jpg"
    path.chmod(0)
    user = os.geteuid()
    os.seteuid(user or 65534)  # the superuser may read everything
    try:
        found = only(str(path), THREE)
    finally:
        os.seteuid(user)
    assert found == FetchFailure(Reason.IMAGE_FORBIDDEN, f"access to {path} is denied")


# --- Who is asked, and how ----------------------------------------------------------------------


def test_a_place_is_checked_beforehand() -> None:
    for good in (
        "photos/{image_id}.jpg",
        "/a?b#c/{image_id}",
        "s3://b/a?b#{image_id}",
        "gs://b/x",
        "https://host/%3F.jpg",
    ):
        fetching.check_location(good)
    for bad in ("ftp://host/x", "file:///x", "hdfs://host/x"):
        with pytest.raises(InputError, match=f"cannot fetch from {bad}: give a folder, s3://, gs://, https:// or"):
            fetching.check_location(bad)
    for bad in ("https://host/get?id={image_id}", "http://host/x#{image_id}"):
        with pytest.raises(InputError, match=r"cannot fetch from http.*: .* [?] or #"):
            fetching.check_location(bad)


def test_requests_are_signed_only_where_asked(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    with served(files) as server:
        for signed in (False, True):
            assert only(place("s3", server, "03.jpg"), FetchPolicy(signed=signed)) == BODY + b"\3"
            assert server.signed == signed


def test_a_real_s3_server_tells_public_from_private(s3_place: str) -> None:
    import boto3  # type: ignore[import-untyped]

    bucket, _, folder = s3_place.removeprefix("s3://").partition("/")
    client = boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"])
    for name, acl in (("public ü#.jpg", "public-read"), ("private.jpg", "private")):
        client.put_object(Bucket=bucket, Key=f"{folder}/{name}", Body=name.encode(), ACL=acl)
    locations = [stores.join(s3_place, name) for name in ("public ü#.jpg", "private.jpg", "absent.jpg")]
    absent = FetchFailure(Reason.IMAGE_GONE, f"{locations[2]} is not there")
    forbidden = FetchFailure(Reason.IMAGE_FORBIDDEN, f"access to {locations[1]} is denied")
    assert fetched(locations, FetchPolicy(signed=False)) == ["public ü#.jpg".encode(), forbidden, absent]
    assert fetched(locations, FetchPolicy(signed=True)) == ["public ü#.jpg".encode(), b"private.jpg", absent]


# --- How many at once ---------------------------------------------------------------------------


@pytest.mark.parametrize(("scheme", "max_concurrency"), [("http", 1), ("s3", 7)])
def test_never_more_at_once_than_asked_for(files: Path, scheme: str, max_concurrency: int) -> None:
    faults = listed({f"{n:02d}.jpg": [Fault.BUSY, Fault.RESET] for n in range(0, 40, 3)})
    with served(files, faults, delay=0.003) as server:
        found = fetched(
            [place(scheme, server, f"{n:02d}.jpg") for n in range(40)], FetchPolicy(max_concurrency, max_attempts=3)
        )
    assert found == [BODY + bytes([n]) for n in range(40)]
    assert sum(server.requests.values()) == 40 + 2 * 14
    assert max_concurrency / 2 < server.most <= max_concurrency  # a loaded machine may not reach it


def test_many_requests_run_at_once(files: Path) -> None:
    with served(files, delay=0.2) as server:
        found = fetched([place("s3", server, f"{n % 40:02d}.jpg") for n in range(200)], FetchPolicy(max_concurrency=64))
    assert all(isinstance(one, bytes) for one in found)
    assert 8 < server.most <= 64


def test_no_more_is_held_than_the_caller_has_room_for(files: Path) -> None:
    """A slow caller: what it has not taken yet is never more than what may be in flight."""
    taken, ahead = 0, []

    async def consume(server: FaultyServer) -> None:
        nonlocal taken
        async for _ in fetch(
            [place("http", server, f"{n % 40:02d}.jpg") for n in range(60)], FetchPolicy(max_concurrency=5)
        ):
            await asyncio.sleep(0.005)
            ahead.append(sum(server.requests.values()) - taken)
            taken += 1

    with served(files) as server:
        asyncio.run(consume(server))
    assert taken == 60
    assert 2 <= max(ahead) <= 5


def test_nothing_at_all() -> None:
    assert fetched([], FetchPolicy()) == []
