"""A gateway process that is killed with windows open and readings held, again and again, on one outbox file."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from pathlib import Path

import msgspec

from gateway.outbox.base import RecordKind
from gateway.outbox.codec import decode_record, decode_table, table_key
from gateway.outbox.sqlite import SqliteOutbox
from gateway.report import status_path
from tests.drivers.modbus_device import ModbusDevice
from tests.gateway.running import GUARD_S, until
from tests.gateway.test_app import start

TELEMETRY = frozenset({RecordKind.TELEMETRY})
KILLS = 3
UNCERTAIN = 0x4095_0000
BAD_DATA_LOST = 0x809D_0000
FILE = """\
gateway: works
drain_s: 0
outbox: {{path: outbox.db}}
devices:
  - name: press
    driver: modbus
    address: 127.0.0.1:{device}
    period_ms: 20
    tags:
      - {{name: level, area: holding_register, address: 0, swinging_door: 5}}
      - {{name: force, area: holding_register, address: 1, aggregates: {{window_s: 0.5, functions: [count]}}}}
sinks:
  - {{kind: mqtt, url: "mqtt://127.0.0.1:1"}}
"""


async def run_until_read(path: Path, readings: int, end: signal.Signals) -> int:
    """One process, which ends by that signal when it has read so much; returns its exit code."""
    process = start(path)
    status = status_path(path.with_name("outbox.db"))

    async def look() -> int:
        if not status.exists():
            return 0
        told = msgspec.json.decode(status.read_bytes())
        return int(told["devices"]["press"]["readings"]) if told["pid"] == process.pid else 0

    await until(look, lambda read: read >= readings)
    process.send_signal(end)
    await asyncio.to_thread(process.communicate, timeout=GUARD_S)
    return process.returncode


async def told(path: Path) -> list[tuple[str, float, int, int]]:
    """(tag, value, status, source time) of all that is stored, in order."""
    outbox = SqliteOutbox(path, {"mqtt": TELEMETRY})
    await outbox.open()
    assert outbox.findings == []
    found = []
    for record in outbox.read(0, 100_000, TELEMETRY):
        telemetry = decode_record(record.payload, lambda digest: decode_table(outbox.note(table_key(digest)) or b""))
        for one in telemetry.frames:
            sources = [0] * len(one.tags) if one.source_ns is None else one.source_ns.tolist()
            for tag, value, status, source_ns in zip(
                one.tags.tolist(), list(one.values), one.status.tolist(), sources, strict=True
            ):
                found.append((telemetry.table.names[tag], float(str(value)), status, source_ns))
    await outbox.close()
    return found


async def test_each_window_is_told_once_and_whoever_was_killed_says_what_may_be_missing(tmp_path: Path) -> None:
    device = ModbusDevice()
    device.registers[3][1] = 7
    path = tmp_path / "gateway.yaml"
    async with device.listening():
        path.write_text(FILE.format(device=device.port), "utf-8")
        for kill in range(KILLS):
            device.registers[3][0] = kill
            assert await run_until_read(path, 60, signal.SIGKILL) == -signal.SIGKILL
        device.registers[3][0] = KILLS
        assert await run_until_read(path, 60, signal.SIGTERM) == 0
    found = await told(tmp_path / "outbox.db")
    windows = [(source_ns, value, status) for tag, value, status, source_ns in found if tag == "force.count"]
    assert max(Counter(begin for begin, _, _ in windows).values()) == 1
    assert [begin for begin, _, _ in windows] == sorted(begin for begin, _, _ in windows)
    assert {status for _, _, status in windows} <= {0, UNCERTAIN}
    assert sum(status == UNCERTAIN for _, _, status in windows) >= KILLS
    assert all(value > 0 for _, value, _ in windows)
    levels = [(value, status) for tag, value, status, _ in found if tag == "level"]
    assert [status for _, status in levels].count(BAD_DATA_LOST) == KILLS
    for kill in range(1, KILLS + 1):
        lost = [place for place, (_, status) in enumerate(levels) if status == BAD_DATA_LOST][kill - 1]
        assert levels[lost - 1] == (kill - 1, 0)
        assert levels[lost + 1] == (kill, 0)
    assert levels[-1] == (KILLS, 0)
