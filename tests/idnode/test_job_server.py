"""Bulk jobs of a node that is killed, full, shared by workers, or slower than who sends."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection, HTTPException
from typing import Any

import pytest

from idnode.job import Advance
from idnode.store.sqlite import SqliteStore
from idnode.web import row_stream

from .conftest import House, Server, Servers
from .streams import job, line, lines, stream
from .test_workers import children, registrar, wait_until
from .wire import Client

ROWS = 12_000
"""Three pieces."""


class Upload:
    """A stream over a socket of its own, row by row as the test wants."""

    def __init__(self, server: Server, token: dict[str, str], query: str = "") -> None:
        host, port = server.url.removeprefix("http://").rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), 30)
        fields = {"Host": "x", "Content-Type": "application/x-ndjson", "Transfer-Encoding": "chunked", **token}
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        self.socket.sendall(f"PUT /v1/jobs/spring/rows{query} HTTP/1.1\r\n{head}\r\n".encode())

    def send(self, data: bytes) -> None:
        self.socket.sendall(b"%x\r\n%s\r\n" % (len(data), data))

    def answer(self) -> dict[str, Any]:
        """End the body; the answer's content."""
        self.socket.sendall(b"0\r\n\r\n")
        return self.early_answer()

    def early_answer(self) -> dict[str, Any]:
        """That of a node that doesn't wait for the end."""
        received = b""
        while b"\r\n\r\n" not in received or not received.endswith(b"}"):
            piece = self.socket.recv(65_536)
            assert piece, received
            received += piece
        told: dict[str, Any] = json.loads(received.partition(b"\r\n\r\n")[2])
        return told


@contextmanager
def uploading(server: Server, token: dict[str, str], query: str = "") -> Iterator[Upload]:
    made = Upload(server, token, query)
    with made.socket:
        yield made


def standing(server: Server, token: dict[str, str]) -> dict[str, Any]:
    host, port = server.url.removeprefix("http://").rsplit(":", 1)
    with closing(HTTPConnection(host, int(port), timeout=30)) as connection:
        connection.request("GET", "/v1/jobs/spring", headers=token)
        told: dict[str, Any] = json.loads(connection.getresponse().read())
    return told


def test_a_node_that_is_killed_in_mid_stream_goes_on_at_the_next_row(servers: Servers) -> None:
    server = servers.start()
    token = registrar(server)
    with uploading(server, token) as upload:
        upload.send(lines(0, 5000) + line(5000)[:20])
        # 4096 rows are a piece; the others are done because nothing comes.
        wait_until(lambda: standing(server, token).get("rows") == 5000)
        upload.send(line(5000)[20:] + lines(5001, 8000))
        server.kill()
    server = servers.start()
    done = standing(server, token)
    assert done["state"] == "running"
    assert 5000 <= done["rows"] == done["created"] <= 8000
    with uploading(server, token, f"?from={done['rows']}") as upload:
        upload.send(lines(done["rows"], ROWS))
        told = upload.answer()
    assert (told["state"], told["rows"], told["created"], told["repeated"]) == ("finished", ROWS, ROWS, 0)
    assert server.stop() == 0


def test_workers_that_are_killed_lose_no_row_and_tell_of_each_others_jobs(servers: Servers) -> None:
    server = servers.start(workers=2)
    token = registrar(server)
    with uploading(server, token, "?total=6000") as upload:
        upload.send(lines(0, 100))
        wait_until(lambda: standing(server, token).get("rows") == 100)
        upload.send(lines(100, 5000))
        wait_until(lambda: standing(server, token).get("rows") == 5000)
        told = standing(server, token)
        assert (told["state"], told["total"]) == ("running", 6000)
        for pid in children(server.process.pid):
            os.kill(pid, signal.SIGKILL)
    wait_until(lambda: _answers(server, token))
    with uploading(server, token) as upload:  # all of it again: what is done is passed over
        upload.send(lines(0, 6000))
        told = upload.answer()
    assert (told["state"], told["rows"], told["created"], told["repeated"]) == ("finished", 6000, 6000, 0)
    assert server.stop() == 0


def _answers(server: Server, token: dict[str, str]) -> bool:
    try:
        return bool(standing(server, token)["rows"] == 5000)
    except (OSError, HTTPException, KeyError):
        return False


def test_a_node_that_is_stopped_ends_streams_in_order(servers: Servers) -> None:
    server = servers.start()
    token = registrar(server)
    with uploading(server, token) as upload:
        upload.send(lines(0, 100))
        wait_until(lambda: standing(server, token).get("rows") == 100)
        upload.send(lines(100, 150))
        server.process.send_signal(signal.SIGTERM)
        told = upload.early_answer()
    assert told["status"] == 503
    assert told["rows"] in (100, 150)
    server.process.communicate(timeout=20)
    assert server.process.returncode == 0


async def test_a_disk_that_is_full_takes_rows_again_when_it_isnt(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_stream, "PIECE_ROWS", 50)
    store = house.node.store
    assert isinstance(store, SqliteStore)
    connection = store._writer._connection

    def limit(pages: int) -> None:
        connection.execute(f"PRAGMA max_page_count = {pages}")

    (pages,) = await asyncio.get_running_loop().run_in_executor(
        store._writer._thread, lambda: connection.execute("PRAGMA page_count").fetchone()
    )
    await asyncio.get_running_loop().run_in_executor(store._writer._thread, limit, pages + 20)
    status, told = await stream(house).send([lines(0, 2000)])
    assert (status, told["detail"]) == (507, "the node's disk is full; nothing of this was stored")
    assert 0 < told["rows"] < 2000
    assert told["rows"] % 50 == 0
    assert (await job(house))["rows"] == told["rows"]
    await asyncio.get_running_loop().run_in_executor(store._writer._thread, limit, 1_000_000)
    status, told = await stream(house, query=f"from={told['rows']}").send([lines(told["rows"], 2000)])
    assert (status, told["rows"], told["created"]) == (200, 2000, 2000)


async def test_the_socket_is_read_no_faster_than_rows_become_durable(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_stream, "PIECE_ROWS", 100)
    advance_job, may_commit, waits = house.node.store.advance_job, asyncio.Event(), asyncio.Event()

    async def wait(key: str, first: int, rows: Any, at_ms: int) -> Advance:
        waits.set()
        await may_commit.wait()
        return await advance_job(key, first, rows, at_ms)

    monkeypatch.setattr(house.node.store, "advance_job", wait)
    client = Client(house, 0)
    wire = client.connect()
    body = lines(0, 6000)
    head = f"PUT /v1/jobs/spring/rows HTTP/1.1\r\nHost: x\r\nAuthorization: {house.bearer('registrar')['Authorization']}\r\n"
    head += f"Content-Type: application/x-ndjson\r\nContent-Length: {len(body)}\r\n\r\n"
    wire.protocol.data_received(head.encode())
    sent = turns = 0
    while turns < 2000:  # from when the first piece waits: the job itself is written before
        turns += waits.is_set()
        await asyncio.sleep(0)
        if wire.reading and sent < len(body):
            wire.protocol.data_received(body[sent : sent + 16_384])
            sent += 16_384
    is_read = wire.reading
    assert not is_read
    assert sent < 300_000  # two pieces of a hundred rows, and what uvicorn holds
    may_commit.set()
    while b"\r\n\r\n" not in wire.output:
        await asyncio.sleep(0)
        if wire.reading and sent < len(body):
            wire.protocol.data_received(body[sent : sent + 16_384])
            sent += 16_384
    await client.settle(wire)
    assert json.loads(bytes(wire.output).partition(b"\r\n\r\n")[2])["created"] == 6000
    client.leave(wire)
