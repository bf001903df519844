"""Draws label CSVs of Open Images' size and shape, whose true counts are known by construction.

Every image's machine labels are `step` apart on a circle of CLASSES classes (a prime), so they differ; its human rows
first repeat machine labels, which match, and then go on along the circle, which do not.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

CLASSES = 601
BLOCK = 100_000  # images drawn at a time
_CODES = "0123456789abcdefghijklmnopqrstuvwxyz_"

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Size:
    """How many rows and images the drawn files hold."""

    machine_rows: int
    machine_images: int
    human_rows: int
    human_images: int
    matched: int
    confirmed_images: int


FULL = Size(78_977_695, 9_011_219, 8_996_795, 1_743_042, 1_934_243, 959_927)  # release 2018_04, train


def scaled(scale: float) -> Size:
    """The full size times `scale`, every number rounded; 0 gives empty files."""
    return Size(*(round(number * scale) for number in vars(FULL).values()))


def label_names() -> npt.NDArray[np.bytes_]:
    """CLASSES names such as `/m/0k4j`, of the lengths that Open Images' have."""
    rng = np.random.default_rng(5)
    lengths = rng.choice([4, 5, 6, 7], CLASSES, p=[0.1, 0.45, 0.35, 0.1])
    names: dict[str, None] = {}
    while len(names) < CLASSES:
        code = rng.choice(list(_CODES), lengths[len(names)])
        names["/m/0" + "".join(code[1:])] = None
    return np.array(list(names), dtype=np.bytes_)


def write(folder: Path, size: Size) -> tuple[Path, Path]:
    """Write `machine.csv` and `human.csv`, and return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = folder / "machine.csv", folder / "human.csv"
    names = label_names()
    with open(paths[0], "wb") as machine, open(paths[1], "wb") as human:
        for file in (machine, human):
            file.write(b"ImageID,Source,LabelName,Confidence\n")
        for first in range(0, size.machine_images, BLOCK):
            images = np.arange(first, min(first + BLOCK, size.machine_images))
            machine.write(_machine_rows(images, size, names))
            human.write(_human_rows(images, size, names))
    return paths


def image_ids(images: Numbers, size: Size) -> npt.NDArray[np.uint64]:
    """Ids in ascending order, spread evenly."""
    step = (1 << 64) // size.machine_images
    noise = (images.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)) % np.uint64(step)
    return images.astype(np.uint64) * np.uint64(step) + noise


def _share(total: int, parts: int, numbers: Numbers) -> Numbers:
    """How many of `total` things fall to each of `parts` takers, as evenly as can be."""
    return (numbers + 1) * total // parts - numbers * total // parts


def _labels_of(images: Numbers, numbers: Numbers) -> Numbers:
    """The `number`-th label on each image's way round the circle of classes."""
    start, step = images * 7919 % CLASSES, images * 104_729 % (CLASSES - 1) + 1
    return (start + numbers * step) % CLASSES


def _machine_rows(images: Numbers, size: Size, names: npt.NDArray[np.bytes_]) -> bytes:
    counts = _share(size.machine_rows, size.machine_images, images)
    owners, numbers = _rows(counts)
    tenths = b"567889999"
    digits = np.frombuffer(tenths, np.uint8)[(images[owners] * 31 + numbers * 17) % len(tenths)]
    ids = image_ids(images, size)[owners]
    return _text(ids, b"machine", names[_labels_of(images[owners], numbers)], digits)


def _human_rows(images: Numbers, size: Size, names: npt.NDArray[np.bytes_]) -> bytes:
    taken = _share(size.human_images, size.machine_images, images) == 1
    images = images[taken]
    people = images * size.human_images // size.machine_images  # number of the image among those that people saw
    rows = _share(size.human_rows, size.human_images, people)
    sure = _share(size.confirmed_images, size.human_images, people) == 1
    confirmed_before = people * size.confirmed_images // size.human_images
    spare = size.matched - size.confirmed_images
    extra = np.where(sure, _share(spare, max(size.confirmed_images, 1), confirmed_before), 0)
    matched = np.where(sure, 1 + extra, 0)
    machine = _share(size.machine_rows, size.machine_images, images)
    owners, numbers = _rows(rows)
    hits = numbers < matched[owners]
    labels = _labels_of(images[owners], np.where(hits, numbers, machine[owners] + numbers))
    present = np.where(hits, numbers % 3 != 1, (images[owners] + numbers) % 2 == 0)
    ids = image_ids(images, size)[owners]
    return _text(ids, b"verification", names[labels], np.where(present, ord("1"), ord("0")).astype(np.uint8))


def _rows(counts: Numbers) -> tuple[Numbers, Numbers]:
    """Owner and running number within the owner of each of `counts.sum()` rows."""
    owners = np.repeat(np.arange(len(counts)), counts)
    starts = np.cumsum(counts) - counts
    return owners, np.arange(len(owners)) - starts[owners]


def _text(
    ids: npt.NDArray[np.uint64], source: bytes, labels: npt.NDArray[np.bytes_], digits: npt.NDArray[np.uint8]
) -> bytes:
    """Rows of CSV; the machine's digit stands for tenths, people's for itself."""
    nibbles = (ids[:, None] >> np.arange(60, -4, -4, dtype=np.uint64)) & np.uint64(15)
    hexes = np.frombuffer(b"0123456789abcdef", np.uint8)[nibbles.astype(np.int64)]
    middle = b"," + source + b","
    tail = b",0.0\n" if source == b"machine" else b",0\n"
    width = labels.dtype.itemsize
    cells = np.zeros((len(ids), 16 + len(middle) + width + len(tail)), np.uint8)
    cells[:, :16] = hexes
    cells[:, 16 : 16 + len(middle)] = np.frombuffer(middle, np.uint8)
    cells[:, 16 + len(middle) : -len(tail)] = labels.view(np.uint8).reshape(len(ids), width)
    cells[:, -len(tail) :] = np.frombuffer(tail, np.uint8)
    cells[:, -2] = digits
    return bytes(cells[cells != 0].tobytes())
