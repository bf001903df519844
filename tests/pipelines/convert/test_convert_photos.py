"""Photographs as a stage: from failing servers, each arrives or has its reason, and nothing is fetched twice."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from pipelines.convert import transforms
from pipelines.convert.sources import Photo
from pipelines.convert.transforms import PhotoPlan
from schemas.errors import REJECT_HINTS, Reason, TooManyRejectsError
from storage import fetching
from storage.fetching import FetchPolicy
from storage.formats.images import Photograph, TargetFormat
from tests.support import faulty_server, photo_runs
from tests.support.faulty_server import Fault, FaultyServer, listed, serving
from tests.support.photo_runs import convert, image_id, scene, written

pytestmark = pytest.mark.usefixtures("alone")
COUNT = 48


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, bytes], Path]:
    """A folder with the folder `drawn` of photographs; their content; and a root with label sets of them."""
    folder = tmp_path_factory.mktemp("photos")
    contents = photo_runs.draw(folder / "drawn", COUNT)
    machine = [(name, f"/m/{'abc'[n % 3]}", 0.9) for n, name in enumerate(contents)]
    photo_runs.label(folder / "root", machine, [(name, label, 1) for name, label, _ in machine])
    return folder, contents, folder / "root"


@pytest.fixture
def root(drawn: tuple[Path, dict[str, bytes], Path], tmp_path: Path) -> Path:
    """A copy of the root with label sets."""
    return Path(shutil.copytree(drawn[2], tmp_path / "root"))


@pytest.fixture
def contents(drawn: tuple[Path, dict[str, bytes], Path]) -> dict[str, bytes]:
    return drawn[1]


@pytest.fixture
def folder(drawn: tuple[Path, dict[str, bytes], Path]) -> Path:
    return drawn[0]


def place(server: FaultyServer) -> str:
    return f"{server.address}/drawn/{{image_id}}.jpg"


def asked(server: FaultyServer) -> Counter[str]:
    """How often each photograph was asked for."""
    return Counter({path.rpartition("/")[2].removesuffix(".jpg"): count for path, count in server.requests.items()})


# --- Every reason, through the stage ------------------------------------------------------------

CMYK = written(scene(1).convert("CMYK"))
FRAMES = written(scene(1), "GIF", save_all=True, append_images=[scene(2)])
PHOTO = written(scene(1))
UNDECODABLE = PHOTO[:2] + b"\xff\xd9" + PHOTO[2:]  # an end before its picture
REJECTED: dict[str, tuple[Reason, Fault | None, bytes, str]] = {
    "gone": (Reason.IMAGE_GONE, Fault.MISSING, b"", "is not there"),
    "gone for good": (Reason.IMAGE_GONE, Fault.GONE, b"", "is not there any more"),
    "forbidden": (Reason.IMAGE_FORBIDDEN, Fault.FORBIDDEN, b"", "is denied"),
    "failing": (Reason.FETCH_FAILED, Fault.BUSY, b"", "the server answered 503 Service Unavailable (2 attempts)"),
    "cut": (Reason.FETCH_FAILED, Fault.CUT, PHOTO, "response body error (2 attempts)"),
    "slow": (Reason.FETCH_TIMED_OUT, Fault.SLOW, b"", "no answer in 1 s (2 attempts)"),
    "empty": (Reason.IMAGE_EMPTY, Fault.EMPTY, PHOTO, "0 bytes"),
    "short": (Reason.IMAGE_TRUNCATED, Fault.SHORT, PHOTO, "jpeg: "),
    "page": (Reason.NOT_AN_IMAGE, Fault.PAGE, b"", "begins with b'<!DOCTYPE html>"),
    "animated": (Reason.IMAGE_ANIMATED, None, FRAMES, "gif: 2 frames or more"),
    "too many pixels": (Reason.IMAGE_TOO_LARGE, None, written(scene(1, 51, 50)), "50x51 pixels, more than 2,500"),
    "too many bytes": (Reason.IMAGE_TOO_LARGE, None, bytes(100_001), "has 100,001 bytes, more than 100,000"),
    "undecodable": (Reason.IMAGE_UNDECODABLE, None, UNDECODABLE, "jpeg: marker FFD9 before the image"),
}
OF_PHOTOGRAPHS = {reason for reason in Reason if reason.startswith(("image_", "fetch_", "not_an_image"))}


def test_every_reason_of_a_photograph_has_a_case() -> None:
    of_rows = {Reason.IMAGE_ID_NOT_HEX, Reason.IMAGE_ID_MISSING, Reason.IMAGE_REPEATED, Reason.IMAGE_UNKNOWN}
    assert {reason for reason, *_ in REJECTED.values()} == OF_PHOTOGRAPHS - of_rows
    assert set(REJECT_HINTS) == set(Reason)


@pytest.fixture(scope="module")
def rejected(drawn: tuple[Path, dict[str, bytes], Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A root in which a photograph is turned away for every reason, and the result."""
    folder = tmp_path_factory.mktemp("rejected")
    shutil.copytree(drawn[0] / "drawn", folder / "drawn")
    root = Path(shutil.copytree(drawn[2], folder / "root"))
    faults: dict[str, Fault | list[Fault | None]] = {}
    for number, (_, fault, content, _) in enumerate(REJECTED.values()):
        if content:
            (folder / "drawn" / f"{image_id(number)}.jpg").write_bytes(content)
        if fault:
            faults[f"{image_id(number)}.jpg"] = fault
    with serving(faulty_server.folder(folder), listed(faults)) as server, pytest.MonkeyPatch.context() as patch:
        patch.setattr(fetching, "FIRST_PAUSE", 0.005)
        patch.setattr(fetching, "MAX_BYTES", 100_000)
        given: dict[str, Any] = {"max_attempts": 2, "timeout": 1.0, "max_pixels": 2500, "max_reject_fraction": 0.5}
        return root, convert(root, images_from=place(server), **given)


@pytest.mark.parametrize("case", REJECTED)
def test_a_photograph_is_turned_away_for_its_reason(rejected: tuple[Path, Any], case: str) -> None:
    root, _ = rejected
    number = list(REJECTED).index(case)
    reason, _, _, detail = REJECTED[case]
    found = photo_runs.rejects(root)[image_id(number)]
    assert found[0] == reason
    assert detail in found[1]
    assert image_id(number) not in photo_runs.index(root)


def test_the_others_arrive_and_the_counts_close(rejected: tuple[Path, Any], contents: dict[str, bytes]) -> None:
    root, result = rejected
    assert photo_runs.stored(root) == {image_id(n): contents[image_id(n)] for n in range(len(REJECTED), COUNT)}
    expected = Counter(str(reason) for reason, *_ in REJECTED.values())
    assert result.counts["rejected"] == dict(sorted(expected.items()))
    assert (result.counts["in"], result.counts["out"]) == (COUNT, COUNT - len(REJECTED))
    for split, counts in result.counts["splits"].items():
        assert counts["in"] == counts["out"] + sum(counts["rejected"].values()), split
    rows = photo_runs.rows(root, "rejects/convert/dataset=photos")
    assert [row["image_id"] for row in rows] == [image_id(n) for n in range(len(REJECTED))]
    assert all(row["source"].endswith(f"/drawn/{row['image_id']}.jpg") for row in rows)
    assert {row["position"] for row in rows} == {"the file"}
    assert sum(map(len, photo_runs.tfds_labels(root).values())) == COUNT - len(REJECTED)


def test_too_many_rejects_stop_the_stage_and_allowing_them_fetches_nothing(root: Path, folder: Path) -> None:
    faults = {f"{image_id(number)}.jpg": Fault.FORBIDDEN for number in (5, 17)}
    with serving(faulty_server.folder(folder), listed(dict(faults))) as server:
        with pytest.raises(TooManyRejectsError) as raised:
            convert(root, images_from=place(server), max_reject_fraction=2 / COUNT - 0.001)
        message = str(raised.value)
        assert f"convert rejected 2 of {COUNT} records (image_forbidden 2), more than --max-reject-fraction" in message
        assert f"access to {server.address}/drawn/" in message
        assert REJECT_HINTS[Reason.IMAGE_FORBIDDEN] in message
        assert not (root / "images/photos/1.0.0/_concord.json").exists()
        before = asked(server)
        result = convert(root, images_from=place(server), max_reject_fraction=2 / COUNT)
        assert (result.built, result.counts["out"], asked(server)) == (True, COUNT - 2, before)
        assert set(before.values()) == {1}
        assert not convert(root, images_from=place(server)).built


# --- Running on -----------------------------------------------------------------------------------


def start(root: Path, server: FaultyServer) -> "subprocess.Popen[bytes]":
    given = {"root": root, "images-from": place(server), "in-flight": 2, "shards": 16, "direct_num_workers": 1}
    command = [sys.executable, "-m", "concord", "convert", "--source", "open_images", "--dataset", "photos"]
    flags = [f"--{name}={value}" for name, value in given.items()]
    return subprocess.Popen([*command, *flags], stderr=subprocess.DEVNULL, start_new_session=True)


def test_a_killed_run_fetches_nothing_again_that_it_has_committed(
    root: Path, folder: Path, contents: dict[str, bytes], tmp_path: Path
) -> None:
    given: dict[str, Any] = {"max_concurrency": 2, "shards": 16}
    with serving(faulty_server.folder(folder), delay=0.03) as server:
        process = start(root, server)
        began = time.monotonic()
        while len(list(root.glob("index/**/*.parquet"))) < 12:
            assert process.poll() is None, "it ended by itself"
            assert time.monotonic() - began < 90
            time.sleep(0.002)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        time.sleep(0.1)  # what was under way when it was killed is counted by now
        committed, first = set(photo_runs.index(root)), asked(server)
        assert 0 < len(committed) < COUNT
        assert {first[name] for name in committed} == {1}
        result = convert(root, images_from=place(server), **given)
        again = asked(server) - first
        assert set(again) == set(contents) - committed
        assert set(again.values()) == {1}
        assert result.counters["convert.out"] == COUNT - len(committed)
        assert (result.counts["in"], result.counts["out"]) == (COUNT, COUNT)
        convert(shutil.copytree(folder / "root", tmp_path / "smooth"), images_from=place(server), **given)
    assert photo_runs.files(root) == photo_runs.files(tmp_path / "smooth")
    assert photo_runs.stored(root) == contents


def test_what_is_done_is_not_fetched_again_and_a_changed_wish_is(root: Path, folder: Path) -> None:
    with serving(faulty_server.folder(folder)) as server:
        where: dict[str, Any] = {"images_from": place(server)}
        harmless: list[dict[str, Any]] = [
            {"max_concurrency": 3},
            {"max_attempts": 9},
            {"timeout": 7.0},
            {"signed": True},
        ]
        changes: list[dict[str, Any]] = [{"max_side": 8}, {"one_label": "best"}]
        assert convert(root, **where).built
        for more in harmless:
            assert not convert(root, **where, **more).built
        assert set(asked(server).values()) == {1}
        before = photo_runs.files(root)
        assert convert(root, **where, force=True).built
        assert set(asked(server).values()) == {2}
        assert photo_runs.files(root) == before
        for number, more in enumerate(changes):
            assert convert(root, **where, **more).built
            assert set(asked(server).values()) == {3 + number}


@pytest.mark.parametrize(
    "flags",
    [
        ["--direct_num_workers=2"],
        ["--direct_num_workers=2", "--direct_running_mode=multi_processing"],
    ],
    ids=["two threads", "two processes"],
)
def test_every_way_of_running_gives_the_same_files(root: Path, folder: Path, tmp_path: Path, flags: list[str]) -> None:
    faults = {f"{image_id(n)}.jpg": [Fault.MISSING, Fault.FORBIDDEN, Fault.SHORT, Fault.BUSY][n % 4] for n in range(8)}
    one = Path(shutil.copytree(root, tmp_path / "one"))
    given: dict[str, Any] = {"max_side": 22, "max_attempts": 1, "max_reject_fraction": 0.2}
    with serving(faulty_server.folder(folder), listed(dict(faults))) as server:
        expected = convert(one, images_from=place(server), **given)
        found = convert(root, flags, images_from=place(server), **given)
    assert found.counts == expected.counts
    assert sum(found.counts["rejected"].values()) == 8
    assert photo_runs.files(root) == photo_runs.files(one)


# --- What is stored -----------------------------------------------------------------------------

TURNED = Image.Exif()
TURNED[0x0112] = 6
QUIRKS: dict[
    str, tuple[bytes, str, int, str | None]
] = {  # content; stored format and channels; why it was encoded anew
    "plain": (written(scene(3, 10, 30)), "jpeg", 3, None),
    "grey": (written(scene(3, 10, 30).convert("L")), "jpeg", 1, None),
    "png": (written(scene(3, 10, 30), "PNG"), "png", 3, None),
    "grey png": (written(scene(3, 10, 30).convert("L"), "PNG"), "png", 1, None),
    "inks": (written(scene(3, 10, 30).convert("CMYK")), "jpeg", 3, "cmyk"),
    "turned": (written(scene(3, 10, 30), exif=TURNED), "jpeg", 3, "rotated"),
    "turned inks": (written(scene(3, 10, 30).convert("CMYK"), exif=TURNED), "jpeg", 3, "cmyk+rotated"),
    "palette": (written(scene(3, 10, 30).convert("P"), "PNG"), "png", 3, "palette"),
    "transparent": (written(scene(3, 10, 30).convert("RGBA"), "PNG"), "png", 3, "alpha"),
    "16 bits": (written(Image.new("I;16", (30, 10), 9999), "PNG"), "png", 1, "16_bit"),
    "gif": (written(scene(3, 10, 30), "GIF"), "png", 3, "format"),
    "webp": (written(scene(3, 10, 30), "WEBP"), "jpeg", 3, "format"),
    "tiff": (written(scene(3, 10, 30), "TIFF"), "png", 3, "format"),
}


def test_the_index_says_what_was_encoded_anew_and_why(root: Path, folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "drawn", tmp_path / "quirks")
    for number, (content, *_) in enumerate(QUIRKS.values()):
        (tmp_path / "quirks" / f"{image_id(number)}.jpg").write_bytes(content)
    convert(root, images_from=f"{tmp_path}/quirks/{{image_id}}.jpg")
    index, stored = photo_runs.index(root), photo_runs.stored(root)
    for number, (name, (content, form, channels, why)) in enumerate(QUIRKS.items()):
        row = index[image_id(number)]
        size = (30, 10) if "turned" in name else (10, 30)
        assert (row["format"], row["channels"], row["reencoded"]) == (form, channels, why), name
        assert (row["height"], row["width"]) == size, name
        assert (stored[image_id(number)] == content) == (why is None), name
    assert {index[image_id(number)]["reencoded"] for number in range(len(QUIRKS), COUNT)} == {None}
    assert len(photo_runs.merged(photo_runs.tfds_labels(root))) == COUNT


def test_the_longest_side(root: Path, folder: Path, contents: dict[str, bytes]) -> None:
    convert(root, images_from=f"{folder}/drawn/{{image_id}}.jpg", max_side=30, quality=60)
    index, stored = photo_runs.index(root), photo_runs.stored(root)
    scaled = 0
    for number, (name, content) in enumerate(contents.items()):
        height, width = 20 + number % 7, 24 + number % 11
        row = index[name]
        if width <= 30:
            assert (row["reencoded"], stored[name]) == (None, content)
        else:
            scaled += 1
            assert (row["reencoded"], row["width"]) == ("scaled", 30)
            assert abs(row["height"] - height * 30 / width) <= 0.5
    assert 10 < scaled < COUNT - 10


# --- Fetching beside preparing --------------------------------------------------------------------


def test_requests_go_on_while_a_photograph_is_prepared(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the time limit of those under way would run out, and the server be blamed for it."""
    photograph = Photograph(b"", "jpeg", 1, 1, 3, None)
    waited: list[float] = []
    again = f"/drawn/{image_id(1)}.jpg"

    def until_tried_again(content: bytes, wanted: TargetFormat) -> Photograph:
        began = time.monotonic()
        while server.requests[again] < 2 and time.monotonic() - began < 5:
            time.sleep(0.01)
        waited.append(time.monotonic() - began)
        return photograph

    monkeypatch.setattr(transforms, "prepare", until_tried_again)
    monkeypatch.setattr(fetching, "FIRST_PAUSE", 0.4)  # the first is being prepared by then
    with serving(faulty_server.folder(folder), listed({again.rpartition("/")[2]: [Fault.BUSY]})) as server:
        photos = [Photo("", place(server).format(image_id=image_id(n)), ("a",)) for n in range(2)]
        plan = PhotoPlan(None, None, FetchPolicy(), TargetFormat())  # type: ignore[arg-type]
        assert asyncio.run(transforms.gather(photos, plan)) == [photograph] * 2
    assert 0.05 < max(waited) < 5
