"""Thrift's compact protocol, as far as the footers and page headers of Parquet files need it.

https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
"""

from typing import Any

_DEEPEST = 16  # structures in structures
_TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _LIST, _SET, _STRUCT = 1, 2, 3, 7, 8, 9, 10, 12
_INTEGERS = (4, 5, 6)


class Compact:
    """Reads values one after the other; `at` is where the next one begins.

    Every reading method raises ValueError where the bytes are none such, or end too early.
    """

    def __init__(self, content: bytes) -> None:
        self.content, self.at = content, 0

    def structure(self, depth: int = 0) -> dict[int, Any]:
        """A structure: each field's value by its number."""
        if depth > _DEEPEST:
            raise ValueError(f"structures within structures, more than {_DEEPEST}")
        found: dict[int, Any] = {}
        field = 0
        while head := self._byte():
            field = field + (head >> 4) if head >> 4 else self._signed()
            kind = head & 15
            found[field] = kind == _TRUE if kind in (_TRUE, _FALSE) else self._value(kind, depth)
        return found

    def _value(self, kind: int, depth: int) -> Any:
        if kind in _INTEGERS:
            return self._signed()
        if kind == _BINARY:
            return self._bytes(self._varint())
        if kind in (_LIST, _SET):
            head = self._byte()
            count = self._varint() if head >> 4 == 15 else head >> 4
            if count > len(self.content) - self.at:  # each takes a byte at least
                raise ValueError(f"a list of {count} values in {len(self.content) - self.at} bytes")
            inner = _BYTE if head & 15 in (_TRUE, _FALSE) else head & 15
            return [self._value(inner, depth + 1) for _ in range(count)]
        if kind == _STRUCT:
            return self.structure(depth + 1)
        if kind in (_BYTE, _DOUBLE):
            return self._bytes(1 if kind == _BYTE else 8)
        raise ValueError(f"a value of type {kind}")

    def _byte(self) -> int:
        return self._bytes(1)[0]

    def _bytes(self, count: int) -> bytes:
        start, self.at = self.at, self.at + count
        if self.at > len(self.content):
            raise ValueError(f"it ends too early, after {len(self.content)} bytes")
        return self.content[start : self.at]

    def _varint(self) -> int:
        value = shift = 0
        while (digit := self._byte()) & 0x80:
            value |= (digit & 0x7F) << shift
            shift += 7
            if shift > 63:
                raise ValueError("a number of more than 64 bits")
        return value | digit << shift

    def _signed(self) -> int:
        value = self._varint()
        return value >> 1 ^ -(value & 1)
