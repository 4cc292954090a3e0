"""A gateway that runs in this process with its operations face, and how a test asks it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from config.documents import load
from gateway.app import run
from gateway.report import status_path
from gateway.settings import GatewaySettings

GUARD_S = 30.0
_T = TypeVar("_T")

FILE = """\
gateway: works
drain_s: {drain_s}
operations: {{listen: "127.0.0.1:0"}}
outbox: {{path: outbox.db}}
devices:
  - name: press
    driver: modbus
    address: 127.0.0.1:{device}
    period_ms: 20
    tags:
      - {{name: pulses, area: holding_register, address: 0}}
sinks:
  - {{kind: mqtt, url: "mqtt://127.0.0.1:{broker}"}}
"""


@dataclass
class Reply:
    """What an HTTP server said."""

    status: int
    fields: dict[str, str]
    body: bytes


@dataclass
class Running:
    """A gateway that runs."""

    path: Path
    settings: GatewaySettings
    stop: asyncio.Event
    ended: asyncio.Future[int]
    port: int = 0
    """Of its operations face."""

    async def get(self, page: str) -> Reply:
        """GET a page of its face."""
        return await ask(self.port, f"GET {page} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())

    async def until(self, page: str, holds: Callable[[Reply], bool]) -> Reply:
        """GET a page again and again until it says what is awaited."""
        return await until(lambda: self.get(page), holds)

    async def written(self, holds: Callable[[Any], bool]) -> Any:
        """Its status file, once it says what is awaited."""
        path = status_path(self.settings.outbox.path)

        async def look() -> Any:
            assert not self.ended.done(), f"it ended with {self.ended.result()}"
            return msgspec.json.decode(path.read_bytes()) if path.exists() else None

        return await until(look, lambda status: status is not None and holds(status))

    async def end(self) -> int:
        """Stop it; returns its exit code."""
        self.stop.set()
        async with asyncio.timeout(GUARD_S):
            return await self.ended


@asynccontextmanager
async def running(folder: Path, device: int, broker: int, drain_s: float = 2.5) -> AsyncIterator[Running]:
    """A gateway that polls a Modbus device on that port and publishes to a broker on that one, until the context ends."""
    path = folder / "gateway.yaml"
    path.write_text(FILE.format(device=device, broker=broker, drain_s=drain_s), "utf-8")
    async with started(path) as gateway:
        status = await gateway.written(lambda status: bool(status["operations"]))
        gateway.port = int(status["operations"].rpartition(":")[2])
        yield gateway


@asynccontextmanager
async def started(path: Path) -> AsyncIterator[Running]:
    """The gateway of a file, in this process, until the context ends."""
    settings = load(path, GatewaySettings)
    stop = asyncio.Event()
    ended = asyncio.ensure_future(run(settings, stop))
    gateway = Running(path, settings, stop, ended)
    try:
        yield gateway
    finally:
        await gateway.end()


async def until(look: Callable[[], Awaitable[_T]], holds: Callable[[_T], bool]) -> _T:
    """Look until it holds."""
    async with asyncio.timeout(GUARD_S):
        while True:
            found = await look()
            if holds(found):
                return found
            await pause(0.02)


async def pause(seconds: float) -> None:
    """Let the others work between two looks."""
    passed = asyncio.Event()
    asyncio.get_running_loop().call_later(seconds, passed.set)
    await passed.wait()


async def ask(port: int, request: bytes) -> Reply:
    """Send bytes to a server on loopback and read its answer to the end."""
    async with asyncio.timeout(GUARD_S):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(request)
            answer = await reader.read()
        finally:
            writer.close()
            await writer.wait_closed()
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return Reply(int(first.split()[1]) if first else 0, fields, body)


def parse(text: str) -> list[Metric]:
    """OpenMetrics text as the Prometheus project reads it."""
    return list(text_string_to_metric_families(text))  # type: ignore[no-untyped-call]


def metrics(reply: Reply) -> dict[tuple[str, ...], float]:
    """Each sample's value by its name and the values of its labels."""
    return {
        (sample.name, *sample.labels.values()): sample.value for family in parse(reply.body.decode()) for sample in family.samples
    }
