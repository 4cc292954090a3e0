"""Devices that dial in: who is let through to which link, and what reaches it."""

from __future__ import annotations

import asyncio
from typing import cast

from drivers.modbus.listening import Door, _Caller
from tests.fuzz.draw import Draw, Written

REGISTRATIONS = (b"DTU-1", b"DTU-12", b"\x00\x01\x02", b"D")
HEARTBEATS = (b"", b"\xff", b"PING")
CALLERS = 3
DIAL, SEND, HANG_UP, WAIT = range(4)
LONGEST = 700
"""Longer than a registration may be."""


class Socket:
    """The transport of one caller."""

    def __init__(self, caller: _Caller) -> None:
        self._caller = caller
        self.closed = False

    def abort(self) -> None:
        """Hang up."""
        if not self.closed:
            self.closed = True
            self._caller.connection_lost(None)

    def is_closing(self) -> bool:
        """Whether it has hung up."""
        return self.closed


class Link(asyncio.Protocol):
    """What the door gave a link."""

    def __init__(self) -> None:
        self.transport: Socket | None = None
        self.received = b""
        self.lost = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert self.transport is None, "one link, one connection"
        self.transport = cast(Socket, transport)

    def data_received(self, data: bytes) -> None:
        assert data
        assert self.transport is not None
        self.received += data

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost += 1


class Visit:
    """One caller and all that it sent."""

    def __init__(self, door: Door) -> None:
        self.caller = _Caller(door)
        self.socket = Socket(self.caller)
        self.sent = b""
        self.caller.connection_made(cast(asyncio.BaseTransport, self.socket))

    def send(self, data: bytes) -> None:
        """As a transport does: never nothing, and nothing after the end."""
        if data and not self.socket.closed:
            self.sent += data
            self.caller.data_received(data)
            assert len(self.caller._early) <= 512 or self.socket.closed


def run_door(data: bytes) -> None:
    """Callers come, talk and go while links wait."""
    with asyncio.Runner() as runner:
        runner.run(_play(Draw(data)))


async def _play(draw: Draw) -> None:
    door = Door()
    door.known.update(REGISTRATIONS[: draw.number(len(REGISTRATIONS))])
    visits: list[Visit] = []
    links: dict[bytes, Link] = {}
    tasks: list[asyncio.Task[None]] = []
    while draw.left:
        step = draw.number(WAIT)
        if step == WAIT:
            registration = draw.choice(REGISTRATIONS)
            heartbeat = draw.choice(HEARTBEATS)
            if registration not in links:
                links[registration] = Link()
                tasks.append(asyncio.create_task(door.admit(registration, heartbeat, links[registration])))
        elif step == DIAL or not visits:
            if len(visits) < CALLERS:
                visits.append(Visit(door))
        elif step == SEND:
            draw.choice(visits).send(draw.choice((b"", *REGISTRATIONS)) + draw.piece(LONGEST))
        else:
            draw.choice(visits).socket.abort()
        await asyncio.sleep(0)
        _check(door, visits, links)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for task in tasks:
        assert task.cancelled() or task.exception() is None
    await door.close()
    assert not door.callers
    assert not door.expected


def _check(door: Door, visits: list[Visit], links: dict[bytes, Link]) -> None:
    assert len(door.registered) <= len(REGISTRATIONS)
    sockets = {id(visit.socket): visit for visit in visits}
    for registration, link in links.items():
        assert link.lost <= 1
        if link.transport is None:
            continue
        visit = sockets.pop(id(link.transport))  # A KeyError here: two links have one connection.
        assert visit.sent.startswith(registration), "a link got a device that didn't say who it is"
        assert len(link.received) <= len(visit.sent) - len(registration)
        assert link.lost == visit.socket.closed
        rest = iter(visit.sent[len(registration) :])
        assert all(byte in rest for byte in link.received), "bytes that nobody sent, or in another order"


def door_seeds() -> list[bytes]:
    """A device that dials in before and after its link waits, early, late and without a name."""

    def dial() -> Written:
        return Written().number(4, 4).number(DIAL, WAIT)

    def says(written: Written, registration: bytes, then: bytes) -> Written:
        return written.number(SEND, WAIT).choice(registration, (b"", *REGISTRATIONS)).piece(then, LONGEST)

    def waits(written: Written, registration: bytes, heartbeat: bytes) -> Written:
        return written.number(WAIT, WAIT).choice(registration, REGISTRATIONS).choice(heartbeat, HEARTBEATS)

    # With one visit or registration to choose from, the choice takes no byte.
    early = waits(says(dial(), b"DTU-12", b"PING\x01\x03"), b"DTU-12", b"PING")
    late = says(waits(dial(), b"DTU-1", b"\xff"), b"DTU-1", b"\xff\xff\x11\x03")
    nobody = says(dial(), b"", b"x" * 600)
    gone = waits(says(dial(), b"D", b"").number(HANG_UP, WAIT), b"D", b"")
    talkative = says(dial(), b"D", b"x" * 600)
    return [written.data for written in (early, late, nobody, gone, talkative)]
