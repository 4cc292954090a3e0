"""From records to messages on their way and back: which packet identifier acknowledges which records. Sans-IO."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from gateway.sinks.batching import Batcher, Message
from gateway.sinks.blame import Blame
from gateway.sinks.packets import Publisher

_MOST_MIDS = 65_535


class Flow:
    """One sink's. A record is acknowledged when all its messages are, a message acknowledges all its records."""

    def __init__(self, batcher: Batcher) -> None:
        self.batcher = batcher
        self.blame = Blame()
        """Outlives connections, unlike all else."""
        self.acknowledged: list[int] = []
        self.rejected: list[tuple[int, str]] = []
        self._open: dict[int, int] = {}
        """Records handed over: how many of their messages are unacknowledged."""
        self._waiting: deque[Message] = deque()
        self._waiting_historical: deque[Message] = deque()
        self._is_turn_of_history = False
        self._in_flight: dict[int, Message] = {}
        """By packet identifier."""
        self._mid = 0

    @property
    def is_empty(self) -> bool:
        """Whether every record that was taken has been settled."""
        return not self._open

    @property
    def has_in_flight(self) -> bool:
        """Whether an acknowledgement is owed."""
        return bool(self._in_flight)

    @property
    def has_waiting(self) -> bool:
        """Whether messages are ready to be published."""
        return bool(self._waiting or self._waiting_historical)

    def seqs_in_flight(self) -> list[int]:
        """The records of the messages on their way, ascending."""
        return sorted({seq for message in self._in_flight.values() for seq in message.seqs})

    def take(self, seq: int, messages: list[tuple[str, bytes]], now: float, *, historical: bool = False) -> None:
        """A record's messages; one that makes none is acknowledged at once."""
        if not messages:
            self.acknowledged.append(seq)
            return
        self._open[seq] = len(messages)
        waiting = self._waiting_historical if historical else self._waiting
        for topic, payload in messages:
            waiting += self.batcher.add(topic, seq, payload, now, historical=historical)

    def take_due(self, now: float) -> bool:
        """Let the batches go that have waited long enough; whether there were any."""
        ready = self.batcher.take_due(now)
        for message in ready:
            self._waiting_of(message).append(message)
        return bool(ready)

    def _waiting_of(self, message: Message) -> deque[Message]:
        return self._waiting_historical if message.is_historical else self._waiting

    def _next(self) -> Message:
        """In turn, where both wait: the many messages of a historical record don't hold up a live one, nor the reverse."""
        history = self._waiting_historical
        if history and (self._is_turn_of_history or not self._waiting):
            self._is_turn_of_history = False
            return history.popleft()
        self._is_turn_of_history = True
        return self._waiting.popleft()

    def publish(self, publisher: Publisher, most_in_flight: int, largest_bytes: int | None) -> bytes:
        """The packets that may go now; `largest_bytes`: of a packet, as the broker says."""
        packets = []
        while self.has_waiting and len(self._in_flight) < most_in_flight:
            message = self._next()
            payload = message.payload
            if largest_bytes is not None and (size := publisher.most_bytes(message.topic, len(payload))) > largest_bytes:
                self.refuse(message, f"too large: {size} bytes, the broker takes {largest_bytes}")
                continue
            mid = self._next_mid()
            self._in_flight[mid] = message
            packets.append(publisher.packet(message.topic, mid, payload, message.seqs[0], historical=message.is_historical))
        return b"".join(packets)

    def pop(self, mid: int) -> Message | None:
        """The message of that packet identifier, which is free again."""
        return self._in_flight.pop(mid, None)

    def settle(self, seqs: Iterable[int]) -> None:
        """A message of those records was acknowledged."""
        for seq in seqs:
            left = self._open.pop(seq, 0) - 1
            if left > 0:
                self._open[seq] = left
            elif left == 0:
                self.acknowledged.append(seq)
                self.blame.note_passed(seq)

    def refuse(self, message: Message, reason: str) -> None:
        """The broker takes no such message: its records are tried one by one, a single one is rejected."""
        if len(message.seqs) > 1:
            self._waiting_of(message).extendleft(reversed(message.split()))
            return
        (seq,) = message.seqs
        if self._open.pop(seq, None) is not None:
            self.rejected.append((seq, reason))
            self.blame.note_passed(seq)

    def clear(self) -> None:
        """The connection is gone, and with it what was acknowledged and not asked for: it is sent again."""
        self.acknowledged = []
        for gone in (self._open, self._waiting, self._waiting_historical, self._in_flight, self.batcher):
            gone.clear()

    def _next_mid(self) -> int:
        while True:
            self._mid = self._mid % _MOST_MIDS + 1
            if self._mid not in self._in_flight:
                return self._mid
