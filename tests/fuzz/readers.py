"""Every reader of what came from outside: files to begin with, how it is called; it may raise ConcordError alone."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

from tests.fuzz import renaming, seeds


@dataclass(frozen=True)
class Reader:
    """A reader.

    Attributes:
        seeds: whole files.
        call: reads a file.
        suffix: of the file's name.
        wraps: what is made of a damaged file before it is read, such as packing it.
        drawn: further files, if hypothesis can draw any of use.
    """

    name: str
    seeds: Callable[[], Sequence[bytes]]
    call: Callable[[Path], Any]
    suffix: str = ".bin"
    wraps: tuple[Callable[[bytes], bytes], ...] = (bytes,)
    drawn: st.SearchStrategy[bytes] | None = None


def _h5(path: Path) -> None:
    from pipelines.convert.sources.svhn_h5 import H5Source

    for images, shape in (("g/x", (4, 4, 1)), ("soft", ())):
        source = H5Source(str(path), (("train", f"{images}:y"),), shape, (0.0, 255.0))
        for slab in source.plan().slabs[:8]:
            source.read(slab)


def _digit_struct(path: Path) -> None:
    from storage.formats import digit_struct

    count = digit_struct.count_mat(str(path))
    for entry in digit_struct.read_mat(str(path), 0, min(count, 8)):
        _number_of(entry)


def _number_of(entry: Any) -> None:
    from schemas.errors import UnfitError

    try:
        entry.number()
        entry.rectangle(30, 60, 0.3)
    except UnfitError:
        pass


def _boxes(path: Path) -> None:
    from storage.formats import digit_struct

    for entry in digit_struct.read_csv(str(path)):
        _number_of(entry)


def _mat(path: Path) -> None:
    from pipelines.convert.sources.svhn_mat import MatSource

    source = MatSource(((str(path), "train"),))
    for slab in source.plan().slabs[:8]:
        source.read(slab)


def _idx(path: Path) -> None:
    from storage.formats import idx

    labels = path.parent / "labels"
    labels.write_bytes(seeds.idx_files()[1])
    idx.read_digits((str(path), str(labels)))


def _label_rows(path: Path) -> None:
    from pipelines.confirm import label_rows
    from storage.formats import csv_ranges

    for part in csv_ranges.plan_ranges([str(path)], ("ImageID", "LabelName", "Confidence"), ("Source",)):
        for block in csv_ranges.read_blocks(part):
            label_rows.parse(block, part.layout, part.path)


def _imported(path: Path) -> None:
    from pipelines.import_labels import files, rows

    names = ("image_id", "label", "confidence")
    rules = rows.ImportRules("multiclass", frozenset("ab0123456789"), names)
    for part in files.plan([str(path)], names, False)[0][:8]:
        for found, _ in rows.read(part):
            rows.check(found, rules)


def _label_table(path: Path) -> None:
    from storage.formats.csv_tables import read_label_table

    read_label_table(str(path))


def _run_file(path: Path) -> None:
    from pipelines.stages import STAGES
    from schemas import run_files

    run_files.parse_toml(str(path), path.read_bytes(), STAGES, "out", "data")


def _image(path: Path) -> None:
    from storage.formats.images import TargetFormat, prepare

    for wanted in (TargetFormat(), TargetFormat(max_side=5)):
        prepare(path.read_bytes(), wanted)


def _thumbnail(path: Path) -> None:
    from analysis import thumbnails

    thumbnails.make_thumbnail(path.read_bytes(), 8)


def _manifest(path: Path) -> None:
    """As the manifest of what its stage writes: of a label set, of images, or as a model's card."""
    from schemas import layout
    from storage import model_cards, products

    root, content = path.parent / "root", path.read_bytes()
    model = Path(layout.model(str(root), "d", "m"))
    images = Path(layout.images(str(root), "d", "1.0.0"))
    labels = Path(layout.labels(str(root), "d", "a", "train"))
    for place in (images / products.MANIFEST, labels / products.MANIFEST, model / model_cards.CARD_FILE):
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    if b'"train",' in content.partition(b"product")[0]:
        model_cards.require_card(str(model))
    elif b'"convert"' in content:
        products.image_set(str(root), "d", "1.0.0")
    else:
        found = products.label_set(str(root), "d", "a", "train")
        found.path(0)
        found.done()


def _label_shard(path: Path) -> None:
    """As a shard of a finished label set."""
    from schemas import layout
    from schemas.manifests import LabelsManifest
    from storage import parquet, products
    from storage.products import ShardFolder

    folder = ShardFolder(layout.labels(str(path.parent / "root"), "d", "s", "train"), 1, "f" * 16)
    Path(folder.folder).mkdir(parents=True, exist_ok=True)
    Path(folder.path(0)).write_bytes(path.read_bytes())
    facts: dict[str, Any] = {"annotator": "s", "split": "train", "images": "i", "shards": 1, "rows": 0}
    manifest = LabelsManifest(stage="import", product="d/s/train", fingerprint=folder.fingerprint, **facts)
    products.write_manifest(folder.folder, manifest)
    found = products.label_set(str(path.parent / "root"), "d", "s", "train")
    found.done()
    parquet.read_schema(found.path(0))
    found.rows()
    found.read_part(0, 2)


def _record(path: Path) -> None:
    """As a shard of one record, of which the index says what it says of the first seed."""
    from pipelines.scoring import ImageShard, read_payloads
    from storage import tfrecord
    from storage.products import ShardFolder

    length = len(seeds.payloads()[0])
    index: Any = {"offset": [tfrecord.HEADER_BYTES], "length": [length]}

    source = ImageShard("train", 0, str(path), ShardFolder("", 1, ""), 0)
    found, rejected = read_payloads(source, pa.table(index))
    for row, payload in enumerate(found):
        if row not in rejected:
            tfrecord.decode_example(payload)


def _payload(path: Path) -> None:
    from storage import tfrecord

    tfrecord.decode_example(path.read_bytes())


def _npz(path: Path) -> None:
    from models import calibration, fitting
    from storage import model_cards

    (path.parent / model_cards.CHECKPOINT_FILE).write_bytes(path.read_bytes())
    if fitting.find_checkpoint(str(path.parent), "f" * 16) is None:
        calibration.unpack_scores(path.read_bytes())


def _network(path: Path) -> None:
    from models import external_models

    fit = external_models.Fit("multiclass", ["a", "b"], (4, 4, 1), (), (0, 1), "")
    external_models.wrapped(external_models.load(str(path), trusted=False, shown=str(path)), fit, str(path))


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
)
_KEYS = st.sampled_from(["fingerprint", "shards", "files", "classes", "splits", "members"])
_OBJECTS = st.dictionaries(_KEYS, _JSON).map(lambda one: json.dumps(one).encode())
_TOML = st.lists(
    st.tuples(
        st.sampled_from(["dataset", "splits", "input", "epochs", "root", "[label]", "[[train]]", "name"]),
        _JSON.map(json.dumps),
    ).map(lambda pair: pair[0] if pair[0].startswith("[") else f"{pair[0]} = {pair[1]}")
).map(lambda lines: "\n".join(lines).encode("utf-8", "surrogatepass"))
_LINES = st.lists(st.lists(st.text(max_size=8), min_size=1, max_size=6).map(",".join)).map(
    lambda lines: "\n".join(lines).encode("utf-8", "surrogatepass")
)


def _after(head: bytes) -> st.SearchStrategy[bytes]:
    return _LINES.map(lambda lines: head + lines)


_ALL = (
    Reader("h5", seeds.h5_files, _h5, ".h5"),
    Reader("digit_struct", seeds.digit_structs, _digit_struct, ".mat"),
    Reader("mat", seeds.mats, _mat, ".mat", (bytes, seeds.packed_mat)),
    Reader("idx", seeds.idx_files, _idx, wraps=(bytes, seeds.gzipped)),
    Reader("boxes", seeds.csv_boxes, _boxes, ".csv", drawn=_after(b"name,label,top,left,height,width\n")),
    Reader(
        "label_rows",
        seeds.label_rows,
        _label_rows,
        ".csv",
        (bytes, bytes, seeds.gzipped),
        _after(b"ImageID,LabelName,Confidence\n"),
    ),
    Reader(
        "import_csv", seeds.imported_csv, _imported, ".csv", (bytes, bytes, seeds.gzipped), _after(b"image_id,label\n")
    ),
    Reader("import_parquet", seeds.imported_parquet, _imported, ".parquet"),
    Reader("label_table", seeds.label_tables, _label_table, ".csv", drawn=_LINES),
    Reader("run_file", seeds.run_files, _run_file, ".toml", drawn=_TOML),
    Reader("manifest", seeds.manifests, _manifest, ".json", drawn=_OBJECTS),
    Reader("label_shard", seeds.label_shards, _label_shard, ".parquet"),
    Reader("image", seeds.images, _image, wraps=(bytes, bytes, seeds.mended_png)),
    Reader("thumbnail", seeds.images, _thumbnail, wraps=(bytes, seeds.mended_png)),
    Reader("record", seeds.payloads, _record, wraps=(seeds.framed, bytes)),
    Reader("payload", seeds.payloads, _payload),
    Reader("npz", seeds.npz, _npz, ".npz"),
    Reader("keras_config", seeds.configs, _network, ".keras", (seeds.zipped,)),
    Reader("keras_names", seeds.configs, renaming.read, ".keras", (seeds.zipped, renaming.renamed)),
    Reader("keras_h5_names", seeds.h5_configs, renaming.read, ".h5", (seeds.in_h5, renaming.renamed_h5)),
    Reader("keras", lambda: seeds.networks(".keras"), _network, ".keras"),
    Reader("keras_h5", lambda: seeds.networks(".h5"), _network, ".h5"),
)
READERS = {reader.name: reader for reader in _ALL}
