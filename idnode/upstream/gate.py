"""How much one delegate is asked at a time, and when it is left alone: so many failures one after the other close the gate."""

from __future__ import annotations

MOST_FAILURES = 5
"""One after the other."""
FIRST_PAUSE_MS = 1000
LONGEST_PAUSE_MS = 60_000


class Gate:
    """Of one delegate's address. Time is given, in milliseconds of a steady clock."""

    def __init__(self, most: int) -> None:
        """`most`: questions at a time."""
        self._most = most
        self.under_way = 0
        self._failures = 0
        self._pause_ms = 0
        self._until_ms = 0

    def is_closed(self, now_ms: int) -> bool:
        """Whether it is left alone: for a pause, and behind it while one question tries whether it is back."""
        return self._failures >= MOST_FAILURES and (now_ms < self._until_ms or self.under_way > 0)

    @property
    def is_full(self) -> bool:
        """Whether as many questions are under way as there may be."""
        return self.under_way >= self._most

    def enter(self) -> None:
        """A question begins."""
        self.under_way += 1

    def leave(self, now_ms: int, *, failed: bool) -> None:
        """It has ended."""
        self.under_way -= 1
        if not failed:
            self._failures = self._pause_ms = 0
            return
        self._failures += 1
        if (
            self._failures >= MOST_FAILURES and now_ms >= self._until_ms
        ):  # those that were under way with the last one don't count
            self._pause_ms = min(self._pause_ms * 2 or FIRST_PAUSE_MS, LONGEST_PAUSE_MS)
            self._until_ms = now_ms + self._pause_ms
