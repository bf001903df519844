"""Source `open_images`: which photographs a label set names, with which labels; the real ones from a real S3 server."""

import io
import os
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from pipelines.convert.sources import open_images
from schemas.errors import IncompleteError, InputError, Reason
from storage import hashing, products
from tests.support import faulty_server, photo_runs, servers
from tests.support.faulty_server import Fault, serving
from tests.support.label_sets import write_label_set
from tests.support.photo_runs import convert, image_id

pytestmark = pytest.mark.usefixtures("alone")
CLASSES = {"Apple": "/m/014j1m", "Orange": "/m/0cyhj_", "birds": "/m/015p6", "planes": "/m/0cmf2"}
SPLITS = {"train": 0.8, "validation": 0.1, "test": 0.1}
FRUIT, SKY = "/m/02xwb", "/m/01bqvp"


# --- Real photographs from S3 -------------------------------------------------------------------


@pytest.fixture(scope="module")
def photographs(shared_data: Path, s3_server: dict[str, str]) -> dict[str, Path]:
    """The real photographs by id, which lie in the bucket as well, for everybody to read; some have ids of ours."""
    import boto3  # type: ignore[import-untyped]

    keys = {name: s3_server[f"AWS_{name.upper()}"] for name in ("access_key_id", "secret_access_key")}
    client = boto3.client(
        "s3",
        endpoint_url=s3_server["AWS_ENDPOINT_URL"],
        **{f"aws_{name}": key for name, key in keys.items()},
    )
    paths = sorted(shared_data.glob("photos/*/*/*.jpg"))
    found = {path.stem if "fruit" in path.parts else image_id(n): path for n, path in enumerate(paths)}
    for name, path in found.items():
        client.put_object(Bucket=servers.BUCKET, Key=f"train/{name}.jpg", Body=path.read_bytes(), ACL="public-read")
    assert len(found) == 46 + 61 + 30 + 30
    return found


@pytest.fixture(scope="module")
def confirmed(photographs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A root with label sets of them; and the confirmed labels of each, the most confident first."""
    root = tmp_path_factory.mktemp("real") / "root"
    machine, human, labels = [], [], {}
    for number, (name, path) in enumerate(photographs.items()):
        own, sure = CLASSES[path.parent.name], 0.5005 + number / 1000
        machine += [(name, own, sure), (name, FRUIT, 0.6), (name, SKY, 0.99)]
        human += [(name, own, 1), (name, FRUIT, int("fruit" in path.parts)), (name, SKY, 0)]
        both = sorted([(sure, own), (0.6, FRUIT)], reverse=True) if "fruit" in path.parts else [(sure, own)]
        labels[name] = [label for _, label in both]
    photo_runs.label(root, machine, human, shards=4, splits=SPLITS)
    return root, labels


@pytest.fixture
def s3(s3_server: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server["AWS_ENDPOINT_URL"])
    return f"s3://{servers.BUCKET}/train/{{image_id}}.jpg"


def test_all_arrive_as_they_are_with_all_their_labels(
    photographs: dict[str, Path], confirmed: tuple[Path, dict[str, Any]], s3: str, tmp_path: Path
) -> None:
    root, labels = Path(shutil.copytree(confirmed[0], tmp_path / "root")), confirmed[1]
    result = convert(root, images_from=s3)
    assert (result.counts["in"], result.counts["out"], result.counts["rejected"]) == (167, 167, {})
    assert photo_runs.stored(root) == {name: path.read_bytes() for name, path in photographs.items()}
    assert {row["reencoded"] for row in photo_runs.index(root).values()} == {None}
    found = photo_runs.tfds_labels(root)
    assert photo_runs.merged(found) == {name: sorted(one) for name, one in labels.items()}
    ids = list(photographs)
    expected = hashing.split_of(ids, SPLITS)
    assert {name: split for split, names in found.items() for name in names} == dict(zip(ids, expected, strict=True))
    manifest = products.image_set(str(root), "photos", "1.0.0").manifest
    assert manifest.task == "multilabel"
    assert manifest.classes == sorted([*CLASSES.values(), FRUIT])
    written = photo_runs.files(root, "labels")
    assert written == photo_runs.files(confirmed[0], "labels")  # it brings no labels of its own


def test_one_label_is_the_most_confident(
    confirmed: tuple[Path, dict[str, Any]], photographs: dict[str, Path], s3: str, tmp_path: Path
) -> None:
    root, labels = Path(shutil.copytree(confirmed[0], tmp_path / "root")), confirmed[1]
    convert(root, images_from=s3, one_label="best")
    assert photo_runs.merged(photo_runs.tfds_labels(root)) == {name: one[0] for name, one in labels.items()}
    assert len({tuple(sorted(one)) != tuple(one) for one in labels.values()}) == 2  # the first by name is not always it
    assert products.image_set(str(root), "photos", "1.0.0").manifest.task == "multiclass"
    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(str(root / "images/photos/1.0.0"))
    for row in builder.as_dataset(split="test").as_numpy_iterator():
        with Image.open(io.BytesIO(photographs[row["image/id"].decode()].read_bytes())) as image:
            assert row["image"].shape == (image.height, image.width, 3)


def faults(names: list[str]) -> Any:
    """5 % of the requests are answered 503, some slowly at first, one slowly for ever; some are missing, some cut."""
    special: dict[str, Fault | list[Fault | None]] = {name: [Fault.SLOW] for name in names[:6]}
    special |= {names[6]: Fault.SLOW}
    special |= dict.fromkeys(names[7:15], Fault.MISSING) | dict.fromkeys(names[15:20], Fault.CUT)
    special |= dict.fromkeys(names[20:25], Fault.SHORT) | {name: [Fault.CUT] for name in names[25:30]}
    chosen = faulty_server.listed({f"{name}.jpg": fault for name, fault in special.items()})

    def rule(path: str, attempt: int) -> Fault | None:
        busy = faulty_server.share(path, attempt, "3") < 0.05
        return chosen(path, attempt) or (Fault.BUSY if busy else None)

    return rule


FATES = {
    Fault.SLOW: Reason.FETCH_TIMED_OUT,
    Fault.MISSING: Reason.IMAGE_GONE,
    Fault.CUT: Reason.FETCH_FAILED,
    Fault.BUSY: Reason.FETCH_FAILED,
    Fault.SHORT: Reason.IMAGE_TRUNCATED,
}


def fate(rule: Any, name: str) -> tuple[Reason | None, int]:
    """Why a photograph cannot arrive in two attempts, and how often it is asked for."""
    for attempt in (1, 2):
        fault = rule(f"{name}.jpg", attempt)
        if fault in (None, Fault.MISSING, Fault.SHORT):
            break
    return (FATES[fault] if fault else None), attempt


def test_from_a_failing_server_each_arrives_or_has_its_reason(
    confirmed: tuple[Path, dict[str, Any]],
    photographs: dict[str, Path],
    s3: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    root = Path(shutil.copytree(confirmed[0], tmp_path / "root"))
    chosen = faults(list(photographs))
    bucket = f"/{servers.BUCKET}/train/"
    fates = {name: fate(lambda path, attempt: chosen(bucket + path, attempt), name) for name in photographs}
    with serving(faulty_server.upstream(os.environ["AWS_ENDPOINT_URL"]), chosen) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.address)
        given: dict[str, Any] = {"max_concurrency": 8, "max_attempts": 2, "timeout": 1.2}
        result = convert(root, ["--direct_num_workers=2"], images_from=s3, max_reject_fraction=0.2, **given)
    rejected = {name: reason for name, (reason, _) in fates.items() if reason}
    assert {name: reason for name, (reason, _) in photo_runs.rejects(root).items()} == rejected
    assert set(rejected.values()) == {*FATES.values()}
    assert Fault.BUSY in {chosen(f"{bucket}{name}.jpg", 1) for name in photographs}
    assert photo_runs.stored(root) == {n: path.read_bytes() for n, path in photographs.items() if n not in rejected}
    assert result.counts["rejected"] == dict(sorted(Counter(map(str, rejected.values())).items()))
    assert result.counts["in"] == 167 == result.counts["out"] + len(rejected)
    assert {path.removeprefix(bucket).removesuffix(".jpg"): n for path, n in proxy.requests.items()} == {
        name: attempts for name, (_, attempts) in fates.items()
    }
    assert proxy.signed == 0


# --- Which photographs, and which labels --------------------------------------------------------

Rows = list[tuple[str, float | None, int | None]]
SETS: dict[int, Rows] = {  # image, label, machine's confidence, people's verdict; None where there is none
    0: [("a", 0.9, 1), ("b", 0.8, 1), ("c", 0.7, None)],
    1: [("a", 0.9, 0), ("b", 0.6, 1), ("d", None, 1)],
    2: [("a", 0.9, 0), ("b", 0.8, 0)],
    3: [("c", 0.7, 1), ("b", 0.7, 1), ("a", 0.0, None)],
    4: [("a", 0.9, None)],
    5: [("d", None, 1), ("e", None, 0)],
    6: [("a", 0.0, 1), ("b", 0.5, 0)],
    **{number: [("a", 0.9, 1)] for number in range(10, 40)},
}
MORE = {name: ["a"] for name in range(10, 40)}


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A root with all label sets of some drawn photographs, and where these lie."""
    folder = tmp_path_factory.mktemp("sets")
    photo_runs.draw(folder / "drawn", 40)
    label(folder / "root")
    return folder / "root", f"{folder}/drawn/{{image_id}}.jpg"


def label(root: Path, **more: Any) -> None:
    every = [(image_id(number), *row) for number, rows in SETS.items() for row in rows]
    machine = [(name, label, sure) for name, label, sure, _ in every if sure is not None]
    human = [(name, label, verdict) for name, label, _, verdict in every if verdict is not None]
    photo_runs.label(root, machine, human, **{"label_sets": "all", **more})


def labels_of(root: Path) -> dict[int, Any]:
    found = photo_runs.merged(photo_runs.tfds_labels(root))
    return {number: found[image_id(number)] for number in range(40) if image_id(number) in found}


@pytest.mark.parametrize(
    ("label_set", "expected"),
    [
        ("confirmed", {0: ["a", "b"], 1: ["b"], 3: ["b", "c"], 6: ["a"]}),
        ("machine", {0: ["a", "b", "c"], 1: ["a", "b"], 2: ["a", "b"], 3: ["b", "c"], 4: ["a"], 6: ["b"]}),
        ("human", {0: ["a", "b"], 1: ["b", "d"], 3: ["b", "c"], 5: ["d"], 6: ["a"]}),
    ],
)
def test_a_label_that_is_denied_is_none(
    sets: tuple[Path, str], tmp_path: Path, label_set: str, expected: dict[int, list[str]]
) -> None:
    """Neither what people reject nor an unjudged confidence of 0; an image without any label is not fetched."""
    root = Path(shutil.copytree(sets[0], tmp_path / "root"))
    result = convert(root, images_from=sets[1], label_set=label_set)
    assert labels_of(root) == expected | MORE
    assert result.counts["in"] == result.counts["out"] == len(expected) + 30
    given = products.image_set(str(root), "photos", "1.0.0").manifest.classes
    assert given == sorted({label for labels in expected.values() for label in labels} | {"a"})


@pytest.mark.parametrize(
    ("label_set", "one_label", "expected"),
    [
        ("machine", "best", {0: "a", 1: "a", 2: "a", 3: "b", 4: "a", 6: "b"}),
        ("human", "best", {0: "a", 1: "b", 3: "b", 5: "d", 6: "a"}),
    ],
)
def test_one_label_of_equals_is_the_first_by_name(
    sets: tuple[Path, str], tmp_path: Path, label_set: str, one_label: str, expected: dict[int, str]
) -> None:
    root = Path(shutil.copytree(sets[0], tmp_path / "root"))
    convert(root, images_from=sets[1], label_set=label_set, one_label=one_label)
    assert labels_of(root) == expected | dict.fromkeys(MORE, "a")


def test_one_confirmed_label_does_not_make_the_others_one(sets: tuple[Path, str], tmp_path: Path) -> None:
    """`confirm --one-label` is about the confirmed set; the machine still gives several."""
    label(tmp_path / "root", one_label="first")
    convert(tmp_path / "root", images_from=sets[1])
    assert labels_of(tmp_path / "root") == {0: "a", 1: "b", 3: "c", 6: "a"} | dict.fromkeys(MORE, "a")
    convert(tmp_path / "root", images_from=sets[1], label_set="machine")
    assert labels_of(tmp_path / "root")[0] == ["a", "b", "c"]


def test_only_the_classes_that_are_asked_for(sets: tuple[Path, str], tmp_path: Path) -> None:
    root = Path(shutil.copytree(sets[0], tmp_path / "root"))
    result = convert(root, images_from=sets[1], classes=("c", "b"), max_reject_fraction=1.0)
    assert labels_of(root) == {0: ["b"], 1: ["b"], 3: ["b", "c"]}
    assert products.image_set(str(root), "photos", "1.0.0").manifest.classes == ["c", "b"]
    assert result.counts["rejected"] == {"label_missing": 31}
    assert (result.counts["in"], result.counts["out"]) == (34, 3)


def test_finer_shards_hold_the_same(sets: tuple[Path, str], tmp_path: Path) -> None:
    roots = {shards: Path(shutil.copytree(sets[0], tmp_path / str(shards))) for shards in (2, 16)}
    for shards, root in roots.items():
        convert(root, images_from=sets[1], shards=shards)
        for row in photo_runs.index(root).values():
            [place] = hashing.shard_of(hashing.image_hashes([row["image_id"]]), shards)
            assert row["shard"] == place
    assert photo_runs.stored(roots[16]) == photo_runs.stored(roots[2])
    assert labels_of(roots[16]) == labels_of(roots[2])
    hashes = [hashing.image_hashes([name])[0] for name in read_in_order(roots[16], 16)]
    assert hashes == sorted(hashes)


def read_in_order(root: Path, shards: int) -> list[str]:
    folder = products.image_set(str(root), "photos", "1.0.0").index("train")
    return [name for shard in range(shards) for name in folder.read(shard)["image_id"].to_pylist()]


# --- What is refused ----------------------------------------------------------------------------


def make(**more: Any) -> open_images.OpenImages:
    return open_images.make(open_images.SourceSettings(**{"dataset": "photos", "source": "open_images", **more}))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"input": ("photos",)}, "leave out --input"),
        ({"splits": {"train": 1.0}}, "give --splits to concord confirm"),
        ({"split": "train"}, "give --splits to concord confirm"),
        (
            {"images_from": "s3://bucket/train/image_id.jpg"},
            "must hold {image_id}, got 's3://bucket/train/image_id.jpg'",
        ),
        (
            {"images_from": "ftp://host/{image_id}.jpg"},
            "cannot fetch from ftp://host/{image_id}.jpg: give a folder",
        ),
        ({"images_from": "https://host/get?id={image_id}"}, "a web address may contain no ? or #"),
    ],
)
def test_settings_that_make_no_sense(given: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as raised:
        make(**given)
    assert message in str(raised.value)


def test_without_a_label_set_there_is_nothing_to_do(tmp_path: Path) -> None:
    with pytest.raises(
        IncompleteError, match=r"no complete confirmed label set of 'photos' in .*: run concord confirm"
    ):
        convert(tmp_path / "root")
    assert not (tmp_path / "root").exists()


def test_a_label_set_that_is_not_there_or_not_of_confirm(sets: tuple[Path, str], tmp_path: Path) -> None:
    root = Path(shutil.copytree(sets[0], tmp_path / "root"))
    with pytest.raises(IncompleteError, match=r"no complete label set 'nobody' in .*: run concord confirm"):
        convert(root, images_from=sets[1], label_set="nobody")
    for split in ("train", "test"):
        write_label_set(root, "photos", "cnn2", [], split=split, shards=4)
    with pytest.raises(
        InputError, match="label set 'cnn2' is none that concord confirm wrote; those are confirmed, hu"
    ):
        convert(root, images_from=sets[1], label_set="cnn2")
    assert not (root / "images").exists()


def test_a_label_set_without_labels(tmp_path: Path) -> None:
    photo_runs.label(tmp_path / "root", [(image_id(1), "a", 0.9)], [(image_id(1), "a", 0)])
    with pytest.raises(InputError, match="the label set 'confirmed' of 'photos' gives no image a label"):
        convert(tmp_path / "root")


def test_shards_cannot_be_coarser_than_the_label_sets(sets: tuple[Path, str], tmp_path: Path) -> None:
    root = Path(shutil.copytree(sets[0], tmp_path / "root"))
    convert(root, images_from=sets[1])
    before = photo_runs.files(root)
    with pytest.raises(InputError, match="shards must be 2 or more, as the label set has, got 1"):
        convert(root, images_from=sets[1], shards=1)
    assert photo_runs.files(root) == before


def test_what_was_confirmed_anew_is_converted_anew(sets: tuple[Path, str], tmp_path: Path) -> None:
    root = Path(shutil.copytree(sets[0], tmp_path / "root"))
    convert(root, images_from=sets[1])
    assert not convert(root, images_from=sets[1]).built
    label(root, on_conflict="first")  # which changes nothing, for there are no conflicts
    assert not convert(root, images_from=sets[1]).built
    label(root, min_confidence=0.7)
    assert convert(root, images_from=sets[1]).built
    assert labels_of(root) == {0: ["a", "b"], 3: ["b", "c"]} | MORE
