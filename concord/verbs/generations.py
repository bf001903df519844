"""Run run files that have [generations]: networks that teach each other.

concord generations studies/generations.toml --data DATA --root out/generations
"""

from concord.flags import ChainFlags
from concord.verbs.run import load_chains, run_chains
from schemas.errors import InputError

SETTINGS = (ChainFlags,)


def run(flags: ChainFlags, beam_flags: tuple[str, ...]) -> None:
    """Run the chains of the run files."""
    if not flags.files:
        raise InputError("needs FILES: run files that have [generations]; see concord generations --help")
    chains = load_chains(flags)
    for file, chain in chains.items():
        if "generations" not in chain:
            remedy = "name there the network that is trained; see docs/agreement.md"
            raise InputError(f"{file} has no [generations]: {remedy}")
    run_chains("generations", chains, flags, beam_flags)
