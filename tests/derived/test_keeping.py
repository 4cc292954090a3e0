"""The memory of derived tags outlives a stop and a kill, through the outbox."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from gateway.assembly import Surroundings, assemble
from gateway.intake import Intake
from gateway.outbox.base import OutboxFull, RecordKind
from gateway.outbox.codec import decode_record, decode_table, table_key
from gateway.outbox.memory import MemoryOutbox
from gateway.processing.journal import sealed
from gateway.processing.keeping import key_of
from gateway.settings import GatewaySettings
from tests.gateway.fakes import FakeClock, Uniform, frame

WHOLE = f"{key_of('saw')}/whole"
TELEMETRY = frozenset({RecordKind.TELEMETRY})


class Process:
    """Processes that follow one another on one outbox, each killed without a word unless it finishes."""

    def __init__(self) -> None:
        self.outbox = MemoryOutbox({"broker": TELEMETRY})
        self.clock = FakeClock()

    async def start(self, *, shortest_s: float = 0.1, has_derived: bool = True) -> Intake:
        tags = [
            {"name": "raw", "area": "input_register", "address": 0},
            {"name": "green", "area": "discrete_input", "address": 0},
        ]
        derived: list[dict[str, Any]] = [
            {"name": "parts", "kind": "count", "input": "raw", "shortest_s": shortest_s},
            {"name": "stops", "kind": "stops", "running": "green", "micro_s": 5},
        ]
        settings = GatewaySettings.model_validate(
            {
                "gateway": "works",
                "devices": [{"name": "saw", "driver": "modbus", "address": "127.0.0.1:1", "tags": tags}],
                "sinks": [{"kind": "mqtt", "url": "mqtt://broker"}],
                "derived": [{"device": "saw"} | one for one in derived] if has_derived else [],
            }
        )
        intake = assemble(settings, self.outbox, Surroundings(self.clock, Uniform())).pollers["saw"]._intake
        await intake.resume()
        return intake

    async def poll(self, intake: Intake, raw: int, green: int, after_s: float = 1.0) -> None:
        await self.clock.advance(after_s)
        await intake.take([frame([0, 1], [raw, green], self.clock.now_ns(), device="saw")])

    def last(self) -> dict[str, object]:
        """The newest value of each tag."""
        found: dict[str, object] = {}
        for record in self.outbox.read(0, 1000, TELEMETRY):
            told = decode_record(record.payload, lambda digest: decode_table(self.outbox.note(table_key(digest)) or b""))
            for one in told.frames:
                names = [told.table.names[tag] for tag in one.tags.tolist()]
                found |= dict(zip(names, list(one.values), strict=True))
        return found


async def test_counts_go_on_after_a_kill_and_parts_made_meanwhile_are_counted() -> None:
    process = Process()
    intake = await process.start()
    for raw, green in ((10, 1), (12, 1), (12, 0), (13, 1)):
        await process.poll(intake, raw, green)
    assert (process.last()["parts"], process.last()["stops"]) == (3, 1)
    intake = await process.start()
    await process.poll(intake, 20, 1, after_s=30)
    assert (process.last()["parts"], process.last()["stops"]) == (10, 1)


async def test_they_go_on_after_a_stop_too() -> None:
    process = Process()
    intake = await process.start()
    for raw in (10, 12):
        await process.poll(intake, raw, 1)
    await intake.finish()
    intake = await process.start()
    await process.poll(intake, 15, 1)
    assert process.last()["parts"] == 5


async def test_a_tag_whose_settings_changed_begins_anew_and_the_others_go_on() -> None:
    process = Process()
    intake = await process.start()
    for raw, green in ((10, 1), (12, 0), (13, 1)):
        await process.poll(intake, raw, green)
    intake = await process.start(shortest_s=0.2)
    await process.poll(intake, 20, 1)
    assert (process.last()["parts"], process.last()["stops"]) == (0, 1)


async def test_a_device_of_which_nothing_is_derived_any_more_leaves_no_note() -> None:
    process = Process()
    intake = await process.start()
    await process.poll(intake, 10, 1)
    assert process.outbox.note(key_of("saw"))
    await process.start(has_derived=False)
    assert not process.outbox.note(key_of("saw"))


async def test_a_memory_of_another_version_is_said_and_the_tag_begins_anew(caplog: pytest.LogCaptureFixture) -> None:
    process = Process()
    intake = await process.start()
    await process.poll(intake, 10, 1)
    note = process.outbox.note(WHOLE)
    assert note
    generation, tags = msgspec.msgpack.decode(note[4:])
    assert [name for name, _, _ in tags] == ["parts", "stops"]
    tags[0][2] = tags[0][2][8:]
    await process.outbox.append([], {WHOLE: sealed(msgspec.msgpack.encode([generation, tags]))})
    intake = await process.start()
    assert "what was kept of parts of saw is another version's" in caplog.text
    await process.poll(intake, 20, 1)
    assert process.last()["parts"] == 0


async def test_what_is_kept_grows_by_what_has_changed_and_is_never_more_than_twice_the_whole() -> None:
    process = Process()
    intake = await process.start()
    sizes: list[int] = []
    wholes: set[bytes] = set()
    for second in range(60):
        before = dict(process.outbox._notes)
        await process.poll(intake, 10 + second, int(second % 20 < 10))
        kept = {key: note for key, note in process.outbox._notes.items() if key.startswith("kept/saw/")}
        sizes.append(sum(map(len, kept.values())))
        assert len([key for key, note in kept.items() if note and before.get(key) != note]) == 1
        wholes.add(kept[WHOLE])
    assert max(sizes) <= 2 * max(map(len, wholes)) + len(wholes)
    assert 1 < len(wholes) < 60 / 2
    intake = await process.start()
    await process.poll(intake, 100, 1, after_s=5)
    assert (process.last()["parts"], process.last()["stops"]) == (90, 0)
    assert process.last()["stops.long"] == 3


async def test_a_memory_that_the_disk_altered_is_said_and_begins_anew(caplog: pytest.LogCaptureFixture) -> None:
    for key in (WHOLE, f"{key_of('saw')}/1"):
        caplog.clear()
        process = Process()
        intake = await process.start()
        for raw in (10, 12):
            await process.poll(intake, raw, 1)
        note = process.outbox.note(key)
        assert note, key
        await process.outbox.append([], {key: note[:-1] + bytes((note[-1] ^ 1,))})
        intake = await process.start()
        assert "what was kept of the derived tags of saw is damaged: they begin anew" in caplog.text
        await process.poll(intake, 20, 1)
        assert process.last()["parts"] == 0


async def test_an_append_that_fails_leaves_no_hole_in_what_is_kept() -> None:
    process = Process()
    intake = await process.start()
    for raw in (10, 12, 13):
        await process.poll(intake, raw, 1)
    intake._storage.give_up()
    process.outbox.refusal = OutboxFull("no space")
    with pytest.raises(OutboxFull):
        await process.poll(intake, 14, 0)
    process.outbox.refusal = None
    await process.poll(intake, 15, 1)
    intake = await process.start()
    await process.poll(intake, 16, 1)
    assert (process.last()["parts"], process.last()["stops"]) == (6, 0)
