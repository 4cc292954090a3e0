"""Listening sockets: one for one process, or several that share a port."""

from __future__ import annotations

import resource
import socket
import time

from idnode.handle.door import WireSockets
from idnode.settings import IdnodeSettings

_PATIENCE_S = 2.0
_OTHER_FILES = 100
_ATTEMPTS = 5


class CannotListen(Exception):
    """The address is taken or isn't this machine's; the message says which."""


def listen(settings: IdnodeSettings) -> list[socket.socket]:
    """One socket for each worker, bound to the address; the kernel deals connections out among them.

    They listen already, and outlive the workers: a connection that comes while a worker is being started again waits for it.

    Raises:
        CannotListen
    """
    if settings.workers == 1:
        return [_bound(settings, settings.port)]
    # Others of this user could share the port by mistake: only who has it alone may begin.
    until = time.monotonic() + _PATIENCE_S
    while True:
        try:
            alone = _bound(settings, settings.port)
            break
        except CannotListen:
            # The workers of a node that was killed may need a moment to notice.
            if time.monotonic() > until:
                raise
            time.sleep(0.1)
    port = alone.getsockname()[1]
    alone.close()
    made: list[socket.socket] = []
    try:
        for _ in range(settings.workers):
            made.append(_bound(settings, port, shared=True))
            made[-1].listen(settings.connections.backlog)
    except CannotListen:
        for each in made:
            each.close()
        raise
    return made


def listen_wire(settings: IdnodeSettings) -> list[WireSockets]:
    """Sockets of the Handle wire protocol for each worker, behind listen(); none where it isn't spoken.

    Raises:
        CannotListen
    """
    address, port = settings.handle.address, settings.handle.port
    if address is None:
        return []
    for attempt in range(_ATTEMPTS):
        made: list[WireSockets] = []
        try:
            for _ in range(settings.workers):
                made.append(_wire_pair(address, made[0].port if made else port, shared=settings.workers > 1))
                made[-1].stream.listen(settings.connections.backlog)
        except OSError as error:
            for pair in made:
                pair.stream.close()
                pair.datagram.close()
            # A free port of TCP may be taken on UDP: another one won't be.
            if port or attempt == _ATTEMPTS - 1:
                raise CannotListen(f"can't listen on {address} port {port} (handle): {error.strerror}") from error
        else:
            return made
    raise AssertionError("the last attempt returned or raised")


def _wire_pair(address: str, port: int, *, shared: bool) -> WireSockets:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    stream, datagram = socket.socket(family, socket.SOCK_STREAM), socket.socket(family, socket.SOCK_DGRAM)
    pair = WireSockets(stream, datagram)
    try:
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        for each in pair if shared else ():
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        stream.bind((address, port))
        datagram.bind((address, pair.port))
    except OSError:
        stream.close()
        datagram.close()
        raise
    return pair


def allow_descriptors(settings: IdnodeSettings) -> None:
    """Raise the soft limit of open files to what the connections need, as far as the hard one allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    faces = 1 if settings.handle.address is None else 2
    wanted = settings.connections.most * faces + _OTHER_FILES
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def url_of(listener: socket.socket, *, secure: bool = False) -> str:
    """The node's address, as a client on this machine writes it."""
    host, port = listener.getsockname()[:2]
    scheme = "https" if secure else "http"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def _bound(settings: IdnodeSettings, port: int, *, shared: bool = False) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        made.bind((settings.host, port))
    except OSError as error:
        made.close()
        raise CannotListen(f"can't listen on {settings.listen}: {error.strerror}") from error
    return made
