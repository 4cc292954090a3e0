"""The operations face of a gateway that runs with real sockets."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.report import status_path
from tests.drivers.modbus_device import ModbusDevice
from tests.gateway.broker import ScriptedBroker
from tests.gateway.running import Reply, Running, metrics, running, started


@pytest.fixture
async def broker() -> AsyncIterator[ScriptedBroker]:
    broker = ScriptedBroker()
    await broker.start()
    yield broker
    await broker.stop()


@pytest.fixture
async def device() -> AsyncIterator[ModbusDevice]:
    device = ModbusDevice()
    device.registers[3][0] = 7
    async with device.listening():
        yield device


@pytest.fixture
async def gateway(tmp_path: Path, device: ModbusDevice, broker: ScriptedBroker) -> AsyncIterator[Running]:
    async with running(tmp_path, device.port, broker.port) as gateway:
        yield gateway


def reasons(reply: Reply) -> dict[str, str]:
    return {reason["name"]: reason["state"] for reason in json.loads(reply.body)["reasons"]}


async def test_it_is_alive_as_soon_as_it_answers_and_ready_when_all_is_online(gateway: Running) -> None:
    health = await gateway.get("/healthz")
    assert (health.status, json.loads(health.body)["status"]) == (200, "ok")
    ready = await gateway.until("/readyz", lambda reply: reply.status == 200)
    assert json.loads(ready.body) == {"ready": True, "reasons": []}


async def test_it_is_not_ready_while_the_broker_is_away_and_says_so(gateway: Running, broker: ScriptedBroker) -> None:
    await gateway.until("/readyz", lambda reply: reply.status == 200)
    await broker.stop()
    away = await gateway.until("/readyz", lambda reply: reply.status == 503)
    assert reasons(away) == {"mqtt": "away"}
    assert (await gateway.get("/healthz")).status == 200
    await broker.start()
    await gateway.until("/readyz", lambda reply: reply.status == 200)


async def test_it_is_not_ready_while_a_device_misbehaves(gateway: Running, device: ModbusDevice) -> None:
    await gateway.until("/readyz", lambda reply: reply.status == 200)
    device.reply = lambda _request, _answer: [b"no Modbus at all"]
    device.drop_connections()
    away = await gateway.until("/readyz", lambda reply: reply.status == 503)
    assert reasons(away) == {"press": "lost"}
    found = metrics(await gateway.until("/metrics", lambda reply: b"mumian_device_errors_total{" in reply.body))
    assert found["mumian_device_state", "press", "lost"] == 1
    assert found["mumian_device_state", "press", "online"] == 0
    assert sum(value for key, value in found.items() if key[0] == "mumian_device_errors_total") >= 1


async def test_its_metrics_tell_of_devices_sinks_outbox_and_process(gateway: Running, broker: ScriptedBroker) -> None:
    await broker.wait_published(1)
    reply = await gateway.until("/metrics", lambda reply: b"mumian_outbox_removed_records_total 1\n" in reply.body)
    assert reply.fields["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    found = metrics(reply)
    assert found["mumian_device_state", "press", "online"] == 1
    assert found["mumian_device_polls_total", "press"] >= found["mumian_device_readings_total", "press"] >= 1
    assert found["mumian_device_round_trip_seconds_count", "press"] >= 1
    assert found["mumian_device_lateness_seconds_count", "press"] >= 1
    assert found["mumian_device_last_good_timestamp_seconds", "press"] > 1.7e9
    assert found["mumian_sink_state", "mqtt", "online"] == 1
    assert found["mumian_sink_connects_total", "mqtt"] == found["mumian_sink_acknowledged_records_total", "mqtt"] == 1
    assert found["mumian_outbox_append_seconds_count",] >= 1
    assert found["mumian_outbox_produced_records_total",] == 1
    assert found["mumian_outbox_stored_records",] == 0
    assert found["mumian_outbox_disk_free_bytes",] > found["mumian_outbox_file_bytes",] > 0
    assert found["process_resident_memory_bytes",] > 1e7
    assert found["process_cpu_seconds_total",] > 0
    assert found["process_max_fds",] >= found["process_open_fds",] >= 5
    assert any(key[0] == "mumian_build_info" for key in found)


async def test_what_waits_for_a_sink_has_a_depth_and_an_age(
    gateway: Running, device: ModbusDevice, broker: ScriptedBroker
) -> None:
    broker.is_holding = True
    device.registers[3][0] = 8
    waiting = await gateway.until("/metrics", lambda reply: metrics(reply)["mumian_sink_oldest_age_seconds", "mqtt"] > 0.5)
    found = metrics(waiting)
    assert found["mumian_sink_depth_records", "mqtt"] >= 1
    assert found["mumian_sink_in_flight_records", "mqtt"] >= 1
    assert found["mumian_sink_lane_depth_seqs", "mqtt", "live"] >= 1
    assert found["mumian_sink_lane_depth_seqs", "mqtt", "history"] >= 0
    assert found["mumian_sink_historical_records_total", "mqtt"] >= 0
    broker.release()
    await gateway.until("/metrics", lambda reply: metrics(reply)["mumian_sink_oldest_age_seconds", "mqtt"] == 0)


async def test_the_status_page_is_the_status_file(gateway: Running) -> None:
    page = json.loads((await gateway.get("/status")).body)
    file = json.loads(status_path(gateway.settings.outbox.path).read_text())
    assert page.keys() == file.keys()
    assert page["operations"] == file["operations"] == f"127.0.0.1:{gateway.port}"


async def test_a_port_that_is_taken_stops_no_gateway(
    tmp_path: Path, gateway: Running, device: ModbusDevice, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "second").mkdir()
    path = tmp_path / "second" / "gateway.yaml"
    path.write_text(gateway.path.read_text().replace("127.0.0.1:0", f"127.0.0.1:{gateway.port}"))
    async with started(path) as second:
        await second.written(lambda status: status["devices"]["press"]["state"] == "online")
    assert "can't listen" in caplog.text
