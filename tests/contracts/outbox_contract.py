"""The outbox contract as tests: every implementation subclasses OutboxContract, those on a disk DurableOutboxContract.

The names are the specification (gateway/outbox/base.py); I1 to I7 are the invariants of the architecture.
"""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Protocol

import pytest

from drivers.model import Kind, TagTable
from gateway.outbox.base import Entry, Outbox, OutboxBusy, OutboxFailed, OutboxFull, RecordKind
from gateway.outbox.bounds import Limits, WhenFull
from gateway.outbox.codec import Gap, decode_gap, encode_record, encode_table, is_gap, table_digest, table_key

TELEMETRY = frozenset({RecordKind.TELEMETRY})
PRODUCTS = frozenset({RecordKind.PRODUCT})
BOTH = TELEMETRY | PRODUCTS
CARRIERS: Mapping[str, frozenset[RecordKind]] = {"broker": TELEMETRY, "second": TELEMETRY, "node": PRODUCTS}
GUARD_S = 20.0


class OpenableOutbox(Outbox, Protocol):
    """An outbox as a test holds it."""

    async def open(self) -> None: ...


def reading(text: str = "x", readings: int = 1) -> Entry:
    return Entry(RecordKind.TELEMETRY, text.encode(), readings)


def product(text: str = "{}") -> Entry:
    return Entry(RecordKind.PRODUCT, text.encode(), 0)


def payloads(outbox: Outbox, after: int = 0, kinds: frozenset[RecordKind] = BOTH) -> list[bytes]:
    """Of what is no gap."""
    return [record.payload for record in outbox.read(after, 1000, kinds) if not is_gap(record.payload)]


def gaps(outbox: Outbox, after: int = 0) -> list[Gap]:
    """In the order in which a sink meets them."""
    return [decode_gap(record.payload) for record in outbox.read(after, 1000, TELEMETRY) if is_gap(record.payload)]


def reading_of(device: str, priority: int | None = None, size: int = 30) -> tuple[Entry, dict[str, bytes]]:
    """A record that names its device as real ones do, padded to `size` bytes beyond its head; and the note that it needs."""
    stored = encode_table(TagTable(device, ("tag",), (Kind.FLOAT,), (None,)), priority)
    digest = table_digest(stored)
    payload = encode_record(digest, []) + bytes(size)
    return Entry(RecordKind.TELEMETRY, payload, 1), {table_key(digest): stored}


def assert_balanced(outbox: Outbox) -> None:
    """I4: produced = removed + stored + dropped."""
    counts = outbox.counts()
    assert counts.produced == counts.removed + counts.stored + sum(counts.dropped.values())
    assert counts.stored == sum(not is_gap(record.payload) for record in outbox.read(0, 1_000_000, BOTH))


class OutboxContract(ABC):
    """What every outbox does."""

    @abstractmethod
    def make(self, folder: Path, limits: Limits | None = None) -> OpenableOutbox:
        """An outbox with CARRIERS, not open yet; on a disk, the one of that folder."""

    @pytest.fixture
    async def outbox(self, tmp_path: Path) -> AsyncIterator[Outbox]:
        outbox = self.make(tmp_path)
        await outbox.open()
        yield outbox
        await outbox.close()

    async def settle(self, outbox: Outbox) -> None:
        """Wait until what may be committed late has been: an append carries it along."""
        await outbox.append([reading("settle")])

    async def test_what_was_appended_is_read_in_order(self, outbox: Outbox) -> None:
        seqs = await outbox.append([reading("a"), product("b"), reading("c")])
        records = outbox.read(0, 10, BOTH)
        assert [(record.seq, record.payload) for record in records] == list(zip(seqs, (b"a", b"b", b"c"), strict=True))
        assert [record.kind for record in records] == [RecordKind.TELEMETRY, RecordKind.PRODUCT, RecordKind.TELEMETRY]

    async def test_seqs_ascend_without_a_gap_over_concurrent_appends(self, outbox: Outbox) -> None:
        spans = await asyncio.gather(*(outbox.append([reading(f"{n}.0"), reading(f"{n}.1")]) for n in range(50)))
        assert sorted(seq for span in spans for seq in span) == list(range(1, 101))
        assert all(len(span) == 2 for span in spans)

    async def test_appends_keep_the_order_of_their_calls(self, outbox: Outbox) -> None:
        """I3."""
        await asyncio.gather(*(outbox.append([reading(str(n))]) for n in range(20)))
        assert payloads(outbox) == [str(n).encode() for n in range(20)]

    async def test_reading_takes_nothing_away(self, outbox: Outbox) -> None:
        await outbox.append([reading("a")])
        assert payloads(outbox) == payloads(outbox) == [b"a"]

    async def test_reading_starts_behind_the_given_seq_and_stops_at_the_limit(self, outbox: Outbox) -> None:
        await outbox.append([reading(str(n)) for n in range(5)])
        assert [record.seq for record in outbox.read(2, 2, BOTH)] == [3, 4]

    async def test_reading_gives_only_the_kinds_asked_for(self, outbox: Outbox) -> None:
        await outbox.append([reading("a"), product("b"), reading("c")])
        assert payloads(outbox, kinds=PRODUCTS) == [b"b"]
        assert payloads(outbox, kinds=TELEMETRY) == [b"a", b"c"]

    async def test_an_append_of_nothing_gives_no_seq(self, outbox: Outbox) -> None:
        assert len(await outbox.append([])) == 0
        assert await outbox.append([reading()]) == range(1, 2)

    async def test_a_new_sink_gets_all_that_is_stored(self, outbox: Outbox) -> None:
        await outbox.append([reading("a")])
        assert outbox.cursor("broker") == 0

    async def test_only_an_acknowledgement_removes_a_record(self, outbox: Outbox) -> None:
        """I2."""
        await outbox.append([reading("a"), reading("b")])
        outbox.read(0, 10, BOTH)
        await self.settle(outbox)
        assert payloads(outbox)[:2] == [b"a", b"b"]
        assert outbox.counts().removed == 0

    async def test_a_record_goes_once_every_sink_of_its_kind_has_passed_it(self, outbox: Outbox) -> None:
        await outbox.append([reading("a"), reading("b")])
        await outbox.acknowledge("broker", 2)
        await self.settle(outbox)
        assert payloads(outbox)[:2] == [b"a", b"b"]
        await outbox.acknowledge("second", 1)
        await self.settle(outbox)
        assert payloads(outbox)[0] == b"b"
        assert outbox.counts().removed == 1

    async def test_a_sink_that_is_away_holds_only_the_kinds_it_carries(self, outbox: Outbox) -> None:
        await outbox.append([reading("a"), product("b"), reading("c")])
        await outbox.acknowledge("broker", 3)
        await outbox.acknowledge("second", 3)
        await self.settle(outbox)
        assert payloads(outbox, kinds=PRODUCTS) == [b"b"]
        assert b"a" not in payloads(outbox)

    async def test_a_cursor_never_goes_back(self, outbox: Outbox) -> None:
        await outbox.append([reading(), reading(), reading()])
        await outbox.acknowledge("broker", 3)
        await outbox.acknowledge("broker", 1)
        assert outbox.cursor("broker") == 3

    async def test_seqs_go_on_after_the_last_record_has_gone(self, outbox: Outbox) -> None:
        await outbox.append([reading(), reading()])
        for sink in ("broker", "second"):
            await outbox.acknowledge(sink, 2)
        assert await outbox.append([reading()]) == range(3, 4)

    async def test_a_waiter_returns_at_the_first_record_of_its_kinds(self, outbox: Outbox) -> None:
        waiting = asyncio.ensure_future(outbox.wait(0, PRODUCTS))
        await outbox.append([reading()])
        assert not waiting.done()
        await outbox.append([product()])
        async with asyncio.timeout(GUARD_S):
            await waiting

    async def test_a_waiter_for_what_is_there_returns_at_once(self, outbox: Outbox) -> None:
        await outbox.append([reading()])
        async with asyncio.timeout(GUARD_S):
            await outbox.wait(0, TELEMETRY)

    async def test_notes_change_together_with_entries(self, outbox: Outbox) -> None:
        assert outbox.note("state") is None
        await outbox.append([product()], {"state": b"1", "other": b"2"})
        await outbox.append([], {"state": b"3"})
        assert (outbox.note("state"), outbox.note("other")) == (b"3", b"2")

    async def test_the_last_note_of_concurrent_appends_stays(self, outbox: Outbox) -> None:
        await asyncio.gather(*(outbox.append([reading()], {"n": str(n).encode()}) for n in range(10)))
        assert outbox.note("n") == b"9"

    async def test_the_books_balance_at_every_moment(self, outbox: Outbox) -> None:
        """I4."""
        await outbox.append([reading("a", readings=3), product("b"), reading("c", readings=4)])
        assert_balanced(outbox)
        await outbox.acknowledge("node", 2)
        await outbox.quarantine("broker", 1, "malformed: no")
        for sink in ("broker", "second"):
            await outbox.acknowledge(sink, 3)
        await self.settle(outbox)
        assert_balanced(outbox)
        assert outbox.counts().produced == 4
        assert outbox.counts().readings == 8

    async def test_a_quarantined_record_goes_as_any_other_but_counts_as_dropped(self, outbox: Outbox) -> None:
        await outbox.append([reading("a"), reading("b")])
        await outbox.quarantine("broker", 1, "malformed: the broker says so")
        await self.settle(outbox)
        assert payloads(outbox)[0] == b"a"
        await outbox.acknowledge("broker", 2)
        await outbox.acknowledge("second", 2)
        await self.settle(outbox)
        assert b"a" not in payloads(outbox)
        assert outbox.counts().dropped == {"malformed": 1}
        assert outbox.counts().removed == 1
        assert_balanced(outbox)

    async def test_a_record_refused_by_two_sinks_is_dropped_once(self, outbox: Outbox) -> None:
        await outbox.append([reading("a")])
        await outbox.quarantine("broker", 1, "malformed")
        await outbox.quarantine("second", 1, "too large")
        for sink in ("broker", "second"):
            await outbox.acknowledge(sink, 1)
        await self.settle(outbox)
        assert outbox.counts().dropped == {"malformed": 1}
        assert_balanced(outbox)

    async def test_beyond_its_size_the_oldest_telemetry_is_dropped_and_counted_but_no_product(self, tmp_path: Path) -> None:
        outbox = self.make(tmp_path, Limits(max_bytes=100))
        await outbox.open()
        await outbox.append([product("p" * 30), reading("a" * 30), reading("b" * 30)])
        await outbox.append([reading("c" * 30)])
        assert [payload[:1] for payload in payloads(outbox)] == [b"p", b"b", b"c"]
        assert outbox.counts().dropped == {"size": 1}
        assert_balanced(outbox)
        await outbox.close()

    async def test_what_was_dropped_is_told_by_a_gap_in_the_place_of_the_newest_of_it(self, tmp_path: Path) -> None:
        outbox = self.make(tmp_path, Limits(max_bytes=100))
        await outbox.open()
        await outbox.append([reading("a" * 30), product("p" * 30), reading("b" * 30)])
        assert gaps(outbox) == []
        await outbox.append([reading("c" * 30), reading("d" * 30)])
        (told,) = gaps(outbox)
        assert (told.first_seq, told.last_seq, told.dropped) == (1, 3, {"size": 2})
        assert [record.seq for record in outbox.read(0, 10, TELEMETRY)] == [3, 4, 5]
        assert outbox.counts().gaps == 1
        assert_balanced(outbox)
        await outbox.close()

    async def test_a_gap_grows_while_it_is_undelivered_and_goes_once_every_sink_has_passed_it(self, tmp_path: Path) -> None:
        outbox = self.make(tmp_path, Limits(max_bytes=70))
        await outbox.open()
        for n in range(10):
            await outbox.append([reading(str(n) * 30)])
        assert [(told.first_seq, told.last_seq, told.dropped) for told in gaps(outbox)] == [(1, 8, {"size": 8})]
        assert gaps(outbox, after=8) == []
        await outbox.acknowledge("broker", 8)
        await self.settle(outbox)
        assert [told.first_seq for told in gaps(outbox)] == [1]
        await outbox.acknowledge("second", 9)
        await outbox.append([product()])
        assert gaps(outbox) == []
        assert outbox.counts().gaps == 0
        assert_balanced(outbox)
        await outbox.close()

    async def test_a_read_that_is_cut_short_meets_every_gap_in_its_turn(self, tmp_path: Path) -> None:
        outbox = self.make(tmp_path, Limits(max_bytes=60))
        await outbox.open()
        for n in range(4):
            await outbox.append([reading(str(n) * 30)])
        whole = outbox.read(0, 10, TELEMETRY)
        one_by_one, after = [], 0
        while found := outbox.read(after, 1, TELEMETRY):
            one_by_one += found
            after = found[-1].seq
        assert one_by_one == whole
        assert [record.seq for record in whole] == [2, 3, 4]
        await outbox.close()

    async def test_the_lowest_priority_goes_first_and_the_gap_names_its_device(self, tmp_path: Path) -> None:
        entries, notes = zip(*(reading_of(device) for device in ("press", "meter", "boiler")), strict=True)
        size = len(entries[0].payload)
        limits = Limits(4 * size, None, WhenFull.DROP_BY_PRIORITY, {"press": 5, "meter": -1})
        outbox = self.make(tmp_path, limits)
        await outbox.open()
        for entry, note in zip(entries, notes, strict=True):
            await outbox.append([entry, entry], note)
        assert [record.seq for record in outbox.read(0, 10, TELEMETRY) if not is_gap(record.payload)] == [1, 2, 5, 6]
        (told,) = gaps(outbox)
        assert (told.first_seq, told.last_seq, told.dropped, told.devices) == (3, 4, {"size": 2}, ("meter",))
        await outbox.append([entries[0], entries[1]])
        assert [record.seq for record in outbox.read(0, 10, TELEMETRY) if not is_gap(record.payload)] == [1, 2, 6, 7]
        assert sum(sum(told.dropped.values()) for told in gaps(outbox)) == outbox.counts().dropped["size"] == 4
        assert_balanced(outbox)
        await outbox.close()

    async def test_a_priority_in_a_records_table_stands_before_that_of_its_device(self, tmp_path: Path) -> None:
        plain, note = reading_of("press")
        urgent, urgent_note = reading_of("press", 90)
        idle, idle_note = reading_of("meter", -90)
        limits = Limits(3 * len(plain.payload), None, WhenFull.DROP_BY_PRIORITY, {"press": 5, "meter": 20})
        outbox = self.make(tmp_path, limits)
        await outbox.open()
        await outbox.append([urgent, plain, plain], {**note, **urgent_note})
        await outbox.append([idle, idle], idle_note)
        assert [record.seq for record in outbox.read(0, 10, TELEMETRY) if not is_gap(record.payload)] == [1, 2, 3]
        await outbox.append([urgent, urgent])
        assert [record.seq for record in outbox.read(0, 10, TELEMETRY) if not is_gap(record.payload)] == [1, 6, 7]
        assert sum(sum(told.dropped.values()) for told in gaps(outbox)) == outbox.counts().dropped["size"] == 4
        assert_balanced(outbox)
        await outbox.close()

    async def test_blocked_it_drops_nothing_and_takes_no_telemetry_but_products_and_goes_on_with_space(
        self, tmp_path: Path
    ) -> None:
        outbox = self.make(tmp_path, Limits(max_bytes=60, when_full=WhenFull.BLOCK))
        await outbox.open()
        await outbox.append([reading("a" * 30), reading("b" * 30)])
        with pytest.raises(OutboxFull, match="max_bytes is 60"):
            await outbox.append([product(), reading("c" * 30)], {"state": b"1"})
        assert outbox.note("state") is None
        await outbox.append([product()], {"state": b"2"})
        assert len(payloads(outbox, kinds=TELEMETRY)) == 2
        for sink in ("broker", "second"):
            await outbox.acknowledge(sink, 1)
        await outbox.acknowledge("node", 3)
        await outbox.append([], {"state": b"3"})
        await outbox.append([reading("c" * 30)])
        assert payloads(outbox, kinds=TELEMETRY) == [b"b" * 30, b"c" * 30]
        assert outbox.counts().dropped == {}
        assert gaps(outbox) == []
        assert_balanced(outbox)
        await outbox.close()

    async def test_a_record_larger_than_the_limit_is_taken_when_nothing_else_waits(self, tmp_path: Path) -> None:
        outbox = self.make(tmp_path, Limits(max_bytes=10, when_full=WhenFull.BLOCK))
        await outbox.open()
        await outbox.append([reading("a" * 30)])
        assert payloads(outbox) == [b"a" * 30]
        await outbox.close()

    async def test_a_waiter_is_woken_by_a_gap(self, tmp_path: Path) -> None:
        outbox = self.make(tmp_path, Limits(max_bytes=30))
        await outbox.open()
        await outbox.append([reading("a" * 30), product("p" * 30)])
        async with asyncio.timeout(GUARD_S):
            await outbox.wait(0, TELEMETRY)
        assert [told.last_seq for told in gaps(outbox)] == [1]
        await outbox.close()

    async def test_a_closed_outbox_takes_nothing(self, outbox: Outbox) -> None:
        await outbox.close()
        with pytest.raises(OutboxFailed):
            await outbox.append([reading()])

    async def test_closing_twice_is_safe(self, outbox: Outbox) -> None:
        await outbox.close()
        await outbox.close()


class DurableOutboxContract(OutboxContract):
    """What an outbox on a disk does besides."""

    child: str
    """Module that, run with a folder, appends numbered records for ever and prints each seq once append() has returned."""

    async def reopen(self, outbox: Outbox, folder: Path) -> OpenableOutbox:
        await outbox.close()
        again = self.make(folder)
        await again.open()
        return again

    async def test_records_notes_cursors_books_and_epoch_outlive_the_object(self, outbox: Outbox, tmp_path: Path) -> None:
        await outbox.append([reading("a", 7), reading("b"), product("c")], {"state": b"1"})
        await outbox.acknowledge("broker", 2)
        await outbox.acknowledge("second", 1)
        await outbox.quarantine("broker", 2, "malformed")
        epoch = outbox.epoch
        again = await self.reopen(outbox, tmp_path)
        assert again.epoch == epoch
        assert payloads(again) == [b"b", b"c"]
        assert again.note("state") == b"1"
        assert (again.cursor("broker"), again.cursor("second"), again.cursor("node")) == (2, 1, 0)
        assert again.counts().readings == 8
        assert_balanced(again)
        await again.acknowledge("second", 2)
        await self.settle(again)
        assert again.counts().dropped == {"malformed": 1}
        await again.close()

    async def test_seqs_go_on_after_a_restart_of_an_empty_outbox(self, outbox: Outbox, tmp_path: Path) -> None:
        await outbox.append([reading(), reading()])
        for sink in ("broker", "second"):
            await outbox.acknowledge(sink, 2)
        again = await self.reopen(outbox, tmp_path)
        assert payloads(again) == []
        assert await again.append([reading()]) == range(3, 4)
        await again.close()

    async def test_gaps_outlive_the_object(self, tmp_path: Path) -> None:
        outbox = self.make(tmp_path, Limits(max_bytes=30))
        await outbox.open()
        for n in range(3):
            await outbox.append([reading(str(n) * 30)])
        before = gaps(outbox)
        again = await self.reopen(outbox, tmp_path)
        assert gaps(again) == before
        assert [(told.first_seq, told.last_seq) for told in before] == [(1, 2)]
        async with asyncio.timeout(GUARD_S):
            await again.wait(0, TELEMETRY)
        await again.close()

    async def test_two_outboxes_have_two_epochs(self, tmp_path: Path) -> None:
        epochs = set()
        for name in ("a", "b"):
            outbox = self.make(tmp_path / name)
            await outbox.open()
            epochs.add(outbox.epoch)
            await outbox.close()
        assert len(epochs) == 2

    async def test_a_second_owner_is_turned_away_and_the_first_goes_on(self, outbox: Outbox, tmp_path: Path) -> None:
        second = self.make(tmp_path)
        with pytest.raises(OutboxBusy):
            await second.open()
        assert await outbox.append([reading()]) == range(1, 2)

    async def test_a_record_outlives_the_process_that_took_it(self, tmp_path: Path) -> None:
        """I1: what append() has returned for is on disk; checked by killing real processes at many moments."""
        acknowledged: list[int] = []
        for kills_after in (1, 2, 7, 23, 40):
            child = subprocess.Popen([sys.executable, "-m", self.child, str(tmp_path)], stdout=subprocess.PIPE, text=True)
            assert child.stdout is not None
            acknowledged += [int(child.stdout.readline()) for _ in range(kills_after)]
            child.send_signal(signal.SIGKILL)
            acknowledged += [int(line) for line in child.stdout.read().splitlines()]
            child.wait()
            child.stdout.close()
            outbox = self.make(tmp_path)
            await outbox.open()
            stored = {record.seq: record.payload for record in outbox.read(0, 1_000_000, BOTH)}
            assert [seq for seq in acknowledged if stored.get(seq) != f"record {seq}".encode()] == []
            assert len(set(acknowledged)) == len(acknowledged)
            assert outbox.note("last") is not None
            assert_balanced(outbox)
            await outbox.close()
