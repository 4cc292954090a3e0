"""Watches what a server sends for the bounds that it was told (OPC UA Part 6, 6.7.2 and 7.1.2): asyncua has none. Sans-IO."""

from __future__ import annotations

import struct

from drivers.errors import DeviceMisbehaved

MOST_CHUNK_BYTES = 65_536
"""Hello says 65,535; servers round up."""
MOST_MESSAGE_BYTES = 64 * 1024 * 1024
MOST_CHUNKS = 4096
_HEAD = struct.Struct("<3scI")
_SINGLE = frozenset({b"OPN", b"CLO", b"ACK", b"ERR"})
"""Messages of one chunk."""


class Chunks:
    """The chunks of one connection, as their bytes come."""

    def __init__(self) -> None:
        self._head = b""
        self._left = 0
        """Bytes of the present chunk that are still to come."""
        self._size = self._count = 0
        """Of the message whose chunks are coming."""
        self._has_channel = False

    def feed(self, data: bytes) -> None:
        """These came.

        Raises:
            DeviceMisbehaved: no OPC UA, or more than the server may send; nothing of the connection is to be kept.
        """
        at = 0
        while at < len(data):
            if self._left:
                taken = min(self._left, len(data) - at)
                self._left -= taken
                at += taken
                continue
            piece = data[at : at + _HEAD.size - len(self._head)]
            self._head += piece
            at += len(piece)
            if len(self._head) == _HEAD.size:
                self._begin(self._head)
                self._head = b""

    def _begin(self, head: bytes) -> None:
        kind, chunk, size = _HEAD.unpack(head)
        if not (kind == b"MSG" and chunk in (b"F", b"C", b"A")) and not (kind in _SINGLE and chunk == b"F"):
            raise DeviceMisbehaved(f"what answers speaks no OPC UA: it sent {head[:4]!r}")
        if not _HEAD.size < size <= MOST_CHUNK_BYTES:
            raise DeviceMisbehaved(f"the server sends a chunk of {size} bytes, it may be {MOST_CHUNK_BYTES}")
        self._has_channel |= kind == b"OPN"
        if kind == b"MSG" and not self._has_channel:
            raise DeviceMisbehaved("the server sends messages without a secure channel")
        self._left = size - _HEAD.size
        self._size += size
        self._count += 1
        if self._size > MOST_MESSAGE_BYTES or self._count > MOST_CHUNKS:
            raise DeviceMisbehaved(f"the server sends a message of more than {self._size} bytes in {self._count} chunks")
        if chunk != b"C":
            self._size = self._count = 0
