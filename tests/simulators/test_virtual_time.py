"""The loop on which time passes only when all wait for it."""

from __future__ import annotations

import asyncio
import ssl
import time
from pathlib import Path

import pytest

from simulators.modbus.tls import TlsFiles, client_context, make_test_authority, server_context
from simulators.virtual_time import START_NS, WIRE_S, NothingHappens, VirtualLoop, run
from tests.simulators.lab import pass_time


def test_a_day_passes_at_once_and_the_clock_says_so() -> None:
    async def main(loop: VirtualLoop) -> int:
        await pass_time(86_400)
        return loop.clock_ns()

    before = time.monotonic()
    assert run(main) == START_NS + 86_400 * 1_000_000_000
    assert time.monotonic() - before < 3600


def test_a_timeout_is_met_in_virtual_time() -> None:
    async def main(loop: VirtualLoop) -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(60):
                await asyncio.Event().wait()
        return loop.time()

    assert run(main) == pytest.approx(60)


def test_waiting_for_nothing_is_told_and_doesnt_hang() -> None:
    async def main(loop: VirtualLoop) -> None:
        await asyncio.Event().wait()

    with pytest.raises(NothingHappens):
        run(main)


def test_streams_work_over_the_wire_in_the_process() -> None:
    async def main(loop: VirtualLoop) -> tuple[bytes, float]:
        async def shout(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write((await reader.readline()).upper())
            writer.close()

        server = await asyncio.start_server(shout, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        start = loop.time()
        writer.write(b"quietly\n")
        answer = await reader.read()
        server.close()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
        writer.close()
        return answer, loop.time() - start

    answer, took_s = run(main)
    assert answer == b"QUIETLY\n"
    assert took_s == pytest.approx(3 * WIRE_S)


def test_a_port_is_taken_once() -> None:
    async def main(loop: VirtualLoop) -> None:
        await loop.create_server(asyncio.Protocol, "127.0.0.1", 502)
        with pytest.raises(OSError, match="in use"):
            await loop.create_server(asyncio.Protocol, "127.0.0.1", 502)

    run(main)


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pki")
    make_test_authority(folder, "operator", "127.0.0.1")
    return folder


def files(pki: Path, name: str) -> TlsFiles:
    return TlsFiles(pki / f"{name}.pem", pki / f"{name}.key.pem", pki / "ca.pem")


def test_tls_is_spoken_over_the_wire_in_the_process(pki: Path) -> None:
    async def main(loop: VirtualLoop) -> tuple[bytes, bytes | None, float]:
        shown: list[bytes | None] = []

        async def shout(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            shown.append(writer.get_extra_info("ssl_object").getpeercert(binary_form=True))
            writer.write((await reader.readline()).upper() * 10_000)
            writer.close()

        server = await asyncio.start_server(shout, "127.0.0.1", 0, ssl=server_context(files(pki, "device")))
        port = server.sockets[0].getsockname()[1]
        start = loop.time()
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client_context(files(pki, "client")))
        writer.write(b"quietly\n")
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        server.close()
        return answer, shown[0], loop.time() - start

    answer, shown, took_s = run(main)
    assert answer == b"QUIETLY\n" * 10_000
    assert shown is not None
    assert took_s < 0.01


def test_a_client_that_trusts_another_authority_gets_no_connection(pki: Path) -> None:
    async def main(loop: VirtualLoop) -> None:
        await loop.create_server(asyncio.Protocol, "127.0.0.1", 802, ssl=server_context(files(pki, "device")))
        with pytest.raises(ssl.SSLCertVerificationError):
            await loop.create_connection(asyncio.Protocol, "127.0.0.1", 802, ssl=ssl.create_default_context())
        await pass_time(1)

    run(main)
