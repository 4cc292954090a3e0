"""Messages on their way, and the joining of several records' into one. Pure; time is a parameter."""

from __future__ import annotations

from dataclasses import dataclass, field

MOST_BYTES = 256 * 1024
"""A batch that has so many is full."""


@dataclass(slots=True)
class Message:
    """A message and the records that it acknowledges."""

    topic: str
    seqs: list[int]
    parts: list[bytes]
    """One payload a record."""
    is_array: bool = False
    """The payload is a JSON array of the parts, of a single one too."""
    since: float = 0.0
    """When it was begun, in seconds of a monotonic clock."""
    part_bytes: int = 0
    is_historical: bool = False

    @property
    def payload(self) -> bytes:
        """What is published."""
        return b"[" + b",".join(self.parts) + b"]" if self.is_array else self.parts[0]

    def split(self) -> list[Message]:
        """Its records each in a message of its own."""
        pairs = zip(self.seqs, self.parts, strict=True)
        return [
            Message(self.topic, [seq], [part], self.is_array, part_bytes=len(part), is_historical=self.is_historical)
            for seq, part in pairs
        ]


@dataclass(slots=True)
class Batcher:
    """Joins messages of one topic, in their order, until there are enough or the first has waited long enough."""

    records: int
    """Most records of a message; 1 joins nothing."""
    age_s: float
    most_bytes: int = MOST_BYTES
    is_paused: bool = False
    """Each record goes alone."""
    _open: dict[tuple[str, bool], Message] = field(default_factory=dict)
    """By topic, and whether it is historical: the two never share a message."""

    def add(self, topic: str, seq: int, payload: bytes, now: float, *, historical: bool = False) -> list[Message]:
        """Take a record's message; return those that are ready, in order."""
        if self.records == 1:
            return [Message(topic, [seq], [payload], is_historical=historical)]
        ready = []
        key = (topic, historical)
        batch = self._open.get(key)
        if batch is not None and batch.part_bytes + len(payload) > self.most_bytes:
            ready.append(self._open.pop(key))
            batch = None
        if batch is None:
            batch = self._open[key] = Message(topic, [], [], is_array=True, since=now, is_historical=historical)
        batch.seqs.append(seq)
        batch.parts.append(payload)
        batch.part_bytes += len(payload) + 1
        if self.is_paused or len(batch.parts) >= self.records:
            ready.append(self._open.pop(key))
        return ready

    @property
    def due_at(self) -> float | None:
        """When the oldest batch has waited long enough."""
        return next((batch.since + self.age_s for batch in self._open.values()), None)

    def take_due(self, now: float) -> list[Message]:
        """The batches that have waited long enough, oldest first."""
        ready = []
        while (due_at := self.due_at) is not None and due_at <= now:
            ready.append(self._open.pop(next(iter(self._open))))
        return ready

    def clear(self) -> None:
        """Forget what wasn't given out."""
        self._open.clear()
