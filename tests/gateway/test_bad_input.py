"""What comes in badly from outside: topics, brokers, a backlog beyond its cap, a later version's file, a clock set back a day.

Cut, altered and put-back outbox files: test_outbox_damage.py. A broker's refusals one by one: test_mqtt_sink.py.
"""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from drivers.model import Kind
from gateway.app import ExitCode
from gateway.consumer import Consumer, Gap, Reading
from gateway.outbox.base import Entry, OutboxFull, RecordKind
from gateway.outbox.bounds import Limits, WhenFull
from gateway.outbox.codec import encode_record, encode_table, table_digest, table_key
from gateway.outbox.sqlite import SqliteOutbox
from gateway.sinks.payload import Messages
from mumian import main
from tests.contracts.outbox_contract import assert_balanced
from tests.drivers.modbus_device import ModbusDevice
from tests.gateway.broker import ScriptedBroker
from tests.gateway.fakes import FakeClock, frame, table
from tests.gateway.running import FILE, GUARD_S, started

TELEMETRY = frozenset({RecordKind.TELEMETRY})
CHECKED = """\
gateway: works
devices:
  - {name: press, driver: modbus, address: 127.0.0.1, tags: [{name: force, area: holding_register, address: 0}]}
sinks:
  - kind: mqtt
    url: mqtt://broker
"""


@pytest.mark.parametrize("key", ["topic", "response_topic"])
@pytest.mark.parametrize("topic", ["a/#", "#", "a/+/b", "+", "a\\0b", "a\\nb", "", "$SYS/a"])
def test_check_refuses_a_topic_with_a_wildcard_or_nul_and_names_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], key: str, topic: str
) -> None:
    path = tmp_path / "gateway.yaml"
    path.write_text(f'{CHECKED}    {key}: "{topic}"\n', "utf-8")
    assert main(["gateway", "check", str(path)]) == ExitCode.CONFIGURATION
    (said,) = capsys.readouterr().out.splitlines()
    assert said.startswith(f"{path}:7: sinks[0].{key}: ")
    assert "a topic " in said


async def test_a_broker_that_accepts_and_never_acknowledges_costs_nothing(tmp_path: Path) -> None:
    broker, device = ScriptedBroker(is_holding=True), ModbusDevice()
    await broker.start()
    path = tmp_path / "gateway.yaml"
    async with device.listening():
        text = FILE.format(device=device.port, broker=broker.port, drain_s=2.5)
        path.write_text(text.replace(f':{broker.port}"}}', f':{broker.port}", acknowledge_s: 0.1}}'), "utf-8")
        async with started(path) as gateway, asyncio.timeout(GUARD_S):
            async with broker.changed:
                await broker.changed.wait_for(lambda: broker.connections >= 2)
            told = await gateway.written(lambda status: status["sinks"]["mqtt"]["state"] == "away")
            assert "acknowledged nothing for 0.1 s" in told["sinks"]["mqtt"]["trouble"]
            assert (told["outbox"]["removed"], told["outbox"]["dropped"]) == (0, {})
            broker.is_holding = False
            await gateway.written(
                lambda status: status["outbox"]["removed"] >= 1 and status["sinks"]["mqtt"]["state"] == "online"
            )
            assert await gateway.end() == ExitCode.OK
    await broker.stop()


async def test_a_broker_that_refuses_us_is_said_and_nothing_is_dropped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    broker, device = ScriptedBroker(connect_code=0x87), ModbusDevice()
    await broker.start()
    path = tmp_path / "gateway.yaml"
    async with device.listening():
        path.write_text(FILE.format(device=device.port, broker=broker.port, drain_s=0), "utf-8")
        async with started(path) as gateway, asyncio.timeout(GUARD_S):
            told = await gateway.written(
                lambda status: status["sinks"]["mqtt"]["state"] == "refused" and status["outbox"]["stored"] >= 1
            )
            assert (told["outbox"]["removed"], told["outbox"]["dropped"]) == (0, {})
            assert await gateway.end() == ExitCode.OK
    await broker.stop()
    assert sum("refused, nothing is dropped" in line for line in caplog.messages) == 1


RECORDS = 300
CAP = 200
"""300 MB of backlog on a cap of 200 MB, in records of a megabyte there and of a kilobyte here."""
READINGS = 80
TABLE = encode_table(table(*((f"t{n}", Kind.FLOAT) for n in range(READINGS))))
DIGEST = table_digest(TABLE)


def record_of(number: int) -> Entry:
    one = frame(range(READINGS), [float(number)] * READINGS)
    return Entry(RecordKind.TELEMETRY, encode_record(DIGEST, [one]), READINGS)


@pytest.mark.parametrize("policy", [WhenFull.DROP_OLDEST, WhenFull.DROP_BY_PRIORITY])
async def test_of_a_backlog_beyond_its_cap_the_oldest_goes_and_a_consumer_knows_of_every_record(
    tmp_path: Path, policy: WhenFull
) -> None:
    size = len(record_of(0).payload)
    outbox = SqliteOutbox(tmp_path / "outbox.db", {"mqtt": TELEMETRY}, Limits(CAP * size, None, policy))
    await outbox.open()
    most = 0
    for number in range(0, RECORDS, 10):
        entries = [record_of(one) for one in range(number, number + 10)]
        await outbox.append(entries, {table_key(DIGEST): TABLE})
        most = max(most, outbox.counts().stored_bytes)
        assert_balanced(outbox)
    assert most <= CAP * size
    counts = outbox.counts()
    assert (counts.produced, counts.stored, counts.dropped) == (RECORDS, CAP, {"size": RECORDS - CAP})
    encode, consumer = Messages("works", outbox.epoch, "t", outbox.note), Consumer()
    found = [
        one for record in outbox.read(0, 1000, TELEMETRY) for _, payload in encode(record) for one in consumer.feed(payload, 0.0)
    ]
    values = [one.value for one in found if isinstance(one, Reading) and one.tag == "t0"]
    assert values == [float(number) for number in range(RECORDS - CAP, RECORDS)]
    assert sum(one.count for one in found if isinstance(one, Gap)) == RECORDS - CAP
    await outbox.close()


async def test_blocked_a_backlog_stops_at_its_cap_and_goes_on_with_space(tmp_path: Path) -> None:
    size = len(record_of(0).payload)
    outbox = SqliteOutbox(tmp_path / "outbox.db", {"mqtt": TELEMETRY}, Limits(CAP * size, None, WhenFull.BLOCK))
    await outbox.open()
    taken = 0
    for number in range(0, RECORDS, 10):
        try:
            await outbox.append([record_of(one) for one in range(number, number + 10)])
            taken += 10
        except OutboxFull:
            continue
    assert (taken, outbox.counts().stored, outbox.counts().dropped) == (CAP, CAP, {})
    await outbox.acknowledge("mqtt", 100)
    await outbox.append([], {"settled": b""})
    await outbox.append([record_of(one) for one in range(CAP, RECORDS)])
    assert [record.seq for record in outbox.read(0, 1000, TELEMETRY)] == list(range(101, RECORDS + 1))
    assert_balanced(outbox)
    await outbox.close()


async def test_a_gateway_leaves_a_later_versions_outbox_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path, config = tmp_path / "outbox.db", tmp_path / "gateway.yaml"
    outbox = SqliteOutbox(path, {"mqtt": TELEMETRY})
    await outbox.open()
    await outbox.append([record_of(1)])
    await outbox.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA user_version = 99")
    before = path.read_bytes()
    config.write_text(FILE.format(device=1, broker=1, drain_s=0), "utf-8")
    async with started(config) as gateway, asyncio.timeout(GUARD_S):
        assert await asyncio.shield(gateway.ended) == ExitCode.STORAGE_FAILED
    assert "outbox.db was written by a later version (schema 99" in caplog.text
    assert path.read_bytes() == before


async def test_a_clock_that_is_set_back_a_day_drops_nothing_by_age_and_reorders_nothing(tmp_path: Path) -> None:
    clock = FakeClock()
    outbox = SqliteOutbox(tmp_path / "outbox.db", {"mqtt": TELEMETRY}, Limits(max_age_s=3600), clock)
    await outbox.open()
    await outbox.append([record_of(1)])
    clock.set_wall_back(86_400)
    await outbox.append([record_of(2)])
    await outbox.append([record_of(3)])
    assert [record.seq for record in outbox.read(0, 10, TELEMETRY)] == [1, 2, 3]
    assert outbox.counts().dropped == {}
    assert_balanced(outbox)
    await outbox.close()
