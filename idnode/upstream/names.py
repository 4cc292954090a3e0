"""The addresses of delegates' hosts: looked up once for all who wait, on threads of their own, and kept for a minute.

A name whose servers are slow keeps one thread, however many ask for it, and nobody else's look-up waits for it. Nor does the end
of the process, which an executor would have wait.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Callable, Collection

KEPT_S = 60.0
MOST_THREADS = 32
_MOST_KNOWN = 1000
Place = tuple[str, int]


def look_up(host: str, port: int) -> Collection[str]:
    """The addresses of a host, in the system's order. Raises OSError, UnicodeError."""
    return list(dict.fromkeys(str(each[4][0]) for each in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)))


class Names:
    """One process's; a Lookup."""

    def __init__(
        self, ask: Callable[[str, int], Collection[str]] = look_up, steady_s: Callable[[], float] = time.monotonic
    ) -> None:
        """`ask`: takes its time on a thread."""
        self._ask = ask
        self._steady_s = steady_s
        self._known: dict[Place, tuple[float, Collection[str]]] = {}
        self._asking: dict[Place, asyncio.Future[Collection[str]]] = {}

    async def __call__(self, host: str, port: int) -> Collection[str]:
        """The addresses. Raises OSError, UnicodeError."""
        place = (host, port)
        known = self._known.get(place)
        if known is not None and self._steady_s() < known[0]:
            return known[1]
        asking = self._asking.get(place)
        if asking is None:
            if len(self._asking) >= MOST_THREADS:
                raise OSError("as many names are looked up as may be at a time")
            asking = self._asking[place] = asyncio.get_running_loop().create_future()
            asking.add_done_callback(lambda done: done.exception())  # perhaps nobody waits any more
            threading.Thread(target=self._run, args=(asking, place), name="idnode-names", daemon=True).start()
        return await asyncio.shield(asking)

    def _run(self, asking: asyncio.Future[Collection[str]], place: Place) -> None:
        try:
            found, error = self._ask(*place), None
        except (OSError, UnicodeError) as wrong:
            found, error = (), wrong
        with contextlib.suppress(RuntimeError):  # the loop has ended
            asking.get_loop().call_soon_threadsafe(self._asked, place, found, error)

    def _asked(self, place: Place, found: Collection[str], error: Exception | None) -> None:
        asking = self._asking.pop(place)
        if error is not None:
            asking.set_exception(error)
            return
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        self._known[place] = (self._steady_s() + KEPT_S, found)
        asking.set_result(found)
