"""A future whose waiter goes on at once.

An asyncio future wakes its waiter by the loop's queue, so between an answer and what is made of it there is a turn of the loop
with a system call of its own, a good part of what a request costs. What settles such a future is mostly a callback of the loop
(bytes that came, a timer), where no task is running: there the waiting task is stepped in place. Elsewhere, within a task, the
loop's queue is used as by any future.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context
from typing import Any, TypeVar

_T = TypeVar("_T")
_Callback = Callable[[Any], object]


class Prompt(asyncio.Future[_T]):
    """An asyncio future, but for when its waiter goes on. At most one task is stepped in place: the first that waits."""

    __slots__ = ("_context", "_waiter")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop=loop)
        self._waiter: _Callback | None = None
        """Kept here rather than by the future so that it can be called at once."""
        self._context: Context | None = None

    def settle(self, result: _T) -> None:
        """Give the result; who waits goes on before this returns if no task is running. Nothing if it is done already."""
        if self.done():
            return
        self.set_result(result)
        waiter, context = self._waiter, self._context
        if waiter is None:
            return
        if context is None or asyncio.current_task(self.get_loop()) is not None:
            self._wake_soon()
        else:
            self._waiter = None
            context.run(waiter, self)

    def fail(self, failure: Exception) -> None:
        """Tell why there will be no result. Nothing if it is done already."""
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
