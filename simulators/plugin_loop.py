"""One event loop in a thread of its own, which lives as long as a pytest session: tests stay plain functions."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

_T = TypeVar("_T")
_PATIENCE_S = 30.0
"""Nothing that is asked of the loop takes so long, unless it hangs."""


class LoopThread:
    """See the module's docstring. Its methods are for other threads."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="mumian-plugin", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Run a coroutine there and wait for it; raises what it raises, TimeoutError if it hangs."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_PATIENCE_S)

    def call(self, function: Callable[..., _T], *arguments: Any) -> _T:
        """Call a function there and wait for it."""

        async def work() -> _T:
            return function(*arguments)

        return self.run(work())

    def close(self) -> None:
        """End the thread. Safe twice."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(_PATIENCE_S)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()
