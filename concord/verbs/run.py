"""Run the chains of stages that TOML run files describe, one after the other.

concord run --root out --runner=DirectRunner
"""

from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path

from concord import messages
from concord.flags import ChainFlags, RunFlags
from schemas import layout, run_files
from schemas.stage import Chain, Context

SETTINGS = (ChainFlags,)


def run(flags: ChainFlags, beam_flags: tuple[str, ...]) -> None:
    """Run the chains of the run files."""
    run_chains("run", load_chains(flags), flags, beam_flags)


def run_chains(verb: str, chains: Mapping[str, Chain], flags: RunFlags, beam_flags: tuple[str, ...]) -> None:
    """Run some chains, and print what was done, and the findings."""
    from pipelines.chain import run_chain
    from pipelines.runners import dataflow

    for chain in chains.values() if dataflow.is_requested(beam_flags) else ():
        dataflow.check_places(flags.root, chain)
    context = Context(layout.absolute(flags.root), beam_flags, flags.force)
    runs = [run_chain(verb, chain, context, messages.print_result) for chain in chains.values()]
    messages.print_summary(flags.root, runs, _headline)


def load_chains(flags: ChainFlags) -> dict[str, Chain]:
    """The chain of each run file."""
    return {file: load_chain(file, flags) for file in list_files(flags)}


def load_chain(file: str, flags: ChainFlags) -> Chain:
    """The chain of one run file, on the machines that the command line states."""
    from pipelines.chain import load_run_file

    return run_files.with_hints(load_run_file(file, flags.root, flags.data), flags.hints())


def list_files(flags: ChainFlags) -> Sequence[str]:
    """The run files of the command line, or those of the samples that the project draws by itself."""
    folder = Path(str(resources.files("samples")))
    return flags.files or [str(path) for path in sorted(folder.glob("*.toml"))]


def _headline(root: str, dataset: str) -> list[str]:
    from analysis.report import page

    return page.list_headlines(root, dataset)
