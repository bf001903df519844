"""The settings of `queue` and `label-errors`: which images people should look at."""

from dataclasses import dataclass
from pathlib import Path

from schemas import plugins
from schemas.errors import InputError
from schemas.fields import Checked, check_choice, check_distinct, setting
from schemas.layout import check_name, check_split

_EXPORTS = Path(__file__).parents[1] / "analysis" / "exports"  # a file per tool
TOOLS = tuple(name.replace("_", "-") for name in plugins.names(_EXPORTS))
QUALITIES = ("self_confidence", "normalized_margin")


@dataclass(frozen=True)
class QueueSettings(Checked):
    """Rank the images that people should look at: machines differ, are unsure, or a label may be wrong."""

    dataset: str = setting("", "name of the dataset")
    annotators: tuple[str, ...] = setting((), "machines whose labels are compared", "list")
    split: str = setting("test", "split of the images")
    truth: str = setting("", "label set of people: what they have labelled is left out, unless it may be wrong")
    version: str = setting("1.0.0", "version of the dataset")
    limit: int = setting(1000, "most rows of the queue")
    unsure_below: float = setting(0.9, "machines that agree are unsure where one of them is less confident than this")
    export: str = setting("", f"write the queue and its images for a tool as well: {' or '.join(TOOLS)}")
    output: str = setting("", "folder of the export (default: report/DATASET/queue/SPLIT-TOOL)", "path")
    image_url: str = setting(
        "", "label-studio: address under which the folder images/ will be served (default: images within the file)"
    )

    def check(self) -> None:
        """There are machines to ask, none of them is the truth, and numbers lie where they can."""
        check_distinct("annotators", self.annotators, 1)
        check_split(self.split)
        if self.truth:
            check_name("truth", self.truth)
        if self.truth in self.annotators:
            raise InputError(f"truth {self.truth!r} is one of the annotators: the queue asks people about machines")
        if self.limit < 1:
            raise InputError(f"limit must be at least 1 row, got {self.limit}")
        if not 0 <= self.unsure_below <= 1:
            raise InputError(f"unsure_below must lie in [0, 1], got {self.unsure_below}")
        check_choice("export", self.export, ("", *TOOLS))
        if self.output and not self.export:
            raise InputError("output is the folder of an export: say with --export for which tool")
        if self.image_url and self.export not in (takes := [tool for tool in TOOLS if _takes_image_url(tool)]):
            raise InputError(f"image_url is for --export {' or '.join(takes)} alone, not for {self.export!r}")


def _takes_image_url(tool: str) -> bool:
    return plugins.defines(_EXPORTS, tool.replace("-", "_"), "TAKES_IMAGE_URL")


@dataclass(frozen=True)
class LabelErrorSettings(Checked):
    """Rank the labels that may be wrong, by confident learning (cleanlab) from scores of folds."""

    dataset: str = setting("", "name of the dataset")
    annotator: str = setting("", "model of folds, by whose scores labels are judged")
    labels: str = setting("human", "label set that is judged")
    split: str = setting("train", "split of the images: the one that was divided into folds")
    version: str = setting("1.0.0", "version of the dataset")
    quality: str = setting("self_confidence", f"cleanlab's label quality score: {' or '.join(QUALITIES)}")

    def check(self) -> None:
        """Names can be names, and the labels are another's than the scores."""
        check_name("annotator", self.annotator)
        check_name("labels", self.labels)
        check_split(self.split)
        check_choice("quality", self.quality, QUALITIES)
        if self.annotator == self.labels:
            raise InputError(f"labels of {self.labels!r} cannot be judged by its own scores: name another --annotator")
