"""The chaos proxy between real sockets. Time is let pass by the test, never waited for."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import pytest
import uvloop

from simulators.listening import CannotListen
from simulators.proxy import ChaosProxy, State
from simulators.toxics import Direction, Toxics

GUARD_S = 20.0


class Pauses:
    """Stands for asyncio.sleep: notes each pause and ends it at once, or when the test says so."""

    def __init__(self) -> None:
        self.taken: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.taken.append(round(seconds, 6))


@asynccontextmanager
async def echoing() -> AsyncIterator[int]:
    """A server that sends back what it gets; gives its port."""
    tasks: set[asyncio.Task[None]] = set()

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(1000):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.get_running_loop().create_task(echo(reader, writer)))

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()
        async with asyncio.timeout(GUARD_S):
            await asyncio.gather(*tasks)


class Client:
    """A client of the proxy."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def exchange(self, data: bytes) -> bytes:
        self.writer.write(data)
        return await self.reader.readexactly(len(data))


@asynccontextmanager
async def connected(proxy: ChaosProxy) -> AsyncIterator[Client]:
    client = Client(*await asyncio.open_connection("127.0.0.1", proxy.port))
    try:
        yield client
    finally:
        client.writer.close()
        with suppress(OSError):
            await client.writer.wait_closed()


@pytest.fixture
def pauses() -> Pauses:
    return Pauses()


@pytest.fixture
async def proxy(pauses: Pauses) -> AsyncIterator[ChaosProxy]:
    """In front of an echo, with a clock that stands still."""
    async with echoing() as port, asyncio.timeout(GUARD_S):
        proxy = ChaosProxy(("127.0.0.1", port), wait=pauses, clock=lambda: 0.0)
        await proxy.start()
        try:
            yield proxy
        finally:
            await proxy.stop()


async def test_without_toxics_bytes_pass_both_ways_untouched(proxy: ChaosProxy, pauses: Pauses) -> None:
    sent = bytes(range(256)) * 1000
    async with connected(proxy) as client:
        assert await client.exchange(sent) == sent
    assert not pauses.taken
    assert proxy.passed_bytes == {Direction.UP: len(sent), Direction.DOWN: len(sent)}


async def test_latency_and_jitter_are_waited_for_in_their_direction_alone(proxy: ChaosProxy, pauses: Pauses) -> None:
    proxy.spoil(Direction.DOWN, Toxics(latency_s=0.2, jitter_s=0.05))
    async with connected(proxy) as client:
        for _ in range(20):
            assert await client.exchange(b"x") == b"x"
    assert len(pauses.taken) >= 20
    assert all(0.15 <= pause <= 0.25 for pause in pauses.taken)
    assert len(set(pauses.taken)) > 1


async def test_the_same_seed_draws_the_same_jitter() -> None:
    def drawn(seed: int) -> list[float]:
        proxy = ChaosProxy(("127.0.0.1", 1), seed=seed)
        proxy.spoil(Direction.UP, Toxics(latency_s=1, jitter_s=1))
        return [proxy._delay_s(Direction.UP) for _ in range(5)]

    assert drawn(1) == drawn(1) != drawn(2)


async def test_a_bandwidth_takes_its_time_for_every_byte(proxy: ChaosProxy, pauses: Pauses) -> None:
    proxy.spoil(Direction.UP, Toxics(bytes_per_s=100, slice_bytes=10))
    async with connected(proxy) as client:
        await client.exchange(bytes(50))
    assert sum(pauses.taken) == pytest.approx(0.5)


async def test_slices_trickle_byte_by_byte_with_a_pause_between(proxy: ChaosProxy, pauses: Pauses) -> None:
    proxy.spoil(Direction.DOWN, Toxics(slice_bytes=1, slice_pause_s=0.01))
    async with connected(proxy) as client:
        assert await client.exchange(b"abcde") == b"abcde"
    assert pauses.taken == [0.01] * 4


async def test_a_limit_closes_the_connection_after_that_many_bytes(proxy: ChaosProxy) -> None:
    proxy.spoil(Direction.DOWN, Toxics(limit_bytes=3))
    async with connected(proxy) as client:
        client.writer.write(b"abcde")
        assert await client.reader.read() == b"abc"


async def test_a_slow_close_is_passed_on_late(proxy: ChaosProxy, pauses: Pauses) -> None:
    proxy.spoil(Direction.UP, Toxics(slow_close_s=5))
    async with connected(proxy) as client:
        await client.exchange(b"x")
        client.writer.write_eof()
        assert await client.reader.read() == b""
    assert pauses.taken == [5]


async def test_a_cut_ends_connections_and_new_ones_are_taken(proxy: ChaosProxy) -> None:
    async with connected(proxy) as client:
        await client.exchange(b"x")
        await proxy.cut()
        assert await client.reader.read() == b""
    async with connected(proxy) as client:
        assert await client.exchange(b"y") == b"y"
    assert proxy.connections == 2


async def test_a_reset_is_seen_as_one(proxy: ChaosProxy) -> None:
    async with connected(proxy) as client:
        await client.exchange(b"x")
        await proxy.reset()
        with pytest.raises(ConnectionResetError):
            await client.reader.read()


async def test_while_it_refuses_nobody_listens_and_then_the_same_port_does_again(proxy: ChaosProxy) -> None:
    port = proxy.port
    await proxy.refuse()
    assert proxy.state is State.REFUSING
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)
    await proxy.restore()
    assert proxy.port == port
    async with connected(proxy) as client:
        assert await client.exchange(b"x") == b"x"


async def test_while_it_refuses_nobody_else_is_given_its_port(proxy: ChaosProxy) -> None:
    await proxy.refuse()
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", proxy.port))
    await proxy.restore()
    await proxy.stop()
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", proxy.port))


async def test_restoring_twice_at_once_listens_once_and_never_after_the_end(proxy: ChaosProxy) -> None:
    await proxy.refuse()
    proxy.silence()
    assert proxy.state is State.REFUSING
    await asyncio.gather(proxy.restore(), proxy.restore(), proxy.restore())
    async with connected(proxy) as client:
        assert await client.exchange(b"x") == b"x"
    await proxy.stop()
    await proxy.restore()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", proxy.port)


async def test_silence_closes_nothing_and_what_was_held_back_comes_when_it_ends(proxy: ChaosProxy) -> None:
    async with connected(proxy) as client:
        await client.exchange(b"x")
        proxy.silence()
        client.writer.write(b"held")
        async with connected(proxy) as other:
            other.writer.write(b"too")
            for _ in range(5):
                # Round trips beside the proxy: what it were to pass on would have passed meanwhile.
                direct = Client(*await asyncio.open_connection(*proxy.target))
                await direct.exchange(b"z")
                direct.writer.close()
                await direct.writer.wait_closed()
            assert proxy.passed_bytes[Direction.UP] == 1
            await proxy.restore()
            assert await client.reader.readexactly(4) == b"held"
            assert await other.reader.readexactly(3) == b"too"


async def test_restoring_takes_the_toxics_away(proxy: ChaosProxy, pauses: Pauses) -> None:
    proxy.spoil(Direction.UP, Toxics(latency_s=1))
    await proxy.restore()
    async with connected(proxy) as client:
        await client.exchange(b"x")
    assert not pauses.taken


async def test_a_server_that_is_not_there_is_a_broken_connection(pauses: Pauses) -> None:
    async with echoing() as port:
        pass
    proxy = ChaosProxy(("127.0.0.1", port), wait=pauses)
    await proxy.start()
    try:
        async with asyncio.timeout(GUARD_S), connected(proxy) as client:
            with pytest.raises(ConnectionResetError):
                await client.reader.readexactly(1)
        assert "refused" in str(proxy.target_error).lower()
    finally:
        await proxy.stop()


async def test_a_taken_port_is_said(proxy: ChaosProxy) -> None:
    other = ChaosProxy(proxy.target)
    with pytest.raises(CannotListen, match=str(proxy.port)):
        await other.start(port=proxy.port)
    await other.stop()


@pytest.mark.parametrize(
    "toxics",
    [
        {"latency_s": -1},
        {"slow_close_s": -1},
        {"slice_bytes": 0},
        {"bytes_per_s": 0},
        {"jitter_s": float("nan")},
        {"latency_s": float("inf")},
    ],
    ids=str,
)
def test_impossible_toxics_are_refused(toxics: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="can't be"):
        Toxics(**toxics)


@pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_cuts_resets_and_leaving_clients_are_borne_on_either_loop(loop_factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
    complaints: list[dict[str, object]] = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
        async with echoing() as port, asyncio.timeout(GUARD_S):
            proxy = ChaosProxy(("127.0.0.1", port))
            await proxy.start()
            for spoil, end in ((proxy.cut, b""), (proxy.reset, None), (proxy.cut, b""), (proxy.refuse, b"")):
                async with connected(proxy) as client:
                    await client.exchange(b"x")
                    await spoil()
                    if end is None:
                        with pytest.raises(ConnectionResetError):
                            await client.reader.read()
                    else:
                        assert await client.reader.read() == end
                await proxy.restore()
            proxy.spoil(Direction.DOWN, Toxics(slice_bytes=1))
            async with connected(proxy) as client:
                client.writer.write(bytes(1000))
                await client.reader.readexactly(1)
                client.writer.transport.abort()
            await proxy.stop()

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(main())
    assert complaints == []
