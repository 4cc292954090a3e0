"""A gateway process that is killed while an OPC UA server goes on: its history fills the time in which nobody listened."""

from __future__ import annotations

import asyncio
import itertools
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from tests.drivers.opcua_server import NAMESPACE, OpcuaServer
from tests.drivers.test_opcua_driver import START, at
from tests.gateway.running import GUARD_S, pause, until
from tests.gateway.test_app import start
from tests.gateway.test_processing_kills import told

KILLS = 1
RECORDS = 6
"""Of each process, before it ends."""
BAD_DATA_LOST = 0x809D_0000
LAST = "SELECT max(seq) FROM record"
LAST_GAP = "SELECT max(seq) FROM record WHERE instr(payload, x'00009D80')"
"""The last record with a status BadDataLost."""
FILE = """\
gateway: works
drain_s: 0
outbox: {{path: outbox.db}}
devices:
  - name: line
    driver: opcua
    endpoint: opc.tcp://127.0.0.1:{port}
    security: none
    publishing_interval_ms: 20
    sampling_interval_ms: 0
    tags:
      - {{name: level, node: "nsu={namespace};s=level"}}
      - {{name: count, node: "nsu={namespace};s=count"}}
      - {{name: speed, node: "nsu={namespace};s=speed"}}
sinks:
  - {{kind: mqtt, url: "mqtt://127.0.0.1:1"}}
"""


@pytest.fixture
def server() -> Iterator[OpcuaServer]:
    with OpcuaServer() as server:
        yield server


async def write(server: OpcuaServer, numbers: Iterator[int]) -> None:
    """Both variables count on, each value with its own time."""
    for number in numbers:
        await server.put(("level", float(number), at(number)), ("count", number, at(number)))
        await pause(0.004)


async def run_until_stored(path: Path, end: signal.Signals, *, is_last: bool = False) -> None:
    """One process, which ends by that signal when it has stored RECORDS; the last one only behind its gap."""
    outbox = path.with_name("outbox.db")

    async def ask(query: str) -> int:
        with suppress(sqlite3.Error), closing(sqlite3.connect(f"{outbox.as_uri()}?mode=ro", uri=True)) as connection:
            return int(connection.execute(query).fetchone()[0] or 0)
        return 0

    before = await ask(LAST)
    process = start(path)

    async def has_enough() -> bool:
        since = await ask(LAST_GAP) if is_last else before
        return (not is_last or since > before) and await ask(LAST) >= since + RECORDS

    await until(has_enough, bool)
    process.send_signal(end)
    await asyncio.to_thread(process.communicate, timeout=GUARD_S)
    assert process.returncode == (0 if end == signal.SIGTERM else -end)


async def test_what_a_server_did_while_the_gateway_was_killed_comes_in_order_and_once(
    tmp_path: Path, server: OpcuaServer
) -> None:
    await server.put(("level", 0.0, at(0)), ("count", 0, at(0)), ("speed", 5, at(0)))
    await server.keep_history("level")
    path = tmp_path / "gateway.yaml"
    path.write_text(FILE.format(port=server.port, namespace=NAMESPACE), "utf-8")
    writing = asyncio.create_task(write(server, itertools.count(1)))
    for _ in range(KILLS):
        await run_until_stored(path, signal.SIGKILL)
    await run_until_stored(path, signal.SIGTERM, is_last=True)
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)
    found = await told(tmp_path / "outbox.db")
    start_ns = int(START.timestamp()) * 1_000_000_000 + START.microsecond * 1000
    levels = [value for tag, value, _, _ in found if tag == "level"]
    assert levels == [levels[0] + step for step in range(len(levels))]
    assert [source_ns for tag, _, _, source_ns in found if tag == "level"] == [
        start_ns + round(value) * 1_000_000 for value in levels
    ]
    counts = [(value, status) for tag, value, status, _ in found if tag == "count"]
    gaps = [place for place, (_, status) in enumerate(counts) if status == BAD_DATA_LOST]
    good = [place for place, (_, status) in enumerate(counts) if status == 0]
    jumps = [(before, after) for before, after in itertools.pairwise(good) if counts[after][0] != counts[before][0] + 1]
    assert 1 <= len(jumps) <= len(gaps) <= KILLS
    assert all(any(before < gap < after for gap in gaps) for before, after in jumps)
    assert all(counts[after][0] > counts[before][0] for before, after in itertools.pairwise(good))
    still = [(value, status) for tag, value, status, _ in found if tag == "speed"]
    assert set(still) == {(5.0, 0)}
    assert len(still) <= KILLS + 1
