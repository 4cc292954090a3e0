"""The answer to one request: an asyncio future whose waiter goes on at once.

A future wakes its waiter by the loop's queue, so between an answer and its decoding there is a turn of the loop with a system
call of its own, a good part of what a request costs. An answer arrives in a callback of the loop, where no task is running:
there the waiting task is stepped in place. Elsewhere, within a task, the loop's queue is used as by any future.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context
from typing import Any

from drivers.errors import DriverError
from drivers.modbus.framing import Answer, Request

_Callback = Callable[["Reply"], object]


class Reply(asyncio.Future[Answer]):
    """A request that is under way or waits for its turn, and its answer."""

    __slots__ = ("_context", "_waiter", "aside", "deadline_s", "repeats", "request", "unit")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, unit: int, request: Request, repeats: int = 0, *, aside: bool = False
    ) -> None:
        super().__init__(loop=loop)
        self._waiter: _Callback | None = None
        """The first who waits, kept here rather than by the future so that it can be called at once."""
        self._context: Context | None = None
        self.unit = unit
        self.request = request
        self.repeats = repeats
        """How often it may still be asked anew when no answer comes."""
        self.aside = aside
        """Doesn't keep the others waiting."""
        self.deadline_s = 0.0
        """Until when its answer may take, by the loop's clock."""

    def settle(self, answer: Answer) -> None:
        """Give the answer; who waits goes on before this returns if no task is running. Nothing if it is done already."""
        if self.done():
            return
        self.set_result(answer)
        waiter, context = self._waiter, self._context
        if waiter is None:
            return
        if context is None or asyncio.current_task(self.get_loop()) is not None:
            self._wake_soon()
        else:
            self._waiter = None
            context.run(waiter, self)

    def fail(self, failure: DriverError) -> None:
        """Tell why no answer will come. Nothing if it is done already."""
        if not self.done():
            self.set_exception(failure)
            self.exception()  # Read once here: nobody may be waiting for it any more.
            self._wake_soon()

    def cancel(self, msg: Any = None) -> bool:
        """The waiter has gone."""
        cancelled = super().cancel(msg)
        if cancelled:
            self._wake_soon()
        return cancelled

    def add_done_callback(self, fn: _Callback, *, context: Context | None = None) -> None:
        """See asyncio.Future; what a task registers to go on (it brings its context along) is called as settle() says."""
        if context is None or self._waiter is not None or self.done():
            super().add_done_callback(fn, context=context)
        else:
            self._waiter, self._context = fn, context

    def remove_done_callback(self, fn: _Callback) -> int:
        """See asyncio.Future."""
        removed = super().remove_done_callback(fn)
        if self._waiter == fn:
            self._waiter = None
            removed += 1
        return removed

    def _wake_soon(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            self.get_loop().call_soon(waiter, self, context=self._context)
