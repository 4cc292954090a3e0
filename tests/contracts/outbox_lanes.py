"""I6 at the outbox: a sink acknowledges in several lanes. Every implementation subclasses LanesContract."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.outbox import ranges
from gateway.outbox.base import Outbox, RecordKind
from gateway.outbox.bounds import Limits
from gateway.outbox.codec import decode_gap, is_gap
from gateway.outbox.ranges import Ranges
from tests.contracts.outbox_contract import (
    BOTH,
    CARRIERS,
    TELEMETRY,
    OpenableOutbox,
    assert_balanced,
    gaps,
    product,
    reading,
)

SINKS = tuple(sink for sink, kinds in CARRIERS.items() if RecordKind.TELEMETRY in kinds)
MOVES = 120


async def commit(outbox: Outbox) -> None:
    """Let what may be committed late be."""
    await outbox.append([], {"now": b""})


def seqs(outbox: Outbox, after: int = 0, until: int | None = None, limit: int = 1000, *, newest: bool = False) -> list[int]:
    return [record.seq for record in outbox.read(after, limit, TELEMETRY, until, newest=newest)]


class Lanes:
    """A sink as a model: reads slices of what waits for it, from either end of any hole, and acknowledges them later."""

    def __init__(self, name: str, outbox: Outbox, chance: random.Random) -> None:
        self.name = name
        self.outbox = outbox
        self.got: set[int] = set()
        """Seqs that came, or that a gap told of."""
        self.chance = chance
        self._in_flight: list[tuple[int, int, set[int]]] = []

    def reopened(self, outbox: Outbox) -> None:
        """The process was killed: what was in flight is forgotten."""
        self.outbox = outbox
        self._in_flight = []

    def _unsent(self) -> Ranges:
        sent = self.outbox.acknowledged(self.name)
        for after, through, _ in self._in_flight:
            sent = ranges.add(sent, after + 1, through)
        return ranges.holes(sent, 1, self.outbox.last_seq)

    def read(self) -> None:
        unsent = self._unsent()
        if not unsent:
            return
        first, last = self.chance.choice(unsent)
        limit = self.chance.randint(1, 4)
        newest = self.chance.random() < 0.5
        records = self.outbox.read(first - 1, limit, TELEMETRY, last, newest=newest)
        after, through = first - 1, last
        if len(records) == limit:
            after, through = (records[0].seq - 1, last) if newest else (first - 1, records[-1].seq)
        told: set[int] = set()
        for record in records:
            gap = decode_gap(record.payload) if is_gap(record.payload) else None
            told.update(range(gap.first_seq, gap.last_seq + 1) if gap else (record.seq,))
        self._in_flight.append((after, through, told))
        slices = {edge for after, through, _ in self._in_flight for edge in (after, through)}
        self.outbox.fence(self.name, slices)

    async def acknowledge(self) -> None:
        if self._in_flight:
            after, through, told = self._in_flight.pop(self.chance.randrange(len(self._in_flight)))
            self.got |= told
            await self.outbox.acknowledge(self.name, through, after)

    async def finish(self) -> None:
        while self._unsent() or self._in_flight:
            self.read()
            await self.acknowledge()


class LanesContract(ABC):
    """What every outbox does for a sink with several lanes."""

    @abstractmethod
    def make(self, folder: Path, limits: Limits | None = None) -> OpenableOutbox:
        """As OutboxContract.make."""

    async def kill(self, outbox: OpenableOutbox, folder: Path, limits: Limits | None) -> OpenableOutbox:
        """What stands after the process was killed; the same object where there is no disk."""
        return outbox

    @pytest.fixture
    async def outbox(self, tmp_path: Path) -> AsyncIterator[Outbox]:
        outbox = self.make(tmp_path)
        await outbox.open()
        yield outbox
        await outbox.close()

    async def test_a_read_ends_where_it_is_told(self, outbox: Outbox) -> None:
        await outbox.append([reading() for _ in range(6)])
        assert seqs(outbox, 1, 4) == [2, 3, 4]
        assert seqs(outbox, 1, 4, limit=2) == [2, 3]
        assert seqs(outbox, 4, 4) == []

    async def test_the_newest_of_a_span_come_ascending(self, outbox: Outbox) -> None:
        await outbox.append([reading(), product(), reading(), reading(), reading()])
        assert seqs(outbox, 0, 4, limit=2, newest=True) == [3, 4]
        assert seqs(outbox, 0, 3, limit=2, newest=True) == [1, 3]
        assert seqs(outbox, 0, None, limit=1, newest=True) == [5]

    async def test_a_record_says_when_it_was_stored(self, outbox: Outbox) -> None:
        await outbox.append([reading(), reading()])
        (one, other) = outbox.read(0, 2, TELEMETRY)
        assert 1_700_000_000_000_000_000 < one.at_ns <= other.at_ns
        assert outbox.read(0, 2, TELEMETRY, 2, newest=True) == [one, other]

    async def test_what_is_acknowledged_ahead_is_known_and_the_cursor_stays(self, outbox: Outbox) -> None:
        await outbox.append([reading() for _ in range(9)])
        await outbox.acknowledge("broker", 8, 5)
        assert (outbox.cursor("broker"), outbox.acknowledged("broker")) == (0, ((6, 8),))
        await outbox.acknowledge("broker", 2)
        assert (outbox.cursor("broker"), outbox.acknowledged("broker")) == (2, ((1, 2), (6, 8)))
        await outbox.acknowledge("broker", 5, 2)
        assert (outbox.cursor("broker"), outbox.acknowledged("broker")) == (8, ((1, 8),))

    async def test_i6_a_record_goes_when_every_sink_of_its_kind_has_it_in_whatever_lane(self, outbox: Outbox) -> None:
        await outbox.append([reading() for _ in range(9)])
        await outbox.acknowledge("broker", 9, 5)
        await outbox.acknowledge("second", 7)
        await commit(outbox)
        assert seqs(outbox) == [1, 2, 3, 4, 5, 8, 9]
        assert outbox.counts().removed == 2
        assert_balanced(outbox)
        await outbox.acknowledge("second", 9, 8)
        await outbox.acknowledge("broker", 1)
        await commit(outbox)
        assert seqs(outbox) == [2, 3, 4, 5, 8]
        assert_balanced(outbox)

    async def test_beyond_the_most_ranges_the_shortest_is_forgotten_and_its_records_wait_again(self, outbox: Outbox) -> None:
        await outbox.append([reading() for _ in range(4 * ranges.MOST)])
        await outbox.acknowledge("second", 4 * ranges.MOST)
        for place in range(ranges.MOST):
            await outbox.acknowledge("broker", 4 * place + 2, 4 * place)
        assert len(outbox.acknowledged("broker")) == ranges.MOST
        await outbox.acknowledge("broker", 4 * ranges.MOST, 4 * ranges.MOST - 1)
        assert len(outbox.acknowledged("broker")) == ranges.MOST
        await commit(outbox)
        assert 4 * ranges.MOST in seqs(outbox)
        await outbox.acknowledge("broker", 4 * ranges.MOST)
        await commit(outbox)
        assert seqs(outbox) == []
        assert_balanced(outbox)

    async def test_a_gap_tells_each_sink_of_what_it_has_not_had_and_never_across_lanes(self, tmp_path: Path) -> None:
        """The second is away; the broker's live lane is ahead when its history is dropped, with what only the second owes."""
        outbox = self.make(tmp_path, Limits(max_bytes=300))
        await outbox.open()
        await outbox.append([reading("x" * 30) for _ in range(10)])
        await outbox.acknowledge("broker", 8, 5)
        await outbox.append([reading("x" * 210)])
        assert [(told.first_seq, told.last_seq) for told in gaps(outbox)] == [(1, 5), (6, 7)]
        assert [told.last_seq for told in gaps(outbox) if not ranges.has(outbox.acknowledged("broker"), told.last_seq)] == [5]
        assert_balanced(outbox)
        await outbox.close()

    async def test_a_gap_does_not_cross_a_fence(self, tmp_path: Path) -> None:
        outbox = self.make(tmp_path, Limits(max_bytes=300))
        await outbox.open()
        await outbox.append([reading("x" * 30) for _ in range(10)])
        outbox.fence("broker", [3])
        await outbox.append([reading("x" * 150)])
        assert [(told.first_seq, told.last_seq) for told in gaps(outbox)] == [(1, 3), (4, 5)]
        await outbox.close()

    @pytest.mark.parametrize("seed", range(12))
    async def test_i4_and_i6_whatever_is_appended_dropped_acknowledged_and_killed(self, seed: int, tmp_path: Path) -> None:
        """Against a model: only what somebody still wants is stored, the books balance, and whoever misses a record was told."""
        chance = random.Random(seed)
        limits = Limits(max_bytes=chance.choice([400, 1200, 1 << 20]))
        outbox = self.make(tmp_path, limits)
        await outbox.open()
        sinks = [Lanes(name, outbox, chance) for name in SINKS]
        telemetry: set[int] = set()
        for _ in range(MOVES):
            move = chance.random()
            if move < 0.35:
                kinds = chance.choices([reading, product], [9, 1], k=chance.randint(1, 6))
                span = await outbox.append([make("x" * 30) for make in kinds])
                telemetry.update(seq for seq, make in zip(span, kinds, strict=True) if make is reading)
            elif move < 0.65:
                chance.choice(sinks).read()
            elif move < 0.95:
                await chance.choice(sinks).acknowledge()
            else:
                await commit(outbox)
                outbox = await self.kill(outbox, tmp_path, limits)
                for sink in sinks:
                    sink.reopened(outbox)
            await commit(outbox)
            self.assert_as_wanted(outbox)
        for sink in sinks:
            await sink.finish()
        await outbox.acknowledge("node", outbox.last_seq)
        await commit(outbox)
        counts = outbox.counts()
        assert (counts.stored, counts.gaps) == (0, 0)
        assert counts.produced == counts.removed + sum(counts.dropped.values())
        assert [sorted(telemetry - sink.got) for sink in sinks] == [[], []]
        await outbox.close()

    def assert_as_wanted(self, outbox: Outbox) -> None:
        """I2 and I4: nothing is stored that everybody has."""
        assert_balanced(outbox)
        released = ranges.common_to_all(outbox.acknowledged(sink) for sink in SINKS)
        for record in outbox.read(0, 100_000, BOTH):
            if record.kind is RecordKind.TELEMETRY:
                assert not ranges.has(released, record.seq)
