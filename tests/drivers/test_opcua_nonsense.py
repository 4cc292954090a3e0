"""Who listens at a server's port and sends nonsense, too much, or half of something: an end with a reason, and no memory."""

from __future__ import annotations

import asyncio
import random
import struct
import tracemalloc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.errors import DeviceMisbehaved, DeviceTimeout, DriverError
from drivers.opcua.chunks import MOST_CHUNK_BYTES, MOST_CHUNKS, MOST_MESSAGE_BYTES, Chunks
from drivers.opcua.driver import OpcuaDriver
from drivers.opcua.plan import compile_device
from tests.drivers.test_opcua_contract import settings

MEGABYTES = 10
MOST_BYTES = 3_000_000
"""Of our memory for what they send."""
ACKNOWLEDGE = b"ACKF" + struct.pack("<6I", 28, 0, 65535, 65535, 0, 0)


@asynccontextmanager
async def answering(answer: Callable[[int], bytes | None]) -> AsyncIterator[int]:
    """A port at which each piece that is sent (0, 1, ...) is answered so, megabyte by megabyte; None: never again."""

    serving: set[asyncio.Task[None] | None] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.add(asyncio.current_task())
        asked = 0
        try:
            while await reader.read(65_536):
                said = answer(asked) or b""
                asked += 1
                for start in range(0, len(said), 1_000_000):
                    writer.write(said[start : start + 1_000_000])
                    await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]
        await asyncio.gather(*(task for task in serving if task is not None))


def noise() -> bytes:
    return random.Random(5).randbytes(MEGABYTES * 1_000_000)


def claims(size: int) -> bytes:
    return b"MSGF" + struct.pack("<I", size) + bytes(MEGABYTES * 1_000_000)


def never_ending() -> bytes:
    chunk = b"MSGC" + struct.pack("<II", MOST_CHUNK_BYTES, 0) + bytes(MOST_CHUNK_BYTES - 12)
    return chunk * (MEGABYTES * 16)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (noise(), "speaks no OPC UA"),
        (b"HTTP/1.1 400 Bad Request\r\n" * 400_000, r"speaks no OPC UA: it sent b'HTTP'"),
        (claims(0xFFFF_FFFF), "a chunk of 4294967295 bytes"),
        (claims(8), "a chunk of 8 bytes"),
        (b"OPNC" + struct.pack("<I", 1000) + bytes(992), "speaks no OPC UA"),
        (ACKNOWLEDGE + noise(), "speaks no OPC UA"),
        (ACKNOWLEDGE + never_ending(), "messages without a secure channel"),
    ],
    ids=["noise", "HTTP", "4 GB", "no room", "OPN in parts", "noise behind the acknowledge", "chunks without an end"],
)
async def test_nonsense_ends_at_once_with_a_reason_and_is_not_kept(said: bytes, reason: str) -> None:
    async with answering(lambda _: said) as port:
        given = settings(port, timeout_ms=4000)
        driver = OpcuaDriver(given, compile_device(given))
        tracemalloc.start()
        try:
            with pytest.raises(DriverError, match=reason) as caught:
                await driver.connect()
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert not isinstance(caught.value, DeviceTimeout)
        assert most < MOST_BYTES
        await driver.close()


@pytest.mark.parametrize("asked", range(3))
async def test_a_channel_that_is_half_open_ends_by_the_timeout(asked: int) -> None:
    """Nobody answers, or a chunk begins and never ends: to Hello, or behind the acknowledge."""
    said = [b"", ACKNOWLEDGE, ACKNOWLEDGE + b"OPNF" + struct.pack("<I", 60_000) + bytes(100)][asked]
    async with answering(lambda place: said if place == 0 else None) as port:
        given = settings(port, timeout_ms=100)
        driver = OpcuaDriver(given, compile_device(given))
        for _ in range(3):
            with pytest.raises(DeviceTimeout, match="no answer in time"):
                await driver.connect()
            await driver.suspend()
        await driver.close()
        assert len(asyncio.all_tasks()) <= 2 + 3  # ours, and the port's


def chunk(kind: bytes, size: int) -> bytes:
    return kind + struct.pack("<I", size) + bytes(size - 8)


def opened() -> Chunks:
    """With a secure channel."""
    chunks = Chunks()
    chunks.feed(chunk(b"OPNF", 100))
    return chunks


@given(
    st.lists(st.tuples(st.sampled_from([b"MSGF", b"MSGC", b"MSGA", b"OPNF", b"ACKF"]), st.integers(9, 200))), st.integers(1, 50)
)
def test_chunks_pass_however_they_are_cut(parts: list[tuple[bytes, int]], step: int) -> None:
    data = b"".join(chunk(kind, size) for kind, size in parts)
    chunks = opened()
    for start in range(0, len(data), step):
        chunks.feed(data[start : start + step])
    assert chunks._left == 0


@pytest.mark.parametrize(("size", "count"), [(MOST_CHUNK_BYTES, MOST_MESSAGE_BYTES // MOST_CHUNK_BYTES), (9, MOST_CHUNKS)])
def test_a_message_is_of_so_many_bytes_and_chunks_and_no_more(size: int, count: int) -> None:
    chunks = opened()
    for _ in range(2):
        for _ in range(count - 1):
            chunks.feed(chunk(b"MSGC", size))
        chunks.feed(chunk(b"MSGF", size))
    for _ in range(count):
        chunks.feed(chunk(b"MSGC", size))
    with pytest.raises(DeviceMisbehaved, match="a message of more than"):
        chunks.feed(chunk(b"MSGF", 9))
