"""Takes the acknowledgements out of what an MQTT connection receives before the client library sees it, and passes on the rest.

The library needs a task switch a read and some twenty calls a packet for each PUBACK; a batch of them costs here a few hundred
nanoseconds each. Connecting, keeping alive and saying goodbye stay the library's.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence

from gateway.sinks.packets import Inbox, PacketMalformed

_QUICKACK: int | None = getattr(socket, "TCP_QUICKACK", None)
"""Linux has it."""
HIGH_WATER_BYTES = 4 << 20
"""So much may wait in the transport for a slow broker before nothing more is written."""


class Tap(asyncio.Protocol):
    """Stands between the transport and the library's protocol, from set_protocol() on."""

    def __init__(
        self,
        inner: asyncio.Protocol,
        transport: asyncio.Transport,
        acknowledged: Callable[[Sequence[tuple[int, int, int]]], None],
        writable: Callable[[], None],
        malformed: Callable[[PacketMalformed], None],
    ) -> None:
        """`acknowledged`: gets (kind, packet identifier, reason code) of each; `writable`: after is_full has passed."""
        self.is_full = False
        self.is_closed_by_peer = False
        """The other side ended the connection: not we, and not the network."""
        self._inner = inner
        self._transport = transport
        self._acknowledged = acknowledged
        self._writable = writable
        self._malformed = malformed
        self._inbox = Inbox()
        self._socket = transport.get_extra_info("socket")
        transport.set_write_buffer_limits(high=HIGH_WATER_BYTES)
        transport.set_protocol(self)

    def write(self, data: bytes) -> None:
        """Send whole packets."""
        self._transport.write(data)

    @property
    def is_closing(self) -> bool:
        """Whether writing has no use any more."""
        return self._transport.is_closing()

    def data_received(self, data: bytes) -> None:
        try:
            taken, others = self._inbox.feed(data)
        except PacketMalformed as error:
            self._malformed(error)
            self._transport.abort()
            return
        if taken:
            self._hurry()
            self._acknowledged(taken)
        if others:
            self._inner.data_received(others)

    def _hurry(self) -> None:
        """Confirm what came at once (tcp(7), TCP_QUICKACK; it must be said again each time).

        A broker that doesn't set TCP_NODELAY, as mosquitto doesn't, holds the next acknowledgements back until the first has been
        confirmed, which takes 40 ms else whenever the window is full.
        """
        if _QUICKACK is not None and not self._transport.is_closing():
            self._socket.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)

    def eof_received(self) -> bool | None:
        self.is_closed_by_peer = True
        return self._inner.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        if isinstance(exc, ConnectionResetError | BrokenPipeError):
            self.is_closed_by_peer = True
        self._inner.connection_lost(exc)

    def pause_writing(self) -> None:
        self.is_full = True
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self.is_full = False
        self._inner.resume_writing()
        self._writable()
