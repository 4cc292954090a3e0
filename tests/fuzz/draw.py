"""Decisions out of a fuzzer's bytes, and bytes out of decisions, so that seeds can be written by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self, TypeVar

T = TypeVar("T")


class Draw:
    """Reads decisions; once the bytes are used up every one is the first choice."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def left(self) -> int:
        """Bytes not yet used."""
        return max(len(self._data) - self._at, 0)

    def number(self, most: int) -> int:
        """0 to `most`, from as few whole bytes as hold it."""
        return int.from_bytes(self._take(_size(most)), "big") % (most + 1)

    def choice(self, options: Sequence[T]) -> T:
        """One of them."""
        return options[self.number(len(options) - 1)]

    def piece(self, most: int) -> bytes:
        """Up to `most` bytes."""
        return self._take(self.number(most))

    def rest(self) -> bytes:
        """All that is left."""
        return self._take(self.left)

    def _take(self, count: int) -> bytes:
        taken = self._data[self._at : self._at + count]
        self._at += count
        return taken


class Written:
    """The inverse of Draw: the same calls, with what is to be drawn."""

    def __init__(self) -> None:
        self.data = b""

    def number(self, value: int, most: int) -> Self:
        """See Draw.number."""
        self.data += value.to_bytes(_size(most), "big")
        return self

    def choice(self, option: T, options: Sequence[T]) -> Self:
        """See Draw.choice."""
        return self.number(options.index(option), len(options) - 1)

    def piece(self, value: bytes, most: int) -> Self:
        """See Draw.piece."""
        self.number(len(value), most)
        self.data += value
        return self


def _size(most: int) -> int:
    return max((most.bit_length() + 7) // 8, 1) if most else 0
