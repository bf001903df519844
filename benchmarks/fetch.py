"""Fetch thousands of photographs from one web server on loopback: Concord, and img2dataset, by turns.

python -m benchmarks.fetch --photos FOLDER

Once the bytes are kept as they come (img2dataset: no re-encoding), once scaled to 256 pixels at the same JPEG quality.
Needs nginx and curl on the path; img2dataset gets an environment of its own. All of it shares two processors. Starting
up is shown apart: the same command with a few photographs.
"""

import argparse
import contextlib
import logging
import os
import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.common import FOLDER, PROCESSORS
from samples import scenes
from schemas import layout
from schemas.settings.confirm import ConfirmSettings
from schemas.settings.draw import DrawSettings
from schemas.stage import Context
from storage import hashing
from tests.support.stages import confirm

PEER = "img2dataset>=1.47,<2"
SIDE, QUALITY, SHARD = 256, 95, 512
FEW = 64
WANTED = 1.5
_CONFIG = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
  access_log off; sendfile on; keepalive_requests 1000000; default_type image/jpeg;
  client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
  uwsgi_temp_path {folder}; scgi_temp_path {folder};
  server {{ listen 127.0.0.1:{port} backlog=1024; root {photos}; }}
}}
"""
_PEER_SCRIPT = """
import sys
from img2dataset import download
urls, output, scale = sys.argv[1:]
how = dict(resize_mode="keep_ratio_largest", resize_only_if_bigger=True, image_size={side}, encode_quality={quality})
if not int(scale):
    how = dict(resize_mode="no", disable_all_reencoding=True)
if __name__ == "__main__":
    download(url_list=urls, input_format="parquet", url_col="url", output_folder=output, output_format="webdataset",
             processes_count=2, thread_count=64, number_sample_per_shard={shard}, enable_wandb=False, retries=2, **how)
"""


def photographs(given: str, count: int) -> Path:
    """A folder of `count` files `<id>.jpg`: a folder's photographs over and over (default: drawn ones)."""
    source = Path(given) if given else FOLDER / "scenes" / "images"
    if not given and not source.is_dir():
        scenes.write(DrawSettings(sample="scenes", output=str(FOLDER / "scenes")), str(FOLDER / "scenes"))
    found = sorted(source.rglob("*.jpg"))
    if not found:
        sys.exit(f"there is no .jpg file in {source}")
    folder = (FOLDER / f"photos-{len(found)}-{count}").resolve()
    folder.mkdir(parents=True, exist_ok=True)
    for number, image_id in enumerate(ids(count)):
        place = folder / f"{image_id}.jpg"
        if not place.exists():
            place.symlink_to(found[number % len(found)].resolve())
    return folder


def ids(count: int) -> list[str]:
    """So many image ids."""
    return [f"{value:016x}" for value in hashing.image_hashes([str(number) for number in range(count)]).tolist()]


@contextlib.contextmanager
def server(photos: Path) -> Iterator[str]:
    """Address of an nginx that serves a folder."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = (FOLDER / "nginx").resolve()
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o777)
    (folder / "nginx.conf").write_text(_CONFIG.format(folder=folder, port=port, photos=photos))
    process = subprocess.Popen(["nginx", "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")])
    try:
        time.sleep(1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def timed(command: list[str]) -> float:
    """Seconds that a command takes."""
    began = time.perf_counter()
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        sys.exit(f"{' '.join(command[:3])} failed:\n{(ended.stdout + ended.stderr)[-3000:]}")
    return time.perf_counter() - began


def confirmed(count: int) -> str:
    """A root with a label set of so many images."""
    root = FOLDER / f"fetch-{count}"
    rows = "".join(f"{image_id},x,/m/a,1\n" for image_id in ids(count))
    root.mkdir(parents=True, exist_ok=True)
    files = {side: root / f"{side}.csv" for side in ("machine", "human")}
    for file in files.values():
        if not file.exists():
            file.write_text("ImageID,Source,LabelName,Confidence\n" + rows)
    whole = {"train": 1.0}
    machine, human = ((str(files[side]),) for side in ("machine", "human"))
    settings = ConfirmSettings(dataset="photos", machine=machine, human=human, splits=whole, label_sets="none")
    confirm(settings, Context(str(root)))
    return str(root)


def concord(address: str, count: int, scale: bool) -> float:
    """Seconds that `concord convert` takes."""
    root = confirmed(count)
    shutil.rmtree(layout.images(root, "photos", "1.0.0"), ignore_errors=True)
    place = ("--root", root, "--images-from", address + "/{image_id}.jpg")
    how = ("--max-side", str(SIDE), "--quality", str(QUALITY)) if scale else ()
    command = [sys.executable, "-m", "concord", "convert", "--source", "open_images", "--dataset", "photos"]
    return timed([*command, *place, *how])


def img2dataset(address: str, count: int, scale: bool) -> float:
    """Seconds that img2dataset takes."""
    urls, output = FOLDER / f"urls-{count}.parquet", FOLDER / "img2dataset"
    pq.write_table(pa.table({"url": [f"{address}/{image_id}.jpg" for image_id in ids(count)]}), urls)
    shutil.rmtree(output, ignore_errors=True)
    script = FOLDER / "peer.py"
    script.write_text(_PEER_SCRIPT.format(side=SIDE, quality=QUALITY, shard=SHARD))
    seconds = timed([str(environment()), str(script), str(urls), str(output), str(int(scale))])
    tables = [pq.read_table(path, columns=["status"]) for path in output.glob("*.parquet")]
    done = sum(table["status"].to_pylist().count("success") for table in tables)
    if done != count:
        sys.exit(f"img2dataset got {done} of {count} photographs")
    return seconds


def environment() -> Path:
    """The Python of img2dataset's own environment, made once."""
    python = (FOLDER / "img2dataset-venv" / "bin" / "python").absolute()
    if not (python.parent / "img2dataset").exists():
        subprocess.run([sys.executable, "-m", "venv", str(python.parent.parent)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", PEER], check=True)
    return python


def ceiling(address: str, count: int) -> float:
    """Photographs a second that curl gets from the server, and does nothing with."""
    config = FOLDER / "curl.txt"
    config.write_text("".join(f'url = "{address}/{image_id}.jpg"\noutput = /dev/null\n' for image_id in ids(count)))
    return count / timed(["curl", "--silent", "--parallel", "--parallel-max", "64", "--config", str(config)])


def compare(address: str, count: int, scale: bool, runs: int) -> None:
    """Both by turns; the median of each, without what starting up takes."""
    sides: dict[str, Callable[[str, int, bool], float]] = {"Concord": concord, "img2dataset": img2dataset}
    idle = {name: side(address, FEW, scale) for name, side in sides.items()}
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(runs):
        for name, side in sides.items():
            seconds[name].append(side(address, count, scale))
    print(f"scaled to {SIDE} pixels:" if scale else "bytes kept:")
    rates, whole = {}, {}
    for name in sides:
        whole[name] = statistics.median(seconds[name])
        rates[name] = (count - FEW) / (whole[name] - idle[name])
        start = f"in all {whole[name]:.1f} s, of it starting up {idle[name]:.1f}"
        print(f"  {name:<12}{rates[name]:7,.0f} photographs/s; {start}")
    ratio = rates["Concord"] / rates["img2dataset"]
    in_all = whole["img2dataset"] / whole["Concord"]
    print(f"  Concord / img2dataset: {ratio:.2f} (wanted: at least {WANTED:g}); with starting up {in_all:.2f}")


def main() -> None:
    """Time both ways of storing photographs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", default="", help="folder of photographs (default: drawn ones)")
    parser.add_argument("--count", type=int, default=6000, help="photographs to fetch (default: 6,000)")
    parser.add_argument("--runs", type=int, default=3, help="runs of each side, by turns (default: 3)")
    given = parser.parse_args()
    for program in ("nginx", "curl"):
        if not shutil.which(program):
            sys.exit(f"{program} is not installed: the benchmark needs it")
    logging.getLogger("apache_beam").setLevel(logging.ERROR)
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:PROCESSORS])
    environment()
    photos = photographs(given.photos, given.count)
    size = sum(file.stat().st_size for file in photos.iterdir()) / given.count
    print(f"{given.count:,} photographs of {size / 1000:.0f} kB on average")
    with server(photos) as address:
        print(f"the server alone, to curl: {ceiling(address, given.count):,.0f} photographs/s")
        for scale in (False, True):
            compare(address, given.count, scale, given.runs)


if __name__ == "__main__":
    main()
