"""Show the image regions that drove predictions (Grad-CAM): where annotators differ, and in chosen images."""

from typing import Annotated

from schemas.errors import InputError
from schemas.settings.base import Distinct, Names, SharedModelSettings, Split, reject_limit, setting


class ExplainSettings(SharedModelSettings):
    """Which models are explained, and on which images."""

    split: Split = setting("split of the images", default="test", group="Data")
    images: Annotated[tuple[str, ...], Distinct] = setting(
        "ids of images to explain, beside those on which annotators differ", default=(), group="Data"
    )
    disagreements: int = setting(
        "images of each comparison of a model: those on which both annotators were most confident",
        default=12,
        ge=0,
        group="Data",
    )
    max_reject_fraction: float = reject_limit("images", 0.5)
    models: Names = setting("models to explain, each named after its folder", min_length=1, group="Models")
    batch_size: int = setting("images per batch", default=32, ge=1, group="Models")

    def check(self) -> None:
        """There are images to explain."""
        if not (self.disagreements or self.images):
            raise InputError("there is nothing to explain: give disagreements above 0, or images")
