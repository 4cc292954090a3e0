"""The store that an operator's settings name."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from idnode.settings import StoreSettings
from idnode.store.base import Store, StoreAway, StoreFailed


async def open_configured(settings: StoreSettings) -> Store:
    """Open it, ready to be used. The drivers of a database are loaded only where there is one.

    Raises:
        StoreBusy: another process owns the file.
        StoreFailed: it can't be used, or not be reached.
    """
    if settings.postgres is None:
        from idnode.store.sqlite import open_store

        return open_store(settings.path)
    from idnode.store.postgres.store import Place, PostgresStore

    standbys = tuple(_host_and_port(each) for each in settings.read_only)
    store = PostgresStore(
        Place(settings.postgres, read_password(settings.password_file), standbys, settings.connections, settings.connections)
    )
    try:
        await store.start()
    except (StoreAway, StoreFailed) as error:
        await store.close()
        raise StoreFailed(f"{settings.postgres}: {error}") from error
    return store


def _host_and_port(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def read_password(path: Path | None) -> str | None:
    """The password in a file, without the line's end.

    Raises:
        StoreFailed: it can't be read, or others can read it.
    """
    if path is None:
        return None
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            content = file.read(4096)
    except OSError as error:
        raise StoreFailed(f"{path}: {error.strerror}") from error
    if mode & 0o077:
        raise StoreFailed(f"{path} can be read by others (mode {mode:04o}); chmod 600 it")
    try:
        return content.decode().rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise StoreFailed(f"{path} is no UTF-8") from error
