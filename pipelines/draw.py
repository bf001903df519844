"""Draw the sample: house-number crops in the layout of the SVHN course file.

concord draw --output sample.h5 --train 6000 --test 2000 --validation 1000 --seed 7
"""

import time

from pipelines import drawing
from pipelines.execution import Context, StageResult
from schemas import jsonfile, products, storage
from schemas.errors import InputError
from schemas.settings import DrawSettings


def draw(settings: DrawSettings, context: Context) -> StageResult:
    """Draw the sample, unless just this one is there.

    Raises:
        InputError: no output is named.
    """
    if not settings.output:
        raise InputError("draw needs the path of the file to write: give --output")
    fingerprint = products.fingerprint("draw", settings=settings.identity())
    note = f"{settings.output}.json"
    counts = {"train": settings.train, "test": settings.test, "validation": settings.validation}
    drawn = jsonfile.find(note) if storage.stat(settings.output) else None
    if drawn and drawn["fingerprint"] == fingerprint and not context.force:
        return StageResult("draw", settings.output, made=False, counts=counts)
    began = time.monotonic()
    size = drawing.SampleSize(settings.train, settings.test, settings.validation)
    storage.remove(note)
    with storage.local_output(settings.output) as path:
        drawing.write_sample(path, size, settings.seed)
    jsonfile.write(note, {"fingerprint": fingerprint, "settings": settings.identity()})
    return StageResult("draw", settings.output, True, time.monotonic() - began, counts)
