"""What every server of the plant shares: the clock it asks, how addresses are written, the error when its port is taken."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Self

Clock = Callable[[], int]
"""UTC in ns since the epoch."""


class CannotListen(Exception):
    """A server can't have its address. Says which, and why."""

    def __init__(self, host: str, port: int, reason: str) -> None:
        super().__init__(f"cannot listen on {endpoint(host, port)}: {reason}")

    @classmethod
    def because(cls, host: str, port: int, error: OSError) -> Self:
        """The same, from what the system said."""
        return cls(host, port, reason_of(error))


def reason_of(error: OSError) -> str:
    """What the system said, without asyncio's retelling of it."""
    if isinstance(error, socket.gaierror) or not error.errno:
        return error.strerror or str(error)
    return os.strerror(error.errno)


def endpoint(host: str, port: int) -> str:
    """host:port, an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def parse_endpoint(text: str) -> tuple[str, int]:
    """Host and port of host:port or [IPv6]:port.

    Raises:
        ValueError: it isn't that.
    """
    host, colon, port = text.rpartition(":")
    if not colon or not host or not (port.isascii() and port.isdigit()) or int(port) > 65_535:
        raise ValueError(f"{text!r} is not host:port")
    return host.strip("[]"), int(port)


def stop_accepting(server: asyncio.AbstractServer) -> None:
    """Take no more connections; to be followed by wait_accepted(), and only then by the server's close().

    A loop takes a connection in one turn, makes its transport in the next, and tells the protocol in the one after. asyncio
    (3.11) forgets a connection, unclosed, whose transport would be made after its server was closed.
    """
    if isinstance(server, asyncio.Server):  # uvloop takes connections and makes transports in one go.
        for listener in server.sockets:
            with suppress(NotImplementedError):  # Windows' own loop.
                asyncio.get_running_loop().remove_reader(listener)


async def wait_accepted() -> None:
    """Return once every connection that has been taken is known to its protocol: see stop_accepting()."""
    for _ in range(3):
        await asyncio.sleep(0)


async def close_listener(server: asyncio.AbstractServer) -> None:
    """Listen no more. Every connection that was taken is known to its protocol then, so that it can be closed too."""
    stop_accepting(server)
    await wait_accepted()
    server.close()


def check_free(host: str, port: int) -> None:
    """Find out, before anything is opened, whether an address can be had.

    Raises:
        CannotListen: it can't.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen()
    except OSError as error:
        raise CannotListen.because(host, port, error) from error
