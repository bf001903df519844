"""Object stores that fail for a while: everything succeeds in the end, or says in bounded time what to do."""

import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from schemas.errors import StorageError
from storage import stores as storage
from tests.support import faulty_store, servers
from tests.support.faulty_store import FaultyStore

ADDRESSES = {"s3": "AWS_ENDPOINT_URL", "gs": "STORAGE_EMULATOR_HOST"}


@pytest.fixture(scope="module", params=ADDRESSES)
def stores(request: pytest.FixtureRequest) -> Iterator[tuple[str, dict[str, str], FaultyStore]]:
    """The scheme of a store, its environment, and what stands before it."""
    environment = request.getfixturevalue({"s3": "s3_server", "gs": "google_server"}[request.param])
    with faulty_store.before(environment[ADDRESSES[request.param]]) as store:
        yield request.param, {**environment, ADDRESSES[request.param]: store.address}, store


@pytest.fixture
def place(
    stores: tuple[str, dict[str, str], FaultyStore], request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[str, FaultyStore]]:
    """A folder of the test's own in a store that holds one file, and what stands before it."""
    scheme, environment, store = stores
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    storage._remote.cache_clear()
    folder = f"{scheme}://{servers.BUCKET}/{abs(hash(request.node.name))}"
    store.fail("500", 0)
    storage.write_bytes(f"{folder}/file", b"content")
    yield folder, store
    storage._remote.cache_clear()


def read_in_pieces(folder: str) -> bytes:
    with storage.open_input(f"{folder}/file") as file:
        file.seek(3)
        return bytes(file.read(2))


ACTIONS: dict[str, tuple[Callable[[str], Any], Any]] = {
    "read": (lambda folder: storage.read_bytes(f"{folder}/file"), b"content"),
    "read in pieces": (read_in_pieces, b"te"),
    "write": (lambda folder: storage.write_bytes(f"{folder}/new", b"more"), None),
    "list": (storage.list_files, {"file": 7}),
    "look at": (lambda folder: getattr(storage.stat(f"{folder}/file"), "size", None), 7),
    "remove": (lambda folder: storage.remove(f"{folder}/file"), None),
}


@pytest.mark.parametrize("kind", ["503", faulty_store.RESET])
@pytest.mark.parametrize("action", ACTIONS)
def test_a_store_that_recovers_is_waited_for(place: tuple[str, FaultyStore], action: str, kind: str) -> None:
    folder, store = place
    act, expected = ACTIONS[action]
    failures = 4 if folder.startswith("s3://") else 1  # Google's client waits a second and more after each
    before = store.fail(kind, failures)
    assert act(folder) == expected
    assert store.requests() - before > failures
    left = {"write": {"file": 7, "new": 4}, "remove": {}}
    assert storage.list_files(folder) == left.get(action, {"file": 7})


def test_a_store_that_does_not_answer_is_asked_again(place: tuple[str, FaultyStore]) -> None:
    folder, store = place
    if folder.startswith("gs://"):
        pytest.skip("Google's client waits two minutes for an answer")
    store.fail(faulty_store.SLOW, 1)
    began = time.monotonic()
    assert storage.read_bytes(f"{folder}/file") == b"content"
    assert time.monotonic() - began < 15


@pytest.mark.timeout(120, method="thread")  # no signal ends a call of Google's client
@pytest.mark.parametrize("action", ACTIONS)
def test_a_store_that_never_recovers_is_named_in_bounded_time(
    place: tuple[str, FaultyStore], monkeypatch: pytest.MonkeyPatch, action: str
) -> None:
    folder, store = place
    monkeypatch.setattr(storage, "S3_RETRIES", 5)
    monkeypatch.setattr(storage, "GOOGLE_RETRY_TIME", timedelta(seconds=1))
    storage._remote.cache_clear()
    store.fail("503", 1000)
    began = time.monotonic()
    with pytest.raises(StorageError) as caught:
        ACTIONS[action][0](folder)
    assert time.monotonic() - began < 15
    store.requests()
    verb = action.removesuffix(" in pieces")
    assert str(caught.value).startswith(f"cannot {verb} {folder}")
    assert str(caught.value).endswith("check that it can be reached, and run the same command again")
    assert "\n" not in str(caught.value)
    assert "error_info" not in str(caught.value)
    assert storage.list_files(folder) == {"file": 7}


def test_a_store_that_fails_between_opening_and_reading(
    place: tuple[str, FaultyStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, store = place
    monkeypatch.setattr(storage, "S3_RETRIES", 5)
    monkeypatch.setattr(storage, "GOOGLE_RETRY_TIME", timedelta(seconds=1))
    storage._remote.cache_clear()
    before = store.fail("503", 1000, after=1)
    with pytest.raises(StorageError, match=rf"^cannot read {folder}/file: .*run the same command again$"):
        storage.read_bytes(f"{folder}/file")
    assert store.requests() - before > 1


def test_denied_is_not_asked_again(place: tuple[str, FaultyStore]) -> None:
    folder, store = place
    before = store.fail("403", 1000)
    with pytest.raises(StorageError, match=f"cannot read {folder}/file: .*; set credentials that allow it"):
        storage.read_bytes(f"{folder}/file")
    assert store.requests() - before == 1


def test_the_patience_is_about_a_minute() -> None:
    assert sum(0.025 * 2**pause for pause in range(storage.S3_RETRIES)) == pytest.approx(51, abs=1)
    assert timedelta(seconds=60) == storage.GOOGLE_RETRY_TIME
