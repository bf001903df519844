"""Draw a sample: house-number crops in the layout of the SVHN course file, or scenes in that of Open Images.

concord draw --output sample.h5 --train 6000 --test 2000 --validation 1000 --seed 7
concord draw --sample scenes --output scenes --images 1200 --seed 7
"""

from collections.abc import Iterable
from types import ModuleType
from typing import Any

import samples
from schemas import plugins
from schemas.settings.draw import DrawSettings
from schemas.stage import Context, Driver, Plan, Product, State
from storage import products, small_files, stores


class DrawDriver(Driver[DrawSettings]):
    """Draws the sample, unless just this one is there; a note beside it says what it was drawn from."""

    def writes(self, settings: DrawSettings, root: str) -> Iterable[str]:
        """The sample, which lies where the user wants it."""
        return (settings.output.rstrip("/"),)

    def plan(self, settings: DrawSettings, context: Context) -> Plan:
        """Whether the sample is there; InputError where there is no such sample."""
        output = settings.output.rstrip("/")
        sample = plugins.load(samples, "sample", settings.sample)
        note = small_files.find_json(_note(output)) if sample.exists(settings, output) else None
        if note and note["fingerprint"] == _fingerprint(settings) and not context.force:
            return Plan(settings, (Product(output, State.DONE, note["counts"]),))
        cost = sample.estimate(settings)
        product = Product(output, State.TO_DO, written_bytes=cost.written_bytes, core_seconds=cost.core_seconds)
        return Plan(settings, (product,), (settings, sample))

    def make(self, work: tuple[DrawSettings, ModuleType], context: Context) -> dict[str, int]:
        """Draw it."""
        settings, sample = work
        output = settings.output.rstrip("/")
        note = _note(output)
        stores.remove(note)
        stores.remove_partial_file(note)
        counts = sample.write(settings, output)
        content = {"fingerprint": _fingerprint(settings), "settings": settings.identity(), "counts": counts}
        small_files.write_json(note, content)
        return {}

    def commit(self, work: tuple[DrawSettings, ModuleType], product: Product) -> dict[str, Any]:
        """The counts of what was drawn."""
        counts: dict[str, Any] = (small_files.find_json(_note(product.name)) or {})["counts"]
        return counts


def _note(output: str) -> str:
    return f"{output}.json"


def _fingerprint(settings: DrawSettings) -> str:
    return products.fingerprint("draw", settings=settings.identity())


DRIVER = DrawDriver()
