"""Every way to the plant's devices at once, asked by other people's clients."""

from __future__ import annotations

import asyncio
import json
import stat
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from pymodbus import FramerType
from pymodbus.client import AsyncModbusTcpClient, AsyncModbusTlsClient

from simulators.faults.fate import Fate
from simulators.faults.schedule import lab_for
from simulators.ledger import Ledger
from simulators.modbus.framing import FramingKind
from simulators.modbus.tls import ROLE_OID, TlsFiles, client_context, make_test_authority, role_of
from simulators.modbus.transports import SerialLine
from simulators.modbus_server import ModbusDevice
from simulators.plant_server import run
from simulators.registers import PRESS_MAP
from simulators.settings import PlantSettings
from tests.services import require_service
from tests.simulators.lab import READ, request, script
from tests.simulators.plants import GUARD_S, address, served, settings
from tests.simulators.test_modbus_server import PRESS_RAW, answer, frame, raw


@asynccontextmanager
async def plant(folder: Path, *ways: dict[str, Any], **changes: Any) -> AsyncIterator[dict[str, str]]:
    """The plant with these transports; gives its endpoints."""
    ready: asyncio.Future[dict[str, str]] = asyncio.get_running_loop().create_future()
    stop = asyncio.Event()
    model = PlantSettings.model_validate({**settings(folder).model_dump(), "transports": ways, **changes})
    task = asyncio.create_task(run(model, ready.set_result, stop))
    await asyncio.wait((task, ready), return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        task.result()
    try:
        async with asyncio.timeout(GUARD_S):
            yield ready.result()
    finally:
        stop.set()
        await task


@pytest.mark.parametrize(("kind", "framer"), [("rtu_tcp", FramerType.RTU), ("ascii_tcp", FramerType.ASCII)])
async def test_serial_frames_over_tcp_are_read_by_another_client(tmp_path: Path, kind: str, framer: FramerType) -> None:
    async with plant(tmp_path, {"device": "press", "kind": kind}) as endpoints:
        host, port = address(endpoints[f"press.{kind}"])
        client = AsyncModbusTcpClient(host, port=port, framer=framer, timeout=GUARD_S, retries=0)
        assert await client.connect()
        answers = [await client.read_input_registers(0, count=3, device_id=1) for _ in range(2)]
        refused = await client.read_holding_registers(0, count=3, device_id=1)
        client.close()
    rows = [row for row in served(tmp_path) if row.device == "press"]
    assert [row.readings[0] for row in rows] == [("pulses", a.registers[0] << 16 | a.registers[1], None) for a in answers]
    assert [(row.fate, row.acknowledged) for row in rows] == [(Fate.WHOLE, True), (Fate.WHOLE, False)]
    assert refused.exception_code == 2


@pytest.mark.services
async def test_a_serial_line_is_read_by_mbpoll_and_each_opening_is_a_connection(tmp_path: Path) -> None:
    command = [
        require_service("mbpoll"),
        "-m",
        "rtu",
        "-b",
        "9600",
        "-P",
        "none",
        "-a",
        "1",
        "-t",
        "3",
        "-r",
        "0",
        "-0",
        "-c",
        "3",
        "-1",
        "-q",
    ]

    async def poll(path: str) -> str:
        child = await asyncio.create_subprocess_exec(*command, path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        out, _ = await child.communicate()
        return out.decode()

    async with plant(tmp_path, {"device": "press", "kind": "rtu_serial"}) as endpoints:
        outputs = [await poll(endpoints["press.rtu_serial"]) for _ in range(2)]
    rows = [row for row in served(tmp_path) if row.device == "press"]
    for output, row in zip(outputs, rows, strict=True):
        values = [line.split()[1] for line in output.splitlines() if line.startswith("[")]
        assert [int(values[0]) << 16 | int(values[1]), int(values[2]) * 0.01] == [value for _, value, _ in row.readings]
    assert [row.acknowledged for row in rows] == [False, False]
    assert rows[0].connection != rows[1].connection


@asynccontextmanager
async def line_of(folder: Path, kind: FramingKind, *faults: dict[str, Any]) -> AsyncIterator[SerialLine]:
    """A press behind a serial line."""
    line = SerialLine()
    with Ledger(folder / "ledger.db", seed=1) as ledger:
        lab = lab_for(script(*faults), "device", 1)
        press = ModbusDevice("device", PRESS_MAP, lambda _: PRESS_RAW, ledger, lambda: 1, lab=lab)
        await press.listen(line, kind)
        try:
            async with asyncio.timeout(GUARD_S):
                yield line
        finally:
            await press.stop()


@pytest.mark.parametrize("kind", [FramingKind.RTU, FramingKind.ASCII])
async def test_what_one_client_read_of_a_serial_line_is_not_proved_by_the_next(tmp_path: Path, kind: FramingKind) -> None:
    async with line_of(tmp_path, kind) as line:
        async with terminal(line.address) as ask:
            expected = [await ask(request(kind)) for _ in range(2)]
        while line.has_client:  # noqa: ASYNC110 the device sees it when it looks
            await asyncio.sleep(0)
        async with terminal(line.address) as ask:
            assert await ask(request(kind)) == expected[0] == expected[1]
    assert [(row.connection, row.acknowledged) for row in served(tmp_path)] == [(1, True), (1, False), (2, False)]


async def test_a_cut_on_a_serial_line_is_a_frame_cut_short_and_the_line_goes_on(tmp_path: Path) -> None:
    async with (
        line_of(tmp_path, FramingKind.RTU, {"kind": "cut", "bytes": 11, "count": 1}) as line,
        terminal(line.address) as ask,
    ):
        first = await ask(request(FramingKind.RTU))
        assert await ask(request(FramingKind.RTU)) == first
    assert [(row.connection, row.fate) for row in served(tmp_path)] == [(1, Fate.HAMPERED), (2, Fate.WHOLE)]


@asynccontextmanager
async def terminal(path: str) -> AsyncIterator[Any]:
    """Opens a serial line; gives a function that asks on it."""
    loop = asyncio.get_running_loop()
    with open(path, "r+b", buffering=0) as file:
        reader = asyncio.StreamReader()
        transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), file)

        async def ask(data: bytes) -> bytes:
            file.write(data)
            size = 11 if data[0] != 0x3A else 1 + 2 * 10 + 2
            async with asyncio.timeout(GUARD_S):
                return await reader.readexactly(size)

        try:
            yield ask
        finally:
            transport.close()


async def test_only_the_role_may_ask_over_tls_and_others_leave_no_trace(tmp_path: Path) -> None:
    pki = tmp_path / "pki"
    async with plant(tmp_path, {"device": "press", "kind": "tls", "role": "reader", "pki_folder": pki}) as endpoints:
        host, port = address(endpoints["press.tls"])
        answers = {}
        for name in ("stranger", "client"):
            context = client_context(TlsFiles(pki / f"{name}.pem", pki / f"{name}.key.pem", pki / "ca.pem"))
            client = AsyncModbusTlsClient(host, port=port, sslctx=context, timeout=GUARD_S, retries=0)
            assert await client.connect()
            answers[name] = await client.read_input_registers(0, count=3, device_id=1)
            client.close()
    assert answers["stranger"].exception_code == 1
    (row,) = [row for row in served(tmp_path) if row.device == "press"]
    assert row.readings[0][1] == answers["client"].registers[0] << 16 | answers["client"].registers[1]


async def test_a_role_of_another_name_is_refused_too(tmp_path: Path) -> None:
    pki = tmp_path / "pki"
    make_test_authority(pki, "engineer", "127.0.0.1")
    context = client_context(TlsFiles(pki / "client.pem", pki / "client.key.pem", pki / "ca.pem"))
    async with plant(tmp_path, {"device": "press", "kind": "tls", "role": "operator", "pki_folder": pki}) as endpoints:
        host, port = address(endpoints["press.tls"])
        reader, writer = await asyncio.open_connection(host, port, ssl=context)
        writer.write(frame(7, READ))
        assert await answer(reader) == (7, b"\x84\x01")
        writer.close()
        await writer.wait_closed()
    assert [row for row in served(tmp_path) if row.device == "press"] == []


async def test_a_client_without_a_certificate_is_not_let_in(tmp_path: Path) -> None:
    import ssl

    pki = tmp_path / "pki"
    async with plant(tmp_path, {"device": "press", "kind": "tls", "pki_folder": pki}) as endpoints:
        host, port = address(endpoints["press.tls"])
        bare = ssl.create_default_context(cafile=str(pki / "ca.pem"))
        reader, writer = await asyncio.open_connection(host, port, ssl=bare)
        with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)  # TLS 1.3 tells it only at the first read.
        writer.close()


def test_the_test_authority_is_made_once_with_the_role_and_its_keys_are_private(tmp_path: Path) -> None:
    from cryptography import x509

    make_test_authority(tmp_path, "operator", "127.0.0.1")
    first = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    make_test_authority(tmp_path, "operator", "127.0.0.1")
    assert first == {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    roles = {name: role_of(x509.load_pem_x509_certificate(first[f"{name}.pem"])) for name in ("client", "stranger", "device")}
    assert roles == {"client": "operator", "stranger": None, "device": None}
    assert ROLE_OID.dotted_string == "1.3.6.1.4.1.50316.802.1"
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.glob("*.key.pem")} == {0o600}


async def test_the_ready_line_names_every_way(tmp_path: Path) -> None:
    ways = [{"device": "meter", "kind": kind} for kind in ("rtu_tcp", "ascii_tcp", "rtu_serial", "ascii_serial")]
    async with plant(tmp_path, *ways, {"device": "press", "kind": "tls", "pki_folder": tmp_path / "pki"}) as endpoints:
        assert set(json.loads(json.dumps(endpoints))) == {
            "press", "meter", "bench", "ledger", "press.tls",
            "meter.rtu_tcp", "meter.ascii_tcp", "meter.rtu_serial", "meter.ascii_serial",
        }  # fmt: skip
        assert all(endpoints[f"meter.{kind}"].startswith("/dev/") for kind in ("rtu_serial", "ascii_serial"))


async def test_a_fault_is_met_on_real_sockets_too(tmp_path: Path) -> None:
    faults = [{"device": "press", "kind": "wrong_unit", "every": 2}]
    async with plant(tmp_path, faults=faults) as endpoints, raw(address(endpoints["press"])[1]) as (reader, writer):
        units = []
        for number in range(4):
            writer.write(frame(number, READ))
            units.append((await reader.readexactly(15))[6])
    assert units == [1, 2, 1, 2]
