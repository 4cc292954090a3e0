"""Faults while a damaged outbox file is salvaged: kills at its renames, syncs and writes, power cuts, and a full disk.

Whatever stops a salvage, the next start without a fault finds what a salvage without a fault finds, keeps the damaged file aside,
and tells what is missing.
"""

from __future__ import annotations

import asyncio
import random
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from gateway.outbox.base import Entry, OutboxError, RecordKind
from gateway.outbox.codec import decode_gap, is_gap
from gateway.outbox.sqlite import SqliteOutbox
from tests.faults.damage import RECORDS, text_of
from tests.faults.injection import KILL, Fault, run
from tests.faults.ledger import Ledger
from tests.faults.power import live
from tests.faults.scenario import CARRIERS

_TELEMETRY = frozenset({RecordKind.TELEMETRY})
_AT_ONCE = 20
_SPOILT_BYTES = 3000
_LAST = 45
"""Operations of a salvage in which the new file takes the old one's place, and is opened."""


async def make_damaged(folder: Path) -> None:
    """An outbox file of a gateway that was killed, its log beside it, with some pages overwritten."""
    alive = folder / "alive"
    outbox = SqliteOutbox(alive / "outbox.db", CARRIERS)
    await outbox.open()
    for first in range(1, RECORDS + 1, _AT_ONCE):
        seqs = range(first, first + _AT_ONCE)
        await outbox.append([Entry(RecordKind.TELEMETRY, text_of(seq), 1) for seq in seqs])
        if first == RECORDS // 2 + 1:
            assert outbox._raw is not None
            outbox._raw.execute("PRAGMA wal_checkpoint(PASSIVE)")
    for name in ("outbox.db", "outbox.db-wal", "outbox.db.mark"):
        shutil.copy(alive / name, folder / name)
    await outbox.close()
    shutil.rmtree(alive)
    path = folder / "outbox.db"
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + _SPOILT_BYTES] = b"\xff" * _SPOILT_BYTES
    path.write_bytes(data)


def kills_in_turn(number: int) -> Iterator[Fault]:
    """At each rename, sync and removal of a salvage, and at writes in between."""
    few = [Fault(calls, KILL, str(when)) for when in range(1, 7) for calls in ("rename", "fsync", "unlink")]
    yield from few[:number]
    for place in range(number - len(few)):
        yield Fault("pwrite64", KILL, str(1 + place * 7))


def kills_at_random(number: int, draw: random.Random) -> Iterator[Fault]:
    """At any call."""
    for _ in range(number):
        yield Fault("rename,fsync,fdatasync,unlink,pwrite64,ftruncate", KILL, str(draw.randrange(1, 180)))


def full_disks(number: int) -> Iterator[Fault]:
    """No space, or no disk, at the Nth call and from then on; every third time only once."""
    for place in range(number):
        calls = ("pwrite64", "fsync", "rename", "pwrite64")[place % 4]
        effect = ("error=ENOSPC", "error=ENOSPC", "error=EIO")[place % 5 % 3]
        yield Fault(calls, effect, f"{place // 4 * (6 if calls == 'pwrite64' else 1) + 1}{'' if place % 3 == 2 else '+'}")


class Salvages:
    """Copies of one damaged file, each salvaged under a fault and then without."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._original = scratch / "damaged"
        self._original.mkdir()
        asyncio.run(make_damaged(self._original))
        whole = scratch / "whole"
        shutil.copytree(self._original, whole)
        self._sound, unexplained = self._deliver(whole)
        assert 0 < len(self._sound) < RECORDS, unexplained
        assert not unexplained

    def meet(self, fault: Fault, number: int) -> tuple[Ledger, bool, list[str]]:
        """One of them: what was delivered, measured by what a salvage without a fault delivers; whether it was met; findings."""
        folder = self._scratch / f"salvage-{number}"
        shutil.copytree(self._original, folder)
        ending = run(fault, folder, [str(folder), "0"])
        ledger, unexplained = self._judge(folder, str(fault))
        shutil.rmtree(folder)
        return ledger, ending.is_met, [*ending.unexplained, *unexplained]

    def cut(self, at: int, seed: int) -> tuple[Ledger, bool, list[str]]:
        """As meet(), but the power goes at the `at`-th operation of the salvage (tests/faults/power.py)."""
        folder = self._scratch / f"cut-{at}-{seed}"
        folder.mkdir()
        shutil.copytree(self._original, folder / "before")
        life = live(folder, at, seed, rounds=0)
        ledger, unexplained = self._judge(folder / "after", f"cut at operation {at}, seed {seed}")
        shutil.rmtree(folder)
        return ledger, life.is_cut, unexplained

    def cuts(self, number: int, draw: random.Random) -> Iterator[Callable[[], tuple[Ledger, bool, list[str]]]]:
        """cut() at random operations, half of them where the new file takes the old one's place."""
        folder = self._scratch / "uncut"
        folder.mkdir()
        shutil.copytree(self._original, folder / "before")
        operations = live(folder, 1 << 40, 0, rounds=0).operations
        for _ in range(number):
            first = draw.choice((1, operations - _LAST))
            yield partial(self.cut, draw.randrange(first, operations), draw.randrange(1 << 30))

    def _judge(self, folder: Path, name: str) -> tuple[Ledger, list[str]]:
        delivered, unexplained = self._deliver(folder)
        ledger = Ledger()
        for seq, text in self._sound.items():
            ledger.take("A", ("", seq), text)
        for seq, text in delivered.items():
            ledger.take("D", ("", seq), text)
        return ledger, [f"{name}: {finding}" for finding in unexplained]

    def _deliver(self, folder: Path) -> tuple[dict[int, str], list[str]]:
        """Records by seq that come out, each found to be what was stored; and what is wrong beside it."""
        return asyncio.run(self._read(folder))

    async def _read(self, folder: Path) -> tuple[dict[int, str], list[str]]:
        outbox = SqliteOutbox(folder / "outbox.db", CARRIERS)
        try:
            await outbox.open()
        except OutboxError as error:
            return {}, [f"it can't be opened any more: {error}"]
        delivered: dict[int, str] = {}
        told: set[int] = set()
        for record in outbox.read(0, 10_000, _TELEMETRY):
            if is_gap(record.payload):
                gap = decode_gap(record.payload)
                told.update(range(gap.first_seq, gap.last_seq + 1))
            else:
                delivered[record.seq] = record.payload.decode("utf-8", "replace")
        await outbox.close()
        unexplained = [f"seq {seq} is altered" for seq, text in delivered.items() if text.encode() != text_of(seq)]
        untold = set(range(1, RECORDS + 1)) - set(delivered) - told
        unexplained += [f"{len(untold)} missing records are in no gap"] * bool(untold)
        if not list(folder.glob("outbox.db.damaged-*")):
            unexplained.append("the damaged file was not kept")
        return delivered, unexplained
