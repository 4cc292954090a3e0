"""The store of a process that doesn't own the file: reads it by itself, and has the owner make the changes."""

from __future__ import annotations

import functools
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import msgspec

from idnode.store.base import Store, StoreError, StoreFailed
from idnode.store.calls import CALLS, Call, decode_error, encode_error
from idnode.store.commit_count import CommitCount
from idnode.store.reads import SqliteReads
from idnode.store.schema import open_reader
from idnode.workers.channel import Channel, ChannelLost, Refused

_GONE = "the process that owns the store has gone"


class RemoteStore(SqliteReads):
    """See idnode.store.base.Store; made by open_remote_store()."""

    def __init__(self, reader: sqlite3.Connection, owner: Channel, count: CommitCount) -> None:
        """`count`: of the owner's commits. Closed with the store."""
        super().__init__(reader)
        self._owner = owner
        self._count = count
        self._seen = -1
        self._closed = False

    def refresh(self) -> None:
        """See the contract."""
        count = self._count.value
        if count != self._seen:
            super().refresh()
            self._seen = count

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        """Every method of the contract that isn't a read."""
        call = CALLS.get(name)
        if call is None:
            raise AttributeError(name)
        return functools.partial(self._change, name, call)

    async def _change(self, name: str, call: Call, *args: Any, **kwargs: Any) -> Any:
        if self._closed:
            raise StoreFailed("the store is closed")
        try:
            result = await self._owner.call(name, call.encode(*args, **kwargs))
        except Refused as refusal:
            raise decode_error(refusal.content) from None
        except ChannelLost:
            raise StoreFailed(_GONE) from None
        finally:
            # Those who watch are told before whoever made the change is; one who can't read any more finds that out by itself.
            if not self._closed:
                with suppress(StoreError):
                    self.refresh()
        return call.decode_result(result)

    async def hold(self, seconds: float) -> None:
        """See Movable."""
        await self._change("hold", CALLS["hold"], seconds)

    async def release(self) -> None:
        """See Movable."""
        await self._change("release", CALLS["release"])

    async def leave(self) -> None:
        """See Movable."""
        await self._change("leave", CALLS["leave"])

    async def wait_failure(self) -> StoreFailed:
        """See the contract."""
        await self._owner.lost.wait()
        return StoreFailed(_GONE)

    async def close(self) -> None:
        """See the contract."""
        if not self._closed:
            self._closed = True
            self._look_anew()
            self._reader.close()
            self._count.close()


def open_remote_store(path: Path, owner: Channel, count: CommitCount) -> Store:
    """The store of that file, which `owner` has open. Called on the event loop's thread, as is everything after.

    Raises:
        StoreFailed: the file can't be read.
    """
    try:
        return cast(Store, RemoteStore(open_reader(path), owner, count))
    except sqlite3.Error as error:
        raise StoreFailed(f"{path}: {error}") from error


async def answer_call(store: Store, name: str, content: msgspec.Raw) -> msgspec.Raw:
    """Make a change for another process: the owner's side. `name` is one of CALLS.

    Raises:
        Refused: with what the method raised.
    """
    call = CALLS[name]
    try:
        return msgspec.Raw(msgspec.msgpack.encode(await getattr(store, name)(*call.decode(content))))
    except Exception as error:  # the other process raises it
        raise Refused(encode_error(error)) from error
