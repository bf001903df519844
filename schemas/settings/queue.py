"""Rank the images that humans should review: machines differ or are not confident, or a label may be wrong."""

from typing import Any

from pydantic import field_validator

from schemas import plugins
from schemas.errors import InputError
from schemas.settings.base import DatasetSettings, Names, OptionalName, Split, setting

_EXPORTS = "analysis.exports"


class QueueSettings(DatasetSettings):
    """Which images are ranked, and for which tool."""

    annotators: Names = setting("machines whose labels are compared", min_length=1, group="Data")
    split: Split = setting("split of the images", default="test", group="Data")
    reference: OptionalName = setting(
        "human label set: images that it labels are excluded, unless their label may be wrong",
        default="",
        group="Data",
        renamed_from=("truth",),
    )
    limit: int = setting("maximum rows of the queue", default=1000, ge=1, group="Ranking")
    unsure_below: float = setting(
        "machines that agree are not confident where one of them has less confidence than this",
        default=0.9,
        ge=0,
        le=1,
        group="Ranking",
    )
    export: str = setting(
        "also write the queue and its images for a tool", default="", plugins=_EXPORTS, group="Export"
    )
    output: str = setting(
        "folder of the export (default: report/DATASET/queue/SPLIT-TOOL)", default="", driver_path=True, group="Export"
    )
    image_url: str = setting(
        "label_studio: address at which the folder images/ will be served (default: images within the file)",
        default="",
        group="Export",
    )

    @field_validator("export", mode="before")
    @classmethod
    def _to_file_name(cls, value: Any) -> Any:
        """Tools are named as their files are; dashes are read as well."""
        return value.replace("-", "_") if isinstance(value, str) else value

    def check(self) -> None:
        """The reference is not one of the machines, and what is stated of an export belongs to one."""
        if self.reference in self.annotators:
            raise InputError(f"reference {self.reference!r} is one of the annotators: the queue is about machines")
        if self.output and not self.export:
            raise InputError("output is the folder of an export: name its tool with --export")
        tools = [name for name in plugins.names(_EXPORTS) if plugins.defines(_EXPORTS, name, "TAKES_IMAGE_URL")]
        if self.image_url and self.export not in tools:
            raise InputError(f"image_url is for --export {' or '.join(tools)} alone, not for {self.export!r}")
