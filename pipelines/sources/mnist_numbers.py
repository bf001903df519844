"""Source `mnist_numbers`: pictures of house numbers of one to five digits, drawn from MNIST's single digits.

    concord convert --source mnist_numbers --input t10k-images-idx3-ubyte.gz t10k-labels-idx1-ubyte.gz \
        --numbers train=20000,validation=1000,test=2000 --dataset numbers --root out

A picture follows from the seed, its split, its place in the split and the digits that the split may use; splits may be
made to share no digit's writing (`--digits train=0:8000,test=8000:10000`). The label is the number.
"""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from apache_beam.utils import shared

from pipelines.formats import idx
from pipelines.pictures.number_pictures import BLOCK, draw_block
from pipelines.sources import Records, Slab, SourcePlan
from schemas.errors import InputError
from schemas.products import SEQUENCE
from schemas.settings import ConvertSettings

HELD_BACK = "test"  # the split whose digits no other split uses, if nothing is said
SLAB_BLOCKS = 4


def make(settings: ConvertSettings) -> "MnistNumbers":
    """The source that the settings describe."""
    if len(settings.input) != 2:
        given = ", ".join(settings.input) or "give --input"
        raise InputError(f"mnist_numbers reads two files, of images and of labels, got {len(settings.input)}: {given}")
    if settings.split or settings.splits:
        raise InputError("mnist_numbers draws each split by itself: leave out --split, and say how many with --numbers")
    stray = set(settings.digits or {}) - set(settings.numbers)
    if stray or not settings.numbers or min(settings.numbers.values()) < 1:
        raise InputError(
            f"numbers must give each split 1 picture or more, and digits name no other split; got numbers "
            f"{dict(settings.numbers)} and digits {dict(settings.digits or {})}"
        )
    height, width = settings.image_size
    return MnistNumbers(
        settings.input, tuple(settings.numbers.items()), dict(settings.digits or {}), (height, width), settings.seed
    )


@dataclass(frozen=True)
class MnistNumbers:
    """Draws pictures of numbers.

    Attributes:
        paths: of the files of images and labels.
        numbers: how many pictures each split has.
        ranges: START:STOP, the rows of the files that a split uses; for a split that is not named, see `rows_of`.
        size: height and width of the pictures.
        seed: of everything drawn.
    """

    paths: tuple[str, ...]
    numbers: tuple[tuple[str, int], ...]
    ranges: Mapping[str, str]
    size: tuple[int, int]
    seed: int
    _read: shared.Shared = field(default_factory=shared.Shared, compare=False, repr=False)

    def plan(self) -> SourcePlan:
        """Slabs of whole blocks, so that no block is drawn twice."""
        count = len(self._digits().labels)
        used = {split: self.rows_of(split, count) for split, _ in self.numbers}
        row_bytes = self.size[0] * self.size[1]
        rows = SLAB_BLOCKS * BLOCK
        slabs = [
            Slab(self.paths[0], split, "", "", start, min(start + rows, total), row_bytes * min(rows, total - start))
            for split, total in self.numbers
            for start in range(0, total, rows)
        ]
        facts = {"digits": {split: [found.start, found.stop] for split, found in used.items()}}
        return SourcePlan((*self.size, 1), tuple(slabs), SEQUENCE, facts)

    def read(self, slab: Slab) -> Records:
        """Draw the pictures of a slab."""
        digits = self._digits()
        used = self.rows_of(slab.split, len(digits.labels))
        part = idx.Digits(digits.pixels[used], digits.labels[used])
        stream = zlib.crc32(slab.split.encode())
        blocks = range(slab.start // BLOCK, -(-slab.stop // BLOCK))
        drawn = [draw_block(part, self.size, (self.seed, stream, block)) for block in blocks]
        count = slab.stop - slab.start
        rows = range(slab.start, slab.stop)
        return Records(
            source=slab.path,
            image_ids=[f"{slab.split}-{row:07d}" for row in rows],
            positions=[f"{slab.split}[{row}]" for row in rows],
            pixels=np.concatenate([one.pixels for one in drawn])[:count, ..., None],
            labels=np.array([number for one in drawn for number in one.numbers][:count], dtype=object),
            classes=None,
        )

    def rows_of(self, split: str, count: int) -> slice:
        """The rows of the files that a split's digits come from: the last fifth for `test`, the others for the rest.

        Raises:
            InputError: what is said of them is no range of the files' rows.
        """
        border = count - count // 5
        default = f"{border}:{count}" if split == HELD_BACK else f"0:{border}"
        text = self.ranges.get(split, default)
        start, colon, stop = text.partition(":")
        if not (colon and start.isdecimal() and stop.isdecimal() and int(start) < int(stop) <= count):
            raise InputError(
                f"digits must be SPLIT=START:STOP with 0 <= START < STOP <= {count}, the digits that there are; "
                f"got {split}={text}"
            )
        return slice(int(start), int(stop))

    def _digits(self) -> idx.Digits:
        digits: idx.Digits = self._read.acquire(lambda: idx.read_digits(self.paths), tag=":".join(self.paths))
        return digits
