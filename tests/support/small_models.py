"""Models that were never trained: networks with drawn weights in whole model folders, for stages that only use them."""

from typing import Any

import keras

from models import saved_models
from models.tasks import Head
from schemas import layout
from storage import products
from tests.support.manifests import model_card

DATASET, VERSION = "drawn", "1.0.0"


def save(root: str, name: str, build: Any, seed: int = 1, scale: float = 1.0) -> keras.Model:
    """Write the model folder of a network with drawn weights, of the dataset `drawn`.

    Args:
        root: with the dataset.
        name: of the model.
        build: of a module of models/networks.
        seed: of its weights.
        scale: of the weights of its last layer, so that scores differ from image to image.
    """
    images = products.image_set(root, DATASET, VERSION)
    keras.utils.set_random_seed(seed)
    model = build(images.image_shape, Head("multiclass", len(images.classes)))
    kernel, bias = model.layers[-1].get_weights()
    model.layers[-1].set_weights([kernel * scale, bias])
    facts = {"fingerprint": f"{name}-{seed}", "classes": images.classes, "image_shape": images.image_shape}
    card = model_card(name, dataset=DATASET, **facts)
    saved_models.save(model, layout.model(root, DATASET, name), card)
    return model
