"""How often each enterprise's identifiers were resolved, day by day, as all processes of a node have counted it: for bills.

Processes hand over what they have answered by prefix (idnode.operations.statistics); here it is turned into what the enterprises
that own the prefixes are owed for, and written now and then by the process that writes. What a killed process had not handed over
or written is not counted: at most FLUSH_S and PAUSE_S of it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence

from idnode.operations.meter import REFUSED
from idnode.operations.statistics import Count as Answers
from idnode.store.base import StoreAway, StoreFailed, StoreFull
from idnode.store.business import PREFIX, Add, Business, Count, Step
from idnode.upward.report import ANSWERED, NOBODY

PAUSE_S = 10.0
LAST_S = 2.0
"""For the last write, which may have to wait while the store is held back."""
AUTHOR = "node"
RESOLVED = frozenset({200, 304})


class Resolutions:
    """Counts for all processes of a node."""

    def __init__(self, *, by_face: bool = False) -> None:
        """`by_face`: answers of all kinds are summed up too, for reports upward."""
        self._counts: Counter[tuple[str, int]] = Counter()
        self._answers: Counter[tuple[str, str]] = Counter()
        self._by_face = by_face

    def add(self, counts: Sequence[Answers]) -> None:
        """Answers under some prefixes, on some days; a resolution is what was answered 200 or 304 under one."""
        for each in counts:
            if each.prefix and each.status in RESOLVED and each.face != REFUSED:
                self._counts[each.prefix, each.day] += each.count
            if self._by_face:
                self._answers[each.prefix or NOBODY, f"{ANSWERED}{each.face}/{each.status}"] += each.count

    async def flush(self, store: Business, at_ms: int) -> None:
        """Write what was counted, for whoever owns the prefixes now; what couldn't be written is counted on.

        Raises:
            StoreFull, StoreAway, StoreFailed
        """
        owners = {prefix: await store.entry(PREFIX, prefix) for prefix in {prefix for prefix, _ in self._counts}}
        counts = {key: count for key, count in self._counts.items() if key[0] in owners}
        answers, self._answers = self._answers, Counter()
        if not counts and not answers:
            return
        for key in counts:
            del self._counts[key]
        owed: Counter[tuple[str, int]] = Counter()
        for (prefix, day), count in counts.items():
            owner = owners[prefix]
            if owner is not None:
                owed[owner.group, day] += count
        steps: list[Step] = [Count(*key, count) for key, count in sorted(owed.items())]
        steps += [Add(*key, count) for key, count in sorted(answers.items())]
        try:
            await store.write(steps, AUTHOR, at_ms)
        except (StoreFull, StoreAway, StoreFailed):
            self._counts.update(counts)
            self._answers.update(answers)
            raise

    async def run(self, store: Business, now_ms: Callable[[], int]) -> None:
        """Write every PAUSE_S until cancelled, or until the store has failed."""
        while True:
            await asyncio.sleep(PAUSE_S)
            try:
                await self.flush(store, now_ms())
            except (StoreFull, StoreAway):
                continue
            except StoreFailed:
                return  # the server ends by it
