"""Where everything lies under a root: names and paths, in one place."""

import hashlib
import os
import re
from collections.abc import Sequence

from schemas.errors import InputError

DIGITS = tuple("0123456789")
HUMAN, MACHINE, CONFIRMED = "human", "machine", "confirmed"  # the annotators that are no model of ours
SHEET = "sheet.png"  # beside explanations: a contact sheet of them
IMAGENET = "imagenet"  # weights that have a name, and are no file
SWEEP_TABLE = "sweep.parquet"  # in a model's folder: a row a run
_LONGEST = 120
_SHARD = re.compile(r"part-(\d{5,})-of-(\d{5,})\.parquet")
_NAME = re.compile(r"[a-z][a-z0-9_]*")


def is_remote(path: str) -> bool:
    """Whether the path lies in an object store."""
    return "://" in path


def absolute(path: str) -> str:
    """The same place by a path that means it from any working directory; one in an object store already does."""
    return path if is_remote(path) else os.path.abspath(path)


def join(*parts: str) -> str:
    """Join path parts with `/`, also under `gs://` and `s3://`."""
    return "/".join([parts[0].rstrip("/"), *(part.strip("/") for part in parts[1:])])


def parent(path: str) -> str:
    """The folder that a path lies in."""
    return path.rstrip("/").rpartition("/")[0]


def check_address(path: str) -> None:
    """Raise InputError where an address holds a user or a password: it would be kept in manifests and rejects."""
    if "@" in path.partition("://")[2].partition("/")[0]:
        raise InputError(
            f"{path} holds credentials, which would be kept with the results: give them by the environment"
        )


def relative(root: str, path: str) -> str:
    """A path under a root, without the root."""
    return path.removeprefix(root.rstrip("/")).strip("/")


def check_name(kind: str, name: str) -> str:
    """The name, if it is fit to be part of a path and of a table's key."""
    if not _NAME.fullmatch(name):
        raise InputError(f"{kind} must be lower-case letters, digits and _, beginning with a letter; got {name!r}")
    return name


def is_inside(name: str) -> bool:
    """Whether a name that came from a file is that of something in a folder, to whose path it is to be joined."""
    parts = name.split("/")
    return not (set(parts) & {"", ".", ".."} or "\0" in name or "\\" in name or "://" in name)


def check_inside(where: str, name: str) -> str:
    """The name, if it is one of something in a folder; InputError, with where it was found, if not."""
    if not is_inside(name):
        raise InputError(f"{where} names {name[:100]!r}, which is no path within its folder: mend it, or leave it out")
    return name


def check_split(name: str) -> str:
    """The name, if a split may have it."""
    if name == "all":
        raise InputError("no split may be called 'all': tensorflow_datasets means every split by it")
    return check_name("split", name)


def parquet_shard(shard: int, shards: int) -> str:
    """File name of a Parquet shard."""
    return f"part-{shard:05d}-of-{shards:05d}.parquet"


def shard_number(name: str) -> tuple[int, int] | None:
    """The number of a Parquet shard, and of how many it is, by its file's name; None where it is no shard."""
    match = _SHARD.fullmatch(name)
    return (int(match[1]), int(match[2])) if match else None


def tfrecord_shard(dataset: str, split: str, shard: int, shards: int) -> str:
    """File name of a TFRecord shard, as `tensorflow_datasets` expects it."""
    return f"{dataset}-{split}.tfrecord-{shard:05d}-of-{shards:05d}"


def images(root: str, dataset: str, version: str) -> str:
    """Folder of a dataset's TFRecord shards."""
    return join(root, "images", dataset, version)


def index(root: str, dataset: str, split: str) -> str:
    """Folder of the index of one split."""
    return join(root, "index", f"dataset={dataset}", f"split={split}")


def label_sets(root: str, dataset: str, annotator: str) -> str:
    """Folder of one annotator's labels, a folder a split."""
    return join(root, "labels", f"dataset={dataset}", f"annotator={annotator}")


def labels(root: str, dataset: str, annotator: str, split: str) -> str:
    """Folder of one annotator's labels of one split."""
    return join(label_sets(root, dataset, annotator), f"split={split}")


def model(root: str, dataset: str, name: str) -> str:
    """Folder of a trained model."""
    return join(root, "models", dataset, name)


def pairs(root: str, dataset: str, a: str, b: str, split: str) -> str:
    """Folder of the image-by-image comparison of two annotators."""
    folder = join(root, "agreement", "pairs", f"dataset={dataset}")
    return join(folder, f"annotator_a={a}", f"annotator_b={b}", f"split={split}")


def comparisons(root: str, dataset: str) -> str:
    """Folder of all comparisons of a dataset's annotators."""
    return join(root, "agreement", "pairs", f"dataset={dataset}")


def agreement_table(root: str, table: str, dataset: str, annotators: Sequence[str], split: str) -> str:
    """Path of one agreement table (`summary`, `measures`, `calibration`, ...) of one, two or many annotators."""
    names = "-".join(annotators)
    if len(names) > _LONGEST:  # file systems know no names of more than 255 bytes
        names = f"{len(annotators)}-{hashlib.sha256(names.encode()).hexdigest()[:16]}"
    return join(root, "agreement", table, f"{dataset}-{names}-{split}.parquet")


def queue(root: str, dataset: str, split: str) -> str:
    """Path of the table of images of one split that humans should review."""
    return join(root, "agreement", "queue", f"dataset={dataset}", f"{split}.parquet")


def label_errors(root: str, dataset: str, annotator: str, split: str) -> str:
    """Path of the table of labels that may be wrong, by one annotator's scores."""
    folder = join(root, "agreement", "label_errors", f"dataset={dataset}", f"annotator={annotator}", f"split={split}")
    return join(folder, parquet_shard(0, 1))


def queue_export(root: str, dataset: str, split: str, tool: str) -> str:
    """Folder of the queue as a review tool takes it, with its images."""
    return join(report(root, dataset), "queue", f"{split}-{tool}")


def generations(root: str) -> str:
    """Folder of the tables of all studies of generations."""
    return join(root, "agreement", "generations")


def generations_table(root: str, dataset: str, name: str) -> str:
    """Path of the table of one study of generations."""
    return join(generations(root), f"{dataset}-{name}.parquet")


def convert_rejects(root: str, dataset: str, split: str) -> str:
    """Folder of the records that `convert` rejected."""
    return join(root, "rejects", "convert", f"dataset={dataset}", f"split={split}")


def label_rejects(root: str, dataset: str, annotator: str, split: str) -> str:
    """Folder of the images that `label` could not label."""
    return join(root, "rejects", "label", f"dataset={dataset}", f"annotator={annotator}", f"split={split}")


def import_rejects(root: str, dataset: str, annotator: str, split: str) -> str:
    """Folder of the rows of anybody's labels that `import` rejected."""
    return join(root, "rejects", "import", f"dataset={dataset}", f"annotator={annotator}", f"split={split}")


def features(root: str, dataset: str, backbone: str, split: str) -> str:
    """Folder of the features that a backbone gives the images of one split."""
    return join(root, "features", f"dataset={dataset}", f"backbone={backbone}", f"split={split}")


def feature_rejects(root: str, dataset: str, backbone: str, split: str) -> str:
    """Folder of the images that have no features."""
    return join(root, "rejects", "features", f"dataset={dataset}", f"backbone={backbone}", f"split={split}")


def explanations(root: str, dataset: str, annotator: str, split: str) -> str:
    """Folder of the heat maps of one annotator, a network, on images of one split."""
    return join(root, "explanations", f"dataset={dataset}", f"annotator={annotator}", f"split={split}")


def explain_rejects(root: str, dataset: str, annotator: str, split: str) -> str:
    """Folder of the images that could not be explained."""
    return join(root, "rejects", "explain", f"dataset={dataset}", f"annotator={annotator}", f"split={split}")


def confirm_rejects(root: str, dataset: str, side: str) -> str:
    """Folder of the rows of one side (`machine`, `human`) that `confirm` could not read."""
    return join(root, "rejects", "confirm", f"dataset={dataset}", f"side={side}")


def confirm_counts(root: str, dataset: str) -> str:
    """Folder of the counts of each shard that `confirm` joined."""
    return join(root, "statistics", "joined", f"dataset={dataset}")


def confirm_reading(root: str, dataset: str) -> str:
    """Path of the counts of what `confirm` read."""
    return join(root, "statistics", "read", f"{dataset}.parquet")


def confirmation(root: str, dataset: str) -> str:
    """Folder whose manifest says that all label sets of `confirm` are complete."""
    return join(root, "labels", f"dataset={dataset}")


def statistics_table(root: str, table: str, dataset: str) -> str:
    """Path of one table of what `confirm` counted (`machine_precision`, `labels_per_image`, `verdict_sources`)."""
    return join(root, "statistics", table, f"{dataset}.parquet")


def report(root: str, dataset: str = "") -> str:
    """Folder of a dataset's report page; without a dataset, that of the list of all pages."""
    return join(root, "report", dataset) if dataset else join(root, "report")


def run_manifest(root: str, run_id: str) -> str:
    """Path of a run's manifest."""
    return join(root, "runs", f"{run_id}.json")
