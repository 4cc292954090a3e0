"""Files of the idnode's store as schema 1 kept them."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from idnode.store.schema import APPLICATION_ID, migrations

PREFIX = "88.100.1"
CHANGED_EVERY = 3
"""Each third identifier has two versions, each sixth three."""


def texts(number: int) -> list[str]:
    """What the versions of an identifier say, the first first."""
    count = 1 if number % CHANGED_EVERY else 2 + (number % (2 * CHANGED_EVERY) == 0)
    return [f"{number}.{version}:" + "泵" * 100 for version in range(1, count + 1)]


def make_schema_1(path: Path, count: int) -> None:
    """A file with an enterprise, its prefix and `count` identifiers `I00000`, ...; each has a kept and a changing value."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.executescript(f"BEGIN;{migrations()[0]};PRAGMA user_version = 1;")
        connection.execute(
            "INSERT INTO enterprises VALUES ('pumpworks', 1, ?, '木棉泵业', 'Mumian Pump Works', 'public', 'admin', 1)", (PREFIX,)
        )
        for number in range(count):
            *earlier, last = _rows(number)
            connection.executemany("INSERT INTO versions VALUES (?, ?, ?, ?, ?, ?, ?)", earlier)
            connection.execute("INSERT INTO identifiers VALUES (?, ?, ?, ?, ?, ?, ?)", last)
        connection.execute("COMMIT")


def _rows(number: int) -> Iterator[tuple[object, ...]]:
    event = f"ni:{number}" if number % 5 == 0 else None
    for version, text in enumerate(texts(number), 1):
        kept = _value(1, "HS_ADMIN", {"format": "admin", "value": {"handle": "0.NA/88", "size": 10**30}}, 1000)
        changed = _value(2, "DESC", {"format": "string", "value": text}, 1000 * version)
        content = json.dumps([kept, changed], ensure_ascii=False).encode()
        yield PREFIX, f"I{number:05d}", version, content, 1000 * version, f"author-{version}", event


def _value(index: int, kind: str, data: object, timestamp_ms: int) -> dict[str, object]:
    return {"index": index, "type": kind, "data": data, "ttl_s": 60, "permissions": 14, "timestamp_ms": timestamp_ms}
