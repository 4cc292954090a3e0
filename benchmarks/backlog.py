"""A long backlog: how soon a gateway is ready with it, and how fast it goes: python -m benchmarks.backlog --frames N."""

from __future__ import annotations

import argparse
import asyncio
import json
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np

from drivers.model import Frame, Kind, TagTable
from gateway.outbox.base import RecordKind
from gateway.outbox.codec import checksum, encode_record, encode_table, table_digest, table_key
from gateway.outbox.sqlite import SqliteOutbox
from gateway.outbox.store import reseal

TAGS = 10
CHUNK = 100_000
WINDOW = 1000
CARRIERS = {"broker": frozenset({RecordKind.TELEMETRY})}


def fill(path: Path, frames: int) -> None:
    """Store `frames` records of TAGS readings each, in transactions of CHUNK; append(), whose speed isn't asked, is left out."""
    table = encode_table(TagTable("press", tuple(f"t{n}" for n in range(TAGS)), (Kind.FLOAT,) * TAGS, (None,) * TAGS))
    digest = table_digest(table)
    tags = np.arange(TAGS, dtype=np.int32)
    frame = Frame("press", time.time_ns(), tags, np.arange(TAGS, dtype=np.float64), np.zeros(TAGS, np.uint32))
    payload = encode_record(digest, [frame])
    kind = int(RecordKind.TELEMETRY)

    def rows(first: int, last: int) -> Iterator[tuple[int, int, int, int, bytes]]:
        at_ns = time.time_ns()
        for seq in range(first, last + 1):
            yield seq, kind, at_ns, checksum(seq, kind, payload), payload

    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        for first in range(1, frames + 1, CHUNK):
            connection.execute("BEGIN")
            last = min(first + CHUNK - 1, frames)
            connection.executemany(
                "INSERT INTO record (seq, kind, at_ns, crc, payload) VALUES (?, ?, ?, ?, ?)", rows(first, last)
            )
            connection.execute("INSERT OR REPLACE INTO note VALUES (?, ?)", (table_key(digest), table))
            size = last * len(payload)
            connection.execute(
                "UPDATE book SET produced = ?, stored = ?, stored_bytes = ?, readings = ?", (last, last, size, last * TAGS)
            )
            reseal(connection)
            connection.execute("COMMIT")


async def drain(outbox: SqliteOutbox, seconds: float) -> tuple[int, float]:
    """Read and acknowledge a window at a time, as a sink without a wire would; records, and seconds that they took."""
    kinds = CARRIERS["broker"]
    start, count, after = time.perf_counter(), 0, 0
    while time.perf_counter() - start < seconds and (records := outbox.read(after, WINDOW, kinds)):
        count += len(records)
        after = records[-1].seq
        await outbox.acknowledge("broker", after)
        await asyncio.sleep(0)
    await outbox.append([], {"drained": b""})
    return count, time.perf_counter() - start


async def measure(path: Path, frames: int, drain_s: float) -> dict[str, float]:
    """Fill, open again, and drain for up to `drain_s`."""
    outbox = SqliteOutbox(path, CARRIERS)
    await outbox.open()
    await outbox.close()
    start = time.perf_counter()
    fill(path, frames)
    filled_s = time.perf_counter() - start
    outbox = SqliteOutbox(path, CARRIERS)
    start = time.perf_counter()
    await outbox.open()
    first = outbox.read(outbox.cursor("broker"), 1, CARRIERS["broker"])
    ready_s = time.perf_counter() - start
    if [record.seq for record in first] != [1] or outbox.findings:
        raise SystemExit(f"the backlog isn't there: {outbox.findings}")
    file_bytes = path.stat().st_size
    drained, took_s = await drain(outbox, drain_s)
    await outbox.close()
    return {
        "frames": frames,
        "readings": frames * TAGS,
        "fill_s": round(filled_s, 2),
        "ready_s": round(ready_s, 3),
        "drained": drained,
        "drain_frames_per_s": round(drained / took_s),
        "file_bytes": file_bytes,
        "bytes_per_frame": round(file_bytes / frames, 1),
    }


def main() -> None:
    """Print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=1_000_000)
    parser.add_argument("--drain-s", type=float, default=10.0)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mumian-backlog-") as folder:
        found = asyncio.run(measure(Path(folder) / "outbox.db", arguments.frames, arguments.drain_s))
    sys.stdout.write(json.dumps(found) + "\n" if arguments.json else "".join(f"{key}: {value}\n" for key, value in found.items()))


if __name__ == "__main__":
    main()
