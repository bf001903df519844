"""Small whole files of every kind that is read, made by code; each function gives some."""

import functools
import gzip
import io
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import scipy.io
from PIL import Image

from schemas import tables
from schemas.manifests import ImagesManifest, LabelsManifest, ModelCard, ModelFile
from storage import model_cards, tfrecord
from storage import parquet as storage_parquet
from tests.support import digit_struct
from tests.support.idx_files import digits, idx

Bytes = Callable[[], Sequence[bytes]]
RUN = """dataset = "d"

[convert]
source = "svhn_h5"
input = ["{root}/x.h5"]
value_range = [0, 1.0]
splits = { train = 0.8, test = 0.2 }

[[train]]
network = "cnn1"
epochs = 2
augment = { shift = 0.06 }

[[import]]
annotator = "vendor"
split = "test"
input = ["a.csv"]

[label]
splits = ["test"]

[agree]
reference = "human"
"""


def written(write: Callable[[Path], Any], name: str = "seed") -> bytes:
    """What is written to a file of that name."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        write(path)
        return path.read_bytes()


def h5_files() -> list[bytes]:
    """Contiguous, chunked and packed, with a group and a soft link; of the old format and of the new."""

    def write(path: Path, latest: bool, **how: Any) -> None:
        with h5py.File(path, "w", libver="latest" if latest else "earliest") as file:
            values = np.arange(20 * 16, dtype=np.float32).reshape(20, 4, 4)
            file.create_dataset("g/x", data=values, **how)
            file["y"] = np.arange(20, dtype=np.uint8)
            file["soft"] = h5py.SoftLink("/g/x")

    packed: dict[str, Any] = {"chunks": (5, 4, 4), "compression": "gzip", "shuffle": True, "fletcher32": True}
    ways: list[tuple[bool, dict[str, Any]]] = [(False, {}), (False, packed), (True, {}), (True, packed)]
    return [
        written(lambda path, latest=latest, how=how: write(path, latest, **how))  # type: ignore[misc]
        for latest, how in ways
    ]


def digit_structs() -> list[bytes]:
    """Entries of one digit and of several."""
    entries = [("1.png", digit_struct.row_of_boxes("7")), ("2.png", digit_struct.row_of_boxes("210"))]
    return [written(lambda path: digit_struct.write_mat(path, entries))]


def mats() -> list[bytes]:
    """Files of MATLAB 5, packed and not; the second with a variable more."""
    x = np.arange(4 * 4 * 3 * 6, dtype=np.uint8).reshape(4, 4, 3, 6)
    y = np.arange(1, 7, dtype=np.uint8)[:, None]

    def save(packed: bool, **more: Any) -> bytes:
        sink = io.BytesIO()
        scipy.io.savemat(sink, {**more, "X": x, "y": y}, do_compression=packed)
        return sink.getvalue()

    return [save(False), save(False, other={"a": "text"}, cell=np.array([1, "b"], object)), save(True)]


def packed_mat(content: bytes) -> bytes:
    """A file of MATLAB 5 with each of its elements packed, as far as it has any."""
    parts, at = [content[:128]], 128
    while at + 8 <= len(content):
        (size,) = struct.unpack_from("<I", content, at + 4)
        element = zlib.compress(content[at : at + 8 + size])
        parts += [struct.pack("<II", 15, len(element)), element]
        at += 8 + size
    return b"".join(parts)


def idx_files() -> list[bytes]:
    """Images, and labels."""
    return [idx(values) for values in digits(12)]


def csv_boxes() -> list[bytes]:
    """Boxes of digits."""
    return [b"name;label;top;left;height;width\n1.png;5;7;43;30;19\n2.png;10;1;2;3;4\n2.png;1;1;9;3;4\n"]


def label_rows() -> list[bytes]:
    """Rows of Open Images' label files."""
    head = b"ImageID,Source,LabelName,Confidence\n"
    rows = b"".join(b"%016x,v,/m/0%d,0.%d\n" % (number, number % 3, number) for number in range(12))
    return [head + rows, (head + rows).replace(b"\n", b"\r\n"), head + b'"%016x",v,"/m/""1",1\n' % 7]


def imported_csv() -> list[bytes]:
    """Anybody's labels."""
    return [b"image_id,label,confidence\n" + b"".join(b"i%d,%d,0.5\n" % (n, n % 10) for n in range(9))]


def imported_parquet() -> list[bytes]:
    """The same as Parquet, of several types and packings."""
    columns = {"image_id": [f"i{n}" for n in range(30)], "label": ["a", "b", None] * 10, "confidence": [0.25] * 30}
    plain = pa.table(columns)
    coded = plain.set_column(1, "label", plain["label"].dictionary_encode())
    numbers = plain.set_column(1, "label", pa.array(range(30), pa.int16()))
    ways = [(plain, "none", True), (coded, "zstd", True), (numbers, "snappy", False), (plain, "gzip", False)]
    return [parquet(table, packing, coded) for table, packing, coded in ways]


def parquet(table: pa.Table, packing: str = "zstd", coded: bool = True) -> bytes:
    """A table as a Parquet file."""
    sink = io.BytesIO()
    pq.write_table(table, sink, compression=packing, use_dictionary=coded, row_group_size=20)
    return sink.getvalue()


def label_shards() -> list[bytes]:
    """Shards of a label set, as Concord writes them."""
    none = dict.fromkeys(tables.LABELS.names[3:])
    rows = [{"image_id": f"i{n}", "label": "a", "confidence": 0.5, **none, "scores": [0.5, n / 30]} for n in range(30)]
    schema = tables.LABELS.with_metadata(
        {storage_parquet.FINGERPRINT: b"f" * 16, storage_parquet.REPORT: b'{"in":30,"out":30,"rejected":{},"bytes":0}'}
    )
    table = pa.Table.from_pylist(rows, schema=schema)
    return [parquet(table), parquet(table, "none", False)]


def manifests() -> list[bytes]:
    """Manifests of a label set, of images and of a model."""
    facts: dict[str, Any] = {"product": "d/a/train", "fingerprint": "f" * 16}
    dataset: dict[str, Any] = {"dataset": "d", "task": "multiclass", "classes": ["a", "b"]}
    splits = {"train": {"in": 3, "out": 3, "rejected": {}}}
    files = {"model.keras": ModelFile(sha256="0" * 64, size=7)}
    made = (
        LabelsManifest(stage="label", annotator="a", split="train", images="i", shards=8, rows=30, **facts),
        ImagesManifest(
            stage="convert", version="1.0.0", shards=8, splits=splits, image_shape=(8, 8, 1), **dataset, **facts
        ),
        ModelCard(stage="train", name="m", files=files, members={"fold/0": "f" * 16}, **dataset, **facts),
    )
    return [manifest.model_dump_json(exclude_unset=True).encode() for manifest in made]


def run_files() -> list[bytes]:
    """A chain."""
    return [RUN.encode()]


def label_tables() -> list[bytes]:
    """Tables of labels, with a header and without."""
    return [b"image_name,tags\na.jpg,clear road\nb/c.png,water;haze\n", b"./x.jpg,a|b\n"]


def images() -> list[bytes]:
    """A file of each format and colour."""
    values = np.random.default_rng(7).integers(0, 256, (9, 12, 3)).astype(np.uint8)
    whole = Image.fromarray(values)

    def one(form: str, mode: str = "RGB", **options: Any) -> bytes:
        sink = io.BytesIO()
        whole.convert(mode).save(sink, form, **options)
        return sink.getvalue()

    jpegs = [one("JPEG"), one("JPEG", "L", progressive=True), one("JPEG", "CMYK")]
    pngs = [one("PNG"), one("PNG", "P"), one("PNG", "RGBA"), one("PNG", "1"), one("PNG", "I;16")]
    tiffs = [one("TIFF"), one("TIFF", "L", compression="tiff_lzw"), one("TIFF", compression="tiff_adobe_deflate")]
    rest = [one("GIF"), one("BMP"), one("BMP", "P"), one("WEBP"), one("WEBP", lossless=True)]
    exif = Image.Exif()
    exif[0x0112] = 6
    return [*jpegs, one("JPEG", exif=exif), *pngs, *tiffs, one("TIFF", "1", compression="group4"), *rest]


def mended_png(content: bytes) -> bytes:
    """A PNG whose checksums fit again, so that decoders look at what is in its chunks."""
    parts, at = [content[:8]], 8
    while at + 12 <= len(content):
        size = int.from_bytes(content[at : at + 4], "big")
        body = content[at + 4 : at + 8 + size]
        parts += [content[at : at + 4], body, struct.pack(">I", zlib.crc32(body))]
        at += 12 + size
    return b"".join([*parts, content[at:]])


def payloads() -> list[bytes]:
    """Examples, as TFRecords hold them."""
    return [tfrecord.encode_example(images()[number], f"i{number}", number) for number in (0, 4)]


def framed(content: bytes) -> bytes:
    """A record, its checksums right."""
    return tfrecord.frame_record(content)


def npz() -> list[bytes]:
    """The state of a training, and what a fold said."""
    from models import calibration, fitting

    with tempfile.TemporaryDirectory() as folder:
        state = fitting.Checkpoint(1, [np.ones((3, 2), np.float32)], [np.zeros(2)], [], {"loss": [1.0]}, {"best": 0.5})
        fitting.save_checkpoint(folder, "f" * 16, state)
        saved = Path(folder, model_cards.CHECKPOINT_FILE).read_bytes()
    return [saved, calibration.pack_scores(np.arange(4)[:, None], np.full((4, 2), 0.5, np.float32))]


@functools.cache
def networks(suffix: str) -> list[bytes]:
    """A small network as Keras writes it."""
    from models.tensorflow_setup import keras

    keras.utils.set_random_seed(1)
    entry = keras.Input((4, 4, 1))
    flat = keras.layers.Flatten()(keras.layers.Conv2D(2, 3)(entry))
    model = keras.Model(entry, keras.layers.Dense(2, activation="softmax")(flat))
    return [written(model.save, f"seed{suffix}")]


def configs() -> list[bytes]:
    """The configuration of a small network; damaged, it is to be put into a file again."""
    with zipfile.ZipFile(io.BytesIO(networks(".keras")[0])) as archive:
        return [archive.read("config.json")]


def zipped(content: bytes) -> bytes:
    """A `.keras` file whose configuration is this."""
    base, sink = networks(".keras")[0], io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(base)) as given, zipfile.ZipFile(sink, "w") as made:
        for name in given.namelist():
            made.writestr(name, content if name == "config.json" else given.read(name))
    return sink.getvalue()


def h5_configs() -> list[bytes]:
    """The same of a legacy file."""
    with h5py.File(io.BytesIO(networks(".h5")[0])) as file:
        return [str(file.attrs["model_config"]).encode()]


def in_h5(content: bytes) -> bytes:
    """A legacy file whose configuration is this."""
    sink = io.BytesIO(networks(".h5")[0])
    with h5py.File(sink, "r+") as file:
        file.attrs["model_config"] = np.void(content) if b"\0" in content else content
    return sink.getvalue()


def gzipped(content: bytes) -> bytes:
    """The content, packed."""
    return gzip.compress(content, mtime=0)
