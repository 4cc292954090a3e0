"""Each transport on its own ground: lines without transaction ids, datagrams, TLS, devices that dial in, backup addresses."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest
import uvloop

from drivers.errors import DeviceRefused, DeviceTimeout, DeviceUnreachable
from drivers.modbus.broker import doorway
from drivers.status import Status
from tests.drivers.certificates import Authority, Issued, role_in, server_context
from tests.drivers.line_device import Frames, Line, LineEnd, rtu
from tests.drivers.modbus_bench import Bench, registers
from tests.drivers.modbus_device import ModbusDevice
from tests.drivers.wire import unused_port


def device() -> ModbusDevice:
    made = ModbusDevice()
    made.registers[3] = {address: 100 + address for address in range(200)}
    return made


def over(line: Line, *addresses: int, **other: Any) -> Bench:
    settings = {"transport": f"{line.frames}_over_tcp", "timeout_ms": 5000, "address": f"127.0.0.1:{line.port}", **other}
    return Bench(registers(*addresses), **settings)


@pytest.fixture(params=["rtu", "ascii"])
async def line(request: pytest.FixtureRequest) -> AsyncIterator[Line]:
    frames: Frames = request.param
    async with Line(frames, {1: device()}).listening() as line:
        yield line


async def test_a_damaged_answer_is_asked_for_again(line: Line) -> None:
    spoilt = 0

    def reply(request: bytes, answer: bytes) -> list[bytes]:
        nonlocal spoilt
        if request[1] == 3 and spoilt < 1:
            spoilt += 1
            return [answer[:4] + bytes([answer[4] ^ 1]) + answer[5:]]
        return [answer]

    line.reply = reply
    async with over(line, 0, 1, timeout_ms=600) as bench:
        assert await bench.values() == {"t0": 100, "t1": 101}
        assert line.asked == [(1, 3), (1, 8), (1, 3)]
        assert bench.driver.dropped_answers == 1


@pytest.mark.parametrize("echoes", [True, False])
async def test_a_late_answer_of_the_same_shape_is_not_taken_for_the_next(line: Line, echoes: bool) -> None:
    """The answer to the first read is held back and sent before the unit answers whatever comes next."""
    line.echoes = echoes
    held: list[bytes] = []

    def reply(request: bytes, answer: bytes) -> list[bytes]:
        if line.units[1].registers[3][0] == 100:
            held.append(answer)
            line.units[1].registers[3][0] = 999
            return []
        return [held.pop(), answer] if held else [answer]

    line.reply = reply
    async with over(line, 0, 50, repeats=0, max_gap=0, timeout_ms=600) as bench:
        with pytest.raises(DeviceTimeout):
            await bench.poll()
        await bench.driver.connect()
        assert await bench.values() == {"t0": 999, "t50": 150}


async def test_an_answer_sent_twice_does_not_meet_the_next_request(line: Line) -> None:
    line.reply = lambda _request, answer: [answer + answer]
    async with over(line, 0, 50, 100, max_gap=0) as bench:
        for _ in range(3):
            assert await bench.values() == {"t0": 100, "t50": 150, "t100": 200}
        assert bench.driver.dropped_answers >= 8


async def test_a_unit_that_knows_no_echo_is_given_silence_instead(line: Line) -> None:
    line.echoes = None
    silent = [1, 0, 0, 1]
    line.reply = lambda request, answer: [] if request[1] == 3 and silent and silent.pop(0) else [answer]
    async with over(line, 0, repeats=0, timeout_ms=600) as bench:
        for _ in range(2):  # The read is lost, then the echo is not answered.
            with pytest.raises(DeviceTimeout):
                await bench.poll()
            await bench.driver.connect()
        assert await bench.values() == {"t0": 100}
        assert await bench.values() == {"t0": 100}
        with pytest.raises(DeviceTimeout):
            await bench.poll()
        await bench.driver.connect()
        line.asked.clear()
        assert await bench.values() == {"t0": 100}
        assert line.asked == [(1, 8), (1, 3)], "it may only have been slow, so it is asked again whether it knows an echo"


async def test_a_write_is_never_repeated(line: Line) -> None:
    line.reply = lambda _request, _answer: []
    tags = [{"address": 0, "access": "read_write"}]
    settings = {"transport": f"{line.frames}_over_tcp", "address": f"127.0.0.1:{line.port}", "timeout_ms": 50}
    async with Bench(tags, **settings) as bench:
        with pytest.raises(DeviceUnreachable):
            await bench.driver.write(0, 7)
        assert line.asked == [(1, 6)]


async def test_an_echo_of_our_own_request_on_the_line_is_no_answer() -> None:
    """Two-wire converters give back what was sent."""
    async with Line("rtu", {1: device()}).listening() as line:
        line.reply = lambda request, answer: [rtu(request) + answer]
        async with over(line, 0, 1) as bench:
            assert await bench.values() == {"t0": 100, "t1": 101}


class Datagrams(asyncio.DatagramProtocol):
    """ModbusDevice by datagrams."""

    def __init__(self, behind: ModbusDevice) -> None:
        self.device = behind
        self.gone = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone.set()

    def datagram_received(self, data: bytes, addr: Any) -> None:
        pdu = self.device.answer_pdu(data[7:])
        answer = data[:4] + (len(pdu) + 1).to_bytes(2, "big") + data[6:7] + pdu
        for piece in self.device.reply(data, answer):
            self.transport.sendto(piece, addr)


@pytest.fixture
async def datagrams() -> AsyncIterator[Datagrams]:
    made = Datagrams(device())
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: made, local_addr=("127.0.0.1", 0))
    made.device.port = transport.get_extra_info("sockname")[1]
    yield made
    transport.close()
    await made.gone.wait()


def by_udp(datagrams: Datagrams, **other: Any) -> Bench:
    address = f"127.0.0.1:{datagrams.device.port}"
    return Bench(registers(0, 1), transport="udp", address=address, timeout_ms=600, **other)


async def test_udp_reads_and_repeats_what_was_lost(datagrams: Datagrams) -> None:
    lost = [True, False]
    datagrams.device.reply = lambda _request, answer: [] if lost and lost.pop(0) else [answer]
    async with by_udp(datagrams) as bench:
        assert await bench.values() == {"t0": 100, "t1": 101}
        assert len(datagrams.device.asked) == 2


async def test_a_datagram_that_makes_no_sense_does_not_spoil_the_next(datagrams: Datagrams) -> None:
    datagrams.device.reply = lambda _request, answer: [b"HTTP/1.1", answer[:6], answer[:7] + b"\x04" + answer[8:], answer]
    async with by_udp(datagrams) as bench:
        assert await bench.values() == {"t0": 100, "t1": 101}
        assert bench.driver.dropped_answers == 2


async def test_udp_to_nobody_is_unreachable() -> None:
    async with Bench(registers(0), transport="udp", address=f"127.0.0.1:{unused_port()}", timeout_ms=2000) as bench:
        with pytest.raises(DeviceUnreachable):
            await bench.poll()


class Papers:
    """Certificates of both sides."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.plant, self.vendor = Authority(folder, "plant"), Authority(folder, "vendor")
        self.client = self.plant.issue("gateway", role="operator")
        self.device = self.vendor.issue("device", host="127.0.0.1")

    def bench(self, port: int, client: Issued | None = None, **other: Any) -> Bench:
        shown = client or self.client
        files: dict[str, Any] = {"certificate_file": shown.certificate, "private_key_file": shown.key}
        files |= {"ca_file": self.vendor.certificate, **other}
        return Bench(registers(0), transport="tls", address=f"127.0.0.1:{port}", **files)


@pytest.fixture
def papers(tmp_path: Path) -> Papers:
    return Papers(tmp_path)


async def test_tls_shows_the_device_our_role(papers: Papers) -> None:
    seen: list[tuple[str | None, str]] = []
    behind = device()

    def reply(_request: bytes, answer: bytes) -> list[bytes]:
        secured = behind.connections[0].get_extra_info("ssl_object")
        seen.append((role_in(secured.getpeercert(binary_form=True)), secured.version()))
        return [answer]

    behind.reply = reply
    async with behind.listening(server_context(papers.device, papers.plant)), papers.bench(behind.port) as bench:
        assert await bench.values() == {"t0": 100}
    assert seen == [("operator", "TLSv1.3")]


async def test_a_device_whose_certificate_we_do_not_trust_is_refused(papers: Papers) -> None:
    expired = papers.vendor.issue("old", host="127.0.0.1", expired=True)
    elsewhere = papers.vendor.issue("other", host="192.0.2.1")
    for issued, reason in (
        (papers.plant.issue("x", host="127.0.0.1"), "self-signed"),
        (expired, "expired"),
        (elsewhere, "mismatch"),
    ):
        async with device().listening(server_context(issued, papers.plant)) as behind:
            with pytest.raises(DeviceRefused, match=reason):
                await papers.bench(behind.port).driver.connect()


async def test_a_device_that_does_not_trust_us_is_unreachable(papers: Papers) -> None:
    stranger = papers.vendor.issue("stranger")
    async with device().listening(server_context(papers.device, papers.plant)) as behind:
        bench = papers.bench(behind.port, stranger)
        with pytest.raises(DeviceUnreachable):
            async with bench:
                await bench.poll()


async def test_tls_older_than_1_2_is_not_spoken(papers: Papers) -> None:
    context = server_context(papers.device, papers.plant)
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        context.minimum_version = ssl.TLSVersion.TLSv1
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    async with device().listening(context) as behind:
        with pytest.raises(DeviceUnreachable):
            await papers.bench(behind.port).driver.connect()


async def test_a_key_that_others_can_read_is_refused(papers: Papers) -> None:
    papers.client.key.chmod(0o644)
    with pytest.raises(DeviceRefused, match="chmod 600"):
        await papers.bench(1).driver.connect()


async def test_a_certificate_file_that_is_none_is_refused(papers: Papers) -> None:
    nonsense = papers.folder / "nonsense.pem"
    nonsense.write_text("nonsense")
    with pytest.raises(DeviceRefused, match="can't be used"):
        await papers.bench(1, ca_file=nonsense).driver.connect()


async def test_a_backup_address_is_used_when_the_first_cannot_be_reached() -> None:
    async with device().listening() as behind:
        addresses = {"address": f"127.0.0.1:{unused_port()}", "backup_addresses": [f"127.0.0.1:{behind.port}"]}
        async with Bench(registers(0), **addresses) as bench:
            assert await bench.values() == {"t0": 100}
            await bench.driver.connect()
            assert await bench.values() == {"t0": 100}


async def test_a_backup_address_is_used_when_the_first_connects_but_stays_silent() -> None:
    async with device().listening() as dead, device().listening() as alive:
        dead.reply = lambda _request, _answer: []
        addresses = {"address": f"127.0.0.1:{dead.port}", "backup_addresses": [f"127.0.0.1:{alive.port}"]}
        async with Bench(registers(0), timeout_ms=600, **addresses) as bench:
            with pytest.raises(DeviceTimeout):
                await bench.poll()
            await bench.driver.connect()
            assert await bench.values() == {"t0": 100}


async def dial_in(line: Line, port: int, *said: bytes) -> None:
    transport, _ = await asyncio.get_running_loop().create_connection(lambda: LineEnd(line), "127.0.0.1", port)
    for piece in said:
        transport.write(piece)


class Site:
    """Where devices dial in, at a port of the system's choice."""

    def __init__(self) -> None:
        self.line = Line("rtu", {1: device()})
        self.port = unused_port()

    def bench(self, registration: str = "DTU-7", **other: Any) -> Bench:
        settings = {
            "transport": "listen",
            "registration": registration,
            "timeout_ms": 200,
            "heartbeat_packet": "hex:FEFE",
            **other,
        }
        return Bench(registers(0, 1), address=f"127.0.0.1:{self.port}", **settings)


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    made = Site()
    yield made
    await doorway().close()
    for transport in made.line.transports:
        transport.abort()
    if made.line.transports:
        await made.line._alone.wait()


async def until_listening(site: Site) -> None:
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", site.port)
        except ConnectionRefusedError:
            await asyncio.sleep(0)
        else:
            writer.close()
            await writer.wait_closed()
            return


async def test_a_device_that_dials_in_is_known_by_its_registration(site: Site) -> None:
    bench = site.bench()
    connecting = asyncio.create_task(bench.driver.connect())
    await until_listening(site)
    await dial_in(site.line, site.port, b"somebody else")
    await dial_in(site.line, site.port, b"DTU-7")
    await connecting
    assert await bench.values() == {"t0": 100, "t1": 101}
    await bench.driver.close()


async def test_heartbeats_of_a_device_that_dialled_in_are_passed_over(site: Site) -> None:
    site.line.reply = lambda _request, answer: [b"\xfe\xfe" + answer]
    bench = site.bench()
    connecting = asyncio.create_task(bench.driver.connect())
    await until_listening(site)
    await dial_in(site.line, site.port, b"DTU-7\xfe\xfe")
    await connecting
    assert await bench.values() == {"t0": 100, "t1": 101}
    assert bench.driver.dropped_answers == 0
    await bench.driver.close()


async def test_a_device_that_dials_in_again_is_found_by_the_next_attempt(site: Site) -> None:
    bench = site.bench()
    connecting = asyncio.create_task(bench.driver.connect())
    await until_listening(site)
    await dial_in(site.line, site.port, b"DTU-7")
    await connecting
    site.line.transports[0].abort()
    with pytest.raises(DeviceUnreachable):
        await bench.poll()
    await bench.driver.close()
    await dial_in(site.line, site.port, b"DTU-7")
    await bench.driver.connect()
    assert await bench.values() == {"t0": 100, "t1": 101}
    await bench.driver.close()


async def test_a_device_that_never_dials_in_is_a_timeout(site: Site) -> None:
    with pytest.raises(DeviceTimeout, match="no connection within 50 ms"):
        await site.bench(connect_timeout_ms=50).driver.connect()


def test_lines_and_datagrams_work_on_uvloop_too() -> None:
    async def scenario() -> None:
        async with asyncio.timeout(20), Line("rtu", {1: device()}).listening() as line, over(line, 0, 1) as bench:
            assert await bench.values() == {"t0": 100, "t1": 101}
            assert (await bench.poll())["t0"] == (100, Status.GOOD)
        made = Datagrams(device())
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: made, local_addr=("127.0.0.1", 0))
        made.device.port = transport.get_extra_info("sockname")[1]
        async with by_udp(made) as bench:
            assert await bench.values() == {"t0": 100, "t1": 101}
        transport.close()
        await made.gone.wait()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scenario())
