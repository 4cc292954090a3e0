"""The order to stop, while the broker is a black hole and a device doesn't answer."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest

from gateway.app import ExitCode
from gateway.outbox.base import RecordKind
from gateway.outbox.codec import decode_record, decode_table, table_key
from gateway.outbox.sqlite import SqliteOutbox
from gateway.report import status_path
from simulators.proxy import ChaosProxy
from tests.drivers.modbus_device import ModbusDevice
from tests.gateway.broker import ScriptedBroker
from tests.gateway.running import Reply, Running, metrics, running

STOP_S = 5.0
"""What is promised."""
TELEMETRY = frozenset({RecordKind.TELEMETRY})


@pytest.fixture
async def broker() -> AsyncIterator[ScriptedBroker]:
    broker = ScriptedBroker()
    await broker.start()
    yield broker
    await broker.stop()


@pytest.fixture
async def proxy(broker: ScriptedBroker) -> AsyncIterator[ChaosProxy]:
    proxy = ChaosProxy(("127.0.0.1", broker.port))
    await proxy.start()
    yield proxy
    await proxy.stop()


async def stored(path: Path) -> list[list[float]]:
    """Values of each record that an ended gateway has left, oldest first; Bad ones left out."""
    outbox = SqliteOutbox(path, {"mqtt": TELEMETRY})
    await outbox.open()
    values: list[list[float]] = []
    for record in outbox.read(0, 1000, TELEMETRY):
        telemetry = decode_record(record.payload, lambda digest: decode_table(outbox.note(table_key(digest)) or b""))
        found = [float(value) for frame in telemetry.frames for value in list(frame.values)]
        values.append([value for value in found if not math.isnan(value)])
    await outbox.close()
    return values


async def count_to(gateway: Running, device: ModbusDevice, first: int, last: int) -> None:
    """Let the device count, each value being taken onto disk before the next."""
    for value in range(first, last + 1):
        before = produced(await gateway.get("/metrics"))
        device.registers[3][0] = value
        await gateway.until("/metrics", partial(has_produced, before))


def produced(reply: Reply) -> float:
    return metrics(reply)["mumian_outbox_produced_records_total",]


def has_produced(before: float, reply: Reply) -> bool:
    return produced(reply) > before


async def test_a_stop_is_over_in_time_and_loses_nothing(tmp_path: Path, broker: ScriptedBroker, proxy: ChaosProxy) -> None:
    device = ModbusDevice()
    device.registers[3][0] = 100
    async with device.listening(), running(tmp_path, device.port, proxy.port) as gateway:
        await broker.wait_published(1)
        await count_to(gateway, device, 101, 105)
        proxy.silence()
        await count_to(gateway, device, 106, 110)
        device.reply = lambda _request, _answer: []
        before = metrics(await gateway.get("/metrics"))["mumian_device_polls_total", "press"]
        await gateway.until("/metrics", lambda reply: metrics(reply)["mumian_device_polls_total", "press"] > before)
        gateway.stop.set()
        async with asyncio.timeout(STOP_S):
            assert await gateway.ended == ExitCode.OK
        records = await stored(gateway.settings.outbox.path)
        status = json.loads(status_path(gateway.settings.outbox.path).read_text())["outbox"]
    left = [value for record in records for value in record]
    sent = [json.loads(publication.payload)["values"]["pulses"] for publication in broker.publications]
    assert {*sent, *left} == set(range(100, 111))
    assert left[-5:] == [106, 107, 108, 109, 110]
    assert status["produced"] == status["removed"] + status["stored"]
    assert status["stored"] == len(records)
