"""Samples that the project draws itself: one module or folder per sample, known by its name.

`house_numbers` is one file; of `scenes`, read `__init__` (the folder that it writes), then `images` (what a scene
shows) and `annotators` (who labels it, and with which errors). A sample has three functions:

- `write(settings, output) -> dict[str, int]` draws the sample at `output`, a local, gs:// or s3:// path, and returns
  counts of its content. An earlier drawing is replaced; each file appears whole or not at all. The same settings give
  the same bytes.
- `exists(settings, output) -> bool`: whether all files of such a sample are at `output`, without reading them; the note
  that `pipelines/draw.py` writes beside them, last of all, states what they were drawn from.
- `estimate(settings) -> Estimate`: roughly what drawing it costs.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Estimate:
    """What drawing a sample costs, roughly: bytes written, and seconds of one CPU core."""

    written_bytes: int
    core_seconds: float
