"""Damage to files, drawn at random: bytes flipped, deleted, put in, doubled, cut off, exchanged with another file's."""

import random
import struct
from collections.abc import Sequence

INTERESTING = tuple(
    struct.pack(order + code, value)
    for order in "<>"
    for code, values in {
        "B": (0, 1, 127, 128, 255),
        "H": (0, 1, 0x7FFF, 0x8000, 0xFFFF),
        "I": (0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 20, 100_000_000),
        "Q": (0, 1, (1 << 63) - 1, 1 << 63, (1 << 64) - 1, 1 << 40, 1 << 32),
    }.items()
    for value in values
)
PIECES = (
    b"\0",
    b"..",
    b"/",
    b"../",
    b"{",
    b"[",
    b'"',
    b",",
    b"\n",
    b"\r",
    b"\xff\xfe",
    b"null",
    b"-1",
    b"1e999",
    b"NaN",
)
_LONGEST = 256  # bytes that one step deletes or doubles


def damaged(rng: random.Random, content: bytes, others: Sequence[bytes]) -> bytes:
    """The content after one to eight steps, mostly few."""
    for _ in range(min(8, 1 + int(rng.expovariate(0.7)))):
        content = rng.choice(_STEPS)(rng, content, others)
    return content


def _place(rng: random.Random, content: bytes) -> int:
    """Anywhere, but every third time in the beginning, where headers stand."""
    most = len(content) if rng.random() < 0.67 else min(len(content), 128)
    return rng.randint(0, max(most - 1, 0))


def _flip(rng: random.Random, content: bytes, others: Sequence[bytes]) -> bytes:
    place = _place(rng, content)
    return content[:place] + bytes([content[place] ^ 1 << rng.randrange(8)]) + content[place + 1 :] if content else b""


def _byte(rng: random.Random, content: bytes, others: Sequence[bytes]) -> bytes:
    place = _place(rng, content)
    return content[:place] + bytes([rng.randrange(256)]) + content[place + 1 :]


def _number(rng: random.Random, content: bytes, others: Sequence[bytes]) -> bytes:
    place, number = _place(rng, content), rng.choice(INTERESTING)
    return content[:place] + number + content[place + len(number) :]


def _delete(rng: random.Random, content: bytes, others: Sequence[bytes]) -> bytes:
    place = _place(rng, content)
    return content[:place] + content[place + rng.randint(1, _LONGEST) :]


def _insert(rng: random.Random, content: bytes, others: Sequence[bytes]) -> bytes:
    place = _place(rng, content)
    piece = rng.choice((*PIECES, rng.randbytes(rng.randint(1, 16))))
    return content[:place] + piece * rng.choice((1, 1, 1, 40)) + content[place:]


def _double(rng: random.Random, content: bytes, others: Sequence[bytes]) -> bytes:
    place = _place(rng, content)
    piece = content[place : place + rng.randint(1, _LONGEST)]
    return content[:place] + piece * rng.choice((2, 2, 20)) + content[place + len(piece) :]


def _cut(rng: random.Random, content: bytes, others: Sequence[bytes]) -> bytes:
    return content[: _place(rng, content)]


def _splice(rng: random.Random, content: bytes, others: Sequence[bytes]) -> bytes:
    other = rng.choice(others)
    return content[: _place(rng, content)] + other[_place(rng, other) :]


def _move(rng: random.Random, content: bytes, others: Sequence[bytes]) -> bytes:
    """A piece of a file over another place of it."""
    start, place = _place(rng, content), _place(rng, content)
    piece = content[start : start + rng.randint(1, 64)]
    return content[:place] + piece + content[place + len(piece) :]


_STEPS = (_flip, _flip, _byte, _number, _number, _number, _delete, _insert, _double, _cut, _splice, _move)
