"""Tags with a priority of their own: an alarm outlives vibration when the outbox reaches its size."""

from __future__ import annotations

from pathlib import Path

import pytest

from config.documents import load
from config.problems import ConfigError
from drivers.model import Kind
from gateway.assembly import Surroundings, assemble
from gateway.outbox.base import Record, RecordKind
from gateway.outbox.bounds import Limits, WhenFull
from gateway.outbox.codec import decode_gap, decode_record, decode_table, encode_table, is_gap, table_key, table_priority
from gateway.outbox.memory import MemoryOutbox
from gateway.outbox.sqlite import SqliteOutbox
from gateway.settings import GatewaySettings
from tests.contracts.outbox_contract import assert_balanced
from tests.gateway.fakes import NS, START_NS, FakeClock, Uniform, frame, table

TELEMETRY = frozenset({RecordKind.TELEMETRY})
FILE = """\
gateway: works
outbox: {when_full: drop_by_priority, priorities: {press: -5}}
devices:
  - name: press
    driver: modbus
    address: 127.0.0.1:1
    tags:
      - {name: vibration, area: holding_register, address: 0}
      - {name: alarm, area: coil, address: 0, priority: 50}
      - {name: force, area: holding_register, address: 1, aggregates: {window_s: 1, functions: [max]}, priority: 10}
sinks:
  - {kind: mqtt, url: "mqtt://127.0.0.1:1"}
"""


def settings_of(folder: Path, text: str = FILE) -> GatewaySettings:
    path = folder / "gateway.yaml"
    path.write_text(text, "utf-8")
    return load(path, GatewaySettings)


def told(outbox: SqliteOutbox | MemoryOutbox, record: Record) -> dict[str, float]:
    telemetry = decode_record(record.payload, lambda digest: decode_table(outbox.note(table_key(digest)) or b""))
    return {
        telemetry.table.names[tag]: float(str(value))
        for one in telemetry.frames
        for tag, value in zip(one.tags.tolist(), list(one.values), strict=True)
    }


async def test_a_poll_makes_a_record_for_each_priority_of_its_tags(tmp_path: Path) -> None:
    outbox = MemoryOutbox({"mqtt": TELEMETRY})
    intake = assemble(settings_of(tmp_path), outbox, Surroundings(FakeClock(), Uniform())).pollers["press"]._intake
    for second in (0, 1):
        at_ns = START_NS + second * NS
        words = frame([0, 2], [second, second + 7], at_ns, dtype=int)
        await intake.take([words, frame([1], [second], at_ns, dtype=int)])
    records = [told(outbox, record) for record in outbox.read(0, 100, TELEMETRY)]
    polled = [{"vibration": 0.0}, {"force": 7.0}, {"alarm": 0.0}]
    assert records == [*polled, {"vibration": 1.0}, {"force": 8.0, "force.max": 7.0}, {"alarm": 1.0}]
    assert outbox.counts().readings == 7


async def test_alarms_outlive_vibration_and_every_drop_is_counted_and_told(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    limits = Limits(1500, None, WhenFull.DROP_BY_PRIORITY, settings.outbox.priorities)
    outbox = SqliteOutbox(tmp_path / "outbox.db", {"mqtt": TELEMETRY}, limits)
    await outbox.open()
    intake = assemble(settings, outbox, Surroundings(FakeClock(), Uniform())).pollers["press"]._intake
    polls = 60
    for poll in range(polls):
        at_ns = START_NS + poll * NS // 1000
        frames = [frame([0], [poll], at_ns, dtype=int)]
        if poll % 10 == 0:
            frames.append(frame([1], [poll // 10 % 2], at_ns, dtype=int))
        await intake.take(frames)
    stored = outbox.read(0, 1000, TELEMETRY)
    gaps = [decode_gap(record.payload) for record in stored if is_gap(record.payload)]
    kept = [told(outbox, record) for record in stored if not is_gap(record.payload)]
    assert [one["alarm"] for one in kept if "alarm" in one] == [0, 1] * 3
    vibration = [one["vibration"] for one in kept if "vibration" in one]
    assert 0 < len(vibration) < polls
    assert vibration == list(range(polls - len(vibration), polls))
    assert sum(gap.dropped["size"] for gap in gaps) == outbox.counts().dropped["size"] == polls - len(vibration)
    assert {gap.devices for gap in gaps} == {("press",)}
    assert_balanced(outbox)
    await outbox.close()


def test_a_table_without_a_priority_is_stored_as_ever() -> None:
    plain = table(("speed", Kind.FLOAT))
    assert b"priority" not in encode_table(plain)
    assert encode_table(plain) == encode_table(plain, None) != encode_table(plain, 0)
    assert decode_table(encode_table(plain, 7)) == plain
    assert [table_priority(encode_table(plain, priority)) for priority in (None, 0, -3)] == [None, 0, -3]
    assert table_priority(b"no table") is None


def test_a_priority_out_of_its_range_is_refused_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        settings_of(tmp_path, FILE.replace("priority: 50", "priority: 101"))
    assert "gateway.yaml:9: devices[0].tags[1].priority" in str(caught.value.problems[0])
