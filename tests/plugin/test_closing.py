"""A server that is stopped leaves no connection behind, however shortly before it came."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path

import pytest

from simulators import plugin_loop
from simulators.control import ControlPort
from simulators.fleet import Counting, Fleet
from simulators.ledger import Ledger
from simulators.modbus_server import ModbusDevice
from simulators.plugin_loop import LoopThread
from simulators.proxy import ChaosProxy
from simulators.registers import PRESS_MAP

GUARD_S = 10.0
Stop = Callable[[], Awaitable[None]]
Server = Callable[[Path], AbstractAsyncContextManager[tuple[int, Stop]]]


@asynccontextmanager
async def fleet(folder: Path) -> AsyncIterator[tuple[int, Stop]]:
    fleet = Fleet([Counting()])
    (address,) = await fleet.start()
    yield int(address.rsplit(":", 1)[1]), fleet.stop


@asynccontextmanager
async def control_port(folder: Path) -> AsyncIterator[tuple[int, Stop]]:
    server = ControlPort({})
    yield int((await server.start(0)).rsplit(":", 1)[1]), server.stop


@asynccontextmanager
async def proxy(folder: Path) -> AsyncIterator[tuple[int, Stop]]:
    with socket.create_server(("127.0.0.1", 0)) as target:
        proxy = ChaosProxy(target.getsockname())
        yield await proxy.start(), proxy.stop


@asynccontextmanager
async def refusing_proxy(folder: Path) -> AsyncIterator[tuple[int, Stop]]:
    with socket.create_server(("127.0.0.1", 0)) as target:
        proxy = ChaosProxy(target.getsockname())
        yield await proxy.start(), proxy.refuse
        await proxy.stop()


@asynccontextmanager
async def modbus_device(folder: Path) -> AsyncIterator[tuple[int, Stop]]:
    with Ledger(folder / "ledger.db", seed=1) as ledger:
        device = ModbusDevice("device", PRESS_MAP, lambda _: [0] * len(PRESS_MAP.points), ledger, time.time_ns)
        yield await device.start("127.0.0.1", 0), device.stop


@pytest.mark.parametrize("turns", range(8))
@pytest.mark.parametrize("server", [fleet, control_port, proxy, refusing_proxy, modbus_device])
async def test_a_connection_that_came_just_before_the_end_is_closed(server: Server, turns: int, tmp_path: Path) -> None:
    # The system takes a connection at once; how far the loop has come with it is what the turns decide.
    async with server(tmp_path) as (port, stop):
        with socket.create_connection(("127.0.0.1", port), GUARD_S) as client:
            for _ in range(turns):
                await asyncio.sleep(0)
            await stop()
            with suppress(ConnectionResetError):
                assert client.recv(1) == b""


async def test_a_client_that_takes_nothing_does_not_hold_the_proxy_up() -> None:
    """The target sends without end, so that the proxy is left with what nobody takes."""

    async def flood(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while True:
                writer.write(bytes(65_536))
                await writer.drain()
        writer.close()

    target = await asyncio.start_server(flood, "127.0.0.1", 0)
    proxy = ChaosProxy(target.sockets[0].getsockname())
    port = await proxy.start()
    with socket.create_connection(("127.0.0.1", port), GUARD_S):
        async with asyncio.timeout(GUARD_S):
            before = -1
            while before != (before := sum(proxy.passed_bytes.values())) or not before:
                for _ in range(100):
                    await asyncio.sleep(0)
            await proxy.stop()
    target.close()
    await target.wait_closed()


def test_a_loop_thread_ends_what_still_runs_on_it() -> None:
    ended = threading.Event()

    async def wait() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    thread = LoopThread()
    thread.call(lambda: tasks.append(asyncio.get_running_loop().create_task(wait())))
    thread.run(asyncio.sleep(0))
    thread.close()
    thread.close()
    assert ended.is_set()
    with pytest.raises(RuntimeError, match="has ended"):
        thread.run(asyncio.sleep(0))


tasks: list[asyncio.Task[None]] = []
"""Those of the test above: a loop alone doesn't keep them."""


def test_what_hangs_on_a_loop_thread_is_cancelled_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    cancelled = threading.Event()

    async def hang() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    thread = LoopThread()
    monkeypatch.setattr(plugin_loop, "PATIENCE_S", 0.05)
    with pytest.raises(TimeoutError):
        thread.run(hang())
    monkeypatch.undo()
    assert cancelled.wait(GUARD_S)
    thread.close()
