"""What windows and swinging doors have taken and not reported outlives a stop and a kill, or is told to be missing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.app import ExitCode
from gateway.assembly import Surroundings, assemble
from gateway.intake import Intake
from gateway.outbox.base import OutboxFull, RecordKind
from gateway.outbox.codec import decode_record, decode_table, table_key
from gateway.outbox.memory import MemoryOutbox
from gateway.outbox.sqlite import SqliteOutbox
from gateway.processing.keeping import KEEP_S, key_of
from gateway.settings import GatewaySettings
from tests.drivers.modbus_device import ModbusDevice
from tests.gateway.fakes import NS, START_NS, FakeClock, Uniform, frame
from tests.gateway.running import started

TELEMETRY = frozenset({RecordKind.TELEMETRY})
COUNTED: Mapping[str, Any] = {"aggregates": {"window_s": 60, "functions": ["count", "sum"]}}
DOOR: Mapping[str, Any] = {"swinging_door": 0.5}
MINUTE_NS = (START_NS // (60 * NS) + 1) * 60 * NS
UNCERTAIN = 0x4095_0000
BAD_DATA_LOST = 0x809D_0000


class Bench:
    """Processes that follow one another on one outbox; each is killed without a word unless it finishes."""

    def __init__(self, outbox: MemoryOutbox | SqliteOutbox | None = None) -> None:
        self.outbox = outbox or MemoryOutbox({"broker": TELEMETRY})
        self.clock = FakeClock()
        self._seen = 0

    def start(self, press: Mapping[str, Mapping[str, Any]] | None, device: str = "press") -> Intake:
        """A new process, whose device has these tags."""
        tags = [
            {"name": name, "area": "holding_register", "address": place} | dict(asked)
            for place, (name, asked) in enumerate((press or {"z": {}}).items())
        ]
        settings = GatewaySettings.model_validate(
            {
                "gateway": "works",
                "heartbeat_s": 3600,
                "devices": [{"name": device, "driver": "modbus", "address": "127.0.0.1:1", "tags": tags}],
                "sinks": [{"kind": "mqtt", "url": "mqtt://broker"}],
            }
        )
        gateway = assemble(settings, self.outbox, Surroundings(self.clock, Uniform()))
        return gateway.pollers[device]._intake

    async def at(self, seconds: float) -> int:
        """Let it be so many seconds after a minute began; returns that time."""
        now_ns = MINUTE_NS + round(seconds * NS)
        await self.clock.advance((now_ns - self.clock.now_ns()) / NS)
        return now_ns

    async def take(self, intake: Intake, seconds: float, *values: float) -> None:
        now_ns = await self.at(seconds)
        await intake.take([frame(range(len(values)), values, now_ns)])

    def told(self) -> list[tuple[str, object, int]]:
        """(tag, value, status) of what was stored since the last call; the value None where it is Bad."""
        found: list[tuple[str, object, int]] = []
        for record in self.outbox.read(self._seen, 1000, TELEMETRY):
            self._seen = record.seq
            telemetry = decode_record(record.payload, lambda digest: decode_table(self.outbox.note(table_key(digest)) or b""))
            for one in telemetry.frames:
                for tag, value, status in zip(one.tags.tolist(), list(one.values), one.status.tolist(), strict=True):
                    found.append((telemetry.table.names[tag], None if status & 0x8000_0000 else float(str(value)), status))
        return found


def results(bench: Bench) -> list[tuple[str, object, int]]:
    """What was told of windows, by name."""
    return sorted((one for one in bench.told() if one[0] != "a"), key=lambda one: one[0])


@pytest.fixture
def bench() -> Bench:
    return Bench()


async def counted_twice(bench: Bench) -> Intake:
    """A process that has counted 1 and 2 in the minute, whose begin it had seen."""
    intake = bench.start({"a": COUNTED})
    await intake.resume()
    await bench.take(intake, -5, 7.0)
    await bench.take(intake, 0, 1.0)
    await bench.take(intake, 10, 2.0)
    bench.told()
    return intake


@pytest.mark.parametrize("is_killed", [True, False])
async def test_a_window_goes_on_in_the_next_process_and_says_that_nobody_looked_in_between(bench: Bench, is_killed: bool) -> None:
    intake = await counted_twice(bench)
    if not is_killed:
        await intake.finish()
    intake = bench.start({"a": COUNTED})
    await intake.resume()
    await bench.take(intake, 40, 4.0)
    await bench.take(intake, 61, 9.0)
    assert results(bench) == [("a.count", 3, UNCERTAIN), ("a.sum", 7, UNCERTAIN)]
    await bench.take(intake, 121, 9.0)
    assert results(bench) == [("a.count", 1, 0), ("a.sum", 9, 0)]


async def test_a_window_that_ended_while_nobody_looked_is_told_by_the_next_process(bench: Bench) -> None:
    await counted_twice(bench)
    intake = bench.start({"a": COUNTED})
    await intake.resume()
    await bench.take(intake, 200, 9.0)
    assert results(bench) == [("a.count", 2, UNCERTAIN), ("a.sum", 3, UNCERTAIN)]


async def test_a_window_that_opens_is_on_disk_with_its_first_reading(bench: Bench) -> None:
    intake = await counted_twice(bench)
    await bench.take(intake, 60, 5.0)
    bench.told()
    intake = bench.start({"a": COUNTED})
    await intake.resume()
    await bench.take(intake, 130, 9.0)
    assert results(bench) == [("a.count", 1, UNCERTAIN), ("a.sum", 5, UNCERTAIN)]


async def test_a_window_that_had_closed_is_not_told_again(bench: Bench) -> None:
    intake = await counted_twice(bench)
    await bench.take(intake, 60, 5.0)
    assert len([one for one in bench.told() if one[0] == "a.count"]) == 1
    intake = bench.start({"a": COUNTED})
    await intake.resume()
    await bench.take(intake, 61, 5.0)
    assert [one for one in bench.told() if one[0] == "a.count"] == []


async def test_readings_faster_than_the_note_leave_a_window_that_says_it_is_incomplete(bench: Bench) -> None:
    intake = await counted_twice(bench)
    await bench.take(intake, 10 + KEEP_S / 4, 3.0)
    intake = bench.start({"a": COUNTED})
    await intake.resume()
    await bench.take(intake, 61, 9.0)
    assert ("a.count", 2, UNCERTAIN) in bench.told()


async def test_what_the_note_lacks_is_kept_soon_though_nothing_more_comes(bench: Bench) -> None:
    intake = await counted_twice(bench)
    before = bench.outbox.note(key_of("press"))
    await bench.take(intake, 10 + KEEP_S / 4, 3.0)
    assert bench.outbox.note(key_of("press")) == before
    due_ns = intake.next_heartbeat_ns()
    assert due_ns == MINUTE_NS + round((10 + KEEP_S) * NS)
    await bench.at(10 + KEEP_S)
    await intake.take_repeats(due_ns)
    assert bench.outbox.note(key_of("press")) != before
    assert intake.next_heartbeat_ns() == MINUTE_NS + 60 * NS


async def test_windows_that_the_settings_changed_are_closed_as_they_were(bench: Bench) -> None:
    await counted_twice(bench)
    intake = bench.start({"b": {}, "a": {"aggregates": {"window_s": 30, "functions": ["max"]}}})
    await intake.resume()
    assert results(bench) == [("a.count", 2, UNCERTAIN), ("a.sum", 3, UNCERTAIN)]
    await bench.start({"a": {}}).resume()
    assert bench.told() == []


async def test_the_windows_of_a_device_that_left_the_settings_are_closed(bench: Bench) -> None:
    await counted_twice(bench)
    await bench.start(None, device="other").resume()
    assert results(bench) == [("a.count", 2, UNCERTAIN), ("a.sum", 3, UNCERTAIN)]
    await bench.start(None, device="other").resume()
    assert bench.told() == []


async def held_at_two(bench: Bench) -> Intake:
    """A process whose door holds the reading 2."""
    intake = bench.start({"a": DOOR})
    await intake.resume()
    for second in (0, 1, 2):
        await bench.take(intake, second, float(second))
    assert bench.told() == [("a", 0.0, 0)]
    return intake


async def test_a_stop_reports_the_reading_that_a_door_holds(bench: Bench) -> None:
    intake = await held_at_two(bench)
    await intake.finish()
    assert bench.told() == [("a", 2.0, 0)]
    intake = bench.start({"a": DOOR})
    await intake.resume()
    await bench.take(intake, 9, 5.0)
    assert bench.told() == [("a", 5.0, 0)]


async def test_after_a_kill_the_held_reading_is_told_and_that_others_may_be_missing(bench: Bench) -> None:
    await held_at_two(bench)
    intake = bench.start({"a": DOOR})
    await intake.resume()
    await bench.take(intake, 9, 5.0)
    assert bench.told() == [("a", 2.0, 0), ("a", None, BAD_DATA_LOST), ("a", 5.0, 0)]
    await bench.start({"a": DOOR}).resume()
    assert bench.told() == [("a", None, BAD_DATA_LOST)]


async def test_a_held_reading_that_was_reported_is_not_told_again_after_a_kill(bench: Bench) -> None:
    intake = await held_at_two(bench)
    await bench.take(intake, 2.1, 50.0)
    assert bench.told() == [("a", 2.0, 0)]
    await bench.start({"a": DOOR}).resume()
    assert bench.told() == [("a", 50.0, 0), ("a", None, BAD_DATA_LOST)]


async def test_a_note_that_the_disk_altered_is_said_and_nothing_is_made_of_it(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    await counted_twice(bench)
    note = bench.outbox.note(key_of("press"))
    assert note is not None
    for damaged in (note[:-1], bytes((note[0] ^ 1,)) + note[1:], b"xx"):
        await bench.outbox.append([], {key_of("press"): damaged, "kept": msgspec.msgpack.encode(["press"])})
        await bench.start({"a": COUNTED}).resume()
        assert bench.told() == []
        assert "windows and swinging doors of press is damaged" in caplog.text
        caplog.clear()


async def test_what_finds_no_space_at_the_stop_is_there_after_it(bench: Bench) -> None:
    outbox = bench.outbox
    assert isinstance(outbox, MemoryOutbox)
    intake = await held_at_two(bench)
    intake._storage.give_up()
    outbox.refusal = OutboxFull("no space")
    with pytest.raises(OutboxFull):
        await intake.finish()
    outbox.refusal = None
    await bench.start({"a": DOOR}).resume()
    assert bench.told() == [("a", 2.0, 0), ("a", None, BAD_DATA_LOST)]


async def test_a_stop_before_the_start_was_through_leaves_the_note_alone(bench: Bench) -> None:
    await held_at_two(bench)
    await bench.start({"a": DOOR}).finish()
    await bench.start({"a": DOOR}).resume()
    assert bench.told() == [("a", 2.0, 0), ("a", None, BAD_DATA_LOST)]


FILE = """\
gateway: works
drain_s: 0
devices:
  - name: press
    driver: modbus
    address: 127.0.0.1:{device}
    period_ms: 20
    tags:
      - {{name: level, area: holding_register, address: 0, swinging_door: 100}}
sinks:
  - {{kind: mqtt, url: "mqtt://127.0.0.1:1"}}
"""


async def test_a_gateway_that_is_told_to_stop_stores_what_its_doors_hold(tmp_path: Path) -> None:
    device = ModbusDevice()
    device.registers[3][0] = 100
    path = tmp_path / "gateway.yaml"
    async with device.listening():
        path.write_text(FILE.format(device=device.port), "utf-8")
        async with started(path) as gateway:
            await gateway.written(lambda status: status["devices"]["press"]["readings"] > 1)
            device.registers[3][0] = 110
            status = await gateway.written(lambda status: status["devices"]["press"]["state"] == "online")
            read = status["devices"]["press"]["readings"]
            await gateway.written(lambda status: status["devices"]["press"]["readings"] > read + 1)
            assert await gateway.end() == ExitCode.OK
    outbox = SqliteOutbox(tmp_path / "outbox.db", {"mqtt": TELEMETRY})
    await outbox.open()
    bench = Bench(outbox)
    assert bench.told() == [("level", 100, 0), ("level", 110, 0)]
    await outbox.close()
