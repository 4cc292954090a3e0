"""Registration into the idnode's store in PostgreSQL; see benchmarks.register."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path

import asyncpg

from benchmarks.postgres import Postgres
from benchmarks.register_http import measure_http
from benchmarks.registration import PIECE, compare, settle_owner
from idnode.store.postgres.store import Place, PostgresStore

SETTINGS = {"shared_buffers": "512MB", "max_wal_size": "4GB", "checkpoint_timeout": "15min"}
"""As for a server that has a machine of its own."""
_TABLE = 'CREATE TABLE {} (key text COLLATE "C" PRIMARY KEY, content bytea NOT NULL)'
_INSERT = "INSERT INTO inserted SELECT * FROM unnest($1::text[], $2::bytea[])"


class Plain:
    """Tables of the store's form, and nothing else: what PostgreSQL can do here."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def copy(self, rows: Sequence[tuple[str, bytes]]) -> None:
        """By COPY."""
        for first in range(0, len(rows), PIECE):
            await self._connection.copy_records_to_table("copied", records=rows[first : first + PIECE])

    async def insert(self, rows: Sequence[tuple[str, bytes]]) -> None:
        """By one INSERT for PIECE rows."""
        for first in range(0, len(rows), PIECE):
            piece = rows[first : first + PIECE]
            await self._connection.execute(_INSERT, [key for key, _ in piece], [content for _, content in piece])


def measure_postgres(rounds: int, rows: int, identifiers: int, owner: str = "nobody") -> dict[str, float]:
    """All of it."""
    with Postgres(SETTINGS) as server:
        server.make()
        found = asyncio.run(_measure(server.url(), rounds, rows, identifiers, owner))
        size = int(server.sql("SELECT pg_total_relation_size('identifiers')"))
        with tempfile.TemporaryDirectory(prefix="mumian-register-") as folder:
            http = measure_http(Path(folder), rounds, rows, {"postgres": server.url()})
    return {**found, **http, "bytes_per_identifier": round(size / found["identifiers"])}


async def _measure(url: str, rounds: int, rows: int, identifiers: int, owner: str) -> dict[str, float]:
    connection = await asyncpg.connect(url)
    for name in ("copied", "inserted"):
        await connection.execute(_TABLE.format(name))
    store = PostgresStore(Place(url))
    await settle_owner(store, owner)
    plain = Plain(connection)
    references = {"plain_copy_rps": plain.copy, "plain_insert_rps": plain.insert}
    found = await compare(store, references, rounds, rows, identifiers)
    await store.close()
    await connection.close()
    return found
