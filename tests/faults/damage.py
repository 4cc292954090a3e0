"""Single flipped bits, and cuts, of a closed outbox file: what is delivered is what was stored, what is missing is told."""

from __future__ import annotations

import random
import shutil
from dataclasses import dataclass
from pathlib import Path

from gateway.outbox.base import Entry, OutboxError, RecordKind
from gateway.outbox.codec import Gap, decode_gap, is_gap
from gateway.outbox.sqlite import SqliteOutbox

RECORDS = 200
CARRIERS = {"broker": frozenset({RecordKind.TELEMETRY})}


@dataclass(slots=True)
class Verdict:
    """Over all files that were spoilt."""

    files: int = 0
    salvaged: int = 0
    missing: int = 0
    worst: int = 0
    """Records missing from one file with a flipped bit."""
    altered: int = 0
    untold: int = 0
    """Missing, and in no gap."""
    refused: int = 0
    """Files that were taken for a later version's: kept, and a person must act."""

    def __str__(self) -> str:
        return (
            f"damage: {self.files} files, {self.salvaged} salvaged, {self.refused} refused; {self.missing} records missing "
            f"(worst by one bit: {self.worst}), {self.untold} of them untold, {self.altered} altered"
        )


def text_of(seq: int) -> bytes:
    """The payload of a record of the original."""
    return f"record {seq} ".encode() + b"x" * (seq * 40)


async def spoil(scratch: Path, count: int, draw: random.Random) -> Verdict:
    """`count` copies, a tenth of them cut and the others with one bit flipped."""
    original = scratch / "original" / "outbox.db"
    outbox = SqliteOutbox(original, CARRIERS)
    await outbox.open()
    await outbox.append([Entry(RecordKind.TELEMETRY, text_of(seq), 1) for seq in range(1, RECORDS + 1)])
    await outbox.close()
    whole = original.read_bytes()
    verdict = Verdict()
    for number in range(count):
        folder = scratch / "copy"
        shutil.copytree(original.parent, folder)
        place = draw.randrange(len(whole))
        is_cut = number % 10 == 0
        data = bytearray(whole[:place] if is_cut else whole)
        if not is_cut:
            data[place] ^= 1 << draw.randrange(8)
        (folder / "outbox.db").write_bytes(data)
        await _judge(folder / "outbox.db", verdict, is_cut=is_cut)
        shutil.rmtree(folder)
    return verdict


async def _judge(path: Path, verdict: Verdict, *, is_cut: bool) -> None:
    verdict.files += 1
    outbox = SqliteOutbox(path, CARRIERS)
    try:
        await outbox.open()
    except OutboxError:
        verdict.refused += 1
        return
    sound: set[int] = set()
    gaps: list[Gap] = []
    for record in outbox.read(0, 10_000, CARRIERS["broker"]):
        if is_gap(record.payload):
            gaps.append(decode_gap(record.payload))
        elif record.payload == text_of(record.seq):
            sound.add(record.seq)
        else:
            verdict.altered += 1
    missing = set(range(1, RECORDS + 1)) - sound
    verdict.missing += len(missing)
    verdict.worst = verdict.worst if is_cut else max(verdict.worst, len(missing))
    verdict.untold += sum(not any(gap.first_seq <= seq <= gap.last_seq for gap in gaps) for seq in missing)
    verdict.salvaged += bool(outbox.findings)
    await outbox.close()
