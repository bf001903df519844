"""What five heads on one backbone cost, against one: features are computed once, and all heads learn from them.

    python -m benchmarks.heads
    python -m benchmarks.heads --images 2000 --network vgg16 --image-size 150

Pictures are drawn; the backbone has random weights, which cost as much as trained ones. Both sides are whole `train`
stages on two processors, features included, each beginning with a dataset that is converted and nothing else.
"""

import argparse
import logging
import os
import shutil
import time
from pathlib import Path
from typing import Any

from benchmarks.common import FOLDER, PROCESSORS
from samples import house_numbers
from schemas.settings.convert import ConvertSettings
from schemas.settings.train import TrainSettings
from schemas.stage import Context
from tests.support.stages import convert, train

HEADS = 5
WANTED = 1.3
RATES = (0.001, 0.0003, 0.003, 0.0005, 0.002)


def converted(images: int) -> Path:
    """A root that holds drawn colour crops, three quarters of them to train on."""
    source, root = FOLDER / f"heads-{images}.h5", FOLDER / f"heads-{images}"
    if not source.exists():
        FOLDER.mkdir(parents=True, exist_ok=True)
        size = house_numbers.SampleSize(train=images * 3 // 4, test=1, validation=images // 4)
        house_numbers.write_sample(str(source), size, seed=11)
    convert(ConvertSettings(dataset="heads", source="svhn_h5", input=(str(source),)), Context(str(root)))
    return root


def seconds(root: Path, heads: int, network: str, image_size: int) -> float:
    """How long it takes to train so many heads in a copy of a root."""
    copy = FOLDER / f"heads-run-{heads}"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(root, copy)
    shared: dict[str, Any] = {"dataset": "heads", "network": network, "image_size": image_size, "epochs": 20}
    wanted = [TrainSettings(**shared, name=f"head{number}", learning_rate=RATES[number]) for number in range(heads)]
    began = time.perf_counter()
    train(wanted, Context(str(copy)))
    return time.perf_counter() - began


def main() -> None:
    """Time one head, then five."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--network", default="xception")
    parser.add_argument("--image-size", type=int, default=299)
    given = parser.parse_args()
    logging.disable(logging.WARNING)  # Beam's, which say nothing of the benchmark
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:PROCESSORS])
    root = converted(given.images)
    one, several = (seconds(root, heads, given.network, given.image_size) for heads in (1, HEADS))
    print(f"{given.network} at {given.image_size} pixels, {given.images:,} images: 1 head {one:.1f} s")
    print(f"{HEADS} heads {several:.1f} s, {several / one:.2f} of one (wanted: less than {WANTED:g})")


if __name__ == "__main__":
    main()
