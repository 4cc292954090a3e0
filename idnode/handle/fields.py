"""Fields of the Handle wire protocol: big-endian integers, byte strings and arrays with their length before them. Pure.

Nothing is taken that isn't there: a count is held against the bytes that are left before anything of its size is made.
"""

from __future__ import annotations

from struct import Struct, unpack_from

from idnode.handle.codes import MOST_ELEMENTS, ResponseCode

_INT2 = Struct(">H")
_INT4 = Struct(">I")


class BadMessage(Exception):
    """A message that isn't well formed; the text says where."""

    def __init__(self, why: str, code: ResponseCode = ResponseCode.PROTOCOL_ERROR) -> None:
        super().__init__(why)
        self.code = code


class Reader:
    """Reads fields one after the other. Its methods raise BadMessage where the bytes end too early."""

    __slots__ = ("_at", "_data", "_end")

    def __init__(self, data: bytes, start: int = 0, end: int | None = None) -> None:
        """Reads `data` from `start` to `end`."""
        self._data = data
        self._at = start
        self._end = len(data) if end is None else end

    @property
    def left(self) -> int:
        """Bytes not yet read."""
        return self._end - self._at

    def int1(self) -> int:
        """One byte."""
        return self._data[self._advance(1)]

    def int2(self) -> int:
        """Two bytes."""
        value: int = _INT2.unpack_from(self._data, self._advance(2))[0]
        return value

    def int4(self) -> int:
        """Four bytes, without a sign."""
        value: int = _INT4.unpack_from(self._data, self._advance(4))[0]
        return value

    def int4s(self, count: int) -> tuple[int, ...]:
        """So many of four bytes each."""
        return unpack_from(f">{count}I", self._data, self._advance(4 * count))

    def raw(self, length: int) -> bytes:
        """That many bytes."""
        start = self._advance(length)
        return self._data[start : start + length]

    def octets(self, most: int, code: ResponseCode = ResponseCode.PROTOCOL_ERROR) -> bytes:
        """A length of four bytes and as many bytes, at most `most`; `code`: of the BadMessage for more."""
        length = self.int4()
        if length > self.left:
            raise BadMessage(f"a field of {length} bytes, and {self.left} are left")
        if length > most:
            raise BadMessage(f"a field of {length} bytes, and {most} are allowed", code)
        return self.raw(length)

    def text(self, most: int, code: ResponseCode = ResponseCode.PROTOCOL_ERROR) -> str:
        """octets() as UTF-8; `code`: of the BadMessage for what is longer or isn't UTF-8."""
        try:
            return self.octets(most, code).decode()
        except UnicodeDecodeError as error:
            raise BadMessage("a text that isn't UTF-8", code) from error

    def count(self, least_each: int, most: int = MOST_ELEMENTS) -> int:
        """The count of an array whose elements take at least `least_each` bytes."""
        count = self.int4()
        if count > most:
            raise BadMessage(f"an array of {count}, and {most} are allowed")
        if count * least_each > self.left:
            raise BadMessage(f"an array of {count}, and {self.left} bytes are left")
        return count

    def finish(self) -> None:
        """Nothing may be left."""
        if self.left:
            raise BadMessage(f"{self.left} bytes too many")

    def _advance(self, length: int) -> int:
        start = self._at
        if length > self._end - start:
            raise BadMessage(f"it ends where {length} bytes are expected")
        self._at = start + length
        return start


def int4(value: int) -> bytes:
    """Four bytes."""
    return _INT4.pack(value)


def octets(value: bytes) -> bytes:
    """A byte string behind its length."""
    return _INT4.pack(len(value)) + value
