"""Two places to keep files: a local folder, and a bucket of a real S3 server on loopback."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from schemas import storage


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """Address of an S3 server with an empty bucket `pictures`."""
    from moto.server import ThreadedMotoServer
    from pyarrow import fs

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    address = {"scheme": "http", "endpoint_override": f"{host}:{port}", "region": "us-east-1"}
    client = fs.S3FileSystem(access_key="key", secret_key="secret", allow_bucket_creation=True, **address)
    client.create_dir("pictures")
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3_place(s3_endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A folder of the test's own in the S3 server."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    storage._remote.cache_clear()
    yield f"s3://pictures/{tmp_path.name}"
    storage._remote.cache_clear()


@pytest.fixture(params=["local", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A folder of the test's own, local or in the S3 server."""
    return str(tmp_path / "place") if request.param == "local" else str(request.getfixturevalue("s3_place"))
