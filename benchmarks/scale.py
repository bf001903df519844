"""Label drawn crops on a Flink cluster of two task managers, and of one, each with one core and one TensorFlow thread.

The whole stage is timed, with the cluster up: planning, the job's way to the cluster, the start of its Python workers,
and the work. What a stage of hardly any images takes is shown apart: more task managers do not shorten that part.

python -m benchmarks.scale --count 600000
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import common
from benchmarks.label import NETWORK, prepared
from deploy import flink, processes, tools
from deploy.flink import Cluster, Plan, Ports
from schemas.settings.label import LabelSettings
from schemas.stage import Context
from storage.products import ImageSet
from tests.support.stages import label

WANTED = 1.7  # of two; the rest is start-up, which does not shrink

BOUND = (
    "bounded by start-up, which every worker pays (it imports Beam and TensorFlow, and loads the network), and by what "
    "else runs: {cores} cores serve the task managers, Flink's job manager, Beam's job server and this command"
)


def seconds(images: ImageSet, cluster: Cluster, runs: int) -> float:
    """The median wall time of labelling all crops."""
    endpoint = f"--job_endpoint=localhost:{cluster.plan.ports.jobs}"
    flags = ("--runner=FlinkRunner", f"--flink_master={cluster.plan.master}", endpoint)
    settings = LabelSettings(dataset=images.dataset, models=(NETWORK,), splits=(common.SPLIT,))
    found = []
    for _ in range(runs):
        began = time.perf_counter()
        label(settings, Context(os.path.abspath(images.root), flags, force=True))
        found.append(time.perf_counter() - began)
    return statistics.median(found)


def timed(task_managers: int, count: int, runs: int) -> dict[str, float]:
    """Seconds of labelling so many crops, and hardly any, on a cluster that is up."""
    few, many = (absolute(prepared(size)) for size in (common.FEW, count))
    with tempfile.TemporaryDirectory() as folder:
        ports = Ports(*(processes.free_port() for _ in range(5)))
        plan = Plan(Path(folder), tools.install_jars(flink.HOME), ports, task_managers, one_core=True)
        cluster = Cluster(plan)
        cluster.start()
        try:
            seconds(few, cluster, 1)  # the first job loads Flink's classes
            return {"again": seconds(few, cluster, runs), "whole": seconds(many, cluster, runs)}
        finally:
            cluster.stop()


def absolute(images: ImageSet) -> ImageSet:
    """The same images by a path that workers find as well."""
    from storage import products

    return products.image_set(os.path.abspath(images.root), images.dataset, images.version)


def report(figures: dict[int, dict[str, float]], count: int, shards: int) -> None:
    """Print both, their ratio, and what bounds it."""
    print(f"label {count:,} drawn crops with {NETWORK} on Flink, {shards} shards, a core and a thread a task manager")
    for task_managers, found in figures.items():
        rate = count / (found["whole"] - found["again"])
        told = f"{found['whole']:6.1f} s, of which {found['again']:.1f} s start-up; {rate:,.0f} crops/s in the rest"
        print(f"{task_managers} task manager(s): {told}")
    one, two = figures[1], figures[2]
    apart = (one["whole"] - one["again"]) / (two["whole"] - two["again"])
    whole = one["whole"] / two["whole"]
    print(f"two against one: {whole:.2f} times as fast (wanted: at least {WANTED:g}); start-up apart {apart:.2f}")
    print(BOUND.format(cores=len(os.sched_getaffinity(0))))


def main() -> None:
    """Time two task managers against one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=600_000, help="crops (default: 600,000)")
    parser.add_argument("--runs", type=int, default=1, help="of which the median counts (default: 1)")
    given = parser.parse_args()
    if len(os.sched_getaffinity(0)) < 2:
        sys.exit("two task managers need two cores")
    shards = prepared(given.count).shards
    report({number: timed(number, given.count, given.runs) for number in (1, 2)}, given.count, shards)


if __name__ == "__main__":
    main()
