"""The business with several workers: what one worker is told holds for what the others answer, and each counts."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import httpx
import pytest

from .conftest import Server, Servers
from .test_workers import clients

NAME = {"zh": "木棉泵业", "en": "Mumian Pump Works"}
ROUTES = (
    ("/88.100.1/A", "text/html"),
    ("/88.100.1/A", "application/json"),
    ("/api/handles/88.100.1/A", "*/*"),
    ("/v1/identifiers/88.100.1/A", "*/*"),
)


@contextmanager
def staffed(server: Server) -> Iterator[list[httpx.Client]]:
    """The administrator's connection to each of two; there are pumpworks (88.100.1), with an identifier A, and forge."""
    with clients(server, 2) as found:
        for client in found:
            client.headers["Authorization"] = f"Bearer {server.admin}"
        for key in ("pumpworks", "forge"):
            assert found[0].post("/v1/enterprises", json={"id": key, "name": NAME}).status_code == 201
        assert found[0].post("/v1/identifiers", json={"handle": "88.100.1/A", "values": []}).status_code == 201
        yield found


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[httpx.Client]]:
    server = Servers(tmp_path_factory.mktemp("business")).start(workers=2)
    try:
        with staffed(server) as found:
            yield found
    finally:
        assert server.stop() == 0


def asked(client: httpx.Client, path: str, accept: str = "*/*") -> httpx.Response:
    """As nobody asks it, twice: the second time the answer may be one that was kept."""
    request = client.build_request("GET", path, headers={"Accept": accept})
    del request.headers["Authorization"]
    first, second = client.send(request), client.send(request)
    assert first.status_code == second.status_code
    return second


def statuses(workers: list[httpx.Client]) -> set[tuple[int, ...]]:
    """Of the routes, at each worker: one tuple where they agree."""
    return {tuple(asked(client, *route).status_code for route in ROUTES) for client in workers}


def told(client: httpx.Client, path: str, **content: Any) -> Any:
    answer = client.post(path, json=content)
    assert answer.is_success, answer.text
    return answer.json()


def test_a_suspension_is_felt_by_every_worker_at_once_and_so_is_its_end(workers: list[httpx.Client]) -> None:
    one, other = workers
    for _ in range(3):
        assert statuses(workers) == {(200, 200, 200, 200)}
        told(one, "/v1/enterprises/pumpworks/suspend", reason="欠费 unpaid")
        assert statuses(workers) == {(403, 403, 400, 403)}
        for client in workers:
            handle = asked(client, "/api/handles/88.100.1/A").json()
            assert (handle["responseCode"], "unpaid" in handle["message"]) == (301, True)
        told(other, "/v1/enterprises/pumpworks/resume", reason="paid")
    assert statuses(workers) == {(200, 200, 200, 200)}


def test_a_transfer_and_the_end_of_a_key_are_felt_by_every_worker(workers: list[httpx.Client]) -> None:
    one, other = workers
    prefix = told(one, "/v1/enterprises/pumpworks/prefixes")["prefix"]
    told(other, "/v1/identifiers", handle=f"{prefix}/A", values=[])
    secret = told(one, "/v1/enterprises/forge/tokens", label="line", role="registrar")["token"]
    as_forge = {"Authorization": f"Bearer {secret}"}
    order = {"handle": f"{prefix}/B", "values": []}

    def owners() -> set[str]:
        return {asked(client, f"/{prefix}/A", "application/json").json()["enterprise"]["id"] for client in workers}

    def register() -> list[int]:
        return [client.post("/v1/identifiers", json=order, headers=as_forge).status_code for client in workers]

    assert (owners(), register()) == ({"pumpworks"}, [403, 403])
    told(other, f"/v1/prefixes/{prefix}/transfer", to="forge", reason="sold")
    assert (owners(), register()) == ({"forge"}, [201, 409])
    assert other.delete("/v1/enterprises/forge/tokens/line").status_code == 204
    assert register() == [401, 401]


def test_what_each_worker_resolved_is_counted_for_whose_it_is(servers: Servers) -> None:
    server = servers.start(workers=2)
    with staffed(server) as workers:
        for client, times in zip(workers, (1, 2), strict=True):
            for _ in range(times):
                asked(client, *ROUTES[0])
                asked(client, *ROUTES[2])
            asked(client, "/api/handles/88.100.2/NONE")
    assert server.stop() == 0
    with closing(sqlite3.connect(servers.folder / "idnode.db")) as connection:
        query = "SELECT enterprise, sum(registrations), sum(resolutions) FROM usage GROUP BY enterprise"  # midnight may pass
        usage = connection.execute(query).fetchall()
    assert usage == [("pumpworks", 1, 12)]
