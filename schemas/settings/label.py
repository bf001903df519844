"""Label the images of a dataset with trained models, our own or anybody's, one label set each."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from schemas.errors import InputError
from schemas.layout import CONFIRMED, HUMAN, MACHINE
from schemas.settings.base import Distinct, Names, OptionalName, SharedModelSettings, Splits, ValueRange, setting

_EXTERNAL = "A network that Concord did not train"


class LabelSettings(SharedModelSettings):
    """What is labelled, and by which networks."""

    splits: Splits = setting("splits to label", default=("test",), min_length=1, group="Data")
    models: Names = setting("models to label with, each named after its folder", default=(), group="Models")
    scores: bool = setting("keep the score of every class as well", default=False, group="Models")
    batch_size: int = setting("images per batch", default=256, ge=1, group="Models")
    model_file: str = setting(".keras, .h5 or a SavedModel's folder", default="", driver_path=True, group=_EXTERNAL)
    annotator: OptionalName = setting("name of that network, and of its label set", default="", group=_EXTERNAL)
    value_range: ValueRange = setting(
        "black and white, as that network takes them", default=(0.0, 255.0), group=_EXTERNAL, metavar="BLACK,WHITE"
    )
    classes: Annotated[tuple[str, ...], Distinct] = setting(
        "classes in the order of its scores (default: the dataset's)", default=(), group=_EXTERNAL
    )
    activation: Literal["", "softmax", "sigmoid"] = setting(
        "function that makes its scores probabilities, if they are logits", default="", group=_EXTERNAL
    )
    trust_model: bool = setting("load a SavedModel, which can run code of its own", default=False, group=_EXTERNAL)

    def check(self) -> None:
        """There is something to label with, and nothing twice; what is stated of an external network makes sense."""
        if bool(self.model_file) != bool(self.annotator):
            raise InputError("model_file and annotator go together: the file of a network, and its name")
        if not self.names:
            raise InputError("there is nothing to label with: give models, or a model_file")
        if self.annotator in (*self.models, HUMAN, MACHINE, CONFIRMED):
            raise InputError(
                f"annotator {self.annotator!r} is taken: give the network of {self.model_file} another name"
            )

    @property
    def names(self) -> tuple[str, ...]:
        """The networks that label, the external one last."""
        return (*self.models, *([self.annotator] if self.annotator else []))

    def passes_on(self, shared: Mapping[str, Any]) -> dict[str, Any]:
        """The networks that label, to be compared and explained."""
        return {"models": self.names, "annotators": tuple(dict.fromkeys((*shared.get("annotators", ()), *self.names)))}
