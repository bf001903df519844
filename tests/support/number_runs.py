"""Full numbers as SVHN lists them, with every oddity of the real lists, and their conversion."""

from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt

from schemas.settings.convert import ConvertSettings
from schemas.stage import Context, StageResult
from tests.support import stages
from tests.support.digit_struct import Box, picture, png, row_of_boxes

ONE = ("--direct_num_workers=1",)
TRAIN: list[tuple[str, list[Box]]] = [
    ("1.png", row_of_boxes("19")),
    ("2.png", row_of_boxes("7")),  # in place
    ("3.png", row_of_boxes("105")),  # 10 is digit 0
    ("4.png", row_of_boxes("0")),
    ("5.png", row_of_boxes("012345", left=-2)),  # six digits, a zero first, a box beyond the picture
    ("6.png", row_of_boxes("88")),  # no such picture
    ("7.png", row_of_boxes("31")),  # a broken one
    ("8.png", row_of_boxes("26", left=500)),  # boxes outside it
    ("9.png", [(11, 3, 3, 5, 9)]),  # no such label
    ("10.png", [(9, 41, 6, 12, 22), (7, 30, 7, 10, 22)]),  # listed from right to left, as 10855.png of train is
]
TEST: list[tuple[str, list[Box]]] = [("1.png", row_of_boxes("5")), ("2.png", row_of_boxes("210"))]
NUMBERS = {
    "train/1.png": "19",
    "train/2.png": "7",
    "train/3.png": "105",
    "train/4.png": "0",
    "train/5.png": "012345",
    "train/10.png": "79",
    "test/1.png": "5",
    "test/2.png": "210",
}
REJECTED = {
    "train/6.png": "image_gone",
    "train/7.png": "image_undecodable",
    "train/8.png": "box_outside",
    "train/9.png": "label_outside_classes",
}


def settings_for(*inputs: Path | str, **more: Any) -> Any:
    given = {"dataset": "numbers", "source": "svhn_full", "max_reject_fraction": 1.0, **more}
    return ConvertSettings(input=tuple(map(str, inputs)), **given)


def convert(root: Path, *inputs: Path | str, **more: Any) -> StageResult:
    return stages.convert(settings_for(*inputs, **more), Context(str(root), ONE))


def rows(root: Path, table: str) -> list[dict[str, Any]]:
    """The rows of a table of the dataset, as DuckDB reads them."""
    files = [str(path) for path in root.glob(f"{table}/**/*.parquet")]
    found: list[dict[str, Any]] = duckdb.read_parquet(files, hive_partitioning=False).to_arrow_table().to_pylist()
    return found


def labels(root: Path) -> dict[str, str]:
    found = rows(root, "labels/dataset=numbers/annotator=human")
    assert {row["confidence"] for row in found} <= {1.0}
    assert len({row["image_id"] for row in found}) == len(found)
    return {row["image_id"]: row["label"] for row in found}


def read_back(root: Path, split: str) -> dict[str, tuple[npt.NDArray[np.uint8], str]]:
    """Pixels and number of each image, as tensorflow_datasets reads them."""
    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(str(root / "images/numbers/1.0.0"))
    found = builder.as_dataset(split=split).as_numpy_iterator()
    return {row["image/id"].decode(): (row["image"], row["label"].decode()) for row in found}


def pictures(folder: Path, names: list[str]) -> None:
    """Each its own; `7.png` is broken in its middle."""
    for name in names:
        content = bytearray(png(picture(40, 70, int(name.partition(".")[0]))))
        if name == "7.png":
            content[len(content) // 2] ^= 0xFF
        (folder / name).write_bytes(bytes(content))
