"""Registration into the idnode's SQLite store: python -m benchmarks.register [--json] [--rounds N] [--rows N] [--identifiers N].

Records hold a kilobyte of content. Each round registers `rows` of them in bulk (a job, PIECE rows in one transaction), then
`rows` // 20 one by one by CLIENTS at once (each waits for its own to be durable; they share commits), and puts the same rows by a
plain executemany into a table of the same form, with the same transactions, in another file. All of them sync. What is printed is
the median of the rounds. `bytes_per_identifier` is the size of the file after a checkpoint; `read_us` a point read at the end,
through the store. --identifiers fills the store with so many before. The registrations are made before the clock starts.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

from idnode.identifier import Identifier
from idnode.record import Registered, Registration, text_value
from idnode.store.content import encode_registration
from idnode.store.sqlite import SqliteStore, open_store

PIECE = 5000
"""Rows in one transaction."""
CLIENTS = 64
"""Who register one by one at once."""
READS = 20_000
PREFIX = "88.100.1"
CONTENT_BYTES = 1024


def registrations(first: int, count: int) -> list[Registration]:
    """With what a pump's identifier may say: seven values, CONTENT_BYTES as they are stored."""
    return [_registration(number) for number in range(first, first + count)]


def _registration(number: int) -> Registration:
    noise = random.Random(number)
    serial = f"SN-2026-{number:09d}"
    texts = {
        "MADE": "2026-11-28T12:00:00.000Z",
        "PRODUCT": f"离心泵 CDL32-{number % 90}",
        "SERIAL": serial,
        "URL": f"https://pumps.example.cn/products/cdl32/units/{serial}",
        "ORDER": f"urn:mumian:order:{number % 1000}",
        "TEST": f'{{"flow":{noise.uniform(30, 35):.3f},"head":{noise.uniform(38, 42):.3f},"passed":true}}',
    }
    values = [text_value(2000 + place, kind, text) for place, (kind, text) in enumerate(texts.items())]
    bare = Registration(Identifier(PREFIX, f"P{number:08d}"), (*values, text_value(2010, "DATA", "")))
    filling = noise.randbytes(CONTENT_BYTES).hex()[: CONTENT_BYTES - len(encode_registration(bare))]
    return Registration(bare.identifier, (*values, text_value(2010, "DATA", filling)))


async def timed(act: Callable[[], Awaitable[object]]) -> float:
    """How long it takes, in seconds."""
    began = time.perf_counter()
    await act()
    return time.perf_counter() - began


async def bulk(store: SqliteStore, job: str, new: Sequence[Registration]) -> None:
    """As a job."""
    await store.begin_job(job, "pumpworks", "pumpworks:line", 1)
    for first in range(0, len(new), PIECE):
        await store.advance_job(job, first, new[first : first + PIECE], 2)
    done = await store.finish_job(job, 3)
    assert done.created == len(new), done


async def singly(store: SqliteStore, new: Sequence[Registration]) -> None:
    """One by one, by CLIENTS who each wait for theirs."""
    left = iter(new)

    async def client() -> None:
        for each in left:
            assert await store.register([each], "pumpworks:line", 2) == [Registered.CREATED]

    await asyncio.gather(*(client() for _ in range(CLIENTS)))


class Plain:
    """A table of the store's form, and nothing else: what SQLite can do here."""

    def __init__(self, path: Path, page_size: int) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)
        for pragma in (f"page_size = {page_size}", "journal_mode = WAL", "synchronous = FULL"):
            self._connection.execute(f"PRAGMA {pragma}")
        self._connection.execute("CREATE TABLE plain (id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, content BLOB) STRICT")

    async def insert(self, rows: Sequence[tuple[str, bytes]]) -> None:
        """With the transactions of bulk()."""
        for first in range(0, len(rows), PIECE):
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.executemany("INSERT INTO plain VALUES (NULL, ?, ?)", rows[first : first + PIECE])
            self._connection.execute("COMMIT")

    def close(self) -> None:
        self._connection.close()


async def read_us(store: SqliteStore, count: int) -> float:
    """Microseconds for one record out of `count`, read and decoded."""
    draw = random.Random(1)
    wanted = [Identifier(PREFIX, f"P{draw.randrange(count):08d}") for _ in range(READS)]
    began = time.perf_counter()
    for each in wanted:
        assert await store.record(each) is not None
    return (time.perf_counter() - began) / READS * 1e6


def _rounds(rounds: int, rows: int, first: int) -> Iterator[tuple[list[Registration], list[Registration]]]:
    few = rows // 20
    for _ in range(rounds):
        yield registrations(first, rows), registrations(first + rows, few)
        first += rows + few


async def measure(folder: Path, rounds: int, rows: int, identifiers: int) -> dict[str, float]:
    """All of it."""
    path = folder / "idnode.db"
    store = open_store(path)
    for first in range(0, identifiers, 4 * PIECE):
        await bulk(store, f"fill-{first}", registrations(first, min(4 * PIECE, identifiers - first)))
    (page_size,) = store._reader.execute("PRAGMA page_size").fetchone()
    with closing(Plain(folder / "plain.db", page_size)) as plain:
        rates: dict[str, list[float]] = {"bulk": [], "single": [], "plain": []}
        for number, (many, few) in enumerate(_rounds(rounds, rows, identifiers)):
            rows_of_many = [(each.identifier.key, encode_registration(each)) for each in many]
            rates["bulk"].append(rows / await timed(lambda many=many, number=number: bulk(store, f"job-{number}", many)))  # type: ignore[misc]
            rates["plain"].append(rows / await timed(lambda rows_of_many=rows_of_many: plain.insert(rows_of_many)))  # type: ignore[misc]
            rates["single"].append(len(few) / await timed(lambda few=few: singly(store, few)))  # type: ignore[misc]
    count = identifiers + rounds * (rows + rows // 20)
    per_read = await read_us(store, count)
    await store.close()
    return {
        "identifiers": count,
        "register_bulk_rps": round(statistics.median(rates["bulk"])),
        "register_single_rps": round(statistics.median(rates["single"])),
        "plain_insert_rps": round(statistics.median(rates["plain"])),
        "bytes_per_identifier": round(path.stat().st_size / count),
        "read_us": round(per_read, 1),
    }


def main() -> None:
    """Print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--identifiers", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mumian-register-") as folder:
        found = asyncio.run(measure(Path(folder), options.rounds, options.rows, options.identifiers))
    if options.json:
        sys.stdout.write(json.dumps(found) + "\n")
        return
    for key, value in found.items():
        sys.stdout.write(f"{key:>22}  {value}\n")


if __name__ == "__main__":
    main()
