"""Registration into the idnode's store: python -m benchmarks.register [--postgres] [--json] [--rounds N] [--rows N]
[--identifiers N] [--owner WHO].

Records hold a kilobyte of content. Each round registers `rows` of them in bulk (a job, PIECE rows in one transaction), then
`rows` // 20 one by one by CLIENTS at once (each waits for its own to be durable; they share commits), and puts the same rows by a
plain executemany into a table of the same form, with the same transactions, in another file. All of them sync. What is printed is
the median of the rounds. `http_bulk_rps`, `http_bulk_2_workers_rps`: the same rows sent to a node of one and of two workers as
one NDJSON stream each round, from the first byte to the answer that all are durable; node and sender share the machine.
`bytes_per_identifier` is the size of the file after a checkpoint; `read_us` a point read at the end, through the store;
`..._cpu_us` what the process computes for one. --identifiers fills the store with so many before. The registrations are made
before the clock starts. --owner says whose they are: `enterprise` has them counted, `limited` has a quota besides.

With --postgres it is a server that is started for the purpose (benchmarks.postgres). The references are COPY, and INSERT of PIECE
rows in one statement; `bytes_per_identifier` has the table's indexes in it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sqlite3
import sys
import tempfile
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from benchmarks.register_http import measure_http
from benchmarks.register_postgres import measure_postgres
from benchmarks.registration import OWNERS, PIECE, compare, settle_owner
from idnode.store.sqlite import open_store


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


async def measure(folder: Path, rounds: int, rows: int, identifiers: int, owner: str = OWNERS[-1]) -> dict[str, float]:
    """All of it, in SQLite."""
    path = folder / "idnode.db"
    store = open_store(path)
    await settle_owner(store, owner)
    (page_size,) = store._reader.execute("PRAGMA page_size").fetchone()
    with closing(Plain(folder / "plain.db", page_size)) as plain:
        found = await compare(store, {"plain_insert_rps": plain.insert}, rounds, rows, identifiers)
    await store.close()
    return {**found, "bytes_per_identifier": round(path.stat().st_size / found["identifiers"])}


def main() -> None:
    """Print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--identifiers", type=int, default=0)
    parser.add_argument("--owner", choices=OWNERS, default=OWNERS[-1])
    parser.add_argument("--postgres", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.postgres:
        found = measure_postgres(options.rounds, options.rows, options.identifiers, options.owner)
    else:
        with tempfile.TemporaryDirectory(prefix="mumian-register-") as folder:
            found = asyncio.run(measure(Path(folder), options.rounds, options.rows, options.identifiers, options.owner))
            found |= measure_http(Path(folder), options.rounds, options.rows, {"path": "idnode.db"})
    if options.json:
        sys.stdout.write(json.dumps(found) + "\n")
        return
    for key, value in found.items():
        sys.stdout.write(f"{key:>22}  {value}\n")


if __name__ == "__main__":
    main()
