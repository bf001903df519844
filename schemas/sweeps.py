"""Sweeps: which settings to try, from the tables of `[[train.sweep]]` in a run file.

A list gives each of its values, and several lists every combination; a range `{low = 1e-4, high = 1e-2, log = true}` is
drawn from, as many times as `draws` says.
"""

import itertools
import math
import random
from collections.abc import Iterator, Mapping
from typing import Any

from schemas.errors import InputError
from schemas.settings.train import TrainSettings

_FIXED = ("dataset", "name", "version", "folds", "sweep", "evaluate", "reference", "accelerator", "min_ram")


def members(settings: TrainSettings) -> list[TrainSettings]:
    """The settings of each run of a sweep, in order: the tables one after the other.

    Raises:
        InputError: a key or value is wrong, or two runs are the same.
    """
    whole = vars(settings.changed(sweep=()))
    runs = []
    for number, table in enumerate(settings.sweep, start=1):
        where = f"train.sweep {number}"
        for values in _values(TrainSettings.with_new_names(table), settings.seed, where):
            runs.append(TrainSettings.from_table({**whole, **values}, where))
    for place, one in enumerate(runs):
        if one in runs[:place]:
            raise InputError(f"train.sweep: runs {runs.index(one)} and {place} are the same; change or remove one")
    return runs


def _values(table: Mapping[str, Any], seed: int, where: str) -> Iterator[dict[str, Any]]:
    """What each run of one table changes."""
    swept = {key: value for key, value in table.items() if key != "draws"}
    for key, value in swept.items():
        if isinstance(value, list | tuple) and not value:
            raise InputError(f"{where}: {key} has no value to try")
        if key in _FIXED:
            raise InputError(f"{where}: {key} is the same for all runs of a sweep; set it in [[train]]")
    draws = table.get("draws", 0)
    if type(draws) is not int or draws < 0 or not swept:
        raise InputError(f"{where} must name settings to try, and draws a number of runs; got {dict(table)}")
    if not draws:
        ranges = [key for key, value in swept.items() if _is_range(value)]
        if ranges:
            raise InputError(f"{where}: {ranges[0]} is a range: say how many runs with draws = ...")
        choices = [value if isinstance(value, list | tuple) else [value] for value in swept.values()]
        yield from (dict(zip(swept, one, strict=True)) for one in itertools.product(*choices))
        return
    drawing = random.Random(f"{seed} {where}")
    for _ in range(draws):
        yield {key: _draw_value(where, key, value, drawing) for key, value in swept.items()}


def _is_range(value: Any) -> bool:
    return isinstance(value, Mapping) and {"low", "high"} <= set(value) <= {"low", "high", "log"}


def _draw_value(where: str, key: str, value: Any, drawing: random.Random) -> Any:
    if not _is_range(value):
        return drawing.choice(value) if isinstance(value, list | tuple) else value
    low, high, log = value["low"], value["high"], value.get("log", False)
    numbers = all(isinstance(bound, int | float) for bound in (low, high))
    if not (numbers and low < high and (low > 0 or not log)):
        raise InputError(f"{where}: {key} must be a range with low < high (above 0 if log), got {dict(value)}")
    whole = getattr(TrainSettings.model_fields.get(key), "annotation", None) is int
    if log:
        value_drawn = math.exp(drawing.uniform(math.log(low), math.log(high)))
        return round(value_drawn) if whole else value_drawn
    return drawing.randint(math.ceil(low), math.floor(high)) if whole else drawing.uniform(low, high)
