"""The sink contract: a northbound connection that carries records away.

The forwarder (gateway/forwarder.py) owns lanes, window, order and back-off; a sink only knows its protocol. Any number run at
once, each with its own place in the outbox; a broken one holds nobody back.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from gateway.outbox.base import Record, RecordKind


class SinkError(Exception):
    """The root; the class says what the forwarder does next.

    SinkError
    ├── SinkUnreachable   back off with jitter, open() again, resend what is unacknowledged
    └── SinkRefused       the other side says no to us (credentials, rights): say so once, back off long, keep everything
    """


class SinkUnreachable(SinkError):
    """Nobody answered, or the connection broke."""


class SinkRefused(SinkError):
    """The other side refuses us. A person must act; no record is dropped meanwhile."""


class Sink(Protocol):
    """One northbound connection."""

    name: str
    """Under it the outbox keeps what it has acknowledged."""
    kinds: frozenset[RecordKind]
    """Which records it carries."""
    window: int
    """How many records may be unacknowledged at once. May change at any time; what is on its way already stays.

    A sink that has to find the record on which the other side breaks lets one go at a time.
    """

    async def open(self) -> None:
        """Connect and authenticate.

        Raises:
            SinkUnreachable, SinkRefused
        """

    def send(self, records: Sequence[Record], *, historical: bool = False) -> None:
        """Hand records over in order, without waiting; never more than `window` unacknowledged.

        `historical` records come from the lane of what is late. Their order and that of the others stand apart: the sink tells
        the other side which are which, where its format can, keeps the order within each, and lets neither wait for the other.

        A record that the sink doesn't carry by its own selection counts as taken.

        Raises:
            SinkUnreachable: the connection is gone; what was unacknowledged will be sent again after open().
        """

    async def acknowledged(self) -> Sequence[int]:
        """Wait until the other side has taken at least one record for good; return the seqs, in any order.

        A record that can never be delivered (the other side calls it malformed) is reported through `rejected`, not here; when
        there is nothing else to return, this returns empty to say so.

        Raises:
            SinkUnreachable, SinkRefused
        """

    def rejected(self) -> Sequence[tuple[int, str]]:
        """(seq, reason) of the records refused for ever since the last call; the forwarder quarantines and counts them."""

    async def close(self) -> None:
        """Give the connection up. Safe twice, and before any open()."""
