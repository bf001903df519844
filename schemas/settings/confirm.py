"""Join machine-made label rows with human verdicts, and keep what humans confirmed or rejected."""

from typing import Literal

from schemas.errors import InputError
from schemas.settings.base import Name, Settings, Shards, Shares, reject_limit, setting

_FILTERS = "Which rows are kept"


class ConfirmSettings(Settings):
    """Which files are joined, and what is kept of them."""

    dataset: Name = setting("name of the dataset to write", group="Files")
    machine: tuple[str, ...] = setting(
        "CSV files of machine-made labels; may hold * and ?", path=True, min_length=1, group="Files", metavar="PATH ..."
    )
    human: tuple[str, ...] = setting(
        "CSV files of human verdicts (confidence 1 or 0); may hold * and ?",
        path=True,
        min_length=1,
        group="Files",
        metavar="PATH ...",
    )
    columns: tuple[str, ...] = setting("columns of files without a header", default=(), group="Files")
    classes: str = setting(
        "CSV file of the classes to keep: LabelName, DisplayName (default: every class)",
        default="",
        driver_path=True,
        group=_FILTERS,
    )
    images: str = setting(
        "CSV file of the images to keep: a column ImageID, or one id per line (default: all)",
        default="",
        path=True,
        group=_FILTERS,
    )
    min_confidence: float = setting(
        "keep only machine rows with at least this confidence", default=0.0, ge=0, le=1, group=_FILTERS
    )
    one_label: Literal["", "best", "first"] = setting(
        "keep one confirmed label per image: the best (most confident) or the first", default="", group=_FILTERS
    )
    on_conflict: Literal["rejected", "confirmed", "majority", "first", "drop"] = setting(
        "verdict where humans differ on an image and label", default="rejected", group=_FILTERS
    )
    label_sets: Literal["images", "all", "none"] = setting(
        "also write every row of machine and human: of the images with a confirmed label, of all, or none",
        default="images",
        group="Output",
    )
    splits: Shares = setting(
        "splits drawn by hashed id, and their shares",
        default={"train": 0.8, "validation": 0.1, "test": 0.1},
        group="Output",
        metavar="SPLIT=SHARE,...",
    )
    shards: Shards = setting(
        "shards of each split, a power of two; 0 chooses by size, at least 8", default=0, group="Output"
    )
    max_reject_fraction: float = reject_limit("rows", group="Output")

    def check(self) -> None:
        """There are splits."""
        if not self.splits:
            raise InputError("splits must have at least one split and its share, got none")
