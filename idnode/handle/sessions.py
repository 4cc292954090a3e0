"""Challenges that wait for their answers, and sessions: bounded, and in the memory of the process that gave their number.

A number has the slot of its process in its last bits, so that whoever gets a message that belongs to another process knows whom
to ask (idnode.handle.peers). Times are of any steady clock of that process.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Generic, TypeVar

import msgspec

PATIENCE_S = 30.0
"""For the answer to a challenge."""
MOST_PENDING = 65_536
MOST_PENDING_OF_ONE = 1024
"""Of one address (IPv6: one /64)."""
MOST_PENDING_BYTES = 33_554_432
MOST_SESSIONS = 8192
MOST_SESSIONS_OF_ONE = 64
LONGEST_SESSION_S = 86_400
WINDOW = 200
"""Counters of a session that may come out of order."""
_SLOT_BITS = 6
SLOTS = 1 << _SLOT_BITS
_COST = 400
"""Bytes that a challenge takes beside its request, rounded up."""


class Challenge(msgspec.Struct, frozen=True, array_like=True):
    """What somebody has to answer before their request is done."""

    nonce: bytes
    digest: bytes
    request: bytes
    """Envelope and message, nothing encrypted."""


class Session(msgspec.Struct, frozen=True, array_like=True):
    """A key that both know."""

    key: bytes
    """Empty until it is exchanged."""
    handle: str
    index: int
    """Whose it is, where is_identity; else whose it was said to be."""
    is_identity: bool
    """The key was encrypted for this identity's public key, so nobody else has it."""


T = TypeVar("T")


class _Held(Generic[T]):
    __slots__ = ("caller", "content", "cost", "until_s")

    def __init__(self, caller: str, content: T, cost: int, until_s: float) -> None:
        self.caller = caller
        self.content = content
        self.cost = cost
        self.until_s = until_s


class _Shelf(Generic[T]):
    """Things by number: of one caller only so many, the oldest goes; altogether so many and so many bytes."""

    def __init__(self, most: int, most_of_one: int, most_bytes: int) -> None:
        self._most, self._most_of_one, self._most_bytes = most, most_of_one, most_bytes
        self._held: dict[int, _Held[T]] = {}
        self._of: dict[str, dict[int, None]] = {}
        """Numbers by caller, the oldest first."""
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._held)

    def __contains__(self, number: int) -> bool:
        return number in self._held

    def put(self, number: int, held: _Held[T]) -> None:
        self.take(number)
        if len(self._of.get(held.caller, ())) >= self._most_of_one:
            self.take(next(iter(self._of[held.caller])))
        while len(self._held) >= self._most or (self._held and self.bytes + held.cost > self._most_bytes):
            self.take(next(iter(self._held)))
        self._held[number] = held
        self._of.setdefault(held.caller, {})[number] = None
        self.bytes += held.cost

    def get(self, number: int, now_s: float) -> T | None:
        held = self._held.get(number)
        if held is None:
            return None
        if now_s >= held.until_s:
            self.take(number)
            return None
        return held.content

    def replace(self, number: int, content: T) -> None:
        self._held[number].content = content

    def take(self, number: int) -> None:
        held = self._held.pop(number, None)
        if held is not None:
            self.bytes -= held.cost
            del self._of[held.caller][number]
            if not self._of[held.caller]:
                del self._of[held.caller]

    def expire(self, now_s: float) -> None:
        for number in [number for number, held in self._held.items() if now_s >= held.until_s]:
            self.take(number)


class _Window:
    """The counters that a session has had (sessionCounter): each once, and none that is far behind the highest."""

    __slots__ = ("_highest", "_seen")

    def __init__(self) -> None:
        self._highest = -1
        self._seen = 0
        """A bit for each of the last WINDOW, the lowest for the highest counter."""

    def mark(self, counter: int) -> bool:
        """Whether it is new; then it isn't any more."""
        ahead = counter - self._highest
        if ahead > 0:
            self._seen = ((self._seen << ahead) | 1) & ((1 << WINDOW) - 1) if ahead < WINDOW else 1
            self._highest = counter
            return True
        if -ahead >= WINDOW or self._seen >> -ahead & 1:
            return False
        self._seen |= 1 << -ahead
        return True


class Sessions:
    """Those of one process."""

    def __init__(self, slot: int = 0, draw: Callable[[int], int] = secrets.randbits) -> None:
        """
        Args:
            slot: of the process, below SLOTS.
            draw: so many random bits.
        """
        self.slot = slot
        self._draw = draw
        self.pending: _Shelf[Challenge] = _Shelf(MOST_PENDING, MOST_PENDING_OF_ONE, MOST_PENDING_BYTES)
        self.open_ones: _Shelf[Session] = _Shelf(MOST_SESSIONS, MOST_SESSIONS_OF_ONE, MOST_SESSIONS * _COST)
        self._windows: dict[int, _Window] = {}

    def challenge(self, caller: str, challenge: Challenge, session: int, now_s: float) -> int:
        """Keep a challenge; returns the number under which it is to be answered: the session's, where it came in one."""
        number = session if session in self.open_ones else self._number()
        self.pending.put(number, _Held(caller, challenge, len(challenge.request) + _COST, now_s + PATIENCE_S))
        return number

    def take_challenge(self, number: int, now_s: float) -> Challenge | None:
        """The challenge of that number, which is answered once at most."""
        found = self.pending.get(number, now_s)
        self.pending.take(number)
        return found

    def begin(self, caller: str, session: Session, life_s: float, now_s: float) -> int:
        """Keep a session; returns its number."""
        number = self._number()
        self.open_ones.put(number, _Held(caller, session, _COST, now_s + life_s))
        self._windows[number] = _Window()
        return number

    def session(self, number: int, now_s: float) -> Session | None:
        """The session of that number, unless it is over."""
        return self.open_ones.get(number, now_s)

    def give_key(self, number: int, key: bytes, now_s: float) -> bool:
        """The key of a session that had none; False where it had one, or is over."""
        found = self.open_ones.get(number, now_s)
        if found is None or found.key:
            return False
        self.open_ones.replace(number, msgspec.structs.replace(found, key=key))
        return True

    def mark(self, number: int, counter: int, now_s: float) -> bool:
        """Whether a session has had no message of that counter; then it has."""
        found = self.open_ones.get(number, now_s)
        return found is not None and self._windows[number].mark(counter)

    def end(self, number: int) -> None:
        """End a session."""
        self.open_ones.take(number)
        self._windows.pop(number, None)

    def expire(self, now_s: float) -> None:
        """Forget what is over; to be called about once a second."""
        self.pending.expire(now_s)
        self.open_ones.expire(now_s)
        self._windows = {number: window for number, window in self._windows.items() if number in self.open_ones}

    def _number(self) -> int:
        while True:
            number = (self._draw(31 - _SLOT_BITS) << _SLOT_BITS) | self.slot
            if number >= SLOTS and number not in self.pending and number not in self.open_ones:
                return number


def slot_of(number: int) -> int:
    """The slot of the process that gave a number."""
    return number % SLOTS
