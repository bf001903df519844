"""Compute features: what a frozen backbone sees in each image, once, so that heads are trained on them in seconds.

    concord features --network xception --weights imagenet --dataset photos --splits train,test --root out

`train` does so by itself for a transfer network that neither changes its images nor trains its backbone. Heads that
share a backbone share its features.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from models import networks
from pipelines import scoring
from pipelines.scoring import ScorePlan, Scores, Scoring, ScoringDriver
from schemas import layout, plugins, tables
from schemas.errors import InputError
from schemas.manifests import ScoresManifest
from schemas.settings.features import FeatureSettings
from schemas.stage import Context, Plan, StageResult
from storage import products
from storage.products import ImageSet, ShardFolder


class FeatureDriver(ScoringDriver[FeatureSettings]):
    """Computes the features of backbones; only the shards that are missing."""

    table_name = "features"
    row_bytes = 4 * 2048  # most backbones'

    def reads(self, settings: FeatureSettings, root: str) -> Iterable[str]:
        """The images, and a file of weights."""
        return [layout.images(root, settings.dataset, settings.version), *(path for _, path in settings.paths())]

    def check(self, settings: FeatureSettings) -> None:
        """Whether there is such a network, and it has a backbone."""
        plugins.check(networks, "network", settings.network)
        if not plugins.defines(networks, settings.network, "TRANSFER"):
            raise InputError(f"network {settings.network!r} has no backbone: features are of transfer networks")

    def plan(self, settings: FeatureSettings, context: Context) -> Plan:
        """Which shards of each split are missing.

        Raises:
            IncompleteError: the images are not there.
            InputError: the network has no backbone, or there is no such split.
        """
        self.check(settings)
        images = products.image_set(context.root, settings.dataset, settings.version)
        plan = plan_features(settings, context.root, images)
        shape = (settings.image_size, settings.image_size, 3) if settings.image_size else None
        seconds = {plan.name: scoring.network_hint(settings.network, shape)[0]}
        return self.plan_products(settings, Scoring((plan,), settings.max_reject_fraction), seconds, context.force)

    def manifest(self, work: Scoring, plan: ScorePlan, split: str, common: dict[str, Any]) -> ScoresManifest:
        """Whose features they are."""
        return ScoresManifest(**common, name=plan.name)

    def run(self, stage: str, plans: Sequence[Plan], context: Context) -> Iterator[StageResult]:
        """All backbones in one job."""
        parts = [part for plan in plans for part in plan.work.plans]
        split_products = {product.name: product for plan in plans for product in plan.products}
        allowed = max(plan.work.max_reject_fraction for plan in plans)
        whole = Plan(plans[0].settings, tuple(split_products.values()), Scoring(tuple(parts), allowed))
        yield from self.run_one(stage, whole, context)


def merge_settings(requests: Iterable[FeatureSettings]) -> list[FeatureSettings]:
    """The same features, each backbone once with all splits that are requested of it."""
    merged: dict[tuple[str, str], FeatureSettings] = {}
    for settings in requests:
        key = (settings.dataset, backbone_key(settings))
        splits = (*(merged[key].splits if key in merged else ()), *settings.splits)
        merged[key] = settings.changed(splits=tuple(dict.fromkeys(splits)))
    return list(merged.values())


def backbone_key(settings: FeatureSettings) -> str:
    """What a backbone's features are called: its network, and a hash of everything that they follow from."""
    identity = settings.identity()
    for key in ("dataset", "version", "splits", "batch_size"):  # none of the backbone's
        del identity[key]
    if settings.weights:  # which do not depend on it
        del identity["seed"]
    weights = products.weights_identity(settings.weights)
    digest = products.fingerprint("backbone", settings=identity, weights=weights).rpartition("-")[2]
    return f"{settings.network}_{digest[:8]}"


def feature_folder(settings: FeatureSettings, root: str, split: str) -> str:
    """Where the features of a split lie."""
    return layout.features(root, settings.dataset, backbone_key(settings), split)


def plan_features(settings: FeatureSettings, root: str, images: ImageSet) -> ScorePlan:
    """What a backbone computes, done or not."""
    backbone = backbone_key(settings)
    outputs, rejects = feature_sets(settings, root, images, backbone)
    return ScorePlan(
        stage="features",
        name=backbone,
        images=images,
        outputs=outputs,
        rejects=rejects,
        missing=(),
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

    return scoring.Scorer(building.build_backbone(settings), settings.batch_size)


def feature_table(ids: Sequence[str], scores: Scores) -> pa.Table:
    """The features (n, k) of images, a row each."""
    offsets = np.arange(0, scores.size + 1, scores.shape[1], dtype=np.int32)
    columns = [pa.array(ids, pa.string()), pa.ListArray.from_arrays(offsets, pa.array(scores.reshape(-1)))]
    return pa.table(columns, schema=tables.FEATURES)


DRIVER = FeatureDriver()
