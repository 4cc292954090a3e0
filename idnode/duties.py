"""What the one process of a node that writes does besides: announces what happens, reports it upward, writes down what all count.

With workers that is the supervisor, else the only process.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from idnode.announcing.announcer import Announcer
from idnode.announcing.post import Poster
from idnode.announcing.turn import REPORTING, Turn
from idnode.operations.report import Upward
from idnode.resolutions import LAST_S, Resolutions
from idnode.settings import IdnodeSettings
from idnode.store.base import Store, StoreError
from idnode.upward.adapter import Adapter
from idnode.upward.reporter import Facts, Reporter


@dataclass(frozen=True, slots=True)
class Duties:
    """What is being done."""

    resolutions: Resolutions
    """Is to be told what was answered."""
    reporter: Reporter | None

    def upward(self) -> Upward | None:
        """How reports to the top-level node go; None where nothing is reported."""
        return None if self.reporter is None else self.reporter.figures()


@contextlib.asynccontextmanager
async def duties(
    store: Store, settings: IdnodeSettings, now_ms: Callable[[], int], url: str, top: Adapter | None
) -> AsyncIterator[Duties]:
    """While in it all are done; on leaving, what was counted till then is written.

    Args:
        url: where the node's identifiers resolve.
        top: the way to the top-level node, which is closed then; None where nothing is reported.
    """
    resolutions, webhooks = Resolutions(by_face=top is not None), settings.webhooks
    shared = settings.store.postgres is not None
    turn = Turn(store, now_ms) if shared else None
    turns = [] if turn is None else [turn]
    announcer = Announcer(store, Poster(webhooks.allowed_hosts, webhooks.timeout_s), webhooks, now_ms, turn)
    tasks = [asyncio.create_task(announcer.run()), asyncio.create_task(resolutions.run(store, now_ms))]
    reporter = None
    if top is not None:
        reporting = Turn(store, now_ms, REPORTING) if shared else None
        turns += [] if reporting is None else [reporting]
        facts = Facts(settings.node_prefix, settings.name.zh, url)
        reporter = Reporter(store, top, settings.upward, facts, now_ms, reporting, _say)
        tasks.append(asyncio.create_task(reporter.run()))
    for task in tasks:
        task.add_done_callback(_tell_end)
    try:
        yield Duties(resolutions, reporter)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if top is not None:
            await top.close()
        # Whoever stops a node whose storage fails hears of that by its exit code.
        with contextlib.suppress(StoreError, TimeoutError):
            await asyncio.wait_for(resolutions.flush(store, now_ms()), LAST_S)
            for each in turns:
                await asyncio.wait_for(each.give_up(), LAST_S)


def _tell_end(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _say(f"stopped announcing, counting or reporting: {error!r}")


def _say(text: str) -> None:
    print(f"mumian idnode: {text}", file=sys.stderr, flush=True)
