"""What tests share: real data, a drawn sample, a dataset converted from it, and three kinds of places to keep files."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import hypothesis
import pytest

from tests.support import servers

# A loaded machine is no failure: pytest catches what hangs. Half of the usual examples keep make test short.
hypothesis.settings.register_profile("concord", deadline=None, max_examples=50)
hypothesis.settings.load_profile("concord")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the real data, which is no part of the project; tests that need it skip where it is absent."""
    folder = Path(__file__).resolve().parents[1] / ".." / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the real data is not there: it is looked for in ../shared/data beside the project")
    return folder.resolve()


@pytest.fixture(scope="session")
def sample_h5(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Path of a drawn .h5 file in the course file's layout: 400 train, 160 test and 80 validation crops."""
    from samples.house_numbers import SampleSize, write_sample

    path = tmp_path_factory.mktemp("sample") / "drawn.h5"
    write_sample(str(path), SampleSize(train=400, test=160, validation=80), seed=3)
    return str(path)


@pytest.fixture(scope="session")
def converted(sample_h5: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A root folder with the dataset `drawn`, 8 shards a split. Read it only: a test that writes works on a copy."""
    from schemas.settings.convert import ConvertSettings
    from schemas.stage import Context
    from tests.support.stages import convert

    root = str(tmp_path_factory.mktemp("converted"))
    settings = ConvertSettings(dataset="drawn", source="svhn_h5", input=(sample_h5,), shards=8)
    convert(settings, Context(root))
    return root


@pytest.fixture(scope="session")
def s3_server() -> Iterator[dict[str, str]]:
    """What the environment has to say, that an S3 server with the bucket `pictures` is found."""
    with servers.s3_server() as environment:
        yield environment


@pytest.fixture(scope="session")
def google_server() -> Iterator[dict[str, str]]:
    """What the environment has to say, that a Google Cloud Storage server with the bucket `pictures` is found."""
    with servers.google_server() as environment:
        yield environment


@pytest.fixture(scope="session")
def s3_endpoint(s3_server: dict[str, str]) -> str:
    """Address of an S3 server with the bucket `pictures`."""
    return s3_server["AWS_ENDPOINT_URL"]


@contextmanager
def _found(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The environment names a server, and clients made before are forgotten, as is the client of this test after it."""
    from storage import stores

    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    stores._remote.cache_clear()
    yield
    stores._remote.cache_clear()


@pytest.fixture
def s3_place(s3_server: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A folder of the test's own in the S3 server."""
    with _found(s3_server, monkeypatch):
        yield f"s3://{servers.BUCKET}/{tmp_path.name}"


@pytest.fixture
def gs_place(google_server: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A folder of the test's own in the Google Cloud Storage server."""
    with _found(google_server, monkeypatch):
        yield f"gs://{servers.BUCKET}/{tmp_path.name}"


@pytest.fixture(params=["local", "s3", "gs"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A folder of the test's own: local, in the S3 server, or in the Google Cloud Storage server."""
    if request.param == "local":
        return str(tmp_path / "place")
    return str(request.getfixturevalue(f"{request.param}_place"))


@pytest.fixture(scope="session")
def query_root(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A root with agreement tables, label statistics and rejects. Read it only."""
    from tests.support import query_root as tests_support_query_root

    return tests_support_query_root.build(tmp_path_factory.mktemp("query"))


@pytest.fixture(autouse=True)
def plain_log() -> None:
    """Begin with the log as Python has it, whatever a command that ran in this process made of it."""
    for handler in [*logging.root.handlers]:
        if type(handler) is logging.StreamHandler:  # a command's, on what was stderr then; pytest has kinds of its own
            logging.root.removeHandler(handler)
    logging.root.setLevel(logging.WARNING)
    for name in ("concord", "apache_beam"):
        logging.getLogger(name).setLevel(logging.NOTSET)
