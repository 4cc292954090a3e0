"""What a faulty run acknowledged and delivered, and what comes out of its outbox afterwards: the verdict."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from gateway.outbox.codec import is_gap
from gateway.outbox.sqlite import SqliteOutbox
from tests.faults.scenario import CARRIERS

Name = tuple[str, int]


@dataclass(slots=True)
class Ledger:
    """Of one run, by (epoch, seq)."""

    acknowledged: dict[Name, str] = field(default_factory=dict)
    delivered: dict[Name, set[str]] = field(default_factory=dict)
    repeats: int = 0

    def read(self, output: str) -> None:
        """What the scenario printed; a line that was cut by a kill counts for nothing."""
        for line in output.splitlines(keepends=True):
            parts = line.rstrip("\n").split(" ")
            if line.endswith("\n") and len(parts) == 4:
                self.take(parts[0], (parts[1], int(parts[2])), parts[3])

    def take(self, what: str, name: Name, text: str) -> None:
        """One line."""
        if what == "A":
            self.acknowledged[name] = text
        else:
            texts = self.delivered.setdefault(name, set())
            self.repeats += text in texts
            texts.add(text)

    @property
    def lost(self) -> list[Name]:
        """Acknowledged and never delivered."""
        return [name for name in self.acknowledged if name not in self.delivered]

    @property
    def altered(self) -> list[Name]:
        """Delivered in two ways, or otherwise than it was acknowledged."""
        return [
            name for name, texts in self.delivered.items() if len(texts) > 1 or self.acknowledged.get(name, *texts) not in texts
        ]

    @property
    def doubled(self) -> int:
        """Texts that came under two names: repeats that a consumer can't tell."""
        texts = Counter(text for found in self.delivered.values() for text in found)
        return sum(count - 1 for count in texts.values())

    def copy(self) -> Ledger:
        """One that goes on by itself."""
        return Ledger(dict(self.acknowledged), {name: set(texts) for name, texts in self.delivered.items()}, self.repeats)


async def drain(folder: Path, ledger: Ledger) -> SqliteOutbox:
    """Open the outbox after a fault, without one, and deliver all of it; returns it, closed."""
    outbox = SqliteOutbox(folder / "outbox.db", CARRIERS)
    await outbox.open()
    for sink, kinds in CARRIERS.items():
        for record in outbox.read(outbox.cursor(sink), 1_000_000, kinds):
            if not is_gap(record.payload):
                ledger.take("D", (outbox.epoch, record.seq), record.payload.decode())
            await outbox.acknowledge(sink, record.seq)
    await outbox.append([], {"drained": b""})
    await outbox.close()
    counts = outbox.counts()
    if counts.produced != counts.removed + counts.stored + sum(counts.dropped.values()) or counts.stored:
        raise AssertionError(f"the books are off: {counts}")
    return outbox
