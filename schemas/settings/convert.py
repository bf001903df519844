"""Convert a source of labelled images into TFRecords, their index, and the label set `human`."""

from typing import Annotated, ClassVar

from pydantic import AfterValidator, ValidationInfo

from schemas.errors import InputError
from schemas.settings.base import (
    Distinct,
    Name,
    OptionalSplit,
    Settings,
    Shards,
    Shares,
    Version,
    reject_limit,
    setting,
)

_FETCHING = "Photographs that are fetched"


class ConvertSettings(Settings):
    """What every source takes; a source's own module adds the rest."""

    VARIES_BY: ClassVar[str] = "source"

    source: str = setting("format of the input", plugins="pipelines.convert.sources", group="Source")
    input: tuple[str, ...] = setting(
        "files or folders; local, gs:// or s3://", default=(), path=True, group="Source", metavar="PATH ..."
    )
    dataset: Name = setting("name of the dataset to write", group="Dataset")
    version: Version = setting("version of the dataset", default="1.0.0", group="Dataset")
    shards: Shards = setting(
        "shards of each split, a power of two; 0 chooses by size, at least 8", default=0, group="Dataset"
    )
    classes: Annotated[tuple[str, ...], Distinct] = setting(
        "class names in the order of the integer labels (default: the source's own; digits)",
        default=(),
        group="Dataset",
    )
    split: OptionalSplit = setting(
        "split of all images (default: the source's own, else train)", default="", group="Dataset"
    )
    splits: Shares = setting(
        "draw the splits by hashed id: train=0.8,validation=0.1,...",
        default={},
        group="Dataset",
        metavar="SPLIT=SHARE,...",
    )
    max_reject_fraction: float = reject_limit("records", group="Dataset")

    def check(self) -> None:
        """Splits are either stated or drawn."""
        if self.split and self.splits:
            raise InputError("give either split (one for all images) or splits (shares), not both")

    def reads(self, root: str) -> list[str]:
        """Files and folders that have to be there before it can be planned."""
        return [path for _, path in self.paths()]


def _validate_image_size(value: tuple[int, int], info: ValidationInfo) -> tuple[int, int]:
    if not all(8 <= side <= 1024 for side in value):
        raise InputError(f"{info.field_name} must be HEIGHT,WIDTH, each 8 to 1024 pixels, got {list(value)}")
    return value


ImageSize = Annotated[tuple[int, int], AfterValidator(_validate_image_size)]


class FetchSettings(ConvertSettings):
    """What sources have whose images are files that are fetched one by one."""

    max_pixels: int = setting(
        "photographs with more pixels are rejected without being decoded", default=100_000_000, ge=1, group=_FETCHING
    )
    max_concurrency: int = setting(
        "concurrent requests per worker",
        default=64,
        ge=1,
        changes_result=False,
        group=_FETCHING,
        renamed_from=("in_flight",),
    )
    max_attempts: int = setting(
        "maximum attempts per request",
        default=5,
        ge=1,
        changes_result=False,
        group=_FETCHING,
        renamed_from=("attempts",),
    )
    timeout: float = setting("maximum seconds per request", default=30.0, gt=0, changes_result=False, group=_FETCHING)


class PhotoSettings(FetchSettings):
    """What sources have whose photographs are kept as files, scaled down or as they are."""

    max_side: int = setting(
        "scale photographs down to this longest side, in pixels; 0 keeps their bytes", default=0, ge=0, group=_FETCHING
    )
    quality: int = setting(
        "JPEG quality of photographs that are encoded again", default=95, ge=1, le=100, group=_FETCHING
    )
    signed: bool = setting(
        "sign requests with the usual credentials instead of fetching anonymously",
        default=False,
        changes_result=False,
        group=_FETCHING,
    )
