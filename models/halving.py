"""Work through rows in batches; one that fails is halved, and its halves, until the rows that fail it are found.

A batch that memory does not hold is halved likewise, and those after it stay as small: they would not fit either.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from models.quiet import tensorflow as tf
from schemas.rejects import Reason

Fault = tuple[Reason, str]
Result = TypeVar("Result")
# what TensorFlow's kernels and, as RuntimeError, those of JAX and PyTorch raise; mistakes of ours are none of these
FAILURES = (tf.errors.OpError, RuntimeError, MemoryError)
_OUT_OF_MEMORY = re.compile(r"RESOURCE_EXHAUSTED|out of memory", re.IGNORECASE)
_LONGEST = 300


@dataclass
class Worked(Generic[Result]):
    """What came of some rows.

    Attributes:
        parts: the rows that were done at once, and their result, in order.
        faults: the rows that fail even alone, and why.
        halved: how many batches memory did not hold.
    """

    parts: list[tuple[range, Result]] = field(default_factory=list)
    faults: dict[int, Fault] = field(default_factory=dict)
    halved: int = 0


class Halving:
    """Batches of at most so many rows, fewer once memory has not held them; threads may share one.

    Args:
        size: rows a batch, to begin with.
        reason: why a row is turned away that fails for want of nothing.
    """

    def __init__(self, size: int, reason: Reason) -> None:
        self.size, self._reason = size, reason

    def over(self, count: int, work: Callable[[range], Result]) -> Worked[Result]:
        """Do some work on the rows up to `count`, a batch after the other."""
        found: Worked[Result] = Worked()
        todo = [range(count)]
        while todo:
            part = todo.pop()
            cut = self.size
            if 0 < len(part) <= cut:
                try:
                    found.parts.append((part, work(part)))
                    continue
                except FAILURES as error:
                    cut = (len(part) + 1) // 2
                    if is_out_of_memory(error):
                        found.halved += 1
                        self.size = min(self.size, cut)
                    if len(part) == 1:
                        found.faults[part[0]] = self._fault(error)
                        continue
            todo += [part[cut:], part[:cut]] if part else []
        return found

    def _fault(self, error: Exception) -> Fault:
        reason = Reason.OUT_OF_MEMORY if is_out_of_memory(error) else self._reason
        return reason, first_line(error)


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error of any backend says that there is not enough memory."""
    known = isinstance(error, tf.errors.ResourceExhaustedError | MemoryError)
    return known or _OUT_OF_MEMORY.search(str(error)) is not None


def first_line(error: Any) -> str:
    """What an error says, in one line."""
    lines = str(getattr(error, "message", "") or error).splitlines()
    return lines[0][:_LONGEST] if lines else type(error).__name__
