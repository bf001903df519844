"""Manifests of which a test states only what it is about; the rest is as plain as may be."""

from typing import Any

from schemas.manifests import MULTICLASS, MULTILABEL, ConfirmationManifest, ImagesManifest, ModelCard, PairsManifest


def images_manifest(dataset: str, fingerprint: str, **facts: Any) -> ImagesManifest:
    """Of a dataset of images."""
    plain: dict[str, Any] = {"task": MULTICLASS, "shards": 8, "splits": {}, "classes": [], "version": "1.0.0"}
    return ImagesManifest(
        stage="convert", product=dataset, dataset=dataset, fingerprint=fingerprint, **{**plain, **facts}
    )


def pairs_manifest(dataset: str, a: str, b: str, split: str, fingerprint: str, **facts: Any) -> PairsManifest:
    """Of the comparison of two annotators."""
    names = {"dataset": dataset, "annotator_a": a, "annotator_b": b, "split": split}
    plain: dict[str, Any] = {"task": MULTICLASS, "labels": {}, "shards": 8, "has_pairs": True, "rows": 0, **names}
    product = f"{dataset}/{a}-{b}/{split}"
    return PairsManifest(stage="agree", product=product, fingerprint=fingerprint, **{**plain, **facts})


def confirmation_manifest(dataset: str, fingerprint: str, **facts: Any) -> ConfirmationManifest:
    """Of the label sets that `confirm` made."""
    plain: dict[str, Any] = {"task": MULTILABEL, "shards": 8, "splits": {"test": 1.0}, "classes": []}
    return ConfirmationManifest(
        stage="confirm", product=dataset, dataset=dataset, fingerprint=fingerprint, **{**plain, **facts}
    )


def model_card(name: str = "net", **facts: Any) -> ModelCard:
    """Of a model."""
    plain = {"stage": "train", "product": f"d/{name}", "fingerprint": "f", "dataset": "d", "task": MULTICLASS}
    return ModelCard.model_validate({**plain, "name": name, "classes": ["a", "b"], **facts})
