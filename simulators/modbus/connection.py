"""One client's connection to a device: takes requests, and plays each answer with its timing before it looks at the next."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import cast

from simulators.faults.effects import Chunk, Ending, Play
from simulators.modbus.framing import Framing, FramingKind, Request, StreamBroken

HUSH_S = 0.2
"""A serial frame pauses for less; also one that comes through a TCP converter."""
_S = 1_000_000_000

Answer = Callable[[Request, int], Play | None]
"""(request, ns that it had to wait behind slow answers) to its answer; None: silence."""


Join = Callable[["Connection", Framing, asyncio.BaseTransport], Answer | None]
"""A new connection; None: it is never answered."""


class Connection(asyncio.Protocol):
    """See the module's docstring. Works on any asyncio transport; callbacks only, so that it is the same on every clock."""

    def __init__(self, join: Join, leave: Callable[[Connection], None], framing: Framing) -> None:
        self._join = join
        self._leave = leave
        self._framing = framing
        self._loop = asyncio.get_running_loop()
        self._answer: Answer | None = None
        self._transport: asyncio.Transport | None = None
        self._waiting: deque[tuple[Request, float | None]] = deque()
        """Requests, each with when it came if it found the device busy."""
        self._chunks: deque[Chunk] = deque()
        self._held: list[Chunk] = []
        self._ending = Ending.STAY
        self._timer: asyncio.TimerHandle | None = None
        self._hush: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._answer = self._join(self, self._framing, transport)

    def data_received(self, data: bytes) -> None:
        if self._answer is None:
            return
        self._framing.feed(data)
        busy_since = self._loop.time() if self._timer is not None else None
        try:
            while (request := self._framing.take()) is not None:
                self._waiting.append((request, busy_since))
        except StreamBroken:
            self.close()
            return
        self._arm_hush()
        self._serve()

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._stop_timers()
        self._waiting.clear()
        self._chunks.clear()
        self._answer = None
        self._leave(self)

    def close(self) -> None:
        """End it, what is unsent too."""
        self._stop_timers()
        if self._transport is not None:
            self._transport.abort()

    def _serve(self) -> None:
        """Answer what waits, as long as nothing has to be waited for."""
        while self._waiting and self._timer is None and self._answer is not None:
            request, busy_since = self._waiting.popleft()
            waited_s = 0.0 if busy_since is None else self._loop.time() - busy_since
            play = self._answer(request, round(waited_s * _S))
            if play is None:
                continue
            if play.held:
                self._held.extend(play.chunks)
                continue
            self._chunks.extend(play.chunks)
            if play.chunks:
                self._chunks.extend(self._held)
                self._held.clear()
            self._ending = play.ending
            self._send()

    def _send(self) -> None:
        """Send until a piece has to wait."""
        while self._chunks:
            if self._chunks[0].after_ns:
                self._timer = self._loop.call_later(self._chunks[0].after_ns / _S, self._wake)
                return
            self._write(self._chunks.popleft().data)
        if self._ending is Ending.CLOSE and self._transport is not None:
            self._answer = None
            self._transport.close()

    def _wake(self) -> None:
        self._timer = None
        self._write(self._chunks.popleft().data)
        self._send()
        self._serve()

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def _arm_hush(self) -> None:
        if self._hush is not None:
            self._hush.cancel()
            self._hush = None
        if self._framing.kind is not FramingKind.MBAP:
            self._hush = self._loop.call_later(HUSH_S, self._framing.hush)

    def _stop_timers(self) -> None:
        for timer in (self._timer, self._hush):
            if timer is not None:
                timer.cancel()
        self._timer = self._hush = None
