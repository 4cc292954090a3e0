"""How often each enterprise's identifiers were resolved, day by day: counted in memory, written now and then.

What a killed process had not written is not counted: at most PAUSE_S of it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

from idnode.store.base import StoreFailed, StoreFull
from idnode.store.business import DAY_MS, Business, Count

PAUSE_S = 10.0
AUTHOR = "node"


class Resolutions:
    """Counts for one process."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, int]] = Counter()

    def add(self, enterprise: str, at_ms: int, count: int = 1) -> None:
        """Some identifiers of an enterprise were resolved. Takes under a microsecond; from whatever answers."""
        self._counts[enterprise, at_ms // DAY_MS] += count

    async def flush(self, store: Business, at_ms: int) -> None:
        """Write what was counted; what couldn't be written is counted on.

        Raises:
            StoreFull, StoreFailed
        """
        counts, self._counts = self._counts, Counter()
        if not counts:
            return
        steps = [Count(enterprise, day, count) for (enterprise, day), count in sorted(counts.items())]
        try:
            await store.write(steps, AUTHOR, at_ms)
        except (StoreFull, StoreFailed):
            self._counts.update(counts)
            raise

    async def run(self, store: Business, now_ms: Callable[[], int]) -> None:
        """Write every PAUSE_S until cancelled, and once more then."""
        try:
            while True:
                await asyncio.sleep(PAUSE_S)
                try:
                    await self.flush(store, now_ms())
                except StoreFull:
                    continue
        except asyncio.CancelledError:
            await self.flush(store, now_ms())
            raise
