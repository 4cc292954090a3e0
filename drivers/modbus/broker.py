"""Which devices share a connection. One owner per link: an attempt to connect serves everyone who waits for it.

Devices on one serial port, behind one registration, or with one link name share a link; any other device has a link of its own.
A unit that falls silent is tried again at once, and if it stays silent suspended for 1 s and up to a minute; the others go on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple
from weakref import WeakKeyDictionary

from drivers.errors import DeviceRefused, DeviceUnreachable, DriverError
from drivers.modbus.framing import Request
from drivers.modbus.habits import Habits
from drivers.modbus.link import Link
from drivers.modbus.listening import Doorway
from drivers.modbus.opening import open_link
from drivers.modbus.reply import Reply
from drivers.modbus.sharing import differences, link_key
from drivers.modbus.transport import TransportSettings
from drivers.modbus.turns import Doubts

FIRST_SUSPENSION_S = 1.0
LONGEST_SUSPENSION_S = 60.0
ATTEMPT_COUNTS_S = 1.0
"""How long a failed attempt to connect stands for those of the other units of its link."""


class _Suspension(NamedTuple):
    until_s: float
    length_s: float


@dataclass(slots=True)
class Share:
    """One link and what is known about it, over all its connections."""

    settings: TransportSettings
    """Those of the device that came first."""
    device: str
    doorway: Doorway
    is_shared: bool = False
    link: Link | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    failure: DriverError | None = None
    failed_s: float = 0.0
    place: int = 0
    """Which of the addresses is tried next."""
    suspended: dict[int, _Suspension] = field(default_factory=dict)
    doubts: Doubts = field(default_factory=Doubts)
    habits: Habits = field(default_factory=Habits)


class _Hall:
    """All shared links of one event loop."""

    def __init__(self) -> None:
        self.shares: dict[tuple[object, ...], Share] = {}
        self.doorway = Doorway()


_halls: WeakKeyDictionary[asyncio.AbstractEventLoop, _Hall] = WeakKeyDictionary()


def doorway() -> Doorway:
    """Where devices dial in, for the running loop."""
    return _halls.setdefault(asyncio.get_running_loop(), _Hall()).doorway


class Lease:
    """One driver's use of a link."""

    def __init__(self, share: Share, link: Link, unit: int) -> None:
        self._share = share
        self.link = link
        self.unit = unit
        self._released = False
        self.is_probing = unit in share.suspended
        """It was silent of late: asked aside, until it answers."""
        link.users[unit] += 1

    def submit(self, request: Request) -> Reply:
        """See Link.submit."""
        return self.link.submit(self.unit, request, aside=self.is_probing)

    def answered(self) -> None:
        """The unit is alive."""
        if self.is_probing:
            self.is_probing = False
            self._share.suspended.pop(self.unit, None)

    def suspend(self) -> None:
        """The unit is silent: from the second time on, leave it alone for a while, twice as long each time."""
        if self._share.is_shared:
            last = self._share.suspended.get(self.unit)
            length_s = min(2 * last.length_s or FIRST_SUSPENSION_S, LONGEST_SUSPENSION_S) if last else 0.0
            self._share.suspended[self.unit] = _Suspension(asyncio.get_running_loop().time() + length_s, length_s)

    async def release(self) -> None:
        """Give the link up; it ends with its last user. Safe twice."""
        if self._released:
            return
        self._released = True
        users, share = self.link.users, self._share
        users[self.unit] -= 1
        if not users[self.unit]:
            del users[self.unit]
        if self.link.received_ns == 0 and self.link is share.link:
            share.place += 1  # Connected, but nobody ever answered there.
        async with share.lock:
            if not users:
                if share.link is self.link:
                    share.link = None
                await self.link.close()


def share_of(settings: TransportSettings, device: str, own: Share | None) -> Share:
    """The link of a device: a shared one, or `own`, or a new one for itself.

    Raises:
        DeviceRefused: it names a link whose other devices describe it in another way.
    """
    hall = _halls.setdefault(asyncio.get_running_loop(), _Hall())
    key = link_key(settings)
    if key is None:
        return own or Share(settings, device, hall.doorway)
    share = hall.shares.setdefault(key, Share(settings, device, hall.doorway, is_shared=True))
    differing = differences(settings, share.settings)
    if differing:
        if any(share.link.users.values() if share.link else ()):
            here, there = getattr(settings, differing[0]), getattr(share.settings, differing[0])
            raise DeviceRefused(f"{device} and {share.device} share a link but differ in {differing[0]}: {here} and {there}")
        share.settings, share.device = settings, device
    return share


async def acquire(share: Share, unit: int, clock_ns: Callable[[], int]) -> Lease:
    """Use a link, which is opened if nobody has.

    Raises:
        DeviceUnreachable, DeviceRefused: see Driver.connect; also while the unit is suspended.
    """
    suspension = share.suspended.get(unit)
    if suspension is not None and (wait_s := suspension.until_s - asyncio.get_running_loop().time()) > 0:
        raise DeviceUnreachable(f"unit {unit} is silent; it is tried again in {wait_s:.0f} s")
    async with share.lock:
        if share.link is None or share.link.failure is not None:
            await _open(share, clock_ns)
        assert share.link is not None
        return Lease(share, share.link, unit)


async def _open(share: Share, clock_ns: Callable[[], int]) -> None:
    loop = asyncio.get_running_loop()
    if share.failure is not None and share.is_shared and loop.time() - share.failed_s < ATTEMPT_COUNTS_S:
        raise type(share.failure)(str(share.failure))
    endpoints = share.settings.endpoints
    for attempt in range(len(endpoints)):
        try:
            endpoint = endpoints[share.place % len(endpoints)]
            share.link = await open_link(share.habits.applied(share.settings), endpoint, share.doubts, share.doorway, clock_ns)
        except DriverError as error:
            share.place += 1
            share.failure, share.failed_s = error, loop.time()
            if attempt == len(endpoints) - 1:
                raise
        else:
            share.failure = None
            return
