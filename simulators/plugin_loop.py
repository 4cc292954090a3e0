"""One event loop in a thread of its own, which lives as long as a pytest session: tests stay plain functions."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from simulators.listening import wait_accepted

_T = TypeVar("_T")
PATIENCE_S = 30.0
"""Nothing that is asked of the loop takes so long, unless it hangs."""


class LoopThread:
    """See the module's docstring. Its methods are for other threads."""

    def __init__(self) -> None:
        self._running = threading.Event()
        self._thread = threading.Thread(target=self._run, name="mumian-plugin", daemon=True)
        self._thread.start()
        self._running.wait()

    def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Run a coroutine there and wait for it; raises what it raises.

        Raises:
            TimeoutError: it hangs. It is cancelled, as when the waiting is interrupted.
            RuntimeError: the thread has ended.
        """
        if not self._thread.is_alive():
            work.close()
            raise RuntimeError("the simulators' thread has ended")
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(PATIENCE_S)
        except BaseException:
            future.cancel()
            raise

    def call(self, function: Callable[..., _T], *arguments: Any) -> _T:
        """Call a function there and wait for it."""

        async def work() -> _T:
            return function(*arguments)

        return self.run(work())

    def close(self) -> None:
        """Cancel what still runs, close the loop, end the thread. Safe twice.

        Raises:
            TimeoutError: it hangs.
        """
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._ended.set)
            self._thread.join(PATIENCE_S)
            if self._thread.is_alive():
                raise TimeoutError(f"the simulators' thread did not end within {PATIENCE_S:g} s")

    def _run(self) -> None:
        # A Runner cancels and awaits the tasks that are left, and closes generators and threads, before it closes its loop.
        with asyncio.Runner() as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        self._running.set()
        await self._ended.wait()
        await wait_accepted()
