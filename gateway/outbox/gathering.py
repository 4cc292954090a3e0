"""When the appends that wait become one commit."""

from __future__ import annotations

from asyncio import AbstractEventLoop, TimerHandle
from collections.abc import Callable

LONGEST_S = 0.005


class Gathering:
    """How long an append waits for others to share its commit: `longest_s`, or until every poll under way has brought its own.

    The more share one commit, the less a reading costs. Where polls come in bursts that are farther apart than `longest_s`, the
    last one of a burst waits for nobody (`has_pauses`); where they are closer, it waits for the next burst. A poll that doesn't
    come, since its device is slow, costs the others no more than `longest_s`.
    """

    def __init__(self, longest_s: float = LONGEST_S, *, has_pauses: bool = True) -> None:
        self.longest_s = longest_s
        self.has_pauses = has_pauses
        self._under_way = 0
        self._joined = 0
        self._wake: Callable[[], None] | None = None
        self._timer: TimerHandle | None = None

    def begin(self) -> None:
        """A poll begins; it may append. end() follows, whatever comes of it."""
        self._under_way += 1

    def end(self) -> None:
        """A poll is done: it has appended, or it won't."""
        self._under_way -= 1
        if self._wake is not None and self._are_all_here():
            self._wake()

    def join(self, loop: AbstractEventLoop, wake: Callable[[], None]) -> None:
        """An append waits from now on; `wake` begins the commit, and over() is called then."""
        self._joined += 1
        if self._timer is None:
            self._wake = wake
            self._timer = loop.call_later(self.longest_s, wake)
        if self._are_all_here():
            wake()

    def _are_all_here(self) -> bool:
        return self.has_pauses and 0 < self._under_way <= self._joined

    def over(self) -> None:
        """A commit takes all that have joined. Safe when none has."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._wake = None
        self._joined = 0
