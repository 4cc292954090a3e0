"""Sequence numbers of notification messages: 1 to 4,294,967,295, then 1 again (OPC UA Part 4, 7.9 and 5.14.1)."""

from __future__ import annotations

LAST_NUMBER = 0xFFFF_FFFF
MOST_MISSING = 1000
"""A larger hole than this is not asked for again: no server keeps so many messages."""


class SequenceTracker:
    """What number a subscription must send next."""

    def __init__(self) -> None:
        self._next = 1

    @property
    def next(self) -> int:
        """The number that is due."""
        return self._next

    def is_beyond_reach(self, number: int) -> bool:
        """Whether so much is missing before `number` that it isn't worth asking for."""
        return MOST_MISSING < (number - self._next) % LAST_NUMBER <= LAST_NUMBER // 2

    def missing_before(self, number: int) -> list[int] | None:
        """The numbers that were sent before `number` and did not arrive, ascending; None when `number` itself was taken before.

        A keep-alive bears the number that the next message with data will have.
        """
        ahead = (number - self._next) % LAST_NUMBER
        if ahead > LAST_NUMBER // 2:
            return None
        return [successor(self._next, step) for step in range(ahead)]

    def take(self, number: int) -> None:
        """A message with data is safe here; the one after it is due."""
        self._next = successor(number)


def successor(number: int, steps: int = 1) -> int:
    """The number that follows after `steps`; 0 is never one."""
    return (number - 1 + steps) % LAST_NUMBER + 1


def predecessor(number: int) -> int:
    """The number before."""
    return number - 1 or LAST_NUMBER
