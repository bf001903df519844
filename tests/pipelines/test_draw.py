"""Drawing as a stage: once, whole, wherever the output lies, and never over what was not drawn; for every sample."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

import samples
from samples import scenes
from samples.scenes import images as pictures
from samples.scenes.annotators import encode
from schemas import plugins
from schemas.errors import InputError
from schemas.settings.draw import DrawSettings
from schemas.stage import Context
from storage import stores
from tests.support.stages import draw


def settings(output: Path | str, images: int = 100, seed: int = 7) -> DrawSettings:
    return DrawSettings(output=str(output), sample="scenes", images=images, seed=seed)


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_same_settings_give_the_same_bytes(tmp_path: Path) -> None:
    for name, seed in (("one", 5), ("again", 5), ("other", 6)):
        scenes.write(settings(tmp_path / name, seed=seed), str(tmp_path / name))
    one, again, other = (everything(tmp_path / name) for name in ("one", "again", "other"))
    assert one == again
    assert len(one) == 99 + 5
    assert not {name for name in one if name.endswith(".jpg")} & other.keys()
    assert one["machine.csv"] != other["machine.csv"]
    painted = {
        f"images/{pictures.image_id(6, n)}.jpg": pictures.paint_scene(pictures.plan_scene(6, n), 6) for n in range(100)
    }
    assert sum(other.get(name) == encode(pixels, None) for name, pixels in painted.items()) == 94, "all but the odd"


@pytest.fixture(scope="module")
def s3_bucket() -> Iterator[str]:
    """An S3 server with the bucket `pictures`, which the environment names as long as it runs."""
    from moto.server import ThreadedMotoServer
    from pyarrow import fs

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    address = {"scheme": "http", "endpoint_override": f"{host}:{port}", "region": "us-east-1"}
    fs.S3FileSystem(access_key="key", secret_key="secret", allow_bucket_creation=True, **address).create_dir("pictures")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        for name, value in (("ACCESS_KEY_ID", "key"), ("SECRET_ACCESS_KEY", "secret"), ("DEFAULT_REGION", "us-east-1")):
            patch.setenv(f"AWS_{name}", value)
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        stores._remote.cache_clear()
        yield "s3://pictures"
    stores._remote.cache_clear()
    server.stop()


def test_every_sample_keeps_the_contract(tmp_path: Path) -> None:
    assert plugins.names(samples) == ["house_numbers", "scenes"]
    for name in plugins.names(samples):
        small = DrawSettings(output=str(tmp_path / name), sample=name, train=2, test=1, validation=1, images=100)
        module = plugins.load(samples, "sample", name)
        assert module.exists(small, small.output) is False
        counts = module.write(small, small.output)
        assert module.exists(small, small.output) is True
        assert counts
        assert all(type(n) is int for n in counts.values())


def test_what_is_drawn_is_not_drawn_again(tmp_path: Path) -> None:
    context = Context(str(tmp_path))
    first = draw(settings(f"{tmp_path}/drawn/"), context)
    again = draw(settings(tmp_path / "drawn"), context)
    assert (first.built, again.built) == (True, False)
    assert first.counts == again.counts
    assert first.product == again.product == f"{tmp_path}/drawn"
    assert {path.name for path in tmp_path.iterdir()} == {"drawn", "drawn.json"}
    before = everything(tmp_path / "drawn")
    lost = next((tmp_path / "drawn" / "images").iterdir())
    lost.unlink()
    assert draw(settings(tmp_path / "drawn"), context).built
    assert everything(tmp_path / "drawn") == before
    (tmp_path / "drawn" / "human.csv").unlink()
    assert draw(settings(tmp_path / "drawn"), context).built
    assert draw(settings(tmp_path / "drawn"), Context(str(tmp_path), force=True)).built


@pytest.mark.parametrize("where", ["local", "s3"])
def test_another_drawing_leaves_nothing_of_the_first(
    where: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    root = str(tmp_path) if where == "local" else request.getfixturevalue("s3_bucket")
    output, images = f"{root}/drawn", f"{root}/drawn/images"
    counts = draw(settings(output, seed=1), Context(root)).counts
    first = stores.list_files(images)
    assert len(first) == counts["image_files"] == 99
    assert draw(settings(output, seed=2), Context(root)).built
    assert not draw(settings(output, seed=2), Context(root)).built
    second = stores.list_files(images)
    assert len(second) == 99
    assert not first.keys() & second.keys()
    scenes.write(settings(tmp_path / "apart", seed=2), str(tmp_path / "apart"))
    for name, data in everything(tmp_path / "apart").items():
        assert stores.read_bytes(f"{output}/{name}") == data


def test_a_drawing_that_failed_is_made_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail_at_fifty(scene: pictures.Scene, seed: int) -> npt.NDArray[np.uint8]:
        if scene.number == 50:
            raise OSError("lens broken")
        return pictures.paint_scene(scene, seed)

    draw(settings(tmp_path / "drawn", seed=1), Context(str(tmp_path)))
    with monkeypatch.context() as patch:
        patch.setattr(scenes, "paint_scene", fail_at_fifty)
        with pytest.raises(OSError, match="lens broken"):
            draw(settings(tmp_path / "drawn"), Context(str(tmp_path)))
    assert not (tmp_path / "drawn.json").exists()
    assert not {path.name for path in (tmp_path / "drawn").iterdir()} & set(scenes.TABLES)
    assert not list(tmp_path.rglob("*.partial"))
    (tmp_path / "drawn" / "images" / ".0.jpg.partial").write_bytes(b"killed")
    assert draw(settings(tmp_path / "drawn"), Context(str(tmp_path))).built
    scenes.write(settings(tmp_path / "apart"), str(tmp_path / "apart"))
    assert everything(tmp_path / "drawn") == everything(tmp_path / "apart")


@pytest.mark.parametrize("name", ["machine.csv", "images/0123456789abcdef.jpg"])
def test_what_was_not_drawn_is_not_swept(name: str, tmp_path: Path) -> None:
    theirs = tmp_path / "open_images" / name
    theirs.parent.mkdir(parents=True)
    theirs.write_bytes(b"theirs")
    with pytest.raises(InputError, match=f"open_images holds {theirs.name}, which was not drawn: choose another"):
        draw(settings(tmp_path / "open_images"), Context(str(tmp_path), force=True))
    assert everything(tmp_path) == {f"open_images/{name}": b"theirs"}


def test_an_unknown_sample_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no sample 'scene'; did you mean 'scenes'"):
        draw(DrawSettings(output=str(tmp_path / "x"), sample="scene"), Context(str(tmp_path)))
    with pytest.raises(InputError, match="output must not be empty"):
        DrawSettings(output="", sample="scenes")
