"""A process that drains a backlog beside live records, to be killed: python -m tests.e2e.draining FOLDER ORDER SEED.

The real forwarder on the real outbox file, and a sink that acknowledges in its own time. Prints "A epoch seq text" when a record
is safe and "D epoch seq text" when one arrives, and before that "L epoch seq" or "H epoch seq" for its lane.
"""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import Sequence
from pathlib import Path

from gateway.backoff import Backoff
from gateway.clock import SystemClock
from gateway.forwarder import Forwarder
from gateway.lanes import Drain, LanePolicy
from gateway.log import Log
from gateway.outbox.base import Entry, Record, RecordKind
from gateway.outbox.sqlite import SqliteOutbox
from gateway.sinks.base import SinkUnreachable

CARRIERS = {"broker": frozenset({RecordKind.TELEMETRY})}
LATE_S = 0.05
"""What waits longer is history: all that an earlier process left behind."""


def say(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


class SlowSink:
    """Acknowledges what it has in small lots, out of order, and breaks now and then."""

    name = "broker"
    kinds = CARRIERS["broker"]
    window = 20

    def __init__(self, epoch: str, chance: random.Random) -> None:
        self._epoch = epoch
        self._chance = chance
        self._owed: list[int] = []

    async def open(self) -> None:
        self._owed = []

    def send(self, records: Sequence[Record], *, historical: bool = False) -> None:
        for record in records:
            say("H" if historical else "L", self._epoch, record.seq)
            say("D", self._epoch, record.seq, record.payload.decode())
        self._owed += [record.seq for record in records]

    async def acknowledged(self) -> Sequence[int]:
        while True:
            await SystemClock().sleep_until(SystemClock().monotonic() + 0.001)
            if self._chance.random() < 0.005:
                raise SinkUnreachable("scripted")
            if self._owed:
                count = self._chance.randint(1, len(self._owed))
                return [self._owed.pop(self._chance.randrange(len(self._owed))) for _ in range(count)]

    def rejected(self) -> Sequence[tuple[int, str]]:
        return ()

    async def close(self) -> None:
        self._owed = []


async def run(folder: Path, drain: Drain, seed: int) -> None:
    outbox = SqliteOutbox(folder / "outbox.db", CARRIERS)
    await outbox.open()
    chance = random.Random(seed)
    forwarder = Forwarder(
        outbox,
        SlowSink(outbox.epoch, chance),
        clock=SystemClock(),
        backoff=Backoff(lambda low, _: low),
        log=Log("test"),
        policy=LanePolicy(LATE_S, 0.5, drain),
    )
    forwarding = asyncio.create_task(forwarder.run())
    while not forwarding.done():
        texts = [f"{seed}.{outbox.last_seq}.{place}" for place in range(chance.randint(1, 30))]
        seqs = await outbox.append([Entry(RecordKind.TELEMETRY, text.encode(), 1) for text in texts])
        for seq, text in zip(seqs, texts, strict=True):
            say("A", outbox.epoch, seq, text)
    await forwarding


if __name__ == "__main__":
    asyncio.run(run(Path(sys.argv[1]), Drain(sys.argv[2]), int(sys.argv[3])))
