"""A process that appends until it is killed: python -m tests.gateway.appending FOLDER [RECORDS]."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from gateway.outbox.base import Entry, OutboxFull, RecordKind
from gateway.outbox.sqlite import SqliteOutbox


async def append_one(outbox: SqliteOutbox, seq: int) -> None:
    """Append "record <seq>", again when there is no space; print its seq when it is safe."""
    text = f"record {seq}".encode()
    while True:
        try:
            (stored,) = await outbox.append([Entry(RecordKind.TELEMETRY, text, 1)], {"last": text})
        except OutboxFull as error:
            sys.stderr.write(f"OutboxFull: {error}\n")
        else:
            sys.stdout.write(f"{stored}\n")
            sys.stdout.flush()
            return


async def append_for_ever(folder: Path, count: int | None) -> None:
    """Five at once, so that they share commits."""
    outbox = SqliteOutbox(folder / "outbox.db", {"broker": frozenset({RecordKind.TELEMETRY})})
    await outbox.open()
    try:
        before = outbox.read(0, 1_000_000, frozenset(RecordKind))
        seq = before[-1].seq if before else 0
        while count is None or seq < count:
            await asyncio.gather(*(append_one(outbox, seq + n) for n in range(1, 6)))
            seq += 5
    finally:
        await outbox.close()


if __name__ == "__main__":
    asyncio.run(append_for_ever(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else None))
