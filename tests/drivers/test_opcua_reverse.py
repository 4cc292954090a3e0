"""Reverse connect: servers that dial in, several at one address, and callers that nobody expects."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from asyncua import ua
from hypothesis import given
from hypothesis import strategies as st

from drivers.errors import DeviceRefused, DeviceTimeout, DeviceUnreachable
from drivers.opcua import reverse
from drivers.opcua.driver import OpcuaDriver
from drivers.opcua.hello import MOST_BYTES, NoReverseHello, ReverseHello, decode_reverse_hello, encode_reverse_hello
from drivers.opcua.plan import compile_device
from drivers.opcua.reverse import MOST_STRANGERS, MOST_WAITING, Incoming, plain_url
from drivers.pki.store import Store
from drivers.registry import browse_device, shown_certificate
from tests.drivers.authority import Maker
from tests.drivers.opcua_server import OpcuaServer
from tests.drivers.test_opcua_contract import settings
from tests.drivers.test_opcua_following import LEVEL
from tests.drivers.wire import unused_port
from tests.gateway.running import pause

URL = "opc.tcp://plc-17.works:4840"
URI = "urn:works:plc-17"


class Dialling:
    """A server that dials, again and again: asyncua's protocol over connections of its own making."""

    def __init__(self, server: OpcuaServer, port: int, hello: ReverseHello, *, calls: int = 10) -> None:
        self._server = server
        self._port = port
        self._hello = encode_reverse_hello(hello)
        self._left = calls
        self.lost = 0
        self.transports: list[asyncio.BaseTransport] = []
        self._task: Any = None

    async def __aenter__(self) -> Dialling:
        self._task = asyncio.run_coroutine_threadsafe(self._dial(), self._server._loop)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()
        await self.hang_up()

    async def stop(self) -> None:
        """Dial no more. Before the door is closed: CPython 3.11 forgets a connection that it accepts in that very turn."""
        self._task.cancel()
        await asyncio.gather(asyncio.wrap_future(self._task), return_exceptions=True)

    async def hang_up(self) -> None:
        """Abort every connection."""

        async def abort() -> None:
            for transport in self.transports:
                transport.abort()  # type: ignore[attr-defined]

        await self._server.run(abort())

    async def _dial(self) -> None:
        """One call at a time: the next one when a client has taken the last, or turned it away."""
        while self._left:
            protocol = self._server.server.bserver._make_protocol()
            asked = asyncio.Event()
            made, received, lost = protocol.connection_made, protocol.data_received, protocol.connection_lost

            def on_made(transport: Any, made: Any = made) -> None:
                transport.write(self._hello)
                self.transports.append(transport)
                made(transport)

            def on_data(data: bytes, received: Any = received, asked: asyncio.Event = asked) -> None:
                asked.set()
                received(data)

            def on_lost(error: Any, lost: Any = lost, asked: asyncio.Event = asked) -> None:
                self.lost += 1
                asked.set()
                lost(error)

            protocol.connection_made, protocol.data_received, protocol.connection_lost = on_made, on_data, on_lost
            try:
                await asyncio.get_running_loop().create_connection(lambda made=protocol: made, "127.0.0.1", self._port)  # type: ignore[misc]
            except OSError:
                await pause(0.01)
                continue
            self._left -= 1
            await asked.wait()


def driver_of(port: int, url: str = URL, uri: str | None = URI, **other: Any) -> OpcuaDriver:
    given = {"endpoint": url, "server_uri": uri, "listen": f"127.0.0.1:{port}", "tags": [LEVEL], **other}
    made = settings(1, **given)
    return OpcuaDriver(made, compile_device(made))


async def level(driver: OpcuaDriver) -> float:
    (frame,) = await driver.read(compile_device(driver._settings).scans[0].plan)
    assert not isinstance(frame.values, list)
    return float(frame.values[0])


async def until(holds: Callable[[], bool]) -> None:
    while True:
        if holds():
            return
        await asyncio.sleep(0)


async def receive_for_ever(driver: OpcuaDriver) -> None:
    while True:
        await driver.receive()


@pytest.fixture
async def server(opcua_server: OpcuaServer) -> OpcuaServer:
    await opcua_server.reset()
    return opcua_server


async def test_a_server_that_dials_in_is_read_and_comes_back_after_a_break(server: OpcuaServer) -> None:
    port = unused_port()
    driver = driver_of(port)
    async with Dialling(server, port, ReverseHello(URI, URL)) as dialling:
        await driver.connect()
        assert await level(driver) == 1.5
        sessions = await server.session_ids()
        await driver.subscribe([scan.plan for scan in compile_device(driver._settings).scans])
        await dialling.hang_up()
        with pytest.raises(DeviceUnreachable):
            await receive_for_ever(driver)
        await driver.suspend()
        await driver.connect()
        assert await level(driver) == 1.5
        assert await server.session_ids() == sessions
        await dialling.stop()
        await driver.close()
    assert driver.counts["refused_calls"] == 0


async def test_several_devices_share_one_address_and_each_gets_its_own_server(server: OpcuaServer) -> None:
    port = unused_port()
    first, second = driver_of(port), driver_of(port, "opc.tcp://other", None, name="other")
    calls = [ReverseHello("urn:any", "opc.tcp://OTHER:4840/"), ReverseHello(URI, URL)]
    async with Dialling(server, port, calls[0]) as one, Dialling(server, port, calls[1]) as other:
        await asyncio.gather(first.connect(), second.connect())
        assert await level(first) == await level(second) == 1.5
        assert first._session is not None
        assert second._session is not None
        assert first._session._client.server_url.geturl() == URL
        assert second._session._client.server_url.geturl() == "opc.tcp://OTHER:4840/"
        await one.stop()
        await other.stop()
        await first.close()
        assert await level(second) == 1.5
        await second.close()


@pytest.mark.parametrize(
    "said",
    [
        encode_reverse_hello(ReverseHello("urn:else", URL)),
        encode_reverse_hello(ReverseHello(URI, "opc.tcp://plc-18.works:4840")),
        encode_reverse_hello(ReverseHello(URI, URL)) + b"x",
        b"GET / HTTP/1.1\r\n\r\n",
        b"HELF" + bytes(60),
        b"RHEF" + struct.pack("<I", 0xFFFF_FFFF),
        b"RHEF" + struct.pack("<Ii", 24, 100) + bytes(12),
    ],
    ids=["other server", "other endpoint", "more behind it", "HTTP", "a client", "too long", "contradicts itself"],
)
async def test_who_is_not_expected_is_told_so_and_counted(said: bytes) -> None:
    incoming = Incoming(("127.0.0.1", 0), URL, URI)
    door = await incoming.open()
    reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
    writer.write(said)
    answer = await reader.read()
    assert answer[:4] == b"ERRF"
    assert struct.unpack_from("<I", answer, 8) == (int(ua.StatusCodes.BadTcpEndpointUrlInvalid),)
    assert incoming.refused == 1
    assert door.last_refused
    writer.close()
    incoming.close()
    assert incoming.refused == 1


async def test_who_comes_in_while_the_door_is_being_closed_is_hung_up_at_once() -> None:
    """Between the acceptance of a connection and its first call asyncio takes a turn of the loop."""
    incoming = Incoming(("127.0.0.1", 0), URL, URI)
    door = await incoming.open()
    incoming.close()
    inner, outer = socket.socketpair()
    await asyncio.get_running_loop().create_connection(lambda: reverse._Caller(door), sock=inner)
    reader, writer = await asyncio.open_connection(sock=outer)
    assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()
    assert not door.strangers


async def test_callers_that_say_nothing_are_few_and_leave_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    incoming = Incoming(("127.0.0.1", 0), URL, URI)
    door = await incoming.open()
    monkeypatch.setattr(reverse, "INTRODUCE_WITHIN_S", 0.05)
    links = [await asyncio.open_connection("127.0.0.1", door.port) for _ in range(MOST_STRANGERS + 3)]
    for reader, writer in links:
        assert (await reader.read())[:4] == b"ERRF"
        writer.close()
        await writer.wait_closed()
    assert incoming.refused == MOST_STRANGERS + 3
    assert not door.strangers
    incoming.close()
    for _ in range(5):  # our ends of the connections close in turns of the loop
        await asyncio.sleep(0)


async def test_the_newest_calls_are_kept_and_a_call_that_has_gone_is_forgotten() -> None:
    incoming = Incoming(("127.0.0.1", 0), URL, None)
    door = await incoming.open()
    (place,) = door._places.values()
    hello = encode_reverse_hello(ReverseHello(URI, URL))
    links = []
    for count in range(1, MOST_WAITING + 3):
        links.append(await asyncio.open_connection("127.0.0.1", door.port))
        links[-1][1].write(hello[:7])
        await asyncio.sleep(0)
        links[-1][1].write(hello[7:])
        await until(lambda count=count: len(place.waiting) == min(count, MOST_WAITING) and not door.strangers)  # type: ignore[misc]
    for reader, _ in links[:2]:
        with suppress(ConnectionResetError):
            assert await reader.read() == b""
    newest = place.waiting[-1]
    links[-1][1].close()
    await until(lambda: newest not in place.waiting)
    assert await door.admit(incoming._expected) not in (newest, None)
    assert incoming.refused == 0
    for _, writer in links:
        writer.close()
    incoming.close()


async def test_nobody_calls_is_said_with_who_did(monkeypatch: pytest.MonkeyPatch) -> None:
    port = unused_port()
    driver = driver_of(port)
    monkeypatch.setattr(reverse, "PATIENCE_S", 0.2)
    incoming = Incoming(("127.0.0.1", port), "opc.tcp://another", None)
    door = await incoming.open()
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(encode_reverse_hello(ReverseHello("urn:some\nbody", URL)))
    await until(lambda: door.refused == 1)
    with pytest.raises(DeviceTimeout, match=rf"{URI} at {URL} hasn't called at 127.0.0.1:{port}.*1 others.*urn:some\\nbody"):
        await driver.connect()
    writer.close()
    await driver.close()
    incoming.close()


async def test_two_devices_that_wait_for_one_server_are_refused() -> None:
    port = unused_port()
    first = Incoming(("127.0.0.1", port), URL, URI)
    await first.open()
    with pytest.raises(DeviceRefused, match="two devices wait"):
        await Incoming(("127.0.0.1", port), URL, URI).open()
    first.close()


async def test_an_address_that_is_taken_is_said_and_tried_again() -> None:
    async with await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0) as taken:
        port = taken.sockets[0].getsockname()[1]
        driver = driver_of(port)
        for _ in range(2):
            with pytest.raises(DeviceUnreachable, match=f"listening at 127.0.0.1:{port}"):
                await driver.connect()
        await driver.close()


async def test_a_secured_server_is_asked_for_its_certificate_in_a_call_of_its_own(tmp_path: Path) -> None:
    maker = Maker("plc-17.works")
    maker.uri, maker.hosts = "urn:freeopcua:python:server", ["plc-17.works"]
    port = unused_port()
    secured: dict[str, Any] = {"security": "sign_and_encrypt", "pki_folder": tmp_path / "pki", "timeout_ms": 4000, "uri": None}
    policies = [ua.SecurityPolicyType.NoSecurity, ua.SecurityPolicyType.Basic256Sha256_SignAndEncrypt]
    with OpcuaServer(policies, maker.write(tmp_path)) as server:
        driver = driver_of(port, **secured)
        async with Dialling(server, port, ReverseHello(maker.uri, URL), calls=5):
            with pytest.raises(DeviceRefused, match="BadCertificateUntrusted"):
                await driver.connect()
            await driver.suspend()
            Store(tmp_path / "pki").trust(maker.certificate())
            await driver.connect()
            assert await level(driver) == 1.5
            await driver.close()
            assert (await shown_certificate(driver._settings)).subject == maker.certificate().subject


async def test_a_server_that_dials_in_can_be_browsed(server: OpcuaServer) -> None:
    port = unused_port()
    given = settings(1, endpoint=URL, listen=f"127.0.0.1:{port}", tags=[LEVEL])
    async with Dialling(server, port, ReverseHello(URI, URL), calls=1):
        found = await browse_device(given, None, 100)
    assert "level" in [tag.name for tag in found.tags]


@given(st.text(max_size=200), st.text(max_size=200))
def test_a_reverse_hello_is_read_as_it_was_written_and_cut_anywhere_is_not_all_there(uri: str, url: str) -> None:
    hello = ReverseHello(uri, url)
    data = encode_reverse_hello(hello)
    assert decode_reverse_hello(data) == hello
    assert all(decode_reverse_hello(data[:end]) is None for end in range(len(data)))


@given(st.binary(max_size=64))
def test_whatever_comes_is_a_reverse_hello_or_none(tail: bytes) -> None:
    for data in (tail, b"RHEF" + struct.pack("<I", 8 + len(tail)) + tail):
        try:
            hello = decode_reverse_hello(data)
        except NoReverseHello:
            continue
        assert hello is None or len(encode_reverse_hello(hello)) <= MOST_BYTES


@pytest.mark.parametrize(
    ("url", "plain"),
    [
        ("opc.tcp://Plc:4840/", "opc.tcp://plc:4840"),
        ("opc.tcp://plc", "opc.tcp://plc:4840"),
        ("opc.tcp://[::1]:1/a/", "opc.tcp://::1:1/a"),
        ("opc.tcp://plc:99999", "opc.tcp://plc:99999"),
        ("nonsense", "nonsense"),
    ],
)
def test_a_url_has_one_spelling(url: str, plain: str) -> None:
    assert plain_url(url) == plain
