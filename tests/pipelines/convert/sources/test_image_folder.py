"""Source `image_folder`: which files are images, of which class and split; the table of labels; and running again."""

import hashlib
import logging
import os
import re
import shutil
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import xxhash

from pipelines.convert.sources import image_folder
from schemas.errors import InputError, Reason, TooManyRejectsError
from storage import fetching, products
from storage.formats.csv_tables import read_label_table
from tests.support import photo_runs
from tests.support.photo_runs import scene, written


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(fetching, "FIRST_PAUSE", 0.005)
    fetching._store.cache_clear()
    yield
    fetching._store.cache_clear()


def convert(folder: Path | str, root: Path, *others: Path, **more: Any) -> dict[str, Any]:
    """Convert a folder; the counts."""
    paths = tuple(map(str, (folder, *others)))
    given = {"source": "image_folder", "shards": 2, "max_attempts": 2, **more}
    return photo_runs.convert(root, input=paths, **given).counts


def fill(folder: Path, *paths: str) -> dict[str, bytes]:
    """Write a photograph, its own, to each path of a folder."""
    contents = {path: written(scene(number)) for number, path in enumerate(paths)}
    for path, content in contents.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    return contents


def manifest(root: Path) -> dict[str, Any]:
    return products.image_set(str(root), "photos", "1.0.0").manifest.model_dump(mode="json")


def label_set(root: Path) -> dict[str, list[str]]:
    """The labels that people gave each image."""
    found = defaultdict(list)
    for row in photo_runs.rows(root, "labels/dataset=photos/annotator=human"):
        assert (row["confidence"], row["verdict"]) == (1.0, None)
        found[row["image_id"]].append(row["label"])
    return dict(found)


# --- Real folders -------------------------------------------------------------------------------


def test_faces(shared_data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Of which some are in two splits: that is said."""
    folder = shared_data / "fer2013"
    with caplog.at_level(logging.WARNING, "concord"):
        counts = convert(folder, tmp_path, shards=8)
    assert {split: one["out"] for split, one in counts["splits"].items()} == {
        "train": 1600, "validation": 400, "test": 400,
    }  # fmt: skip
    assert counts["rejected"] == {}
    paths = {str(path.relative_to(folder)): path for path in folder.rglob("*.jpg")}
    digests = {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in paths.items()}
    assert {name: row["sha256"] for name, row in photo_runs.index(tmp_path).items()} == digests
    found = photo_runs.tfds_labels(tmp_path)
    assert found == {
        split: {name: name.split("/")[1] for name in paths if name.startswith(f"{split}/")} for split in found
    }
    assert manifest(tmp_path)["classes"] == ["happy", "neutral", "sad", "surprise"]
    assert manifest(tmp_path)["image_shape"] == [48, 48, 1]
    places: dict[str, set[str]] = defaultdict(set)
    for name, digest in digests.items():
        places[digest].add(name.split("/")[0])
    shared = {digest for digest, splits in places.items() if len(splits) > 1}
    told = manifest(tmp_path)["in_two_splits"]
    assert told["images"] == len(shared) == len(told["first"]) == 11
    assert {digests[name] for names in told["first"] for name in names} == shared
    assert all(len({name.split("/")[0] for name in names}) == len(names) > 1 for names in told["first"])
    assert f"11 images are in more than one split, such as {' and '.join(told['first'][0])}" in caplog.text


def test_fruit(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "photos" / "fruit"
    counts = convert(folder, tmp_path, splits={"train": 0.75, "test": 0.25})
    assert (counts["in"], counts["out"]) == (46 + 61, 46 + 61)
    found = photo_runs.merged(photo_runs.tfds_labels(tmp_path))
    assert Counter(found.values()) == {"Apple": 46, "Orange": 61}
    assert photo_runs.stored(tmp_path) == {name: (folder / name).read_bytes() for name in found}
    assert label_set(tmp_path) == {name: [label] for name, label in found.items()}
    assert manifest(tmp_path)["source_facts"]["left_aside"] == {".txt": 46}
    assert manifest(tmp_path)["in_two_splits"] == {"images": 0, "first": []}


# --- Which files are images, and of what --------------------------------------------------------


def test_classes_by_folder(tmp_path: Path) -> None:
    names = ("b c/1.jpg", "b c/2.JPEG", "ä/1.jpg", "ä/50% #1?.jpg", "b c/3.png", "ä/4.Jpg")
    contents = fill(tmp_path / "in", *names)
    (tmp_path / "in" / "nothing").mkdir()
    for aside in (
        "ä/notes.txt",
        "README",
        "b c/Thumbs.db",
        "b c/.DS_Store",
        "b c/jpg",
        "x.tar.GZ",
        "deep/er/and/x.txt",
    ):
        (tmp_path / "in" / aside).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / aside).write_bytes(b"no image")
    counts = convert(tmp_path / "in", tmp_path / "root")
    assert (counts["in"], counts["out"], list(counts["splits"])) == (6, 6, ["train"])
    assert photo_runs.stored(tmp_path / "root") == contents
    assert photo_runs.tfds_labels(tmp_path / "root") == {"train": {name: name.split("/")[0] for name in names}}
    left = {"(none)": 2, ".db": 1, ".ds_store": 1, ".gz": 1, ".txt": 2}
    assert manifest(tmp_path / "root")["source_facts"]["left_aside"] == left


def test_splits_by_folder_whatever_their_case(tmp_path: Path) -> None:
    fill(tmp_path / "in", "Train/cat/1.jpg", "Train/dog/2.jpg", "TEST/cat/1.jpg", "validation/dog/3.jpg")
    shutil.copy(tmp_path / "in/Train/dog/2.jpg", tmp_path / "in/validation/dog/3.jpg")
    convert(tmp_path / "in", tmp_path / "root")
    shared = [["Train/dog/2.jpg", "validation/dog/3.jpg"]]
    assert manifest(tmp_path / "root")["in_two_splits"] == {"images": 1, "first": shared}
    assert photo_runs.tfds_labels(tmp_path / "root") == {
        "train": {"Train/cat/1.jpg": "cat", "Train/dog/2.jpg": "dog"},
        "test": {"TEST/cat/1.jpg": "cat"},
        "validation": {"validation/dog/3.jpg": "dog"},
    }


def test_one_split_for_all(tmp_path: Path) -> None:
    names = ("train/cat/1.jpg", "test/cat/1.jpg")
    fill(tmp_path / "in", *names)
    convert(tmp_path / "in", tmp_path / "root", split="holdout")
    assert photo_runs.tfds_labels(tmp_path / "root") == {"holdout": dict.fromkeys(names, "cat")}


def test_splits_are_drawn_by_hash(tmp_path: Path) -> None:
    fill(tmp_path / "in", *[f"{kind}/{number}.jpg" for kind in "ab" for number in range(40)])
    convert(tmp_path / "in", tmp_path / "root", splits={"train": 0.5, "validation": 0.2, "test": 0.3})
    found = photo_runs.tfds_labels(tmp_path / "root")
    assert len(photo_runs.merged(found)) == 80
    for split, low, high in (("train", 0, 0.5), ("validation", 0.5, 0.7), ("test", 0.7, 1)):
        assert found[split]
        assert all(low <= xxhash.xxh64_intdigest(name.encode(), seed=1) / 2**64 < high for name in found[split])


def test_shards_hold_their_images_in_hash_order(tmp_path: Path) -> None:
    fill(tmp_path / "in", *[f"cat/{number}.jpg" for number in range(40)])
    convert(tmp_path / "in", tmp_path / "root", shards=8)
    images = products.image_set(str(tmp_path / "root"), "photos", "1.0.0")
    people = products.label_set(str(tmp_path / "root"), "photos", "human", "train")
    for folder in (images.index("train"), people):
        ids = [(name, shard) for shard in range(8) for name in folder.read(shard)["image_id"].to_pylist()]
        hashes = [xxhash.xxh64_intdigest(name.encode()) for name, _ in ids]
        assert len(ids) == 40
        assert hashes == sorted(hashes)
        assert [value >> 61 for value in hashes] == [shard for _, shard in ids]


def test_several_folders_are_one(tmp_path: Path) -> None:
    contents = fill(tmp_path / "in", "cat/1.jpg", "dog/2.jpg") | fill(tmp_path / "more", "cat/3.jpg", "cow/1.jpg")
    convert(tmp_path / "in", tmp_path / "root", tmp_path / "more")
    assert photo_runs.stored(tmp_path / "root") == contents
    assert manifest(tmp_path / "root")["classes"] == ["cat", "cow", "dog"]


def test_classes_are_chosen_and_ordered(tmp_path: Path) -> None:
    """What is of no chosen class is not even opened."""
    contents = fill(tmp_path / "in", "cat/1.jpg", "dog/2.jpg", "cow/3.jpg", "cow/4.jpg")
    (tmp_path / "in" / "cow" / "4.jpg").write_bytes(b"no image")
    counts = convert(tmp_path / "in", tmp_path / "root", classes=("dog", "cat"), max_reject_fraction=0.5)
    assert counts["rejected"] == {"label_missing": 2}
    assert photo_runs.tfds_labels(tmp_path / "root") == {"train": {"cat/1.jpg": "cat", "dog/2.jpg": "dog"}}
    assert photo_runs.stored(tmp_path / "root").keys() == contents.keys() - {"cow/3.jpg", "cow/4.jpg"}
    assert manifest(tmp_path / "root")["classes"] == ["dog", "cat"]
    assert {name: reason for name, (reason, _) in photo_runs.rejects(tmp_path / "root").items()} == {
        "cow/3.jpg": Reason.LABEL_MISSING, "cow/4.jpg": Reason.LABEL_MISSING,
    }  # fmt: skip


def test_what_is_no_image_inside_is_a_reject(tmp_path: Path) -> None:
    fill(tmp_path / "in", *[f"cat/{number}.jpg" for number in range(6)])
    (tmp_path / "in" / "cat" / "2.jpg").write_bytes(b"")
    (tmp_path / "in" / "cat" / "4.jpg").write_bytes(written(scene(4))[:-30])
    with pytest.raises(TooManyRejectsError, match=r"rejected 2 of 6 records \(image_empty 1, image_truncated 1\)"):
        convert(tmp_path / "in", tmp_path / "root")
    counts = convert(tmp_path / "in", tmp_path / "root", max_reject_fraction=0.4)
    assert (counts["in"], counts["out"]) == (6, 4)
    rows = photo_runs.rows(tmp_path / "root", "rejects/convert/dataset=photos")
    assert [(row["image_id"], row["source"]) for row in rows] == [
        (f"cat/{number}.jpg", f"{tmp_path}/in/cat/{number}.jpg") for number in (2, 4)
    ]


REFUSED: dict[str, tuple[tuple[str, ...], str]] = {
    "no folder": ((), r"there are no files in {folder}: image_folder needs a folder of images"),
    "no image": (("cat/a.txt", "cat/b"), r"there is no image in {folder}: names end in \.jpg \.jpeg \.png"),
    "not in a class": (("cat/1.jpg", "2.jpg"), r"{folder}/2\.jpg: images lie in <split>/<class>/<file> or <class>/"),
    "too deep": (("a/b/c/1.jpg",), r"{folder}/a/b/c/1\.jpg: images lie in .*; give the folder above, or a table"),
    "both ways": (
        ("cat/1.jpg", "train/cat/1.jpg"),
        r"{folder}/train/cat/1\.jpg lies in <split>/<class>/, but {folder}/cat/1\.jpg in <class>/",
    ),
    "a split called all": (("all/cat/1.jpg",), r"{folder}/all/cat/1\.jpg: no split may be called 'all'"),
    "an odd split": (
        ("2023-01/cat/1.jpg",),
        r"{folder}/2023-01/cat/1\.jpg: split must be lower-case .*; got '2023-01'",
    ),
    "a class with a space": (("cat/1.jpg", "cat /2.jpg"), r"class 'cat ': tensorflow_datasets strips spaces"),
    "a class of two lines": (("a/1.jpg", "a\nb/2.jpg"), r"class 'a\\nb': tensorflow_datasets strips spaces"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_folders_that_cannot_be_understood(tmp_path: Path, case: str) -> None:
    paths, message = REFUSED[case]
    fill(tmp_path / "in", *paths)
    with pytest.raises(InputError, match=message.format(folder=re.escape(f"{tmp_path}/in"))):
        convert(tmp_path / "in", tmp_path / "root")
    assert not (tmp_path / "root").exists()


def test_a_name_in_two_folders(tmp_path: Path) -> None:
    for name in ("in", "more"):
        fill(tmp_path / name, "cat/1.jpg")
    with pytest.raises(InputError, match=r"two folders hold cat/1\.jpg, and ids must differ"):
        convert(tmp_path / "in", tmp_path / "root", tmp_path / "more")


def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    """As Windows and old archives leave them: an umlaut in Latin-1."""
    fill(tmp_path / "in", "cat/1.jpg")
    (tmp_path / "in" / "cat" / os.fsdecode(b"\xe4.jpg")).write_bytes(written(scene(1)))
    with pytest.raises(InputError, match=r"the name of .*/in/cat/\\xe4\.jpg' is not UTF-8: rename it"):
        convert(tmp_path / "in", tmp_path / "root")


def test_it_needs_a_folder() -> None:
    with pytest.raises(InputError, match="image_folder needs at least one folder: give --input"):
        image_folder.make(image_folder.SourceSettings(dataset="photos", source="image_folder"))


# --- A table of labels --------------------------------------------------------------------------


def table(tmp_path: Path, text: str | bytes) -> str:
    path = tmp_path / "labels.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


def test_a_table_gives_several_labels_or_none(tmp_path: Path) -> None:
    contents = fill(tmp_path / "in", "1.jpg", "2.jpg", "deep/er/3.png", "deep/4.jpg", "5.jpg")
    rows = "1.jpg,haze primary\n2,clear\ndeep/er/3,primary;haze|road\ndeep/4.jpg,\n6.jpg,haze\n"
    counts = convert(tmp_path / "in", tmp_path / "root", labels=table(tmp_path, rows), max_reject_fraction=0.5)
    root = tmp_path / "root"
    expected = {"1.jpg": ["haze", "primary"], "2.jpg": ["clear"], "deep/er/3.png": ["primary", "haze", "road"]}
    assert photo_runs.tfds_labels(root) == {"train": expected | {"deep/4.jpg": []}}
    assert photo_runs.stored(root) == {name: one for name, one in contents.items() if name != "5.jpg"}
    assert {name: sorted(labels) for name, labels in label_set(root).items()} == {
        name: sorted(labels) for name, labels in expected.items()
    }
    assert photo_runs.rejects(root) == {
        "5.jpg": (Reason.LABEL_MISSING, "it is of no requested class, or in no row of the table"),
        "6.jpg": (Reason.IMAGE_GONE, f"{tmp_path}/in/6.jpg is not there"),
    }
    assert (counts["in"], counts["out"], counts["rejected"]) == (6, 4, {"image_gone": 1, "label_missing": 1})
    assert manifest(root)["task"] == "multilabel"
    assert manifest(root)["classes"] == ["clear", "haze", "primary", "road"]


def test_a_table_may_name_files_in_other_ways(tmp_path: Path) -> None:
    """As `find` lists them; without the extension that another file has as well; or with none at all."""
    fill(tmp_path / "in", "cat/1.jpg", "2.jpg", "2.png", "three")
    rows = "./cat/1.jpg,a\n2.jpg,b\n2,c\nthree,d\n"
    convert(tmp_path / "in", tmp_path / "root", labels=table(tmp_path, rows))
    expected = {"cat/1.jpg": ["a"], "2.jpg": ["b"], "2.png": ["c"], "three": ["d"]}
    assert photo_runs.tfds_labels(tmp_path / "root") == {"train": expected}
    assert manifest(tmp_path / "root")["source_facts"]["left_aside"] == {}


def test_a_table_and_chosen_classes(tmp_path: Path) -> None:
    """Other labels are dropped; an image that has only such ones is not one that has none."""
    fill(tmp_path / "in", "1.jpg", "2.jpg", "3.jpg", "4.jpg")
    rows = "1.jpg,a b c\n2.jpg,c\n3.jpg,\n4.jpg,b\n"
    counts = convert(
        tmp_path / "in", tmp_path / "root", labels=table(tmp_path, rows), classes=("b", "a"), max_reject_fraction=0.5
    )
    assert photo_runs.tfds_labels(tmp_path / "root") == {"train": {"1.jpg": ["a", "b"], "3.jpg": [], "4.jpg": ["b"]}}
    assert counts["rejected"] == {"label_missing": 1}
    assert manifest(tmp_path / "root")["classes"] == ["b", "a"]


@pytest.mark.parametrize(
    "text",
    [
        "a.jpg,x y\nb.jpg,z\n",
        "filename,labels\na.jpg,x y\nb.jpg,z",
        "\ufeffFilename , LABELS\r\n\r\na.jpg,x  y \r\nb.jpg,z\r\n",
        "filename,labels\ra.jpg,x;y\rb.jpg,z\r",
        '"filename","labels"\n"a.jpg","x|y|x"\n"b.jpg"," z"\n',
        "image_name,tags\na.jpg,x y\nb.jpg,z\n",
    ],
)
def test_tables_of_many_hands(tmp_path: Path, text: str) -> None:
    assert read_label_table(table(tmp_path, text)) == {"a.jpg": ("x", "y"), "b.jpg": ("z",)}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a.jpg,x\n\nb.jpg,x,y\n", r"labels\.csv, line 3: a row is FILENAME,LABELS"),
        ("a.jpg\n", r"labels\.csv, line 1: a row is FILENAME,LABELS"),
        ("filename,labels\n,x\n", r"labels\.csv, line 2: a row is FILENAME,LABELS"),
        ('"a\nb.jpg",x\nc.jpg\n', r"labels\.csv, line 3: a row is FILENAME,LABELS"),
        ("a.jpg,x\nb.jpg,y\na.jpg,z\n", r"labels\.csv, line 3: a\.jpg occurs twice; put all its labels into one row"),
        ("a.jpg,x\n./a.jpg,z\n", r"labels\.csv, line 2: a\.jpg occurs twice"),
        ("", r"labels\.csv is empty, but must hold labels"),
        ("filename,labels\n", r"labels\.csv has no rows"),
        (b"a.jpg,\xe4\n", r"labels\.csv is no CSV file of labels in UTF-8"),
        ("a.jpg," + "x" * 200_000, r"labels\.csv is no CSV file of labels in UTF-8: field larger than field limit"),
    ],
)
def test_tables_that_cannot_be_read(tmp_path: Path, content: str | bytes, message: str) -> None:
    fill(tmp_path / "in", "a.jpg")
    with pytest.raises(InputError, match=message):
        convert(tmp_path / "in", tmp_path / "root", labels=table(tmp_path, content))
    assert not (tmp_path / "root").exists()


def test_a_table_that_is_not_there(tmp_path: Path) -> None:
    fill(tmp_path / "in", "a.jpg")
    with pytest.raises(InputError, match=r"no such file: absent\.csv"):
        convert(tmp_path / "in", tmp_path / "root", labels="absent.csv")


# --- Running again ------------------------------------------------------------------------------


def test_only_what_changed_is_made_again(tmp_path: Path) -> None:
    fill(tmp_path / "in", "cat/1.jpg", "dog/2.jpg")
    labels = table(tmp_path, "cat/1.jpg,a\ndog/2.jpg,b\n")

    def made(folder: str = "in", **more: Any) -> bool:
        given = {"source": "image_folder", "input": (str(tmp_path / folder),), "labels": labels, "shards": 2, **more}
        return photo_runs.convert(tmp_path / "root", **given).built

    assert [made(), made(), made(timeout=9.0)] == [True, False, False]
    shutil.copytree(tmp_path / "in", tmp_path / "moved")
    assert not made("moved")
    photo = tmp_path / "in" / "cat" / "1.jpg"
    os.utime(photo, ns=(1, photo.stat().st_mtime_ns + 1))
    assert made()
    (tmp_path / "in" / "dog" / "notes.txt").write_bytes(b"aside")
    assert made()
    assert manifest(tmp_path / "root")["source_facts"]["left_aside"] == {".txt": 1}
    photo.rename(photo.with_name("3.jpg"))
    assert made(max_reject_fraction=1.0)
    assert photo_runs.stored(tmp_path / "root").keys() == {"dog/2.jpg"}
    table(tmp_path, "cat/3.jpg,a\ndog/2.jpg,b\n")
    assert made()
    assert photo_runs.stored(tmp_path / "root").keys() == {"cat/3.jpg", "dog/2.jpg"}
    assert [made(splits={"train": 0.5, "test": 0.5}), made()] == [True, True]
    assert not [path for path in photo_runs.files(tmp_path / "root") if "test" in path]


def test_a_folder_on_s3(s3_place: str, tmp_path: Path) -> None:
    """Private: listed and fetched with the usual credentials."""
    import boto3  # type: ignore[import-untyped]

    contents = fill(tmp_path / "in", "train/b c/1.jpg", "train/ä/50%#?.jpg", "test/b c/2+2.jpg")
    bucket, _, folder = s3_place.removeprefix("s3://").partition("/")
    client = boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"])
    for name, content in contents.items():
        client.put_object(Bucket=bucket, Key=f"{folder}/{name}", Body=content, ACL="private")
    client.put_object(Bucket=bucket, Key=f"{folder}/notes.txt", Body=b"aside", ACL="private")
    convert(s3_place + "/", tmp_path / "root")
    assert photo_runs.stored(tmp_path / "root") == contents
    assert manifest(tmp_path / "root")["source_facts"]["left_aside"] == {".txt": 1}
    convert(tmp_path / "in", tmp_path / "local")
    assert photo_runs.tfds_labels(tmp_path / "root") == photo_runs.tfds_labels(tmp_path / "local")
