"""Conversions of photographs, for tests: what they are made from, and what they leave, as other libraries read it."""

import hashlib
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
from PIL import Image

from schemas.settings.confirm import ConfirmSettings
from schemas.settings.convert import ConvertSettings
from schemas.stage import Context, StageResult
from tests.support import stages

ONE = ("--direct_num_workers=1",)


def image_id(number: int) -> str:
    """Of a drawn photograph; the first begin with zeros."""
    return f"{number * 0x0123456789AB:016x}"


def written(image: Image.Image, form: str = "JPEG", **options: Any) -> bytes:
    sink = io.BytesIO()
    image.save(sink, form, **options)
    return sink.getvalue()


def scene(number: int, height: int = 0, width: int = 0) -> Image.Image:
    """A picture that no other number has, of its own size unless one is given."""
    rng = np.random.default_rng(number)
    height, width = height or 20 + number % 7, width or 24 + number % 11
    colours = rng.integers(0, 256, (2, 2, 3)).astype(np.uint8)
    return Image.fromarray(colours).resize((width, height), Image.Resampling.BILINEAR)


def draw(folder: Path, count: int) -> dict[str, bytes]:
    """Draw `<id>.jpg` files into a folder; their content by id."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = {image_id(number): written(scene(number)) for number in range(count)}
    for name, content in drawn.items():
        (folder / f"{name}.jpg").write_bytes(content)
    return drawn


def label(
    root: Path, machine: Iterable[tuple[str, str, float]], human: Iterable[tuple[str, str, int]], **more: Any
) -> None:
    """Write the label sets of dataset `photos`, as `concord confirm` makes them."""
    folder = root.parent / f"{root.name}-csv"
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in (("machine", machine), ("human", human)):
        lines = [f"{image},{name},{label},{confidence}\n" for image, label, confidence in rows]
        (folder / f"{name}.csv").write_text("".join(["ImageID,Source,LabelName,Confidence\n", *lines]))
    paths = {"machine": (str(folder / "machine.csv"),), "human": (str(folder / "human.csv"),)}
    given = {"dataset": "photos", "shards": 2, "splits": {"train": 0.7, "test": 0.3}, **paths, **more}
    stages.confirm(ConfirmSettings(**given), Context(str(root), ONE))


def convert(root: Path, flags: Sequence[str] = ONE, force: bool = False, **more: Any) -> StageResult:
    settings: dict[str, Any] = {"dataset": "photos", "source": "open_images", "timeout": 5.0, **more}
    return stages.convert(ConvertSettings(**settings), Context(str(root), tuple(flags), force))


def rows(root: Path, kind: str) -> list[dict[str, Any]]:
    """The rows of every split's table, by id: of `index`, `rejects/convert`, `labels/...`."""
    query = f"select * from read_parquet('{root}/{kind}/**/*.parquet', hive_partitioning=true) order by image_id"
    found: list[dict[str, Any]] = duckdb.sql(query).to_arrow_table().to_pylist()
    return found


def index(root: Path) -> dict[str, dict[str, Any]]:
    found = rows(root, "index/dataset=photos")
    assert len({row["image_id"] for row in found}) == len(found)
    return {row["image_id"]: row for row in found}


def rejects(root: Path) -> dict[str, tuple[str, str]]:
    """Reason and detail of each reject."""
    return {row["image_id"]: (row["reason"], row["detail"]) for row in rows(root, "rejects/convert/dataset=photos")}


def stored(root: Path, version: str = "1.0.0") -> dict[str, bytes]:
    """Every encoded image, found by the index, and looked at by TensorFlow and Pillow."""
    import tensorflow as tf

    found = {}
    for name, row in index(root).items():
        pattern = f"photos-{row['split']}.tfrecord-{row['shard']:05d}-of-*"
        [path] = (root / "images" / "photos" / version).glob(pattern)
        payload = path.read_bytes()[row["offset"] : row["offset"] + row["length"]]
        feature = tf.train.Example.FromString(payload).features.feature
        assert [value.decode() for value in feature["image/id"].bytes_list.value] == [name]
        [content] = feature["image"].bytes_list.value
        assert hashlib.sha256(content).hexdigest() == row["sha256"]
        with Image.open(io.BytesIO(content)) as image:
            assert image.format is not None
            assert (image.format.lower(), image.height, image.width) == (row["format"], row["height"], row["width"])
            assert image.mode == {1: "L", 3: "RGB"}[row["channels"]]
        found[name] = content
    return found


def tfds_labels(root: Path, dataset: str = "photos", version: str = "1.0.0") -> dict[str, dict[str, Any]]:
    """The names of each image's labels, or of its one, as tensorflow_datasets reads them; by split."""
    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(str(root / "images" / dataset / version))
    found: dict[str, dict[str, Any]] = {}
    for split, info in builder.info.splits.items():
        if not info.num_examples:
            found[split] = {}
            continue
        examples = list(builder.as_dataset(split=split, shuffle_files=False).as_numpy_iterator())
        assert len(examples) == info.num_examples
        if "label" in builder.info.features:
            names = builder.info.features["label"].names
            found[split] = {one["image/id"].decode(): names[one["label"]] for one in examples}
        else:
            names = builder.info.features["labels"].feature.names
            found[split] = {one["image/id"].decode(): [names[n] for n in one["labels"]] for one in examples}
        assert len(found[split]) == len(examples)
    return found


def merged(splits: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What is of any split; nothing is of two."""
    whole = {name: value for found in splits.values() for name, value in found.items()}
    assert len(whole) == sum(map(len, splits.values()))
    return whole


def files(root: Path, *folders: str) -> dict[str, str]:
    """SHA-256 of every file under some folders of a root."""
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for folder in folders or ("images", "index", "rejects")
        for path in sorted((root / folder).rglob("*"))
        if path.is_file()
    }
