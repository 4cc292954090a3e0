"""A delegation between two nodes in processes of their own, the first with several workers."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from .conftest import Server, Servers
from .test_handle_server import ON, furnish, over_tcp, over_udp, place
from .wire_client import PUBL, Request, asking

RECURSIVE = Request(asking("88.100.1/P1"), flags=PUBL | 0x10000000)
PATH = "/v1/prefixes/88.100.1/delegation"


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[tuple[Server, Server]]:
    made = []
    for name, workers in (("first", 2), ("second", 1)):
        (tmp_path / name).mkdir()
        houses = Servers(tmp_path / name)
        made.append(houses.start(handle=ON, workers=workers, delegations={"allowed_hosts": ["127.0.0.1"]}))
    yield made[0], made[1]
    for server in made:
        if server.process.poll() is None:
            assert server.stop() == 0


def admin(server: Server) -> httpx.Client:
    return httpx.Client(base_url=server.url, headers={"Authorization": f"Bearer {server.admin}"})


def test_a_prefix_of_the_second_resolves_through_the_first_and_outlives_it(nodes: tuple[Server, Server]) -> None:
    first, second = nodes
    furnish(second)
    with admin(first) as client:
        assert client.post("/v1/enterprises", json={"id": "pumpworks", "name": {"zh": "泵", "en": "Pump"}}).status_code == 201
        body = {"mode": "proxy", "address": second.url, "site": second.handle, "ttl": 600}
        assert client.put(PATH, json=body).json() == body
    expected = httpx.get(f"{second.url}/api/handles/88.100.1/P1").json()["values"]
    for end in (False, True):
        if end:
            second.kill()
        for _ in range(12):  # connections of their own: of two workers each has some
            told = httpx.get(f"{first.url}/api/handles/88.100.1/P1")
            assert [(each["index"], each["data"]) for each in told.json()["values"]] == [
                (each["index"], each["data"]) for each in expected
            ]
            with socket.create_connection(place(first), timeout=10) as connection:
                (reply,) = over_tcp(connection, RECURSIVE)
            assert len(reply.values()) == 14
            assert over_udp(first, RECURSIVE).code == 1
    assert over_udp(first, Request(asking("88.100.1/P1"))).code == 302
    with admin(first) as client:
        metrics = client.get("/metrics").text
        asked = [line for line in metrics.splitlines() if line.startswith("mumian_idnode_upstream_requests_total{")]
        assert asked == ['mumian_idnode_upstream_requests_total{prefix="88.100.1",outcome="found"} 2'], "each worker by itself"
        assert 'mumian_idnode_upstream_entries{process="worker-0"} 1' in metrics
        assert client.delete(PATH).status_code == 204
    for _ in range(8):
        assert httpx.get(f"{first.url}/api/handles/88.100.1/P1").status_code == 404
        assert over_udp(first, RECURSIVE).code == 100
