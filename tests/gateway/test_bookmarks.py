"""How far a device's readings are stored outlives a kill, to the reading; it costs a few rows a transaction."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.base import Reached, Standing
from drivers.model import Kind, TagTable
from gateway.bookmarks import KEEP_S, PIECE_BYTES, Bookmarks, base_key, piece_key
from gateway.filter import Filter
from gateway.intake import Intake
from gateway.outbox.base import Entry, OutboxFull, RecordKind
from gateway.outbox.codec import encode_table, table_digest
from gateway.outbox.memory import MemoryOutbox
from gateway.storage import Storage
from tests.gateway.fakes import NS, START_NS, FakeClock, MemoryLog, frame, table

TELEMETRY = frozenset({RecordKind.TELEMETRY})
TABLE = table(*((f"t{number}", Kind.FLOAT) for number in range(4)))
BAD = 0x8000_0000


class Counted(MemoryOutbox):
    """Remembers which notes were written, and fails when told to."""

    def __init__(self) -> None:
        super().__init__({"broker": TELEMETRY})
        self.written: list[dict[str, bytes]] = []
        self.is_full = False

    async def append(self, entries: Sequence[Entry], notes: Mapping[str, bytes] | None = None) -> range:
        if self.is_full:
            raise OutboxFull("full")
        self.written.append({key: value for key, value in (notes or {}).items() if key.startswith("marks")})
        return await super().append(entries, notes)


class Bench:
    """Processes that follow one another on one outbox; each is killed without a word."""

    def __init__(self, deadband: float = 0.0) -> None:
        self.outbox = Counted()
        self.clock = FakeClock()
        self.log = MemoryLog()
        self._deadband = deadband

    async def start(self, tags: TagTable = TABLE, held: Sequence[int] = ()) -> tuple[Intake, Reached | None]:
        """Another process."""
        storage = Storage(self.outbox, self.clock, MemoryLog())
        storage.give_up()
        n = len(tags.names)
        report = Filter(tags, np.full(n, self._deadband), np.full(n, 3600 * NS, np.int64))
        digest = table_digest(encode_table(tags))
        marks = Bookmarks(
            tags, digest, storage.note, clock=self.clock, log=self.log, held=np.array(held, np.int32) if held else None
        )
        intake = Intake(tags, report, storage, [], bookmarks=marks)
        return intake, await intake.resume()


def told(reached: Reached | None) -> list[tuple[int, Standing]]:
    assert reached is not None
    return [(at, Standing(standing)) for at, standing in zip(reached.source_ns.tolist(), reached.standing.tolist(), strict=True)]


async def test_the_last_reading_of_each_tag_is_known_to_the_next_process() -> None:
    bench = Bench()
    intake, reached = await bench.start()
    assert reached is None
    intake.follow()
    await intake.take([frame([0, 1], [1.0, 2.0], source_ns=[10, 11]), frame([0], [1.5], source_ns=[12])])
    await intake.take([frame([2], [np.nan], status=[BAD], source_ns=[13])])
    expected = [(12, Standing.READ), (11, Standing.READ), (13, Standing.BAD), (0, Standing.FOLLOWED)]
    for _ in range(3):
        _, reached = await bench.start()
        assert told(reached) == expected


async def test_a_frame_without_times_of_the_device_marks_nothing() -> None:
    """The gateway's own word that the link is lost must not hide from where the history is wanted."""
    bench = Bench()
    intake, _ = await bench.start()
    await intake.take([frame([0], [1.0], source_ns=[10])])
    await intake.take([frame([0], [np.nan], status=[BAD])])
    assert told((await bench.start())[1])[0] == (10, Standing.READ)


async def test_what_could_not_be_stored_is_not_marked() -> None:
    bench = Bench()
    intake, _ = await bench.start()
    await intake.take([frame([0], [1.0], source_ns=[10])])
    bench.outbox.is_full = True
    with pytest.raises(OutboxFull):
        await intake.take([frame([0, 1], [2.0, 2.0], source_ns=[20, 20])])
    bench.outbox.is_full = False
    await intake.finish()
    assert told((await bench.start())[1])[:2] == [(10, Standing.READ), (0, Standing.NEVER)]


async def test_readings_within_the_deadband_are_marked_with_the_next_record_or_soon() -> None:
    bench = Bench(deadband=1.0)
    intake, _ = await bench.start()
    await intake.take([frame([0, 1], [1.0, 1.0], source_ns=[10, 10])])
    writes = len(bench.outbox.written)
    await intake.take([frame([0], [1.1], source_ns=[20])])
    assert len(bench.outbox.written) == writes
    await intake.take([frame([1], [5.0], source_ns=[21])])
    assert told((await bench.start())[1])[:2] == [(20, Standing.READ), (21, Standing.READ)]
    intake, _ = await bench.start()
    await intake.take([frame([0, 1], [1.0, 1.0], source_ns=[30, 30])])
    await intake.take([frame([0], [1.1], source_ns=[31])])
    await bench.clock.advance(KEEP_S)
    due_ns = intake.next_heartbeat_ns()
    assert due_ns is not None
    assert due_ns <= bench.clock.now_ns()
    await intake.take_repeats(bench.clock.now_ns())
    assert told((await bench.start())[1])[0] == (31, Standing.READ)


async def test_a_stop_marks_all() -> None:
    bench = Bench(deadband=1.0)
    intake, _ = await bench.start()
    await intake.take([frame([0], [1.0], source_ns=[10])])
    await intake.take([frame([0], [1.1], source_ns=[11])])
    await intake.finish()
    assert told((await bench.start())[1])[0] == (11, Standing.READ)


async def test_what_waits_in_memory_is_marked_when_it_is_kept() -> None:
    bench = Bench()
    intake, _ = await bench.start(held=[1])
    await intake.take([frame([0, 1], [1.0, 1.0], source_ns=[10, 10])])
    intake.follow()
    intake, reached = await bench.start(held=[1])
    assert told(reached)[:2] == [(10, Standing.READ), (0, Standing.NEVER)]
    await intake.take([frame([0, 1], [2.0, 2.0], source_ns=[20, 20])])
    intake.follow()
    await intake.finish()
    assert told((await bench.start())[1])[:2] == [(20, Standing.READ), (20, Standing.READ)]


async def test_other_settings_find_their_tags_by_name() -> None:
    bench = Bench()
    intake, _ = await bench.start()
    await intake.take([frame([0, 3], [1.0, 1.0], source_ns=[10, 13])])
    other = table(("t3", Kind.FLOAT), ("new", Kind.FLOAT), ("t0", Kind.INT))
    expected = [(13, Standing.READ), (0, Standing.NEVER), (10, Standing.READ)]
    assert told((await bench.start(other))[1]) == expected
    assert told((await bench.start(other))[1]) == expected


async def test_a_transaction_costs_its_own_rows_and_the_whole_is_seldom_written() -> None:
    bench = Bench()
    many = table(*((f"t{number}", Kind.FLOAT) for number in range(5000)))
    intake, _ = await bench.start(many)
    await intake.take([frame(range(5000), [0.0] * 5000, source_ns=[1] * 5000)])
    bench.outbox.written.clear()
    for step in range(1, 401):
        await intake.take([frame([step], [1.0 * step], source_ns=[step])])
    keys = [key for notes in bench.outbox.written for key in notes]
    assert base_key("press") not in keys
    assert max(len(value) for notes in bench.outbox.written for value in notes.values()) < PIECE_BYTES + 100
    bench.outbox.written.clear()
    for step in range(1, 41):
        tags = range(step % 5 * 1000, step % 5 * 1000 + 1000)
        await intake.take([frame(tags, [1.0 * step] * 1000, source_ns=[1000 + step] * 1000)])
    assert sum(base_key("press") in notes for notes in bench.outbox.written) <= 1
    assert sum(bench.outbox.note(piece_key("press", number)) is not None for number in range(1000)) < 60
    assert {at for at, _ in told((await bench.start(many))[1])} == {1036, 1037, 1038, 1039, 1040}


@pytest.mark.parametrize("key", [base_key("press"), piece_key("press", 0)])
async def test_damage_is_said_and_what_is_left_holds(key: str) -> None:
    bench = Bench()
    intake, _ = await bench.start()
    await intake.take([frame([0], [1.0], source_ns=[10])])
    await intake.take([frame([1], [1.0], source_ns=[11])])
    raw = bench.outbox.note(key)
    assert raw is not None
    await bench.outbox.append((), {key: raw[:-1] + bytes((raw[-1] ^ 1,))})
    intake, reached = await bench.start()
    assert "damaged" in bench.log.lines[-1]
    assert (reached is None) == (key == base_key("press"))
    await intake.take([frame([2], [1.0], source_ns=[12])])
    assert told((await bench.start())[1])[2] == (12, Standing.READ)


STEPS = st.lists(
    st.one_of(
        st.lists(st.tuples(st.integers(0, 3), st.integers(1, 99), st.booleans()), min_size=1, max_size=4),
        st.sampled_from(["kill", "stop", "full"]),
    ),
    max_size=25,
)


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_whatever_happens_the_marks_are_those_of_what_was_stored(steps: list[list[tuple[int, int, bool]] | str]) -> None:
    async def play() -> None:
        bench = Bench()
        intake, _ = await bench.start()
        expected: dict[int, tuple[int, Standing]] = {}
        value = 0.0
        for step in steps:
            if isinstance(step, str):
                if step == "stop":
                    await intake.finish()
                if step == "full":
                    bench.outbox.is_full = True
                    with pytest.raises(OutboxFull):
                        await intake.take([frame([0], [-1.0], source_ns=[12345])])
                    bench.outbox.is_full = False
                else:
                    intake, reached = await bench.start()
                    if expected:
                        assert told(reached) == [expected.get(tag, (0, Standing.NEVER)) for tag in range(4)]
                continue
            frames = []
            for tag, at, is_bad in step:
                value += 1.0
                frames.append(frame([tag], [value], START_NS, status=[BAD if is_bad else 0], source_ns=[at]))
                expected[tag] = (at, Standing.BAD if is_bad else Standing.READ)
            await intake.take(frames)
            if any(is_bad for _, _, is_bad in step):  # a Bad reading that repeats the one before makes no record
                await intake.finish()

    asyncio.run(play())
