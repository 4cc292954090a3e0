"""What the one process of a node that writes does besides: announces what happens, and writes down what all have counted.

With workers that is the supervisor, else the only process.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Callable

from idnode.announcing.announcer import Announcer
from idnode.announcing.post import Poster
from idnode.announcing.turn import Turn
from idnode.resolutions import LAST_S, Resolutions
from idnode.settings import IdnodeSettings
from idnode.store.base import Store, StoreError


@contextlib.asynccontextmanager
async def duties(store: Store, settings: IdnodeSettings, now_ms: Callable[[], int]) -> AsyncIterator[Resolutions]:
    """While in it both are done; on leaving, what was counted till then is written. Yields whom to tell what was answered."""
    resolutions, webhooks = Resolutions(), settings.webhooks
    turn = None if settings.store.postgres is None else Turn(store, now_ms)
    announcer = Announcer(store, Poster(webhooks.allowed_hosts, webhooks.timeout_s), webhooks, now_ms, turn)
    tasks = [asyncio.create_task(announcer.run()), asyncio.create_task(resolutions.run(store, now_ms))]
    for task in tasks:
        task.add_done_callback(_tell_end)
    try:
        yield resolutions
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        # Whoever stops a node whose storage fails hears of that by its exit code.
        with contextlib.suppress(StoreError, TimeoutError):
            await asyncio.wait_for(resolutions.flush(store, now_ms()), LAST_S)
            if turn is not None:
                await asyncio.wait_for(turn.give_up(), LAST_S)


def _tell_end(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        print(f"mumian idnode: stopped announcing or counting: {error!r}", file=sys.stderr, flush=True)
