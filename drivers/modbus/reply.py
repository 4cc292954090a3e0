"""One request under way, and its answer."""

from __future__ import annotations

import asyncio

from drivers.modbus.framing import Answer, Request
from drivers.prompt import Prompt


class Reply(Prompt[Answer]):
    """A request that has been sent or waits for its turn; awaited, it gives the answer or raises a DriverError."""

    __slots__ = ("aside", "deadline_s", "repeats", "request", "unit")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, unit: int, request: Request, repeats: int = 0, *, aside: bool = False
    ) -> None:
        asyncio.Future.__init__(self, loop=loop)  # One is made per request: Prompt's own is taken in here.
        self._waiter = self._context = None
        self.unit = unit
        self.request = request
        self.repeats = repeats
        """How often it may still be asked anew when no answer comes."""
        self.aside = aside
        """Doesn't keep the others waiting."""
        self.deadline_s = 0.0
        """Until when its answer may take, by the loop's clock."""
