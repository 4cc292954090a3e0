"""What every server of the plant shares: the clock it asks, and the error when its port is taken."""

from __future__ import annotations

import socket
from collections.abc import Callable

Clock = Callable[[], int]
"""UTC in ns since the epoch."""


class CannotListen(Exception):
    """A server can't have its address. Says which, and why."""

    def __init__(self, host: str, port: int, reason: str) -> None:
        super().__init__(f"cannot listen on {endpoint(host, port)}: {reason}")


def endpoint(host: str, port: int) -> str:
    """host:port, an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


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
        raise CannotListen(host, port, error.strerror or str(error)) from error
