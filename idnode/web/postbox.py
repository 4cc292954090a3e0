"""Answers of all connections of a process that are written one behind the other, when what has come has been taken.

A client on this machine that sleeps is woken by the first byte that it gets, and to wake it costs the node more than to write: so
it is woken once for all that it gets, and meanwhile has something to do.
"""

from __future__ import annotations

import asyncio

MOST_ANSWERS = 16
MOST_BYTES = 65_536
"""Answers that wait, and bytes of them; then they go at once."""


class Postbox:
    """What waits to be written."""

    def __init__(self) -> None:
        self._waiting: list[tuple[asyncio.Transport, bytes]] = []
        self._bytes = 0

    def post(self, transport: asyncio.Transport, answer: bytes) -> None:
        """Write it before the loop waits again, and what was posted before it before it."""
        waiting = self._waiting
        waiting.append((transport, answer))
        self._bytes += len(answer)
        if len(waiting) == MOST_ANSWERS or self._bytes > MOST_BYTES:
            self.send()
        elif len(waiting) == 1:
            asyncio.get_running_loop().call_soon(self.send)

    def send(self) -> None:
        """Write all of it now: to be called before anything else is written to one of the transports, or one is closed."""
        waiting, self._waiting, self._bytes = self._waiting, [], 0
        for transport, answer in waiting:
            if transport.is_closing():  # the client has gone
                continue
            try:
                transport.write(answer)
            except (OSError, RuntimeError) as error:  # other clients' answers wait behind this one
                transport.abort()
                told = {"message": "an answer can't be written", "exception": error, "transport": transport}
                asyncio.get_running_loop().call_exception_handler(told)
