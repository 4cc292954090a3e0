"""Administration on the wire and delegations of a node of two workers over PostgreSQL, in processes of their own."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import httpx
import pytest

from .conftest import Server, Servers
from .handle_people import coded
from .postgres import emptied, shared_server
from .test_delegation_server import PATH, RECURSIVE, admin
from .test_handle_server import ON, furnish, over_tcp, over_udp, place
from .wire_client import ANSWER, CREATE, DELETE, MODIFY, Reply, Request, answering, asking, counted, value, writing

pytestmark = pytest.mark.services
PATIENCE_S = 60


@pytest.fixture
def server(servers: Servers) -> Iterator[Server]:
    store = {"postgres": emptied(shared_server())}
    made = servers.start(handle=ON, workers=2, store=store, delegations={"allowed_hosts": ["127.0.0.1"]})
    yield made
    assert made.stop() == 0


def alone(server: Server, request: Request) -> Reply:
    """Over a connection of its own, which any worker may get."""
    with socket.create_connection(place(server), timeout=10) as connection:
        return over_tcp(connection, request)[0]


def test_a_client_administers_and_every_worker_tells_what_it_wrote(server: Server) -> None:
    furnish(server)
    with admin(server) as client:
        made = client.post("/v1/enterprises/pumpworks/handle-keys", json={"label": "line", "role": "registrar"})
        key = made.json()["secret"].encode()

    def administer(body: bytes, operation: int) -> int:
        challenge = alone(server, Request(body, operation, 0))
        assert challenge.digest is not None
        proof = coded(key, challenge.nonce + challenge.digest[1])
        body = answering("HS_SECKEY", "0.NA/88.100.1", 300, proof)
        return alone(server, Request(body, ANSWER, 0, session=challenge.session)).code

    def told() -> set[tuple[int, bytes]]:
        replies = [ask(server, Request(asking("88.100.1/W"))) for ask in (alone, over_udp) for _ in range(6)]
        return {(reply.code, reply.values()[1].data if reply.code == 1 else b"") for reply in replies}

    def is_told(*expected: tuple[int, bytes]) -> bool:
        """By every process, which hears of another's change within moments."""
        until = time.monotonic() + PATIENCE_S
        while told() != {*expected}:
            if time.monotonic() > until:
                return False
        return True

    assert is_told((100, b""))
    for operation, data in ((CREATE, b"first"), (MODIFY, b"second")):
        assert administer(writing("88.100.1/W", value(2, "X", data)), operation) == 1
        assert is_told((1, data))
    assert administer(writing("88.100.1/W", value(2, "X", b"once more")), CREATE) == 101
    assert administer(counted(b"88.100.1/W"), DELETE) == 1
    assert is_told((100, b""))


def test_a_prefix_that_is_delegated_resolves_there(server: Server, tmp_path: Path) -> None:
    (tmp_path / "second").mkdir()
    second = Servers(tmp_path / "second").start(handle=ON)
    furnish(second)
    with admin(server) as client:
        name = {"zh": "泵", "en": "Pump"}
        assert client.post("/v1/enterprises", json={"id": "pumpworks", "name": name}).status_code == 201
        body = {"mode": "proxy", "address": second.url, "site": second.handle, "ttl": 600}
        assert client.put(PATH, json=body).json() == body
        for _ in range(6):
            assert len(alone(server, RECURSIVE).values()) == 14
            assert len(httpx.get(f"{server.url}/api/handles/88.100.1/P1").json()["values"]) == 14
        assert alone(server, Request(asking("88.100.1/P1"))).code == 302
        assert client.delete(PATH).status_code == 204
    assert second.stop() == 0


def test_a_client_that_sends_no_more_gets_the_answer_that_is_waited_for(server: Server) -> None:
    url = httpx.URL(server.url)
    for number in range(10):
        with socket.create_connection((url.host, url.port), timeout=10) as connection:
            connection.sendall(b"GET /api/handles/88.100.1/P%d HTTP/1.1\r\nHost: x\r\n\r\n" % number)
            connection.shutdown(socket.SHUT_WR)
            told = b"".join(iter(partial(connection.recv, 65_536), b""))
        assert told.startswith(b"HTTP/1.1 404 "), number
