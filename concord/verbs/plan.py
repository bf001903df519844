"""Check and estimate what a run would take, before anything is started.

concord plan run.toml --root out
"""

import sys

from concord.flags import ChainFlags
from concord.verbs.run import list_files, load_chain
from schemas.errors import ConcordError
from schemas.settings.base import Settings, setting
from schemas.stage import Context


class PlanFlags(Settings):
    """How it is checked and printed."""

    as_json: bool = setting("print the plan as JSON, for machines", default=False, group="Plan", flag="json")
    no_write: bool = setting("skip the write test of the root", default=False, group="Plan")


SETTINGS = (ChainFlags, PlanFlags)


def run(flags: ChainFlags, own: PlanFlags, beam_flags: tuple[str, ...]) -> None:
    """Print the plan; exit status 1 where a run would fail."""
    from pipelines import plan
    from pipelines.checks import Problems

    problems, chains = Problems(), {}
    for file in list_files(flags):
        try:
            chains[file] = load_chain(file, flags)
        except ConcordError as error:
            problems.add("run file", str(error))
    context = Context(flags.root, beam_flags, flags.force)
    planned = plan.plan_run(chains, context, problems, write=not own.no_write)
    print(plan.as_json(planned) if own.as_json else plan.as_text(planned))
    if planned.fails:
        sys.exit(1)
