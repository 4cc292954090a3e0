"""A fixed scenario for a process that is to be killed: append, deliver, acknowledge, close.

python -m tests.faults.scenario FOLDER ROUNDS [--life N] [--pragma NAME=VALUE ...]. Prints "A epoch seq text" when a record is
safe, "D epoch seq text" when one is delivered. A disk that stays full ends it with OutboxFull.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from gateway.outbox.base import Entry, OutboxFull, RecordKind
from gateway.outbox.codec import is_gap
from gateway.outbox.gathering import Gathering
from gateway.outbox.sqlite import SqliteOutbox

CARRIERS = {"broker": frozenset({RecordKind.TELEMETRY}), "node": frozenset({RecordKind.PRODUCT})}
AT_ONCE = 4
WINDOW = 3
IN_FLIGHT = len(CARRIERS) * (WINDOW - 1)
"""Most records that are delivered before a commit carries their acknowledgements: what a fault may repeat."""
PATIENCE = 100
"""Appends that a full disk may refuse in a row."""
BOTH = frozenset(RecordKind)


def say(what: str, epoch: str, seq: int, text: bytes) -> None:
    sys.stdout.write(f"{what} {epoch} {seq} {text.decode()}\n")
    sys.stdout.flush()


async def append_one(outbox: SqliteOutbox, text: bytes, kind: RecordKind) -> None:
    for attempt in range(PATIENCE):
        try:
            (seq,) = await outbox.append([Entry(kind, text, 1)], {"last": text})
        except OutboxFull:
            if attempt == PATIENCE - 1:
                raise
            await asyncio.sleep(0)
        else:
            say("A", outbox.epoch, seq, text)
            return


async def deliver(outbox: SqliteOutbox, limit: int) -> int:
    """Records that go out, and are acknowledged by those that carry their kind."""
    count = 0
    for sink, kinds in CARRIERS.items():
        for record in outbox.read(outbox.cursor(sink), limit, kinds):
            count += 1
            if not is_gap(record.payload):
                say("D", outbox.epoch, record.seq, record.payload)
            await outbox.acknowledge(sink, record.seq)
    return count


async def run(folder: Path, rounds: int, life: int = 0, pragmas: Sequence[str] = ()) -> None:
    """`life`: makes the texts of this process its own; `pragmas`: for the connection that writes, e.g. synchronous=OFF."""
    outbox = SqliteOutbox(folder / "outbox.db", CARRIERS, gathering=Gathering(0.0))
    await outbox.open()
    assert outbox._raw is not None
    for pragma in pragmas:
        outbox._raw.execute(f"PRAGMA {pragma}")
    try:
        for number in range(rounds):
            texts = [f"{life}.{number}.{place}:".encode() + b"x" * (1500 * place) for place in range(AT_ONCE)]
            kinds = [RecordKind.TELEMETRY, RecordKind.PRODUCT, RecordKind.TELEMETRY, RecordKind.TELEMETRY]
            await asyncio.gather(*(append_one(outbox, text, kind) for text, kind in zip(texts, kinds, strict=True)))
            await deliver(outbox, WINDOW - 1)
    finally:
        await outbox.close()


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("rounds", type=int)
    parser.add_argument("--life", type=int, default=0)
    parser.add_argument("--pragma", action="append", default=[])
    arguments = parser.parse_args()
    asyncio.run(run(arguments.folder, arguments.rounds, arguments.life, arguments.pragma))


if __name__ == "__main__":
    main()
