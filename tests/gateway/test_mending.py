"""Damage that a running gateway meets in its outbox file: it begins anew by itself, and what can be read is delivered."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from drivers.model import Kind
from gateway import app
from gateway.app import ExitCode
from gateway.outbox import store
from gateway.outbox.base import Entry, RecordKind
from gateway.outbox.codec import encode_record, encode_table, table_digest, table_key
from gateway.outbox.sqlite import SqliteOutbox
from tests.drivers.modbus_device import ModbusDevice
from tests.gateway.broker import ScriptedBroker
from tests.gateway.fakes import frame, table
from tests.gateway.running import FILE, GUARD_S, started

TABLE = encode_table(table(("speed", Kind.FLOAT), device="lathe"))
BACKLOG = 2000


async def fill(path: Path) -> None:
    """A backlog of records, in whose middle a page has been lost."""
    outbox = SqliteOutbox(path, {"mqtt": frozenset({RecordKind.TELEMETRY})})
    await outbox.open()
    digest = table_digest(TABLE)
    entries = [Entry(RecordKind.TELEMETRY, encode_record(digest, [frame([0], [float(n)])]), 1) for n in range(BACKLOG)]
    await outbox.append(entries, {table_key(digest): TABLE})
    await outbox.close()
    spoil(path)


def spoil(path: Path) -> None:
    """Lose a page of records."""
    data = bytearray(path.read_bytes())
    page = data.index(encode_record(table_digest(TABLE), [frame([0], [BACKLOG / 2])])) // 4096 * 4096
    data[page : page + 4096] = bytes(4096)
    path.write_bytes(data)


async def until_new(broker: ScriptedBroker, device: ModbusDevice, value: int) -> list[dict[str, object]]:
    """Every message, once a reading that the device has only now was published."""
    device.registers[3][0] = value
    async with asyncio.timeout(GUARD_S), broker.changed:
        await broker.changed.wait_for(lambda: any(f'"pulses":{value}}}'.encode() in one.payload for one in broker.publications))
    return [json.loads(one.payload) for one in broker.publications]


async def test_a_gateway_that_meets_damage_begins_anew_and_delivers_what_can_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(store, "_CHECKED_BYTES", 0)
    await fill(tmp_path / "outbox.db")
    broker, device = ScriptedBroker(), ModbusDevice()
    await broker.start()
    path = tmp_path / "gateway.yaml"
    async with device.listening():
        path.write_text(FILE.format(device=device.port, broker=broker.port, drain_s=2.5), "utf-8")
        async with started(path) as gateway:
            await until_new(broker, device, 77)
            await gateway.written(lambda status: status["outbox"]["stored"] == 0)  # history goes beside what is live
            assert await gateway.end() == ExitCode.OK
    await broker.stop()
    messages = [json.loads(one.payload) for one in broker.publications]
    assert "begins anew" in caplog.text
    assert len(list(tmp_path.glob("outbox.db.damaged-*"))) >= 1
    came = {message["seq"] for message in messages if message.get("device") == "lathe"}
    told = [message["gap"] for message in messages if "gap" in message]
    lost = sum(gap["count"] for gap in told if isinstance(gap, dict))
    assert 0 < lost < 200
    assert len(came) == BACKLOG - lost
    assert len({message["epoch"] for message in messages}) == 1


async def test_a_file_that_is_damaged_again_and_again_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "_CHECKED_BYTES", 0)
    monkeypatch.setattr(app, "MOST_MENDS", 0)
    await fill(tmp_path / "outbox.db")
    broker, device = ScriptedBroker(), ModbusDevice()
    await broker.start()
    path = tmp_path / "gateway.yaml"
    async with device.listening():
        path.write_text(FILE.format(device=device.port, broker=broker.port, drain_s=2.5), "utf-8")
        async with started(path) as gateway, asyncio.timeout(GUARD_S):
            assert await asyncio.shield(gateway.ended) == ExitCode.STORAGE_FAILED
    await broker.stop()
