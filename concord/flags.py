"""The flags that several verbs share, beside the settings of their stages."""

import os
from typing import Annotated, Literal

from pydantic import AfterValidator

from pipelines.progress import VARIABLE
from schemas.settings.base import MACHINES, Memory, Settings, accelerator_hint, setting

_GROUP = "Command"


class RootFlags(Settings):
    """Where everything is kept, and what is logged."""

    root: str = setting(
        "where everything is kept: a folder, gs://... or s3://...", default="out", group=_GROUP, metavar="DIR"
    )
    verbose: bool = setting("show Beam's log and full tracebacks", default=False, group=_GROUP)
    log_format: Literal["text", "json"] = setting(
        f"how the log is written: text to read, json for programs (default: {VARIABLE}, or text)",
        default_factory=lambda: os.environ.get(VARIABLE, "text"),
        group=_GROUP,
    )


class RunFlags(RootFlags):
    """What every verb has that writes into the root."""

    force: bool = setting("rebuild everything, even what is up to date", default=False, group=_GROUP)


class ChainFlags(RunFlags):
    """What every verb has that takes run files."""

    files: tuple[str, ...] = setting(
        "run files (default: the samples drawn by the project itself)",
        default=(),
        path=True,
        positional=True,
        metavar="[FILE.toml]...",
    )
    data: str = setting("folder that {data} in run files stands for", default="", group=_GROUP, metavar="DIR")
    accelerator: Annotated[
        str | None, AfterValidator(lambda name: name if name is None else accelerator_hint(name))
    ] = setting(
        "GPU of every network's workers on Dataflow: a kind such as nvidia-tesla-t4, a whole Beam hint, or none "
        "(default: the run file's)",
        default=None,
        group=MACHINES,
    )
    min_ram: Memory = setting(
        "least memory of every network's workers on Dataflow, such as 32GB (default: the run file's)",
        default="",
        group=MACHINES,
    )

    def hints(self) -> dict[str, str]:
        """The accelerator and memory that replace those of the run files."""
        hints = {"accelerator": self.accelerator, "min_ram": self.min_ram or None}
        return {key: value for key, value in hints.items() if value is not None}
