"""What a stage does about the records it turned away: nothing, or stop where they are too many."""

from typing import Any

from schemas.errors import TooManyRejectsError
from schemas.products import ShardFolder
from schemas.rejects import REMEDIES, Reason


def check_rejects(stage: str, folders: list[ShardFolder], counts: dict[str, Any], most: float) -> None:
    """Stop a stage that rejected more than `most`, a share of the records that came in.

    Raises:
        TooManyRejectsError: it shows the first rejected record and says what to do.
    """
    rejected = sum(counts["rejected"].values())
    if rejected <= most * counts["in"]:
        return
    reasons = ", ".join(f"{reason} {count}" for reason, count in counts["rejected"].items())
    raise TooManyRejectsError(
        f"{stage} rejected {rejected} of {counts['in']} records ({reasons}), more than --max-reject-fraction {most:g}. "
        f"{_first(folders)} All of them: {', '.join(folder.folder for folder in folders)}"
    )


def _first(folders: list[ShardFolder]) -> str:
    for folder in folders:
        for shard, report in sorted(folder.done().items()):
            if report.rejected:
                row = folder.read(shard).slice(0, 1).to_pylist()[0]
                remedy = REMEDIES[Reason(row["reason"])]
                return f"The first: {row['source']}, {row['position']}: {row['detail']} ({remedy})."
    return ""
