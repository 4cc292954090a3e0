"""`mumian idnode migrate-store`: who writes to the file meanwhile, and how they are asked to let changes wait."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from http import HTTPStatus
from pathlib import Path

import httpx

from idnode.settings import IdnodeSettings
from idnode.store.base import StoreAway, StoreBusy, StoreFailed
from idnode.store.movable import Movable
from idnode.store.opening import read_password
from idnode.store.postgres.connection import Target
from idnode.store.postgres.moving import Moved, NotMovable, move
from idnode.store.schema import lock
from idnode.store.writer import mark_moved

_ANSWER_S = 30.0


async def migrate_store(
    source: IdnodeSettings, goal: IdnodeSettings, url: str | None, tell: Callable[[str], None], hold_s: float
) -> Moved:
    """Move the store of one file of settings to that of another.

    Args:
        url: where the node is that serves it, if one does; else its listen address.

    Raises:
        NotMovable, StoreAway, StoreFailed
    """
    if source.store.postgres is not None or goal.store.postgres is None:
        raise NotMovable("a store moves from a file (store.path) to a database (store.postgres)")
    path = source.store.path
    target = Target(goal.store.postgres, read_password(goal.store.password_file))
    if not path.exists():
        raise NotMovable(f"{path} isn't there")
    try:
        descriptor = lock(path)
    except StoreBusy:
        async with httpx.AsyncClient(timeout=_ANSWER_S + hold_s, verify=True) as client:
            return await move(path, target, _Serving(client, url or _address(source), _token(source)), tell, hold_s)
    try:
        return await move(path, target, _Nobody(path), tell, hold_s)
    finally:
        os.close(descriptor)


def _address(settings: IdnodeSettings) -> str:
    if settings.port == 0:
        raise NotMovable("the node listens on any free port: say --url http://127.0.0.1:PORT")
    return f"http://{settings.listen}"


def _token(settings: IdnodeSettings) -> str:
    try:
        return settings.admin_token_file.read_text("utf-8").strip()
    except OSError as error:
        raise NotMovable(f"{settings.admin_token_file}: {error.strerror}") from error


class _Nobody(Movable):
    """No node runs, and we have the file's lock."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def hold(self, seconds: float) -> None:
        pass

    async def release(self) -> None:
        pass

    async def leave(self) -> None:
        try:
            with closing(sqlite3.connect(self._path, isolation_level=None)) as connection:
                connection.execute("PRAGMA synchronous = FULL")
                mark_moved(connection)
        except sqlite3.Error as error:
            raise StoreFailed(f"{self._path}: {error}") from error


class _Serving(Movable):
    """The node that runs."""

    def __init__(self, client: httpx.AsyncClient, url: str, token: str) -> None:
        self._client = client
        self._url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}"}

    async def hold(self, seconds: float) -> None:
        await self._ask(f"hold?seconds={seconds:g}")

    async def release(self) -> None:
        await self._ask("release")

    async def leave(self) -> None:
        await self._ask("leave")

    async def _ask(self, what: str) -> None:
        try:
            answer = await self._client.post(f"{self._url}/v1/store/{what}", headers=self._headers)
        except httpx.HTTPError as error:
            raise StoreAway(f"the node at {self._url} doesn't answer: {error}") from error
        if answer.status_code != HTTPStatus.NO_CONTENT:
            raise StoreAway(f"the node at {self._url} answers {answer.status_code}: {answer.text[:200]}")
