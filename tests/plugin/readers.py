"""A blocking Modbus TCP client of a few lines, for tests that are plain functions."""

from __future__ import annotations

import socket
import struct
from types import TracebackType
from typing import Self


class Reader:
    """One connection."""

    def __init__(self, address: str, timeout_s: float = 20.0) -> None:
        host, port = address.rsplit(":", 1)
        self._socket = socket.create_connection((host, int(port)), timeout_s)
        self._transaction = 0

    def read(self, function: int, start: int, count: int) -> bytes:
        """The PDU of the answer; b"" when the connection ends instead."""
        self._transaction += 1
        try:
            self._socket.sendall(struct.pack(">HHHBBHH", self._transaction, 0, 6, 1, function, start, count))
        except OSError:
            return b""
        head = self._exactly(6)
        return self._exactly(int.from_bytes(head[4:], "big"))[1:] if head else b""

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            try:
                part = self._socket.recv(size - len(data))
            except ConnectionResetError:
                return b""
            if not part:
                return b""
            data += part
        return data

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._socket.close()


def floats(pdu: bytes) -> list[float]:
    """The CDAB floats of an answer, as the plant's meter sends them."""
    data = pdu[2:]
    return [struct.unpack(">f", data[at + 2 : at + 4] + data[at : at + 2])[0] for at in range(0, len(data), 4)]
