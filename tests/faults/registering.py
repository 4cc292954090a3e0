"""A fixed scenario for a process that is to be killed: open the idnode's store, register, change, load a job, capture, close.

python -m tests.faults.registering PLACE ROUNDS [--step N], where PLACE is a folder or a database, postgresql://... Prints
"A key version text" when a version is safe, "J - rows created" when rows of the job are. With --step it only opens the store,
which carries over what schema 1 kept, N identifiers at a time. A disk that stays full ends it with StoreFull.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable
from hashlib import sha256
from pathlib import Path
from typing import TypeVar

from idnode.enterprise import Name, Visibility
from idnode.event import Capture, ErrorBehaviour, Link, NewEvent, Role
from idnode.identifier import Identifier
from idnode.job import Row
from idnode.record import Change, Registration, text_value
from idnode.store import carrying
from idnode.store.base import AlreadyThere, Store, StoreFull
from idnode.store.business import SUBSCRIPTION, Put
from idnode.store.postgres.store import Place, PostgresStore
from idnode.store.sqlite import open_store

PREFIX = "88.100.1"
JOB_PREFIX = "88.100.2"
JOB = "load"
PIECE = 5
"""Rows of the job in one round."""
AT_ONCE = 4
SUBSCRIBED = "a"
"""The enterprise of which all that happens is to be announced."""
CHECKPOINT = 40
"""Pages of the write-ahead log after which SQLite writes the file itself: a run has several of these."""
PATIENCE = 100
"""Refusals by a full disk in a row."""
T = TypeVar("T")


def say(what: str, name: str, number: int, text: object) -> None:
    sys.stdout.write(f"{what} {name} {number} {text}\n")
    sys.stdout.flush()


def body(name: str, version: int) -> str:
    """What a version says: nothing else says it."""
    return f"{name}.{version}:" + "x" * 900


def made(prefix: str, name: str) -> Registration:
    return Registration(Identifier(prefix, name), (text_value(1, "DESC", body(name, 1)),))


def job_row(number: int) -> Row:
    return made(JOB_PREFIX, f"J{number:04d}")


async def patiently(act: Callable[[], Awaitable[T]]) -> T:
    """Again, as long as the disk is full."""
    for attempt in range(PATIENCE):
        try:
            return await act()
        except StoreFull:
            if attempt == PATIENCE - 1:
                raise
            await asyncio.sleep(0)
    raise AssertionError


async def live(store: Store, name: str) -> None:
    """One identifier: registered, changed twice."""
    new = made(PREFIX, name)
    await patiently(lambda: store.register([new], "a", 1))
    say("A", new.identifier.key, 1, body(name, 1))
    for version in (2, 3):
        change = Change((text_value(1, "DESC", body(name, version)),))
        await patiently(lambda change=change, version=version: store.change(new.identifier, change, "a", version, version - 1))  # type: ignore[misc]
        say("A", new.identifier.key, version, body(name, version))


async def make(store: Store, name: str) -> None:
    """One identifier that comes by an event."""
    new = made(PREFIX, name)
    digest = sha256(name.encode()).digest()
    links = (Link(new.identifier.uri, Role.EPC),)
    event = NewEvent(f"ni:{name}", digest, name.encode(), 1, links, (new,), 0)
    await patiently(lambda: store.capture(Capture(name, "a", "a:g", ErrorBehaviour.ROLLBACK, (event,), (), 1)))
    say("A", new.identifier.key, 1, body(name, 1))


async def load(store: Store, number: int) -> None:
    """The next piece of the job, with one row that was in the piece before."""
    first = max(0, number * PIECE - 1)
    rows = [job_row(row) for row in range(first, (number + 1) * PIECE)]
    job = (await patiently(lambda: store.advance_job(JOB, first, rows, 2))).job
    say("J", "-", job.rows, job.created)


def opened(place: str) -> Store:
    """The store of a folder, or of a database's address."""
    if place.startswith("postgresql:"):
        return PostgresStore(Place(place))
    store = open_store(Path(place) / "idnode.db")
    store._writer._connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT}")
    return store


async def run(place: str, rounds: int) -> None:
    store = opened(place)
    try:
        for key in ("a", "b"):
            await patiently(lambda key=key: add(store, key))  # type: ignore[misc]
        await patiently(lambda: store.write([Put(SUBSCRIPTION, "s", b"{}", SUBSCRIBED)], "admin", 1))
        await patiently(lambda: store.begin_job(JOB, "b", "b:line", 1))
        for number in range(rounds):
            lives = (live(store, f"L{number}-{place}") for place in range(AT_ONCE))
            await asyncio.gather(*lives, make(store, f"E{number}"), load(store, number))
    finally:
        await store.close()


async def add(store: Store, key: str) -> None:
    try:
        await store.add_enterprise(key, Name(key, key), Visibility.PUBLIC, "88.100", "admin", 1)
    except AlreadyThere:
        say("E", key, 0, "there")


async def carry(folder: Path, step: int) -> None:
    carrying.STEP = step
    await open_store(folder / "idnode.db").close()


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("place")
    parser.add_argument("rounds", type=int)
    parser.add_argument("--step", type=int, default=0)
    arguments = parser.parse_args()
    asyncio.run(carry(Path(arguments.place), arguments.step) if arguments.step else run(arguments.place, arguments.rounds))


if __name__ == "__main__":
    main()
