"""What a connection's requests prove of the answers before them: that the client has them safe, or nothing.

A client that asks for a block again has done with the answer that it got: it is on disk. Unless it threw that answer away, since
another request of the same poll went unanswered, and kept the link, as it does when other units share it. The device doesn't see
where a poll begins. So after a silence nothing is proved that may belong to the same poll:

- what was answered before the silence and not proved yet;
- what is answered after it, until the client has asked again for everything that met with silence, or asks for a block for the
  second time since the silence, which is then another poll.

An exception is an answer. That a client asks for no block twice in a poll, when it was answered, is presumed; and that only one
client asks on a connection for the same block.
"""

from __future__ import annotations


class Proof:
    """Of one connection. Requests are told apart by their PDU; row ids are the ledger's."""

    __slots__ = ("_answered", "_rows", "_silent")

    def __init__(self) -> None:
        self._rows: dict[bytes, int] = {}
        """The row last served for each request, which the next such request proves to be safe."""
        self._silent: set[bytes] = set()
        """Requests that met with silence and weren't made again since."""
        self._answered: set[bytes] = set()
        """Requests that were answered since the last silence."""

    def ask(self, request: bytes) -> int | None:
        """A request has come; the row that it proves."""
        self._silent.discard(request)
        return self._rows.pop(request, None)

    def answer(self, request: bytes, row: int) -> None:
        """It is answered with data, in time."""
        if not self._silent or request in self._answered:
            self._rows[request] = row
        self._answered.add(request)

    def fall_silent(self, request: bytes) -> None:
        """It is not answered, or not so that a client must understand it, or too late."""
        self._rows.clear()
        self._answered.clear()
        self._silent.add(request)
