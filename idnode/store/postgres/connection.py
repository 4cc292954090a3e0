"""The one file that knows asyncpg: sessions with a server, kept open for the next who needs one, and what their errors mean."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import asyncpg

from idnode.store.base import StoreFailed, StoreFull

CONNECT_S = 3.0
"""For one address."""
ANSWER_S = 20.0
"""For one statement, before the connection is given up; the server gives up sooner."""
_SESSION = {
    "application_name": "mumian-idnode",
    "statement_timeout": "15s",
    "lock_timeout": "5s",
    "idle_in_transaction_session_timeout": "15s",
    "default_transaction_isolation": "read committed",
    "jit": "off",
    # Rows of one statement that come as arrays are laid out in memory; they would else go through a file.
    "work_mem": "32MB",
    # Who doesn't say so is of a version that didn't count what it registers, and is refused (0003_business.sql).
    "mumian.writes": "2",
}
# An operator may ask for more than `on` (remote_apply), never for less.
_ON_PRIMARY = """
    SELECT set_config('synchronous_commit', CASE current_setting('synchronous_commit')
            WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END, false),
        current_setting('fsync'), ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::bigint"""
_CONFLICTS = frozenset({"40001", "40P01", "55P03"})
_GONE = frozenset({"25006", "57P01", "57P02", "57P03", "57P05", "57014", "25P03", "28000", "28P01", "3D000", "42501"})
"""The server ends, begins, or is a standby by now; or the statement took too long: it may be done or not; or we are turned away,
which another server may not do."""
_DAMAGE = frozenset({"58030", "XX001", "XX002"})


class Lost(Exception):
    """The server can't be reached, or left in the middle: what was asked for may be done or not."""


class Conflict(Exception):
    """Others were in the way; nothing was changed."""


class Taken(Exception):
    """A row with that key is there; nothing was changed."""


@dataclass(slots=True)
class Target:
    """Where sessions go."""

    url: str
    """postgresql://user@host:port,host:port/database?sslmode=..."""
    password: str | None = None
    standby: tuple[str, int] | None = None
    """Only there, primary or not; else the one of the URL's that is the primary."""
    last: int = field(default=0)
    """Which of the URL's hosts was the primary."""
    timeline: int = field(default=0)
    """The highest on which a primary was met: one with a lower one was the primary before a failover."""

    @property
    def hosts(self) -> Sequence[tuple[str | None, int | None]]:
        """Where to look, the last known primary first; (None, None) leaves it to the URL, which names a socket."""
        if self.standby is not None:
            return [self.standby]
        named = urlsplit(self.url).netloc.rpartition("@")[2]
        if not named:
            return [(None, None)]
        found = [_host_and_port(each) for each in named.split(",")]
        return found[self.last % len(found) :] + found[: self.last % len(found)]


class Session:
    """A connection. Its methods raise Lost, Conflict, StoreFull, StoreFailed."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    @property
    def is_sound(self) -> bool:
        """Whether another may use it."""
        return not self._connection.is_closed() and not self._connection.is_in_transaction()

    async def rows(self, sql: str, *arguments: object) -> list[Any]:
        """All rows; the statement is prepared once for each connection."""
        with translated():
            return list(await self._connection.fetch(sql, *arguments))

    async def row(self, sql: str, *arguments: object) -> Any:
        """The first row, or None."""
        with translated():
            return await self._connection.fetchrow(sql, *arguments)

    async def value(self, sql: str, *arguments: object) -> Any:
        """The first column of the first row, or None."""
        with translated():
            return await self._connection.fetchval(sql, *arguments)

    async def run(self, script: str) -> None:
        """Statements without parameters."""
        with translated():
            await self._connection.execute(script)

    async def copy(self, table: str, columns: list[str], rows: Iterable[tuple[Any, ...]]) -> None:
        """COPY rows into a table."""
        with translated():
            await self._connection.copy_records_to_table(table, records=rows, columns=columns)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        """Committed at the end, undone by what is raised within. Lost may be raised though it is committed."""
        transaction = self._connection.transaction()
        with translated():
            await transaction.start()
        try:
            yield
        except BaseException:
            if not self._connection.is_closed():
                with translated():
                    await transaction.rollback()
            raise
        with translated():
            await transaction.commit()

    async def listen(self, channel: str, heard: Callable[[str], None]) -> None:
        """Call `heard` with each payload from now on."""
        with translated():
            await self._connection.add_listener(channel, lambda *told: heard(told[3]))

    def on_end(self, ended: Callable[[], None]) -> None:
        """Call `ended` when the connection is gone."""
        self._connection.add_termination_listener(lambda _: ended())

    async def close(self) -> None:
        """End it, in order if that doesn't take long."""
        try:
            with translated():
                await self._connection.close(timeout=CONNECT_S)
        except (Lost, Conflict):
            self.drop()

    def drop(self) -> None:
        """End it at once."""
        self._connection.terminate()


def _host_and_port(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":") if not text.endswith("]") else (text, "", "")
    return (host.strip("[]"), int(port)) if colon else (text.strip("[]"), 5432)


async def connect(target: Target, answer_s: float | None = ANSWER_S) -> Session:
    """A session with the primary, or with the target's one standby. `answer_s`: None where a statement may take its time.

    Raises:
        Lost, StoreFailed
    """
    reasons = []
    for place, (host, port) in enumerate(target.hosts):
        try:
            session = await _connect(target, host, port, answer_s)
        except Lost as error:
            reasons.append(f"{host}:{port}: {error}" if host else str(error))
        else:
            if target.standby is None:
                target.last += place
            return session
    raise Lost("; ".join(reasons))


async def _connect(target: Target, host: str | None, port: int | None, answer_s: float | None) -> Session:
    with translated():
        connection = await asyncpg.connect(
            target.url,
            host=host,
            port=port,
            password=target.password,
            timeout=CONNECT_S,
            command_timeout=answer_s,
            server_settings=_SESSION,
            target_session_attrs="primary" if target.standby is None else "any",
        )
    session = Session(connection)
    if target.standby is None:
        try:
            await _settle(session, target)
        except BaseException:
            session.drop()
            raise
    return session


async def _settle(session: Session, target: Target) -> None:
    _, fsync, timeline = await session.row(_ON_PRIMARY)
    if fsync != "on":
        raise StoreFailed("PostgreSQL runs with fsync = off: what it acknowledges may be lost")
    if timeline < target.timeline:
        raise Lost(f"it is a primary of timeline {timeline}, and {target.timeline} was met")
    target.timeline = timeline


@contextmanager
def translated() -> Iterator[None]:
    """asyncpg's errors as what a caller can do about them; a fault of ours (a wrong statement) stays what it is."""
    try:
        yield
    except asyncpg.PostgresError as error:
        raise _meaning(error) from error
    except (OSError, TimeoutError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
        raise Lost(str(error) or type(error).__name__) from error


def _meaning(error: asyncpg.PostgresError) -> Exception:
    code = str(error.sqlstate)
    if code in _CONFLICTS or isinstance(error, asyncpg.InvalidCachedStatementError):  # a migration went by
        return Conflict(str(error))
    if code == "23505":
        return Taken(str(error))
    if code in _GONE or code[:2] in ("08", "53"):
        return StoreFull("the database's disk is full") if code == "53100" else Lost(str(error))
    if code in _DAMAGE:
        return StoreFailed(f"{error} ({code})")
    fault: Exception = error
    return fault


class Pool:
    """Up to so many sessions; one that is given back broken, or in the middle of something, is ended."""

    def __init__(self, opened: Callable[[], Awaitable[Session]], size: int) -> None:
        self._opened = opened
        self._room = asyncio.Semaphore(size)
        self._idle: list[Session] = []
        self._left_until = 0.0

    @property
    def is_left(self) -> bool:
        """Whether its server isn't to be asked now."""
        return self._left_until > asyncio.get_running_loop().time()

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Session]:
        """One that nobody else has meanwhile.

        Raises:
            Lost, StoreFailed: none can be had.
        """
        async with self._room:
            if self.is_left:  # who waited for room need not find out for himself
                raise Lost("the server didn't answer a moment ago")
            session = await self._taken()
            try:
                yield session
            finally:
                if session.is_sound:
                    self._idle.append(session)
                else:
                    session.drop()

    async def _taken(self) -> Session:
        while self._idle:
            session = self._idle.pop()
            if session.is_sound:
                return session
            session.drop()
        return await self._opened()

    def take(self, session: Session) -> None:
        """Keep one that was made elsewhere."""
        self._idle.append(session)

    def forget(self) -> None:
        """End those that nobody has: their server isn't what it was."""
        for session in self._idle:
            session.drop()
        self._idle.clear()

    def leave(self, seconds: float) -> None:
        """The server doesn't answer: let nobody ask it for so long."""
        self.forget()
        if not self.is_left:
            self._left_until = asyncio.get_running_loop().time() + seconds

    async def close(self) -> None:
        """End those that nobody has, in order."""
        idle, self._idle = self._idle, []
        for session in idle:
            await session.close()
