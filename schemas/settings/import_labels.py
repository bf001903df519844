"""Import anybody's labels, from CSV or Parquet files of image_id, label and perhaps confidence, as a label set."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from schemas.errors import InputError
from schemas.settings.base import Distinct, Name, Settings, Shards, Split, Version, reject_limit, setting
from schemas.tables import IMPORTED


class ImportSettings(Settings):
    """Which files hold the labels, and whose they are."""

    dataset: Name = setting("name of the dataset, of images or of label sets alone", group="Label set")
    annotator: Name = setting("whose labels they are: the name of the label set", group="Label set")
    split: Split = setting("split of the images", group="Label set")
    version: Version = setting("version of the dataset, where it has images", default="1.0.0", group="Label set")
    task: Literal["", "multiclass", "multilabel", "sequence"] = setting(
        "kind of labels (default: the dataset's own, else multiclass)", default="", group="Label set"
    )
    shards: Shards = setting(
        "shards of label sets alone, a power of two; 0 chooses by size, at least 8", default=0, group="Label set"
    )
    input: tuple[str, ...] = setting(
        "CSV or Parquet files; local, gs:// or s3://; may hold * and ?",
        path=True,
        min_length=1,
        group="Files",
        metavar="PATH ...",
    )
    columns: Mapping[str, str] = setting(
        "column mapping: image_id=ImageID,label=LabelName,confidence=Confidence",
        default={},
        group="Files",
        metavar="NAME=COLUMN,...",
    )
    classes: Annotated[tuple[str, ...], Distinct] = setting(
        "labels to import (default: the dataset's classes, else every label)", default=(), group="Files"
    )
    max_reject_fraction: float = reject_limit("rows", group="Files")

    def check(self) -> None:
        """Columns are mapped to those that there are, each to another."""
        for key in self.columns:
            if key not in IMPORTED:
                raise InputError(f"columns must be one of {', '.join(IMPORTED)}; got {key!r}")
        if len(set(self.column_names)) < len(self.column_names):
            raise InputError(f"columns must be distinct, got {', '.join(self.column_names)}")

    def passes_on(self, shared: Mapping[str, Any]) -> dict[str, Any]:
        """Its annotator, to be compared with others."""
        return {"annotators": tuple(dict.fromkeys((*shared.get("annotators", ()), self.annotator)))}

    @property
    def column_names(self) -> tuple[str, ...]:
        """The files' names of image_id, label and confidence."""
        return tuple(self.columns.get(name, name) for name in IMPORTED)
