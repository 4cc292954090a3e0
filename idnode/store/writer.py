"""The one connection that writes, on a thread of its own, and the group commit of those who wait for it.

While one batch is being committed the operations of other requests queue; together they are the next batch. So a commit, which
costs a millisecond of waiting for the disk, is shared by as many as come in that time.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from idnode.operations.histogram import Histogram
from idnode.store import feed
from idnode.store.base import StoreAway, StoreFailed, StoreFull, StoreRefused
from idnode.store.tally import Tally

T = TypeVar("T")
Operation = Callable[[sqlite3.Connection], T]
"""Reads and writes within a transaction that it neither begins nor ends; raises StoreRefused to have its changes undone."""
MOVED = "the store has moved: start the node with its new settings"
MOVED_ID = 0x4D4D4956
"""The application id of a file that is no longer the store: MMIV."""
LARGEST_BATCH = 512
LARGEST_KEYS = 5000
"""Identifiers beyond which a batch takes no more: who registers one waits for no more than two such of bulk."""


@dataclass(frozen=True, slots=True)
class _Request(Generic[T]):
    operation: Operation[T]
    keys: Collection[str] | None
    settled: bool
    future: asyncio.Future[T]


class Writer:
    """Owns a connection made with check_same_thread=False and isolation_level=None."""

    def __init__(self, connection: sqlite3.Connection, committed: Callable[[], None] = lambda: None) -> None:
        """`committed`: called on the event loop after each commit, before those who wait for it have their results."""
        self._connection = connection
        self._committed = committed
        self.tally = Tally(connection)
        """Of what the transaction that is going on registers: for operations, on their thread."""
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="idnode-writer")
        self._waiting: list[_Request[Any]] = []
        self._pump: asyncio.Task[None] | None = None
        self._failure: StoreFailed | None = None
        self._failed = asyncio.Event()
        self.commits = Histogram()
        """How long each commit took, the way to the thread and back included."""
        self._turn = asyncio.Lock()
        """Whose it is to write: the pump's, or of whoever holds it back."""
        self._hold: asyncio.TimerHandle | None = None
        self._is_held = False
        self._moved = False

    async def run(self, operation: Operation[T], keys: Collection[str] | None = (), *, settled: bool = False) -> T:
        """Do `operation` in a transaction and return its result when it is durable.

        Args:
            keys: of the identifiers that it may change; None for anything.
            settled: it may change what the tally knows, or read what that writes: it is settled before.

        Raises:
            StoreRefused: what the operation raised; its changes are undone, those of its batch are not.
            StoreFull: nothing of the batch was changed.
            StoreFailed: nothing of the batch was changed, and nothing more is accepted.
        """
        if self._failure is not None:
            raise StoreFailed(str(self._failure))
        if self._moved:
            raise StoreAway(MOVED)
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Request(operation, keys, settled, future))
        if self._pump is None or self._pump.done():
            self._pump = asyncio.create_task(self._work(), name="idnode-writer")
        return await future

    async def hold(self, seconds: float) -> None:
        """Let everybody wait who writes, until release(), for so long at most; returns when nothing is being written.

        Raises:
            StoreAway: it is held by another, or has moved.
        """
        if self._is_asked or self._moved:
            raise StoreAway(MOVED if self._moved else "writing is held back already")
        self._hold = asyncio.get_running_loop().call_later(seconds, self.release)
        try:
            await self._turn.acquire()
        except asyncio.CancelledError:
            self.release()
            raise
        self._is_held = True
        if not self._is_asked:  # released while the last batch was being committed
            self._let_go()

    @property
    def _is_asked(self) -> bool:
        """Whether somebody holds writing back, or waits to."""
        return self._hold is not None

    def release(self) -> None:
        """Go on writing."""
        if self._hold is not None:
            self._hold.cancel()
            self._hold = None
            self._let_go()

    def _let_go(self) -> None:
        if self._is_held:
            self._is_held = False
            self._turn.release()

    async def leave(self) -> None:
        """Never write again, neither here nor in another process: the store has moved. Reads go on.

        Raises:
            StoreAway: writing isn't held back, or no longer.
            StoreFailed
        """
        if self._hold is None or not self._is_held:
            raise StoreAway("writing isn't held back")
        self._hold.cancel()
        self._moved = True
        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, mark_moved, self._connection)
        except sqlite3.Error as error:
            self._moved = False
            self.release()
            raise self._translated(error) from error
        waiting, self._waiting = self._waiting, []
        for request in waiting:
            if not request.future.done():
                request.future.set_exception(StoreAway(MOVED))
        self.release()

    async def wait_failure(self) -> StoreFailed:
        """Wait until the disk has failed."""
        await self._failed.wait()
        assert self._failure is not None
        return self._failure

    async def finish(self) -> None:
        """Wait until all that was asked for so far is committed."""
        self.release()
        if self._pump is not None:
            await self._pump

    async def close(self) -> None:
        """Finish what waits, then close the connection."""
        await self.finish()
        self._thread.shutdown()
        self._connection.close()

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            async with self._turn:
                batch = self._next_batch()
                began = time.perf_counter()
                outcomes = await loop.run_in_executor(self._thread, self._commit, batch)
                self.commits.observe(time.perf_counter() - began)
            if self._failure is not None:
                self._failed.set()
            try:
                self._committed()
            finally:
                _tell(batch, outcomes)

    def _next_batch(self) -> list[_Request[Any]]:
        """Those who have waited longest: at least one."""
        count, keys = 0, 0
        while count < min(LARGEST_BATCH, len(self._waiting)) and keys < LARGEST_KEYS:
            keys += len(self._waiting[count].keys or ())
            count += 1
        batch, self._waiting = self._waiting[:count], self._waiting[count:]
        return batch

    def _commit(self, batch: list[_Request[Any]]) -> list[Any]:
        """On the thread: all operations in one transaction. Each one's result, or the exception that it gets."""
        if self._failure is not None:
            return [StoreFailed(str(self._failure))] * len(batch)
        try:
            self.tally = Tally(self._connection)
            self._connection.execute("BEGIN IMMEDIATE")
            outcomes = [self._attempt(request) for request in batch]
            self.tally.settle()
            self._note_changes(batch, outcomes)
            self._connection.execute("COMMIT")
        except Exception as error:  # noqa: BLE001 it is handed to all who wait: none of them may think it done
            self._roll_back()
            return [self._translated(error)] * len(batch)
        return outcomes

    def _note_changes(self, batch: list[_Request[Any]], outcomes: list[Any]) -> None:
        done = [request.keys for request, outcome in zip(batch, outcomes, strict=True) if not isinstance(outcome, Exception)]
        if None in done:
            feed.append(self._connection, None)
        elif changed := [key for keys in done if keys is not None for key in keys]:
            feed.append(self._connection, changed)

    def _attempt(self, request: _Request[Any]) -> Any:
        if request.settled:
            self.tally.settle()
        mark = self.tally.mark()
        self._connection.execute("SAVEPOINT operation")
        try:
            outcome = request.operation(self._connection)
        except StoreRefused as refusal:
            self._connection.execute("ROLLBACK TO operation")
            self.tally.undo(mark)
            outcome = refusal
        self._connection.execute("RELEASE operation")
        return outcome

    def _roll_back(self) -> None:
        if self._connection.in_transaction:  # SQLite may have rolled back by itself
            try:
                self._connection.execute("ROLLBACK")
            except sqlite3.Error as error:
                self._translated(error)

    def _translated(self, error: Exception) -> Exception:
        translated = translate(error)
        if isinstance(translated, StoreFailed) and self._failure is None:
            self._failure = translated
        return translated


def _tell(batch: list[_Request[Any]], outcomes: list[Any]) -> None:
    for request, outcome in zip(batch, outcomes, strict=True):
        if request.future.done():  # whoever asked has gone
            continue
        if isinstance(outcome, BaseException):
            request.future.set_exception(outcome)
        else:
            request.future.set_result(outcome)


def translate(error: Exception) -> Exception:
    """What a caller can do about an error of SQLite; a fault of ours (a wrong statement, a wrong thread) stays what it is."""
    if not isinstance(error, sqlite3.OperationalError) and type(error) is not sqlite3.DatabaseError:
        return error
    name = getattr(error, "sqlite_errorname", "")
    if name == "SQLITE_FULL":
        return StoreFull("the disk is full")
    return StoreFailed(f"{error} ({name})" if name else str(error))


def mark_moved(connection: sqlite3.Connection) -> None:
    """Mark a file as one that is no longer the store: nobody opens it to write any more."""
    connection.execute(f"PRAGMA application_id = {MOVED_ID}")
