"""Model cards of models that no stage built."""

from typing import Any

from schemas.manifests import ModelCard


def model_card(name: str = "net", **facts: Any) -> ModelCard:
    """The card of a model, with some facts changed."""
    required = {"stage": "train", "product": f"d/{name}", "fingerprint": "f", "dataset": "d", "task": "multiclass"}
    return ModelCard.model_validate({**required, "name": name, "classes": ["a", "b"], **facts})
