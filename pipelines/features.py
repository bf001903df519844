"""Compute features: what a frozen backbone sees in each image, once, so that heads are trained on them in seconds.

    concord features --network xception --weights imagenet --dataset photos --splits train,test --root out

`train` does so by itself for a transfer network that neither changes its images nor trains its backbone. Heads that
share a backbone share its features.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from models import networks
from pipelines import scoring as shard_sets
from pipelines.runner import Context, StageResult
from pipelines.scoring import ScorePlan, Scores
from schemas import layout, plugins, tables
from schemas.settings.features import FeatureSettings
from storage import products
from storage.products import ImageSet, ShardFolder


def features(wanted: Sequence[FeatureSettings], context: Context) -> list[StageResult]:
    """Compute the features of some backbones; only the shards that are missing.

    Raises:
        IncompleteError: the images are not there.
        InputError: the network has no backbone, or there is no such split.
        TooManyRejectsError: more images were turned away than the settings allow.
    """
    merged: dict[tuple[str, str], FeatureSettings] = {}
    for settings in wanted:
        key = (settings.dataset, backbone_key(settings))
        splits = (*(merged[key].splits if key in merged else ()), *settings.splits)
        merged[key] = settings.changed(splits=tuple(dict.fromkeys(splits)))
    plans = [plan_features(settings, context) for settings in merged.values()]
    facts = {plan.name: {"backbone": plan.name} for plan in plans}
    allowed = max(settings.max_reject_fraction for settings in wanted)
    return shard_sets.make_scores(plans, facts, allowed, context)


def backbone_key(settings: FeatureSettings) -> str:
    """What a backbone's features are called: its network, and a hash of everything that they follow from."""
    identity = settings.identity()
    for key in ("dataset", "version", "splits", "batch_size"):  # none of the backbone's
        del identity[key]
    if settings.weights:  # which do not depend on it
        del identity["seed"]
    weights = products.weights_identity(settings.weights)
    return f"{settings.network}_{products.fingerprint('backbone', settings=identity, weights=weights)[:8]}"


def feature_folder(settings: FeatureSettings, root: str, split: str) -> str:
    """Where the features of a split lie."""
    return layout.features(root, settings.dataset, backbone_key(settings), split)


def plan_features(settings: FeatureSettings, context: Context) -> ScorePlan:
    """What is still to be computed; whatever stands in the way of it is swept away."""
    plugins.check(networks, "network", settings.network)
    images = products.image_set(context.root, settings.dataset, settings.version)
    backbone = backbone_key(settings)
    outputs, rejects = feature_sets(settings, context.root, images, backbone)
    return ScorePlan(
        stage="features",
        name=backbone,
        images=images,
        outputs=outputs,
        rejects=rejects,
        missing=shard_sets.find_missing(images, outputs, rejects, context.force),
        load=partial(load_backbone, settings),
        table=dict.fromkeys(settings.splits, feature_table),
        accelerator=settings.accelerator,
        share_model=settings.share_model,
        min_ram=settings.min_ram,
    )


def feature_sets(
    settings: FeatureSettings, root: str, images: ImageSet, backbone: str
) -> tuple[dict[str, ShardFolder], dict[str, ShardFolder]]:
    """Of each split: where the features go, and where the rejects go."""
    outputs, rejects = {}, {}
    for split in settings.splits:
        name = (root, images.dataset, backbone, split)
        recipe = {"images": images.fingerprint, "backbone": backbone, "split": split}
        rest = (images.shards, products.fingerprint("features", **recipe))
        outputs[split] = ShardFolder(layout.features(*name), *rest)
        rejects[split] = ShardFolder(layout.feature_rejects(*name), *rest)
    return outputs, rejects


def load_backbone(settings: FeatureSettings) -> Any:
    """The backbone, ready to score."""
    from models import building, scoring  # TensorFlow is imported where it is needed: on the workers

    return scoring.Scorer(building.backbone(settings), settings.batch_size)


def feature_table(ids: Sequence[str], scores: Scores) -> pa.Table:
    """The features (n, k) of images, a row each."""
    offsets = np.arange(0, scores.size + 1, scores.shape[1], dtype=np.int32)
    columns = [pa.array(ids, pa.string()), pa.ListArray.from_arrays(offsets, pa.array(scores.reshape(-1)))]
    return pa.table(columns, schema=tables.FEATURES)
