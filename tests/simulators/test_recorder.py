"""A device recorded, and served again from the recording."""

from __future__ import annotations

import asyncio
import io
import json
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from config.problems import ConfigError
from simulators.ledger import Ledger, read_served
from simulators.modbus_plant import make_devices, read_recordings, serving_modbus
from simulators.modbus_server import Habit
from simulators.plant.meter import BenchLoad
from simulators.recorder import RecordingFailed, Task, record
from simulators.registers import PRESS_MAP, Block, Raw, Table
from simulators.replaying import parse_block, read
from simulators.settings import PlantSettings
from simulators.virtual_time import WIRE_S, VirtualLoop, run
from tests.simulators.lab import connected, pass_time, script
from tests.simulators.lab import play as play_device
from tests.simulators.plants import GUARD_S, address, device, running, running_at, served, settings
from tests.simulators.test_modbus_server import PRESS_RAW, frame

HEAD = '{"recording": 1, "unit": 3, "period_ms": 1000}'
INPUTS = Block(Table.INPUT_REGISTERS, 0, 3)


def lines(*answers: dict[str, Any], head: str = HEAD) -> str:
    return "\n".join([head, *map(json.dumps, answers)]) + "\n"


def written(folder: Path, text: str) -> Path:
    path = folder / "pump.jsonl"
    path.write_text(text, "utf-8")
    return path


def test_a_recording_says_what_came_when_and_how_long_it_took(tmp_path: Path) -> None:
    path = tmp_path / "press.jsonl"

    async def client(loop: VirtualLoop, port: int) -> str:
        task = Task("127.0.0.1", port, 1, (INPUTS, Block(Table.HOLDING_REGISTERS, 0, 1)), 1.0, 3.0)
        assert await record(task, lambda: path.open("w"), monotonic_ns=lambda: round(loop.time() * 1e9)) == 6
        return path.read_text()

    faults = script({"kind": "delay", "delay_s": 0.25, "every": 3, "count": 1})
    head, *answers = map(json.loads, play_device(tmp_path, faults, client).value.splitlines())
    assert head == {"recording": 1, "unit": 1, "period_ms": 1000.0}
    assert [(line["at_ms"] // 1000, line["block"]) for line in answers] == [
        (second, block) for second in (0, 1, 2) for block in ("ir:0+3", "hr:0+1")
    ]
    assert [line["took_ms"] for line in answers] == [pytest.approx(2000 * WIRE_S + (250 if n == 2 else 0)) for n in range(6)]
    assert [int(line["data"][:8], 16) // 1000 for line in answers[::2]] == [0, 1, 2]
    assert [line["exception"] for line in answers[1::2]] == [2, 2, 2]


ASKED = [
    (1, b"\x04\x00\x64\x00\x02"),
    (1, b"\x04\x00\x65\x00\x01"),
    (1, b"\x04\x00\x64\x00\x02"),
    (0.1, b"\x02\x00\x00\x00\x03"),
    (1, b"\x04\x00\x63\x00\x02"),
]


def port_of(address: str) -> int:
    return int(address.rsplit(":", 1)[1])


def test_a_recording_is_served_with_its_values_timing_and_exceptions(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        lines(
            {"at_ms": 0, "block": "ir:100+2", "took_ms": 50, "data": "00010002"},
            {"at_ms": 0, "block": "di:0+3", "took_ms": 1, "data": "05"},
            {"at_ms": 1000, "block": "ir:100+2", "took_ms": 300, "data": "00030004"},
            {"at_ms": 2000, "block": "ir:100+2", "took_ms": 20, "exception": 6},
        ),
    )
    plant = PlantSettings(ledger=tmp_path / "ledger.db", recordings=[{"name": "pump", "file": path}])

    async def main(loop: VirtualLoop) -> list[tuple[float, bytes]]:
        with Ledger(plant.ledger, 1, clock=loop.clock_ns) as ledger:
            devices = make_devices(plant, BenchLoad(), ledger, loop.clock_ns, recordings=read_recordings(plant))
            async with serving_modbus(plant, devices, []) as addresses, connected(loop, port_of(addresses["pump"])) as wire:
                for wait_s, pdu in ASKED:
                    wire.transport.write(frame(1, pdu, 3))
                    await pass_time(wait_s)
                return wire.pieces

    pieces = run(main)
    assert [data[7:] for _, data in pieces] == [
        b"\x04\x04\0\1\0\2", b"\x04\x02\0\4", b"\x84\x06", b"\x02\x01\x05", b"\x84\x02",
    ]  # fmt: skip
    took = [when - asked for (when, _), asked in zip(pieces, (0, 1, 2, 3, 3.1), strict=True)]
    assert took == [pytest.approx(seconds, abs=0.002) for seconds in (0.05, 0.3, 0.02, 0.001, 0)]
    assert [row.readings for row in read_served(plant.ledger)] == [
        [("ir100", 1, None), ("ir101", 2, None)],
        [("ir101", 4, None)],
        [("di0", 1, None), ("di1", 0, None), ("di2", 1, None)],
    ]


def test_a_recording_begins_again_when_it_ends(tmp_path: Path) -> None:
    answers = [{"at_ms": second * 1000, "block": "hr:0+1", "took_ms": 0, "data": f"{second:04x}"} for second in range(3)]
    recording = read(written(tmp_path, lines(*answers)))
    assert [recording.raw(second * 1_000_000_000)[0] for second in range(7)] == [0, 1, 2, 0, 1, 2, 0]
    assert recording.unit == 3
    assert recording.habit(Block(Table.HOLDING_REGISTERS, 0, 1), 0) == Habit()
    assert not recording.points.holds(Block(Table.HOLDING_REGISTERS, 0, 2))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", ":1: is not a recording of a Modbus device"),
        (lines(head='{"recording": 2, "unit": 1, "period_ms": 1}'), ":1: is not a recording of version 1"),
        (lines(), ": has no answers"),
        (lines({"at_ms": 0, "block": "xx:0+1", "took_ms": 0, "data": "00"}), ":2: 'xx:0+1' is not a block such as hr:0+20"),
        (lines({"at_ms": 0, "block": "hr:0+126", "took_ms": 0, "data": "00"}), ":2: 'hr:0+126' can't be read by one request"),
        (lines({"at_ms": 0, "block": "hr:0+1", "took_ms": 0, "data": "00"}), ":2: 1 bytes are not 1 registers"),
        (lines({"at_ms": 0, "block": "di:0+9", "took_ms": 0, "data": "00"}), ":2: 1 bytes are not 9 bits"),
        (lines({"at_ms": 0, "block": "hr:0+1", "took_ms": 0, "data": "zz"}), ":2: "),
        (lines({"at_ms": 0, "block": "hr:0+1", "took_ms": 0}), ":2: needs data or an exception, not both"),
        (lines({"at_ms": -1, "block": "hr:0+1", "took_ms": 0, "data": "0000"}), ":2: times must not go back"),
        (lines({"at": 0}), ":2: "),
    ],
)
def test_a_mistake_in_a_recording_is_named_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}{said}")


def test_a_block_is_written_as_in_the_ledger() -> None:
    assert [str(parse_block(text)) for text in ("hr:0+20", "di:65535+1")] == ["hr:0+20", "di:65535+1"]
    with pytest.raises(ValueError, match="one request"):
        parse_block("di:65535+2")


@pytest.mark.parametrize(
    ("fault", "said"),
    [("drop", "no answer for ir:0"), ("cut", "connection was lost"), ("wrong_unit", "no answer to the request")],
)
def test_a_device_that_fails_ends_the_recording_with_the_reason(tmp_path: Path, fault: str, said: str) -> None:
    async def client(loop: VirtualLoop, port: int) -> None:
        with pytest.raises(RecordingFailed, match=said):
            await record(Task("127.0.0.1", port, 1, (INPUTS,), 1.0, 3.0), io.StringIO)

    play_device(tmp_path, script({"kind": fault}), client)


def test_a_device_that_is_slower_than_the_period_is_asked_less_often(tmp_path: Path) -> None:
    path = tmp_path / "press.jsonl"

    async def client(loop: VirtualLoop, port: int) -> list[float]:
        task = Task("127.0.0.1", port, 1, (INPUTS,), 1.0, 6.0)
        await record(task, lambda: path.open("w"), monotonic_ns=lambda: round(loop.time() * 1e9))
        return [json.loads(line)["at_ms"] for line in path.read_text().splitlines()[1:]]

    asked = play_device(tmp_path, script({"kind": "delay", "delay_s": 1.5}), client).value
    assert [round(at_ms) for at_ms in asked] == [0, 2000, 4000]


MUMIAN = [sys.executable, "-m", "mumian", "record"]


def test_the_command_says_what_is_wrong(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.write_text("an earlier recording", "utf-8")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    for words, code, said in (
        ([f"127.0.0.1:{port}", str(kept), "hr:0+1"], 5, f"127.0.0.1:{port} can't be reached"),
        ([f"127.0.0.1:{port}", str(kept), "hr:0"], 2, "is not a block such as hr:0+20"),
        (["127.0.0.1", str(kept), "hr:0+1"], 2, "is not host:port"),
        ([f"127.0.0.1:{port}", str(kept), "hr:0+1", "--period-s", "0"], 2, "--period-s"),
        ([f"127.0.0.1:{port}", str(kept), "hr:0+1", "--unit", "256"], 2, "from 0 to 255"),
    ):
        done = subprocess.run([*MUMIAN, *words], capture_output=True, text=True, timeout=GUARD_S, check=False)
        assert done.returncode == code
        assert said in done.stderr
        assert "Traceback" not in done.stderr
    assert kept.read_text("utf-8") == "an earlier recording"


async def test_a_file_that_cannot_be_written_is_4(tmp_path: Path) -> None:
    async with device(tmp_path, PRESS_MAP, lambda _: PRESS_RAW) as port:
        words = [f"127.0.0.1:{port}", str(tmp_path / "none" / "f"), "ir:0+3"]
        child = await asyncio.create_subprocess_exec(*MUMIAN, *words, stderr=subprocess.PIPE)
        _, said = await asyncio.wait_for(child.communicate(), GUARD_S)
    assert (child.returncode, "No such file" in said.decode()) == (4, True)


async def test_a_signal_ends_a_recording_in_order(tmp_path: Path) -> None:
    path = tmp_path / "press.jsonl"
    asked = asyncio.Event()

    def sample(_: int) -> list[Raw]:
        asked.set()
        return PRESS_RAW

    async with device(tmp_path, PRESS_MAP, sample) as port:
        words = [f"127.0.0.1:{port}", str(path), "ir:0+3", "--seconds", "3600", "--period-s", "3600"]
        child = await asyncio.create_subprocess_exec(*MUMIAN, *words, stdout=subprocess.PIPE)
        await asyncio.wait_for(asked.wait(), GUARD_S)
        child.send_signal(signal.SIGINT)
        out, _ = await asyncio.wait_for(child.communicate(), GUARD_S)
    assert (child.returncode, out.decode()) == (0, f"1 answers in {path}\n")
    assert list(read(path).raw(0)) == [0x1234, 0x5678, 4321]


async def test_what_was_recorded_from_a_plant_is_what_a_plant_serves_from_it(tmp_path: Path) -> None:
    path = tmp_path / "meter.jsonl"
    async with running(settings(tmp_path / "real")) as plant:
        words = [plant.meter, str(path), "hr:0+20", "--seconds", "2", "--period-s", "0.1"]
        child = await asyncio.create_subprocess_exec(*MUMIAN, *words, stdout=subprocess.DEVNULL)
        assert await asyncio.wait_for(child.wait(), GUARD_S) == 0
    recorded = [json.loads(line)["data"] for line in path.read_text("utf-8").splitlines()[1:]]
    assert len(set(recorded)) > 1
    read_back = [row for row in served(tmp_path / "real") if row.device == "meter"]
    assert len(read_back) == len(recorded)

    replayed = settings(tmp_path / "again", recordings=[{"name": "pump", "file": path}])
    seen: list[str] = []
    async with asyncio.timeout(GUARD_S), running_at(replayed) as addresses:
        reader, writer = await asyncio.open_connection(*address(addresses["pump"]))
        while len(set(seen)) < 2:  # one that was slow when it was recorded is slow again, and hides those behind it
            writer.write(frame(1, b"\x03\0\0\0\x14"))
            seen.append((await reader.readexactly(49))[9:].hex())
        writer.close()
        await writer.wait_closed()
    assert set(seen) <= set(recorded)
