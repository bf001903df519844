"""Label a million drawn crops, and watch the memory of the whole process: it should stay flat.

python -m benchmarks.memory --count 1000000
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

from benchmarks import common
from benchmarks.label import NETWORK, prepared
from schemas import layout
from storage.products import ImageSet

SAMPLE_SECONDS = 0.25
STEPS = 10


def resident(pid: int) -> float:
    """Memory that a process holds, in MiB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * 4096 / 2**20


def watch(images: ImageSet) -> tuple[list[tuple[int, float]], float]:
    """Label in a process of its own; its memory at each sample with the shards committed, and the seconds taken."""
    folder = Path(layout.labels(images.root, images.dataset, NETWORK, common.SPLIT))
    for file in folder.glob("*"):
        file.unlink()
    command = [
        "label",
        "--models",
        NETWORK,
        "--dataset",
        images.dataset,
        "--splits",
        common.SPLIT,
        "--root",
        images.root,
    ]
    process = subprocess.Popen([sys.executable, "-m", "concord", *command])
    began, samples = time.perf_counter(), []
    while process.poll() is None:
        samples.append((len(list(folder.glob("*.parquet"))), resident(process.pid)))
        time.sleep(SAMPLE_SECONDS)
    if process.returncode:
        sys.exit("labelling failed")
    return samples[:-1], time.perf_counter() - began


def main() -> None:
    """Print the memory at each tenth of the shards, and how much it grew from the second quarter to the last."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1_000_000, help="crops (default: 1,000,000)")
    count = parser.parse_args().count
    images = prepared(count)
    samples, seconds = watch(images)
    print(
        f"label {count:,} drawn crops with {NETWORK}: {seconds:.0f} s, {count / seconds:,.0f} crops/s, "
        f"{images.shards} shards"
    )
    for step in range(STEPS + 1):
        reached = [memory for done, memory in samples if done >= images.shards * step / STEPS]
        if reached:
            print(f"  {step * 100 // STEPS:3d} % of the shards committed: {reached[0]:7.0f} MiB")
    quarter = images.shards / 4
    early = max(memory for done, memory in samples if quarter <= done < 2 * quarter)
    late = max(memory for done, memory in samples if done >= 3 * quarter)
    print(f"peak of the last quarter / peak of the second: {late / early:.3f} (flat: at most 1.05)")


if __name__ == "__main__":
    main()
