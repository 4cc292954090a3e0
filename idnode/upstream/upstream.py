"""The answers of delegates, for whoever resolves: kept ones while they are fresh, else asked for, once for all who wait.

| what is kept | what is done |
|---|---|
| fresh | it is the answer |
| stale, for less than REVALIDATE_S | it is the answer; a newer one is asked for meanwhile |
| stale | a newer one is asked for; where none comes within the patience, or the delegate fails or is left alone, it is told |
| nothing | it is asked for; who waits longer than the timeout is told so |

No delegate is asked more than so many things at a time, and no more wait for it than MOST_WAITING_OF_ONE; so a slow one delays
nobody but who asks for its identifiers. Each process has its own.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Protocol

import msgspec

from idnode.identifier import Identifier
from idnode.record import HandleValue
from idnode.upstream.delegate import WIRE, Delegate
from idnode.upstream.gate import Gate
from idnode.upstream.recursion import FIRST, Recursion
from idnode.upstream.settings import DelegationSettings
from idnode.upstream.shelf import Kept, Shelf, lifetimes
from idnode.upstream.told import ANSWERS, Outcome, Told

REVALIDATE_S = 10
PATIENCE_S = 0.5
FAILURE_MS = 2000
"""For so long what went wrong with one identifier is told again without a question."""
STALE_TTL_S = 30
"""The TTL of values that stand in for newer ones (RFC 8767, 4)."""
MOST_WAITING_OF_ONE = 128
MOST_WAITING = 192
"""Of all delegates together: fewer than answers by UDP may wait."""
_MOST_GATES = 1000
_FAILURES = frozenset({Outcome.SILENT, Outcome.WRONG, Outcome.BUSY, Outcome.BARRED})
"""Those for which a delegate is left alone."""


class Asker(Protocol):
    """Asks one delegate one question."""

    async def ask(self, delegate: Delegate, identifier: Identifier, recursion: Recursion) -> Told:
        """What it says; what goes wrong is an outcome."""

    async def close(self) -> None:
        """Give what is kept up."""


class Found(msgspec.Struct, frozen=True, gc=False):
    """What there is to say of an identifier that lives elsewhere."""

    delegate: Delegate
    outcome: Outcome
    values: tuple[HandleValue, ...] = ()
    """Their TTL is what is left of it."""
    age_s: int = 0
    """Since the delegate said so."""
    is_stale: bool = False
    """It stands in for a newer answer that there isn't."""
    why: str = ""


class Counts:
    """What has been done, since the process began."""

    def __init__(self) -> None:
        self.asked: Counter[tuple[str, str]] = Counter()
        """Questions that delegates were asked, by their prefix and the outcome."""
        self.answered: Counter[str] = Counter()
        """Resolutions, by what they were answered from: fresh, asked, stale, and failed where there was nothing."""


class Upstream:
    """One process's."""

    def __init__(
        self,
        settings: DelegationSettings,
        name: str,
        steady_ms: Callable[[], int],
        *,
        patience_s: float = PATIENCE_S,
        web: Asker | None = None,
        wire: Asker | None = None,
    ) -> None:
        """
        Args:
            name: this node's (recursion.node_name()).
            steady_ms: a clock that never goes back.
            web, wire: who asks; the ones that do are made when they are needed.
        """
        self.counts = Counts()
        self.shelf = Shelf(settings.cache_mb << 20)
        self._settings = settings
        self._name = name
        self._steady_ms = steady_ms
        self._patience_s = patience_s
        self._web, self._wire = web, wire
        self._making = asyncio.Lock()
        self._gates: dict[str, Gate] = {}
        self._flights: dict[tuple[str, int, str, int], asyncio.Task[Kept]] = {}
        self._waiting: Counter[str] = Counter()

    async def find(self, delegate: Delegate, identifier: Identifier, recursion: Recursion = FIRST) -> Found:
        """What the delegate says of an identifier. Suspends only where there is nothing to be told yet.

        May be stepped outside a task, and left where it suspends: the question goes on.
        """
        now_ms, key = self._steady_ms(), identifier.key
        kept = self.shelf.find(delegate, key)
        if kept is not None and now_ms < kept.fresh_ms:
            return self._told(delegate, kept, now_ms, "fresh" if kept.told.outcome in ANSWERS else "failed")
        if recursion.is_over(self._name):
            return self._failed(delegate, Outcome.LOOP, "the question has been here, or has come too far")
        if kept is not None and now_ms < kept.stale_ms:
            return await self._renewed(delegate, identifier, recursion, kept, now_ms)
        flight = self._fly(delegate, identifier, recursion, now_ms)
        if flight is None:
            closed = self._gate(delegate).is_closed(now_ms)
            why = "it is left alone for a while" if closed else "as much is asked of it as may be at a time"
            return self._failed(delegate, Outcome.SILENT if closed else Outcome.BUSY, why)
        if not await self._landed(delegate, flight, None):
            return self._failed(delegate, Outcome.BUSY, "too many wait for it")
        return self._told(delegate, flight.result(), self._steady_ms(), "asked")

    async def close(self) -> None:
        """Ask nothing more."""
        flights = list(self._flights.values())
        for flight in flights:
            flight.cancel()
        await asyncio.gather(*flights, return_exceptions=True)
        for asker in (self._web, self._wire):
            if asker is not None:
                await asker.close()

    async def _renewed(self, delegate: Delegate, identifier: Identifier, recursion: Recursion, kept: Kept, now_ms: int) -> Found:
        flight = self._fly(delegate, identifier, recursion, now_ms)
        is_young = now_ms < kept.fresh_ms + REVALIDATE_S * 1000
        if flight is not None and not is_young and await self._landed(delegate, flight, self._patience_s):
            newer = flight.result()
            if newer.told.outcome in ANSWERS:
                return self._told(delegate, newer, self._steady_ms(), "asked")
        return self._told(delegate, kept, self._steady_ms(), "stale")

    async def _landed(self, delegate: Delegate, flight: asyncio.Task[Kept], timeout_s: float | None) -> bool:
        """Wait for it, if there is room to. Whether it has ended."""
        one = delegate.address
        if self._waiting[one] >= MOST_WAITING_OF_ONE or self._waiting.total() >= MOST_WAITING:
            return flight.done()
        self._waiting[one] += 1
        try:
            await asyncio.wait((flight,), timeout=timeout_s)
        finally:
            self._waiting[one] -= 1
            if not self._waiting[one]:
                del self._waiting[one]
        return flight.done() and not flight.cancelled()

    def _fly(self, delegate: Delegate, identifier: Identifier, recursion: Recursion, now_ms: int) -> asyncio.Task[Kept] | None:
        """The question that is under way, or a new one; None where there may be none now.

        Only questions that have come equally far are one: else two nodes would wait for each other.
        """
        place = (delegate.prefix, delegate.version, identifier.key, recursion.hops)
        flight = self._flights.get(place)
        if flight is not None:
            return flight
        gate = self._gate(delegate)
        if gate.is_full or gate.is_closed(now_ms):
            return None
        gate.enter()
        flight = asyncio.get_running_loop().create_task(self._ask(delegate, identifier, recursion, gate), name="idnode-upstream")
        self._flights[place] = flight
        flight.add_done_callback(lambda _: self._flights.pop(place, None))
        return flight

    async def _ask(self, delegate: Delegate, identifier: Identifier, recursion: Recursion, gate: Gate) -> Kept:
        told = Told(Outcome.SILENT, why="the node ends")
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                told = await (await self._asker(delegate)).ask(delegate, identifier, recursion)
        except TimeoutError:
            told = Told(Outcome.SILENT, why=f"no answer within {self._settings.timeout_s:g} s")
        finally:
            now_ms = self._steady_ms()
            gate.leave(now_ms, failed=told.outcome in _FAILURES)
            self.counts.asked[delegate.prefix, told.outcome.value] += 1
        kept = self._timed(told, delegate, now_ms)
        if told.outcome in ANSWERS:
            if kept.fresh_ms > now_ms:
                self.shelf.keep(delegate, identifier.key, kept)
        elif recursion.hops == 0 or told.outcome is not Outcome.LOOP:  # who says that he has come far spoils nobody else's answer
            before = self.shelf.find(delegate, identifier.key)
            if before is None or now_ms >= before.stale_ms:
                self.shelf.keep(delegate, identifier.key, kept)
        return kept

    def _timed(self, told: Told, delegate: Delegate, now_ms: int) -> Kept:
        if told.outcome not in ANSWERS:
            return Kept(told, delegate.version, now_ms, now_ms + FAILURE_MS, now_ms + FAILURE_MS)
        fresh_s, stale_s = lifetimes(told, delegate, self._settings.negative_s, self._settings.stale_s)
        fresh_ms = now_ms + fresh_s * 1000
        return Kept(told, delegate.version, now_ms, fresh_ms, fresh_ms + stale_s * 1000)

    async def _asker(self, delegate: Delegate) -> Asker:
        if delegate.address.startswith(WIRE):
            if self._wire is None:
                from idnode.upstream.by_wire import WireAsker

                self._wire = WireAsker(self._settings.allowed_hosts)
            return self._wire
        async with self._making:
            if self._web is None:
                self._web = await asyncio.to_thread(self._make_web)
        return self._web

    def _make_web(self) -> Asker:
        """Its library is large and reads certificates: a node that asks nobody doesn't load it, and nobody waits meanwhile."""
        from idnode.upstream.by_web import WebAsker

        return WebAsker(self._settings.allowed_hosts, self._name)

    def _gate(self, delegate: Delegate) -> Gate:
        gate = self._gates.get(delegate.address)
        if gate is None:
            if len(self._gates) >= _MOST_GATES:
                self._gates = {address: each for address, each in self._gates.items() if each.under_way}
            gate = self._gates[delegate.address] = Gate(self._settings.in_flight)
        return gate

    def _told(self, delegate: Delegate, kept: Kept, now_ms: int, source: str) -> Found:
        told, is_stale = kept.told, source == "stale"
        if told.outcome not in ANSWERS:
            return self._failed(delegate, told.outcome, told.why)
        self.counts.answered[source] += 1
        rest_s = STALE_TTL_S if is_stale else max(0, (kept.fresh_ms - now_ms) // 1000)
        values = tuple(
            [value if value.ttl_s <= rest_s else msgspec.structs.replace(value, ttl_s=rest_s) for value in told.values]
        )
        return Found(delegate, told.outcome, values, told.age_s + max(0, now_ms - kept.made_ms) // 1000, is_stale)

    def _failed(self, delegate: Delegate, outcome: Outcome, why: str) -> Found:
        self.counts.answered["failed"] += 1
        return Found(delegate, outcome, why=why)
