"""Draw a sample: house-number crops in the layout of the SVHN course file, or scenes in that of Open Images.

concord draw --output sample.h5 --train 6000 --test 2000 --validation 1000 --seed 7
concord draw --sample scenes --output scenes --images 1200 --seed 7
"""

import time

import samples
from pipelines.runner import Context, StageResult
from schemas import plugins
from schemas.errors import InputError
from schemas.settings.draw import DrawSettings
from storage import json_files, products, stores


def draw(settings: DrawSettings, context: Context) -> StageResult:
    """Draw the sample, unless just this one is there.

    Raises:
        InputError: there is no such sample.
    """
    output = settings.output.rstrip("/")
    sample = plugins.load(samples, "sample", settings.sample)
    fingerprint = products.fingerprint("draw", settings=settings.identity())
    note = f"{output}.json"
    drawn = json_files.find(note) if sample.is_there(settings, output) else None
    if drawn and drawn["fingerprint"] == fingerprint and not context.force:
        return StageResult("draw", output, made=False, counts=drawn["counts"])
    began = time.monotonic()
    stores.remove(note)
    stores.remove_partial_file(note)
    counts = sample.write(settings, output)
    json_files.write(note, {"fingerprint": fingerprint, "settings": settings.identity(), "counts": counts})
    return StageResult("draw", output, True, time.monotonic() - began, counts)
