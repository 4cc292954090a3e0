"""What a supervisor tells a worker when it starts it."""

from __future__ import annotations

import socket
from pathlib import Path

import msgspec

_LENGTH = 4


class Start(msgspec.Struct):
    """A worker's whole knowledge; it reads no file of settings."""

    settings: str
    """IdnodeSettings as JSON."""
    database: str
    admin: bytes
    """Digest of the administrator's token."""
    url: str
    """The node's address."""
    slot: int
    """Which of the workers it is, from 0."""
    count: int | None = None
    """Descriptor of the CommitCount of an SQLite file; inherited."""

    @property
    def path(self) -> Path:
        """Of the database."""
        return Path(self.database)


def send_start(end: socket.socket, start: Start) -> None:
    """Send it, on a blocking socket, before anything else."""
    encoded = msgspec.msgpack.encode(start)
    end.sendall(len(encoded).to_bytes(_LENGTH) + encoded)


def receive_start(end: socket.socket) -> Start:
    """Receive it.

    Raises:
        EOFError: the supervisor has gone.
    """
    length = int.from_bytes(_exactly(end, _LENGTH))
    return msgspec.msgpack.decode(_exactly(end, length), type=Start)


def _exactly(end: socket.socket, count: int) -> bytes:
    received = bytearray()
    while len(received) < count:
        piece = end.recv(count - len(received))
        if not piece:
            raise EOFError("the supervisor has gone")
        received += piece
    return bytes(received)
