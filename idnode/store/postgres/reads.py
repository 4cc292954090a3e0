"""The half of the contract that reads."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any, Concatenate, ParamSpec, TypeVar

import msgspec

from idnode.enterprise import Enterprise, Token
from idnode.enterprise import Pool as Leased
from idnode.event import CaptureReport, EventQuery, StoredEvent
from idnode.identifier import Identifier
from idnode.job import Finding, Job, Outcomes
from idnode.record import Record, State
from idnode.store.base import PAGE, StoreAway, StoreFailed
from idnode.store.business import ANSWERS_DEPEND_ON, Announcement, Entry, Sums, Usage
from idnode.store.postgres import business_rows, event_rows, job_rows, owner_rows, record_rows, template_rows
from idnode.store.postgres.connection import Conflict, Lost, Pool, Session
from idnode.store.postgres.feed import Feed
from idnode.store.postgres.standbys import AWAY_S, Standbys
from idnode.store.postgres.together import Together
from idnode.store.registry import Registry
from idnode.template import Template

P = ParamSpec("P")
T = TypeVar("T")
ANSWER_S = 3.0
"""After which a read is asked of another server."""
PATIENCE_S = 15.0
LANES = 2
"""Statements that look up records at once."""
MOST_TOGETHER = 100
"""Records in one of them."""
MOST_LOOKS = 5
"""At what changes while it is read."""
_PAUSE_S = 0.05
_ANYTHING = ""
"""The key of what a change of is announced as one of anything: it is recent when anything is."""


class PostgresReads(Registry, ABC):
    """What idnode.store.base.Store has that changes nothing."""

    def __init__(self, primary: Pool, standbys: Standbys, feed: Feed) -> None:
        self._readers = primary
        self._standbys = standbys
        self._feed = feed
        self._together = Together(self._rows, LANES, MOST_TOGETHER, name="idnode-reading")

    @abstractmethod
    async def start(self) -> None:
        """See PostgresStore."""

    async def entry(self, kind: str, key: str) -> Entry | None:
        """See the contract."""
        if kind in ANSWERS_DEPEND_ON:
            return await self._lookup(_ANYTHING, business_rows.entry, kind, key)
        return await self._read(business_rows.entry, kind, key)

    async def entries(self, kind: str, group: str | None = None, after: str = "", limit: int = PAGE) -> list[Entry]:
        """See the contract."""
        if kind in ANSWERS_DEPEND_ON:
            return await self._lookup(_ANYTHING, business_rows.entries, kind, group, after, limit)
        return await self._read(business_rows.entries, kind, group, after, limit)

    async def entry_versions(self, kind: str, key: str, after: int = 0, limit: int = PAGE) -> list[Entry]:
        """See the contract."""
        return await self._read(business_rows.entry_versions, kind, key, after, limit)

    async def enterprise_of(self, prefix: str) -> Enterprise | None:
        """See the contract."""
        return await self._lookup(_ANYTHING, business_rows.enterprise_of, prefix)

    async def token(self, digest: bytes) -> Token | None:
        """See the contract."""
        return await self._read(business_rows.token, digest)

    async def registered(self, prefixes: Sequence[str]) -> list[int]:
        """See the contract."""
        return await self._read(business_rows.registered, prefixes)

    async def sums(self, after: str = "", limit: int = PAGE) -> list[Sums]:
        """See the contract."""
        return await self._read(business_rows.sums, after, limit)

    async def usage(
        self, enterprise: str | None, first_day: int, last_day: int, after: tuple[int, str], limit: int
    ) -> list[Usage]:
        """See the contract."""
        return await self._read(business_rows.usage, enterprise, first_day, last_day, after, limit)

    async def announcements(self, enterprise: str, after: int, limit: int) -> list[Announcement]:
        """See the contract."""
        return await self._read(business_rows.announcements, enterprise, after, limit)

    async def pool(self, lease: str) -> Leased | None:
        """See the contract."""
        return await self._read(owner_rows.pool, lease)

    async def record(self, identifier: Identifier, as_of_ms: int | None = None) -> Record | None:
        """See the contract."""
        key = identifier.key
        if as_of_ms is not None:
            return await self._lookup(key, record_rows.record, identifier, as_of_ms)

        async def ask() -> Record | None:
            return record_rows.current_record(identifier, await self._together.ask(key))

        return await self._look(key, ask)

    async def versions(self, identifier: Identifier, after: int = 0, limit: int = PAGE) -> list[Record]:
        """See the contract."""
        return await self._lookup(identifier.key, record_rows.versions, identifier, after, limit)

    async def records(
        self, owner: str, after_key: str = "", limit: int = PAGE, states: Collection[State] | None = None
    ) -> list[Record]:
        """See the contract."""
        return await self._read(record_rows.records, owner, after_key, limit, states)

    async def template(self, owner: str, name: str, version: int) -> Template | None:
        """See the contract."""
        return await self._read(template_rows.template, owner, name, version)

    async def templates(self, owner: str) -> list[Template]:
        """See the contract."""
        return await self._read(template_rows.templates, owner)

    async def job(self, key: str) -> Job | None:
        """See the contract."""
        return await self._read(job_rows.job, key)

    async def findings(self, key: str, after: int = -1, limit: int = PAGE) -> list[Finding]:
        """See the contract."""
        return await self._read(job_rows.findings, key, after, limit)

    async def jobs(self, owner: str | None, after: str = "", limit: int = PAGE) -> list[Job]:
        """See the contract."""
        return await self._read(job_rows.jobs, owner, after, limit)

    async def outcomes(self, key: str, row: int = 0, limit: int = PAGE) -> list[Outcomes]:
        """See the contract."""
        return await self._read(job_rows.outcomes, key, row, limit)

    async def event(self, key: str) -> StoredEvent | None:
        """See the contract."""
        return await self._read(event_rows.event, key)

    async def events(self, query: EventQuery) -> list[StoredEvent]:
        """See the contract."""
        return await self._read(event_rows.events, query)

    async def capture_report(self, key: str) -> CaptureReport | None:
        """See the contract."""
        return await self._read(event_rows.capture_report, key)

    async def _lookup(
        self, key: str, query: Callable[Concatenate[Session, P], Awaitable[T]], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """A read of what is kept under one key, of a standby where one has all that is known of it."""
        return await self._look(key, lambda: self._once(lambda session: query(session, *args, **kwargs), (key,)))

    async def _read(self, query: Callable[Concatenate[Session, P], Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """A read of the primary."""
        return await self._patiently(lambda: self._once(lambda session: query(session, *args, **kwargs), None))

    async def _look(self, key: str, ask: Callable[[], Awaitable[T]]) -> T:
        """What `ask` says, never older than what watchers were told before it returns, as long as it doesn't change MOST_LOOKS
        times meanwhile."""
        with self._feed.reading(key) as changed:
            for _ in range(MOST_LOOKS):
                found = await self._patiently(ask)
                if not changed():
                    break
        return found

    async def _rows(self, keys: Sequence[str]) -> list[Any]:
        return await self._once(lambda session: record_rows.current_rows(session, keys), keys)

    async def _patiently(self, ask: Callable[[], Awaitable[T]]) -> T:
        await self.start()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + PATIENCE_S
        while True:
            try:
                return await ask()
            except (Lost, Conflict) as error:
                if loop.time() >= deadline:
                    raise StoreAway(f"the database can't be reached: {error}") from error
                await asyncio.sleep(_PAUSE_S)
            except msgspec.MsgspecError as error:
                raise StoreFailed(f"what is stored can't be read: {error}") from error

    async def _once(self, ask: Callable[[Session], Awaitable[T]], keys: Collection[str] | None) -> T:
        """Of a standby that has those keys, else of the primary, else of any standby. `keys`: None where no standby will do.

        Raises:
            Lost, Conflict
        """
        if keys is not None:
            try:
                async with self._standbys.session(keys) as session:
                    if session is not None:
                        return await _answered(session, ask)
            except (Lost, Conflict):
                pass  # a standby that replays what a query sees cancels it
        try:
            async with self._readers.session() as session:
                return await _answered(session, ask)
        except Lost:
            self._readers.leave(AWAY_S)
            async with self._standbys.any_session() as session:
                found = await _answered(session, ask)
            self._feed.doubt()  # it may not have replayed what was told
            return found


async def _answered(session: Session, ask: Callable[[Session], Awaitable[T]]) -> T:
    try:
        async with asyncio.timeout(ANSWER_S):
            return await ask(session)
    except TimeoutError as error:
        session.drop()
        raise Lost("the server doesn't answer") from error
