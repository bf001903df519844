"""`dataset_info.json` and `features.json`, so that `tensorflow_datasets` opens a dataset's folder as it is."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipelines.convert.shards import ImageShards
from schemas.manifests import MULTILABEL, SEQUENCE
from storage import stores
from storage.products import ShardReport

Shape = tuple[int | None, int | None, int]


def write_metadata(target: ImageShards, shape: Shape, reports: Mapping[str, Mapping[int, ShardReport]]) -> None:
    """Write the metadata of a dataset whose shards are all there.

    Args:
        target: the shards.
        shape: height, width and channels of its images; None where they differ.
        reports: of every shard, by split and number.
    """
    import tensorflow_datasets as tfds

    from models.tensorflow_setup import tensorflow  # noqa: F401  (tensorflow_datasets imports it, with all its noise)

    splits = [
        tfds.core.SplitInfo(
            name=split,
            shard_lengths=[reports[split][shard].records_out for shard in range(target.shards)],
            num_bytes=sum(report.payload_bytes for report in reports[split].values()),
        )
        for split in target.splits
    ]
    with stores.scratch_folder() as scratch:
        folder = Path(scratch, target.dataset, target.version)  # the library takes name and version from the path
        folder.mkdir(parents=True)
        for split in target.splits:  # it also wants to see a data file of each split
            (folder / target.tfrecord_name(split, 0)).touch()
        features = _features(tfds.features, target, shape)
        tfds.folder_dataset.write_metadata(
            data_dir=str(folder), features=features, split_infos=splits, filename_template=None, check_data=False
        )
        for file in sorted(file for file in folder.iterdir() if file.stat().st_size):
            stores.write_bytes(stores.join(target.images, file.name), file.read_bytes())


def _features(kinds: Any, target: ImageShards, shape: Shape) -> Any:
    if target.task == SEQUENCE:
        answer = {"label": kinds.Text()}
    else:
        label = kinds.ClassLabel(names=list(target.classes))
        answer = {"labels": kinds.Sequence(label)} if target.task == MULTILABEL else {"label": label}
    image = kinds.Image(shape=shape, encoding_format="jpeg" if shape[0] is None else "png")
    return kinds.FeaturesDict({"image": image, "image/id": kinds.Text(), **answer})
