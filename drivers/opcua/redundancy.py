"""Which of several servers with the same variables is used: non-transparent redundancy by ServiceLevel (OPC UA Part 4, 6.6.2.4).

One server at a time has our session. Where a session has to be made, the server that says most of itself gets it; one that falls
below HEALTHY is left as soon as another says more. A server that doesn't say how well it is counts as well. Servers in cold
standby don't answer, and are tried again with the next look.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from asyncua import ua

from drivers.errors import DeviceUnreachable, DriverError
from drivers.opcua.failures import translated, within
from drivers.opcua.session import Session

BEST = 255
HEALTHY = 200
"""From here on a server is well; below, it lacks some of its data (199 to 2) or all of it (1), or is in maintenance (0)."""
LOOK_S = 10.0
"""How often the server in use is asked how well it is."""
MOST_RESUMES = 3
"""Attempts to take up a session at an address before another address is tried."""
_SERVICE_LEVEL = ua.NodeId(2267)
"""Server_ServiceLevel (Part 5, 6.3.1)."""


async def service_level(session: Session) -> int:
    """What a server says of itself, 0 to 255; BEST where it says nothing.

    Raises:
        DeviceUnreachable: the link is gone.
    """
    with translated(f"{session.url}: asking how well it is"):
        (found,) = await session.read_values([_SERVICE_LEVEL])
    level = found.Value.Value if found.Value is not None else None
    return level if isinstance(level, int) and not isinstance(level, bool) and 0 <= level <= BEST else BEST


class Servers:
    """The addresses of one device, and which of them is in use."""

    def __init__(self, urls: Sequence[str], open_one: Callable[[str], Awaitable[Session]], timeout_s: float) -> None:
        """`open_one` makes a session with the server of an address; `timeout_s`: for one request."""
        self._urls = urls
        self._open_one = open_one
        self._patience_s = 3 * timeout_s
        self._place = 0
        self._failures = 0
        self._look_at = float("inf")
        self.level = BEST
        """What the server in use said last."""

    async def open(self) -> Session:
        """A session with the server in use, or with another one that says more of itself.

        Raises:
            DeviceUnreachable, DeviceRefused: of the server in use; failed() says what is next.
        """
        session = await self._open_one(self.url)
        if len(self._urls) == 1:
            return session
        try:
            self.level = await service_level(session)
            better = await self._better() if self.level < BEST else None
        except BaseException:
            await session.close()
            raise
        self._look_at = asyncio.get_running_loop().time() + LOOK_S
        if better is None:
            return session
        await session.close()
        self._place, self.level, session = better
        return session

    def failed(self, *, has_session: bool) -> bool:
        """An attempt failed. True: the next one is at another address, which has neither our session nor our subscriptions."""
        self._failures += 1
        if len(self._urls) == 1 or self._failures < (MOST_RESUMES if has_session else 1):
            return False
        self._place, self._failures = (self._place + 1) % len(self._urls), 0
        return True

    def succeeded(self) -> None:
        """There is a connection."""
        self._failures = 0

    @property
    def url(self) -> str:
        """The address in use."""
        return self._urls[self._place]

    @property
    def look_at(self) -> float:
        """Loop time at which look() is due."""
        return self._look_at

    async def look(self, session: Session) -> None:
        """Ask the server in use how well it is.

        Raises:
            DeviceUnreachable: the link is gone.
            ServerLeft: another server says more and is in use from now on; the session is to be ended.
        """
        self._look_at = asyncio.get_running_loop().time() + LOOK_S
        self.level = await service_level(session)
        better = await self._better() if self.level < HEALTHY else None
        if better is None:
            return
        place, level, other = better
        await other.close()
        left, self._place = self.url, place
        self.level, before = level, self.level
        raise ServerLeft(f"{left} says that its service level is {before}; {self.url} has {level}, and is used from now on")

    async def _better(self) -> tuple[int, int, Session] | None:
        """The best of the other servers that answer, when it says more than the one in use: place, level, session."""
        places = [place for place in range(len(self._urls)) if place != self._place]
        found: list[tuple[int, int, Session]] = []
        best = None
        try:
            await asyncio.gather(*(self._try(place, found) for place in places))
            best = max(found, key=lambda one: (one[1], -one[0]), default=None)
            if best is not None and best[1] <= self.level:
                best = None
        finally:
            for one in found:
                if one is not best:
                    await one[2].close()
        return best

    async def _try(self, place: int, found: list[tuple[int, int, Session]]) -> None:
        session = None
        try:
            async with within(self._patience_s):
                session = await self._open_one(self._urls[place])
                found.append((place, await service_level(session), session))
                session = None
        except (DriverError, TimeoutError):
            pass  # It doesn't run, or won't have us: then it isn't better.
        finally:
            if session is not None:
                await session.close()


class ServerLeft(DeviceUnreachable):
    """Another server is used from now on."""
