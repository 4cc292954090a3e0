"""Where a device's connections come from: a TCP port, with or without TLS, or a serial line that is a pseudo terminal."""

from __future__ import annotations

import asyncio
import os
import select
import ssl
import tty
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from simulators.listening import CannotListen, endpoint, stop_accepting
from simulators.modbus.connection import Connection

LOOK_S = 0.02
"""How often a serial line without a client is looked at for one."""
_READ_BYTES = 4096

MakeConnection = Callable[[], Connection]


class Listener(Protocol):
    """A way to a device. open() and close() may follow each other any number of times: the address stays."""

    @property
    def address(self) -> str:
        """host:port, or the path of a terminal; known once it was open."""

    async def open(self, connect: MakeConnection) -> None:
        """Take connections.

        Raises:
            CannotListen
        """

    def pause(self) -> None:
        """Before release(), with wait_accepted() in between: take no more, and lose none that was taken."""

    def close(self) -> None:
        """Take no more. Safe twice, and before open(). Those that are there stay."""

    def release(self) -> None:
        """Give up the address too."""


class TcpListener:
    """A TCP port."""

    def __init__(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> None:
        """`port`: 0 takes a free one, and keeps it."""
        self.host = host
        self.port = port
        self._tls = tls
        self._server: asyncio.Server | None = None

    @property
    def address(self) -> str:
        return endpoint(self.host, self.port)

    async def open(self, connect: MakeConnection) -> None:
        try:
            server = await asyncio.get_running_loop().create_server(connect, self.host, self.port, ssl=self._tls)
        except OSError as error:
            raise CannotListen.because(self.host, self.port, error) from error
        self.port = server.sockets[0].getsockname()[1]
        self._server = server

    def pause(self) -> None:
        if self._server is not None:
            stop_accepting(self._server)

    def close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    def release(self) -> None:
        self.close()


class SerialLine:
    """A pseudo terminal; clients open its path as they would a serial port.

    A client is there as long as somebody has the path open: each opening is a connection of its own, so that what one client
    has read is never proved by the next.
    """

    def __init__(self) -> None:
        self._master = self._slave = -1
        self._connect: MakeConnection | None = None
        self._connection: Connection | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._path = ""

    @property
    def address(self) -> str:
        return self._path

    @property
    def has_client(self) -> bool:
        """Whether somebody has the path open, as far as was seen."""
        return self._connection is not None

    async def open(self, connect: MakeConnection) -> None:
        self._connect = connect
        if self._master < 0:
            self._master, slave = os.openpty()
            tty.setraw(slave)
            self._path = os.ttyname(slave)
            os.close(slave)
            os.set_blocking(self._master, False)
        else:
            self._drain()
        if self._connection is None:
            self._look()

    def pause(self) -> None:
        self.close()

    def close(self) -> None:
        self._connect = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def release(self) -> None:
        self.close()
        self._hang_up()
        if self._master >= 0:
            os.close(self._master)
            self._master = -1

    def _look(self) -> None:
        """Whether a client has come; the kernel reports a hang-up while nobody has the path open."""
        self._timer = None
        if self._connect is None:
            return
        poll = select.poll()
        poll.register(self._master, select.POLLIN)
        if any(event & select.POLLHUP for _, event in poll.poll(0)):
            self._timer = asyncio.get_running_loop().call_later(LOOK_S, self._look)
            return
        self._connection = self._connect()
        self._connection.connection_made(_Terminal(self))
        asyncio.get_running_loop().add_reader(self._master, self._read)

    def _read(self) -> None:
        try:
            data = os.read(self._master, _READ_BYTES)
        except BlockingIOError:
            return
        except OSError:  # EIO: the client has closed it.
            data = b""
        if data and self._connection is not None:
            self._connection.data_received(data)
            return
        self._hang_up()
        self._look()

    def write(self, data: bytes) -> None:
        """To the client. What the terminal can't hold is gone, as on a wire that nobody reads."""
        try:
            os.write(self._master, data)
        except BlockingIOError:
            return
        except OSError:  # The client has closed it; the reader finds out.
            return

    def _hang_up(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            asyncio.get_running_loop().remove_reader(self._master)
            connection.connection_lost(None)

    def end_connection(self) -> None:
        """The device has begun anew, or pretends that the line was cut: for a client that stays, a new connection begins."""
        self._hang_up()
        if self._connect is not None and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(LOOK_S, self._look)

    def _drain(self) -> None:
        """What was said while the device was off is heard by nobody."""
        with suppress(OSError):  # Nothing there (BlockingIOError), or no client (EIO).
            while os.read(self._master, _READ_BYTES):
                pass


class _Terminal(asyncio.Transport):
    """A client's end of the line, for the connection."""

    def __init__(self, line: SerialLine) -> None:
        super().__init__()
        self._line = line
        self._closing = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._line.write(bytes(data))

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        self.abort()

    def abort(self) -> None:
        if not self._closing:
            self._closing = True
            self._line.end_connection()
