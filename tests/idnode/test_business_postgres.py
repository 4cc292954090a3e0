"""The business of two nodes, each a process of its own, on one database."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from .conftest import Servers
from .postgres import emptied, shared_server
from .test_business_workers import NAME, ROUTES

pytestmark = [pytest.mark.services, pytest.mark.slow]
PATIENCE_S = 60


@pytest.fixture
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[httpx.Client]]:
    """The administrator's connection to each."""
    url = emptied(shared_server())
    servers = [Servers(tmp_path_factory.mktemp("node")).start(store={"postgres": url}) for _ in range(2)]
    clients = [httpx.Client(base_url=each.url, headers={"Authorization": f"Bearer {each.admin}"}) for each in servers]
    yield clients
    for client in clients:
        client.close()
    assert [each.stop() for each in servers] == [0, 0]


def told(client: httpx.Client, path: str, **content: Any) -> Any:
    answer = client.post(path, json=content)
    assert answer.is_success, answer.text
    return answer.json()


def felt(client: httpx.Client, *expected: int) -> None:
    """Ask until the answers are those: another node hears of a change within moments."""
    deadline = time.monotonic() + PATIENCE_S
    while (found := tuple(asked(client, *route) for route in ROUTES)) != expected:
        assert time.monotonic() < deadline, found


def asked(client: httpx.Client, path: str, accept: str) -> int:
    """As nobody asks it."""
    request = client.build_request("GET", path, headers={"Accept": accept})
    del request.headers["Authorization"]
    return client.send(request).status_code


def test_another_node_hears_of_a_suspension_and_neither_exceeds_a_quota(nodes: list[httpx.Client]) -> None:
    one, other = nodes
    told(one, "/v1/enterprises", id="pumpworks", name=NAME)
    told(one, "/v1/identifiers", handle="88.100.1/A", values=[])
    for client in 2 * nodes:  # the second answer is one that was kept
        felt(client, 200, 200, 200, 200)
    told(one, "/v1/enterprises/pumpworks/suspend", reason="unpaid")
    felt(other, 403, 403, 400, 403)
    told(other, "/v1/enterprises/pumpworks/resume", reason="paid")
    felt(one, 200, 200, 200, 200)

    assert one.patch("/v1/enterprises/pumpworks", json={"quota": 31}).status_code == 200

    def register(number: int) -> int:
        rows = [{"handle": f"88.100.1/{number}-{row}", "values": []} for row in range(10)]
        outcomes = told(nodes[number % 2], "/v1/identifiers", registrations=rows)["outcomes"]
        return sum(each["status"] == "created" for each in outcomes)

    with ThreadPoolExecutor(2) as pool:
        assert sum(pool.map(register, range(6))) == 30
    for client in nodes:
        assert client.get("/v1/enterprises/pumpworks").json()["registered"] == 31
