"""The sink contract (gateway/sinks/base.py) as tests whose names are the specification: every sink subclasses SinkContract."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from typing import Protocol

import pytest

from gateway.outbox.base import Record, RecordKind
from gateway.sinks.base import Sink, SinkRefused, SinkUnreachable

GUARD_S = 20.0


class OtherSide(Protocol):
    """Whoever the sink delivers to, as a test commands it."""

    def received(self) -> list[int]:
        """Seqs of the records that have arrived, in order, repeats included."""

    async def wait_received(self, count: int) -> None:
        """Return once so many have arrived."""

    def hold(self) -> None:
        """From now on answer nothing, until release()."""

    def release(self) -> None:
        """Answer what was held, and go on."""

    def refuse_record(self, seq: int) -> None:
        """Call that record wrong when it comes."""

    def refuse_us(self) -> None:
        """Refuse the sink itself at its next open() or record."""

    async def go_away(self) -> None:
        """Break every connection and take no new one."""

    async def come_back(self) -> None:
        """Be there again."""

    async def close(self) -> None:
        """The test is over."""


class SinkContract(ABC):
    """What every sink does."""

    @abstractmethod
    async def make(self) -> tuple[Sink, OtherSide]:
        """A sink, not open yet, with a window of at least 4, and the one whom it delivers to, waiting."""

    @abstractmethod
    def record(self, seq: int) -> Record:
        """A record that this sink carries."""

    @pytest.fixture
    async def both(self) -> AsyncIterator[tuple[Sink, OtherSide]]:
        sink, other = await self.make()
        yield sink, other
        other.release()
        await sink.close()
        await other.close()

    def records(self, *seqs: int) -> Sequence[Record]:
        return [self.record(seq) for seq in seqs]

    async def acknowledged(self, sink: Sink, count: int) -> list[int]:
        seqs: list[int] = []
        async with asyncio.timeout(GUARD_S):
            while len(seqs) < count:
                seqs += await sink.acknowledged()
            await asyncio.sleep(0)  # a rejection that nobody asked for yet makes acknowledged() return at once
        return seqs

    async def test_what_was_taken_is_acknowledged_by_its_seq(self, both: tuple[Sink, OtherSide]) -> None:
        sink, _ = both
        await sink.open()
        sink.send(self.records(3, 4, 7))
        assert sorted(await self.acknowledged(sink, 3)) == [3, 4, 7]

    async def test_i6_records_of_both_lanes_arrive_and_are_acknowledged_each_lane_in_its_order(
        self, both: tuple[Sink, OtherSide]
    ) -> None:
        sink, other = both
        await sink.open()
        sink.send(self.records(8))
        sink.send(self.records(1, 2), historical=True)
        sink.send(self.records(9))
        assert sorted(await self.acknowledged(sink, 4)) == [1, 2, 8, 9]
        assert sorted(other.received()) == [1, 2, 8, 9]

    async def test_records_arrive_each_once(self, both: tuple[Sink, OtherSide]) -> None:
        sink, other = both
        await sink.open()
        sink.send(self.records(1, 2))
        await self.acknowledged(sink, 2)
        sink.send(self.records(3))
        await self.acknowledged(sink, 1)
        assert sorted(other.received()) == [1, 2, 3]

    async def test_nothing_is_acknowledged_before_the_other_side_has_answered(self, both: tuple[Sink, OtherSide]) -> None:
        sink, other = both
        await sink.open()
        other.hold()
        sink.send(self.records(1))
        waiting = asyncio.ensure_future(sink.acknowledged())
        async with asyncio.timeout(GUARD_S):
            await other.wait_received(1)
        assert not waiting.done()
        other.release()
        async with asyncio.timeout(GUARD_S):
            assert list(await waiting) == [1]

    async def test_a_record_refused_for_ever_is_rejected_with_a_reason_and_its_neighbours_are_taken(
        self, both: tuple[Sink, OtherSide]
    ) -> None:
        sink, other = both
        other.refuse_record(2)
        await sink.open()
        sink.send(self.records(1, 2, 3))
        assert sorted(await self.acknowledged(sink, 2)) == [1, 3]
        rejected = list(sink.rejected())
        async with asyncio.timeout(GUARD_S):
            while not rejected:
                assert list(await sink.acknowledged()) == []
                rejected += sink.rejected()
        assert [seq for seq, _ in rejected] == [2]
        assert rejected[0][1]
        assert list(sink.rejected()) == []

    async def test_nobody_there_is_unreachable(self, both: tuple[Sink, OtherSide]) -> None:
        sink, other = both
        await other.go_away()
        with pytest.raises(SinkUnreachable):
            await sink.open()

    async def test_sending_before_open_is_unreachable(self, both: tuple[Sink, OtherSide]) -> None:
        sink, _ = both
        with pytest.raises(SinkUnreachable):
            sink.send(self.records(1))

    async def test_a_broken_connection_is_unreachable_and_open_mends_it(self, both: tuple[Sink, OtherSide]) -> None:
        sink, other = both
        await sink.open()
        other.hold()
        sink.send(self.records(1))
        async with asyncio.timeout(GUARD_S):
            await other.wait_received(1)
            await other.go_away()
            with pytest.raises(SinkUnreachable):
                await sink.acknowledged()
            with pytest.raises(SinkUnreachable):
                sink.send(self.records(2))
            await other.come_back()
            other.release()
            await sink.open()
            sink.send(self.records(1, 2))
            assert sorted(await self.acknowledged(sink, 2)) == [1, 2]

    async def test_a_refusal_of_us_is_refused_and_rejects_no_record(self, both: tuple[Sink, OtherSide]) -> None:
        sink, other = both
        other.refuse_us()
        with pytest.raises(SinkRefused):  # noqa: PT012 -- at open() or at the first record, as the protocol has it
            async with asyncio.timeout(GUARD_S):
                await sink.open()
                sink.send(self.records(1))
                await sink.acknowledged()
        assert list(sink.rejected()) == []

    async def test_closing_is_safe_twice_and_before_open(self, both: tuple[Sink, OtherSide]) -> None:
        sink, _ = both
        await sink.close()
        await sink.open()
        await sink.close()
        await sink.close()
        with pytest.raises(SinkUnreachable):
            sink.send(self.records(1))

    def test_it_says_which_records_it_carries(self, both: tuple[Sink, OtherSide]) -> None:
        sink, _ = both
        assert self.record(1).kind in sink.kinds
        assert set(sink.kinds) <= set(RecordKind)
        assert sink.window >= 1
