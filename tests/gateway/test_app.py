"""A whole gateway in this process or as one of its own, with real files and sockets."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from config.documents import load
from gateway import app
from gateway.app import ExitCode, run, tune
from gateway.log import Log, LogFormat, one_line, write_to_stderr
from gateway.outbox.base import OutboxFull, RecordKind
from gateway.outbox.codec import decode_record, decode_table, table_key
from gateway.outbox.gathering import Gathering
from gateway.outbox.sqlite import SqliteOutbox
from gateway.report import status_path
from gateway.scheduler import Timetable
from gateway.secret import SecretUnusable, read_secret
from gateway.settings import GatewaySettings
from tests.drivers.modbus_device import ModbusDevice
from tests.gateway.broker import ScriptedBroker

GUARD_S = 30.0
TELEMETRY = frozenset({RecordKind.TELEMETRY})

FILE = """\
gateway: works
drain_s: {drain_s}
outbox: {{path: outbox.db}}
devices:
  - name: press
    driver: modbus
    address: 127.0.0.1:{device}
    period_ms: 20
    timeout_ms: 5000
    tags:
      - {{name: pulses, area: holding_register, address: 0}}
sinks:
  - {{kind: mqtt, url: "mqtt://127.0.0.1:{broker}"}}
"""


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


def write_file(folder: Path, device: ModbusDevice, broker: ScriptedBroker, drain_s: float = 5) -> Path:
    path = folder / "gateway.yaml"
    path.write_text(FILE.format(device=device.port, broker=broker.port, drain_s=drain_s), encoding="utf-8")
    return path


async def count_up(device: ModbusDevice, broker: ScriptedBroker, messages: int) -> None:
    """Let the pulses run until so many messages have come."""
    async with asyncio.timeout(GUARD_S):
        for n in range(messages):
            device.registers[3][0] = 100 + n
            await broker.wait_published(n + 1)


def stored(path: Path) -> list[float]:
    """Values of the records that an ended gateway has left, oldest first."""

    async def read() -> list[float]:
        outbox = SqliteOutbox(path, {"mqtt": TELEMETRY})
        await outbox.open()
        values = []
        for record in outbox.read(0, 1000, TELEMETRY):
            telemetry = decode_record(record.payload, lambda digest: decode_table(outbox.note(table_key(digest)) or b""))
            values += [value for frame in telemetry.frames for value in list(frame.values)]
        await outbox.close()
        return [float(value) for value in values]

    return asyncio.run(read())


async def test_readings_reach_the_broker_and_a_stop_leaves_nothing_behind(
    tmp_path: Path, device: ModbusDevice, broker: ScriptedBroker
) -> None:
    settings = load(write_file(tmp_path, device, broker), GatewaySettings)
    stop = asyncio.Event()
    running = asyncio.ensure_future(run(settings, stop))
    await count_up(device, broker, 5)
    stop.set()
    async with asyncio.timeout(GUARD_S):
        assert await running == ExitCode.OK
    messages = [json.loads(publication.payload) for publication in broker.publications]
    assert [message["seq"] for message in messages[:5]] == [1, 2, 3, 4, 5]
    assert {publication.topic for publication in broker.publications} == {"mumian/works/press"}
    status = json.loads(status_path(settings.outbox.path).read_text())
    assert stat.S_IMODE(status_path(settings.outbox.path).stat().st_mode) == 0o600
    assert status["outbox"]["stored"] == 0
    assert status["outbox"]["produced"] == status["outbox"]["removed"] == len(messages)
    assert status["sinks"]["mqtt"]["acknowledged"] == len(messages)
    assert status["devices"]["press"]["state"] == "online"


async def test_a_stop_drains_what_is_stored_for_no_longer_than_it_may_and_keeps_the_rest(
    tmp_path: Path, device: ModbusDevice, broker: ScriptedBroker
) -> None:
    settings = load(write_file(tmp_path, device, broker, drain_s=0.2), GatewaySettings)
    broker.is_holding = True
    stop = asyncio.Event()
    running = asyncio.ensure_future(run(settings, stop))
    await count_up(device, broker, 3)
    stop.set()
    async with asyncio.timeout(GUARD_S):
        assert await running == ExitCode.OK
    left = await asyncio.to_thread(stored, settings.outbox.path)
    assert left[-1] == 102
    assert len(left) >= 2


async def test_a_second_gateway_on_the_same_outbox_ends_with_3_and_the_first_goes_on(
    tmp_path: Path, device: ModbusDevice, broker: ScriptedBroker
) -> None:
    settings = load(write_file(tmp_path, device, broker), GatewaySettings)
    stop = asyncio.Event()
    running = asyncio.ensure_future(run(settings, stop))
    await count_up(device, broker, 1)
    assert await run(settings, asyncio.Event()) == ExitCode.OUTBOX_BUSY
    await count_up(device, broker, 3)
    stop.set()
    assert await running == ExitCode.OK


async def test_an_outbox_that_cannot_be_used_ends_with_4(tmp_path: Path, device: ModbusDevice, broker: ScriptedBroker) -> None:
    settings = load(write_file(tmp_path, device, broker), GatewaySettings)
    settings.outbox.path.write_bytes(b"no database" * 1000)
    assert await run(settings, asyncio.Event()) == ExitCode.STORAGE_FAILED


async def test_storage_that_fails_while_running_ends_with_4(
    tmp_path: Path, device: ModbusDevice, broker: ScriptedBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = load(write_file(tmp_path, device, broker), GatewaySettings)
    outboxes: list[SqliteOutbox] = []

    def keep(*arguments: object) -> SqliteOutbox:
        outboxes.append(SqliteOutbox(*arguments))  # type: ignore[arg-type]
        return outboxes[-1]

    monkeypatch.setattr(app, "SqliteOutbox", keep)
    running = asyncio.ensure_future(run(settings, asyncio.Event()))
    await count_up(device, broker, 1)
    assert outboxes[0]._raw is not None
    outboxes[0]._raw.execute("PRAGMA query_only = 1")  # as if the disk had become read-only
    device.registers[3][0] = 1
    async with asyncio.timeout(GUARD_S):
        assert await running == ExitCode.STORAGE_FAILED


async def test_a_stop_with_a_full_disk_still_ends_in_order(
    tmp_path: Path, device: ModbusDevice, broker: ScriptedBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = load(write_file(tmp_path, device, broker, drain_s=0), GatewaySettings)

    tried = asyncio.Event()

    async def full(*_: object) -> range:
        tried.set()
        raise OutboxFull("no space")

    monkeypatch.setattr(SqliteOutbox, "append", full)
    stop = asyncio.Event()
    running = asyncio.ensure_future(run(settings, stop))
    async with asyncio.timeout(GUARD_S):
        await tried.wait()
        stop.set()
        assert await running == ExitCode.OK


async def test_a_secret_that_others_may_read_ends_with_2(
    tmp_path: Path, device: ModbusDevice, broker: ScriptedBroker, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_file(tmp_path, device, broker)
    path.write_text(path.read_text().replace('"}', '", username: u, password_file: secret}'))
    (tmp_path / "secret").write_text("word")
    (tmp_path / "secret").chmod(0o644)
    assert await run(load(path, GatewaySettings), asyncio.Event()) == ExitCode.CONFIGURATION
    assert "chmod 600" in caplog.text


def start(path: Path, *words: str) -> subprocess.Popen[str]:
    """`mumian gateway run` as a process."""
    code = "import sys; from pathlib import Path; from gateway.cli import run; sys.exit(run(Path(sys.argv[1]), *sys.argv[2:]))"
    return subprocess.Popen([sys.executable, "-c", code, str(path), *words], stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_stops_the_process_in_order(
    tmp_path: Path, device: ModbusDevice, broker: ScriptedBroker, number: signal.Signals
) -> None:
    process = start(write_file(tmp_path, device, broker))
    await count_up(device, broker, 2)
    process.send_signal(number)
    _, said = await asyncio.to_thread(process.communicate, timeout=GUARD_S)
    assert process.returncode == 0
    lines = said.splitlines()
    assert "works starts with 0 stored records" in lines[0]
    assert lines[-1].endswith("works has stopped with 0 stored records")
    assert "Traceback" not in said


async def test_a_killed_process_loses_nothing_that_the_device_saw_acknowledged_by_a_further_poll(
    tmp_path: Path, device: ModbusDevice, broker: ScriptedBroker
) -> None:
    broker.is_holding = True
    path = write_file(tmp_path, device, broker)
    process = start(path)
    await count_up(device, broker, 4)
    process.kill()
    await asyncio.to_thread(process.communicate, timeout=GUARD_S)
    broker.publications.clear()
    broker.held.clear()
    broker.is_holding = False
    process = start(path)
    async with asyncio.timeout(GUARD_S):
        await broker.wait_published(4)
    process.terminate()
    await asyncio.to_thread(process.communicate, timeout=GUARD_S)
    values = [json.loads(publication.payload)["values"]["pulses"] for publication in broker.publications]
    assert values[:4] == sorted(values[:4])
    assert {101, 102, 103} <= set(values)


async def test_its_lines_are_json_when_asked_for(tmp_path: Path, device: ModbusDevice, broker: ScriptedBroker) -> None:
    process = start(write_file(tmp_path, device, broker), "json")
    await count_up(device, broker, 1)
    process.terminate()
    _, said = await asyncio.to_thread(process.communicate, timeout=GUARD_S)
    lines = [json.loads(line) for line in said.splitlines()]
    assert {"time", "level", "about", "device", "message"} <= set(next(line for line in lines if line["about"] == "device"))


async def test_a_file_with_mistakes_ends_with_2_and_no_stack_trace(tmp_path: Path) -> None:
    path = tmp_path / "gateway.yaml"
    path.write_text("gateway: works\ndevices: []\n")
    process = start(path)
    _, said = await asyncio.to_thread(process.communicate, timeout=GUARD_S)
    assert process.returncode == 2
    assert f"{path}:" in said
    assert "Traceback" not in said


def test_a_secret_is_read_without_its_white_space(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("  word\n")
    path.chmod(0o600)
    assert read_secret(path) == "word"


@pytest.mark.parametrize("content", [b"", b" \n", b"\xff\xfe"])
def test_an_empty_or_unreadable_secret_is_unusable(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "secret"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(SecretUnusable, match="secret: "):
        read_secret(path)
    with pytest.raises(SecretUnusable, match="none: "):
        read_secret(tmp_path / "none")


def test_foreign_text_cannot_break_a_line() -> None:
    assert one_line("订单 ok") == "订单 ok"
    assert one_line("a\nb\r\x1b[31mc\u2028") == "a\\nb\\r\\x1b[31mc\\u2028"


@pytest.mark.parametrize("log_format", list(LogFormat))
def test_a_line_names_what_it_is_about(capsys: pytest.CaptureFixture[str], log_format: LogFormat) -> None:
    logger = logging.getLogger("mumian.gateway")
    before = (logger.handlers[:], logger.level, logger.propagate)
    foreign = {name: logging.getLogger(name).level for name in ("gmqtt", "asyncua", "httpx", "httpcore", "aiosqlite", "asyncio")}
    try:
        write_to_stderr(log_format)
        Log("device", device="press").warning('lost: "it"\nsaid')
    finally:
        logger.handlers[:], logger.level, logger.propagate = before[0], before[1], before[2]
        for name, level in foreign.items():
            logging.getLogger(name).setLevel(level)
    (line,) = capsys.readouterr().err.splitlines()
    if log_format is LogFormat.JSON:
        entry = json.loads(line)
        assert (entry["level"], entry["device"], entry["message"]) == ("warning", "press", 'lost: "it"\\nsaid')
    else:
        assert line.endswith('WARNING device press: lost: "it"\\nsaid')


@pytest.mark.parametrize(
    ("periods_ms", "longest_s", "has_pauses"),
    [
        ((1000, 100), 0.004, True),
        ((1000, 10), 0.0025, True),
        ((60_000,), 0.004, True),
        ((), 0.005, True),
        ((100,) * 100, 0.004, True),
        ((20,) * 50, 0.004, False),
        ((100,) * 100 + (1000,), 0.004, False),
    ],
)
def test_commits_gather_for_a_quarter_of_the_shortest_period_at_most_and_less_where_polls_leave_pauses(
    periods_ms: tuple[int, ...], longest_s: float, has_pauses: bool
) -> None:
    class Polled:
        def __init__(self, period_ms: int) -> None:
            self.timetable = Timetable([period_ms / 1000])

    gathering = Gathering()
    tune(gathering, [Polled(period_ms) for period_ms in periods_ms])  # type: ignore[misc]
    assert (gathering.longest_s, gathering.has_pauses) == (longest_s, has_pauses)
