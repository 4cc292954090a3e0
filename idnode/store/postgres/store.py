"""The store in PostgreSQL: several processes may use one at once, on several machines.

It connects when it is first used, or by start(). Reads go to hot standbys where they have what is known to have changed, else to
the primary; while there is no primary, to any standby.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from idnode.enterprise import Lease, LeaseOrder
from idnode.enterprise import Pool as Leased
from idnode.event import Capture, CaptureReport
from idnode.identifier import Identifier
from idnode.job import Advance, Job, Row
from idnode.record import Change, Record, Registered, Registration
from idnode.store.base import Forget, StoreAway, StoreFailed
from idnode.store.business import Step
from idnode.store.business_rows import changes_answers
from idnode.store.outcome import next_version
from idnode.store.postgres import business_rows, event_rows, job_rows, owner_rows, record_rows, schema, template_rows
from idnode.store.postgres.connection import Conflict, Lost, Pool, Session, Target, connect
from idnode.store.postgres.feed import CHANNEL, Feed, Listener
from idnode.store.postgres.reads import PostgresReads
from idnode.store.postgres.standbys import Standbys
from idnode.store.postgres.tally import Owners
from idnode.store.postgres.writing import PATIENCE_S, Registering, Writing
from idnode.template import Template


@dataclass(frozen=True, slots=True)
class Place:
    """Where a store is."""

    url: str
    """postgresql://user@host:port,host:port/database: the hosts that may be the primary."""
    password: str | None = None
    read_only: tuple[tuple[str, int], ...] = ()
    """Hot standbys: host, port."""
    writers: int = 4
    readers: int = 8
    """Connections, the latter to the primary and to each standby."""
    patience_s: float = PATIENCE_S
    """How long a change waits for a primary."""


class PostgresStore(PostgresReads):
    """See idnode.store.base.Store."""

    def __init__(self, place: Place) -> None:
        """Nothing is connected yet."""
        self._target = Target(place.url, place.password)
        opened = partial(connect, self._target)
        self._writers, readers, feed = Pool(opened, place.writers), Pool(opened, place.readers), Feed()
        targets = [Target(place.url, place.password, address) for address in place.read_only]
        super().__init__(readers, Standbys(targets, place.readers, readers), feed)
        feed.watch(self._standbys.forget, keeps=False)
        self._listener = Listener(feed, opened)
        self._writing = Writing(self._writers, feed, self._fail, place.patience_s)
        self._owners = Owners()
        feed.watch(self._owners.watch, keeps=False)
        self._registering = Registering(self._writing, self._owners)
        self._starting: asyncio.Task[None] | None = None
        self._failure: StoreFailed | None = None
        self._failed = asyncio.Event()

    async def start(self) -> None:
        """Bring the schema up to date and listen for changes. Safe at any time; everything else calls it.

        Raises:
            StoreAway: no primary can be reached.
            StoreFailed: it can't be used.
        """
        if self._failure is not None:
            raise StoreFailed(str(self._failure))
        if self._starting is None or (self._starting.done() and self._starting.exception() is not None):
            self._starting = asyncio.create_task(self._start(), name="idnode-start")
        await asyncio.shield(self._starting)

    async def _start(self) -> None:
        try:
            session = await connect(self._target, None)
            try:
                is_as_before = not await schema.migrate(session)
                await schema.refuse_half_moved(session)
            except BaseException:
                session.drop()
                raise
            if is_as_before:
                self._writers.take(session)
            else:
                await session.close()  # what a migration has set isn't for others
            await self._listener.start()
            self._standbys.forget(None)  # how far behind they are is not known
        except (Lost, Conflict) as error:
            raise StoreAway(f"the database can't be reached: {error}") from error

    def _fail(self, failure: StoreFailed) -> None:
        self._failure = self._failure or failure
        self._failed.set()

    async def write(self, steps: Sequence[Step], author: str, at_ms: int) -> None:
        """See the contract."""
        await self.start()
        request = secrets.token_bytes(16)
        keys = None if changes_answers(steps) else ()
        await self._writing.run(lambda session, _: business_rows.write(session, request, steps, author, at_ms), keys)

    async def put_template(self, draft: Template, author: str, at_ms: int) -> Template:
        """See the contract."""
        await self.start()
        return await self._writing.run(lambda session, _: template_rows.put_template(session, draft, author, at_ms))

    async def publish_template(self, owner: str, name: str, version: int, author: str, at_ms: int) -> Template:
        """See the contract."""
        await self.start()
        return await self._writing.run(
            lambda session, again: template_rows.publish_template(session, (owner, name, version), author, at_ms, again), None
        )

    async def withdraw_template(self, owner: str, name: str, version: int, author: str, at_ms: int) -> Template:
        """See the contract."""
        await self.start()
        return await self._writing.run(
            lambda session, again: template_rows.withdraw_template(session, (owner, name, version), author, at_ms, again), None
        )

    async def disable_item(self, owner: str, name: str, index: int, author: str, at_ms: int) -> Template:
        """See the contract."""
        await self.start()
        return await self._writing.run(
            lambda session, again: template_rows.disable_item(session, owner, name, index, author, at_ms, again)
        )

    async def begin_job(self, key: str, owner: str, author: str, at_ms: int, total: int | None = None) -> Job:
        """See the contract."""
        await self.start()
        return await self._writing.run(lambda session, _: job_rows.begin_job(session, key, owner, author, at_ms, total))

    async def finish_job(self, key: str, at_ms: int, cancelled: bool = False) -> Job:
        """See the contract."""
        await self.start()
        return await self._writing.run(lambda session, _: job_rows.finish_job(session, key, at_ms, cancelled=cancelled))

    async def lease(self, order: LeaseOrder, at_ms: int) -> tuple[Lease, bool]:
        """See the contract."""
        await self.start()
        return await self._writing.run(lambda session, _: owner_rows.lease(session, order, at_ms))

    async def give_back(self, lease: str, suffixes: Sequence[str] | None, at_ms: int) -> Leased:
        """See the contract."""
        await self.start()
        return await self._writing.run(lambda session, _: owner_rows.give_back(session, lease, suffixes, at_ms))

    async def register(self, registrations: Sequence[Registration], author: str, at_ms: int) -> list[Registered]:
        """See the contract."""
        await self.start()
        return await self._registering.register(registrations, author, at_ms)

    async def change(
        self, identifier: Identifier, change: Change, author: str, at_ms: int, if_version: int | None = None
    ) -> Record:
        """See the contract."""
        await self.start()
        tried: list[Record] = []

        async def act(session: Session, again: bool, payloads: list[str]) -> Record:
            last = tried[-1] if again and tried else None
            now = await record_rows.standing_record(session, identifier)
            if last is not None and last in await record_rows.versions(session, identifier, last.version - 1, 1):
                return last
            made = next_version(now, change, author, at_ms, if_version)
            if made is not now:
                tried.append(made)
                await record_rows.put_version(session, now, made, CHANNEL, payloads)
            return made

        return await self._writing.attempt(act, (identifier.key,))

    async def advance_job(self, key: str, first_row: int, rows: Sequence[Row], at_ms: int) -> Advance:
        """See the contract."""
        await self.start()
        keys = [row.identifier.key for row in rows if isinstance(row, Registration)]
        return await self._writing.run(
            lambda session, again: job_rows.advance_job(session, key, first_row, rows, at_ms, again, self._owners), keys
        )

    async def capture(self, capture: Capture) -> CaptureReport:
        """See the contract."""
        await self.start()

        async def act(session: Session, again: bool) -> CaptureReport:
            await event_rows.take_turn(session)
            return await event_rows.capture(session, capture, again, self._owners)

        keys = [new.identifier.key for event in capture.events for new in event.registrations]
        return await self._writing.run(act, keys)

    def watch(self, forget: Forget) -> None:
        """See the contract. Others' changes are told as they are announced, within moments of their commit."""
        self._feed.watch(forget)

    def refresh(self) -> None:
        """See the contract. Everything is forgotten, each time, while nobody listens for announcements."""
        self._feed.refresh()

    async def wait_failure(self) -> StoreFailed:
        """See the contract."""
        await self._failed.wait()
        assert self._failure is not None
        return self._failure

    async def close(self) -> None:
        """See the contract."""
        await self._registering.finish()
        await self._together.finish()
        if self._starting is not None:
            await asyncio.wait([self._starting])
        await self._listener.close()
        await self._standbys.close()
        for pool in (self._writers, self._readers):
            await pool.close()
