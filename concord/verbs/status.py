"""Report how far each stage of each dataset is, and how the last runs ended.

concord status --root out
"""

from concord.flags import RootFlags
from schemas.settings.base import Settings, setting


class StatusFlags(Settings):
    """How it is printed."""

    as_json: bool = setting("as JSON, for machines", default=False, group="Output", flag="json")


SETTINGS = (RootFlags, StatusFlags)


def run(common: RootFlags, flags: StatusFlags, beam_flags: tuple[str, ...]) -> None:
    """Print the status of a root."""
    from analysis import status
    from pipelines.stages import STAGES

    progress = status.read_status(common.root, [stage.name for stage in STAGES])
    print(status.as_json(progress) if flags.as_json else status.as_text(progress, common.root))
