"""Recheck everything that lies in a root against its manifests, and print its checksum.

concord verify --root out
"""

import sys

from concord.flags import RootFlags
from schemas.settings.base import Settings, setting


class VerifyFlags(Settings):
    """What is checked."""

    dataset: str = setting("the only dataset to check (default: all)", default="", group="Checks", metavar="NAME")
    quick: bool = setting("exclude the bytes of images", default=False, group="Checks")


SETTINGS = (RootFlags, VerifyFlags)


def run(common: RootFlags, flags: VerifyFlags, beam_flags: tuple[str, ...]) -> None:
    """Print what was checked; exit status 1 where something is missing or altered."""
    from analysis import verify
    from storage.tables import TABLES

    outcome = verify.verify(common.root, TABLES, flags.dataset, flags.quick)
    for line in outcome.lines():
        print(line)
    if outcome.wrong:
        sys.exit(1)
