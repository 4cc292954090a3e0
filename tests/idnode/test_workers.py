"""Several workers behind one port: what one writes all read, and what dies is missed by nobody."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from .conftest import Server, Servers, move_in
from .test_operations import requests, samples

WAIT_S = 60


def children(pid: int) -> list[int]:
    """The workers of a supervisor."""
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until(holds: Callable[[], bool]) -> None:
    until, pause = time.monotonic() + WAIT_S, threading.Event()
    while not holds():
        assert time.monotonic() < until, "it never came to be so"
        pause.wait(0.02)


def port_of(server: Server) -> int:
    return int(server.url.rpartition(":")[2])


def owner_of(port: int, client_port: int) -> int:
    """The process at the other end of a connection."""
    ends = f"0100007F:{port:04X}", f"0100007F:{client_port:04X}"
    lines = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines())
    inode = next(line[9] for line in lines if (line[1], line[2]) == ends)
    for entry in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if os.readlink(entry) == f"socket:[{inode}]":
                return int(entry.parts[2])
        except OSError:
            continue
    raise AssertionError("nobody has it")


@contextmanager
def clients(server: Server, workers: int) -> Iterator[list[httpx.Client]]:
    """A kept connection to each worker."""
    port = port_of(server)
    with ExitStack() as stack:
        found: dict[int, httpx.Client] = {}
        for _ in range(200):
            client = stack.enter_context(httpx.Client(base_url=server.url))
            answer = client.get("/healthz")
            stream = answer.extensions["network_stream"]
            pid = owner_of(port, stream.get_extra_info("client_addr")[1])
            found.setdefault(pid, client)
            if len(found) == workers:
                break
        assert len(found) == workers
        yield list(found.values())


def registrar(server: Server) -> dict[str, str]:
    tokens = {"admin": server.admin}

    async def enter() -> None:
        async with httpx.AsyncClient(base_url=server.url) as client:
            await move_in(client, tokens)

    asyncio.run(enter())
    return {"Authorization": f"Bearer {tokens['registrar']}"}


@dataclass(frozen=True)
class Running:
    """A node with three workers, for all tests that leave it running."""

    server: Server
    token: dict[str, str]
    """Of its registrar."""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    servers = Servers(tmp_path_factory.mktemp("workers"))
    server = servers.start(workers=3)
    yield Running(server, registrar(server))
    assert server.stop() == 0


def values(text: str) -> list[dict[str, object]]:
    return [{"index": 3, "type": "DESC", "data": text}]


def test_what_one_worker_acknowledged_no_other_answers_stale(running: Running) -> None:
    server, token = running.server, running.token
    with clients(server, 3) as workers:
        for client in workers:  # that there is none is kept by each
            assert client.get("/api/handles/88.100.1/P1").status_code == 404
        made = workers[0].post("/v1/identifiers", json={"handle": "88.100.1/P1", "values": values("0")}, headers=token)
        assert made.status_code == 201
        for number in range(1, 40):
            expected = [client.get("/api/handles/88.100.1/P1").json()["values"][-1]["data"]["value"] for client in workers]
            assert expected == [str(number - 1)] * 3
            writer = workers[number % 3]
            answer = writer.put("/v1/identifiers/88.100.1/P1", json={"values": values(str(number))}, headers=token)
            assert answer.status_code == 200


def test_a_killed_worker_is_started_again_and_nothing_acknowledged_is_lost(running: Running) -> None:
    server, token = running.server, running.token
    acknowledged = []
    for number in range(30):
        if number == 10:
            victim = children(server.process.pid)[0]
            os.kill(victim, signal.SIGKILL)
            wait_until(lambda victim=victim: victim not in children(server.process.pid))  # type: ignore[misc]
        handle = f"88.100.1/K{number}"
        try:  # a new connection, which waits where the killed worker's is
            answer = httpx.post(
                f"{server.url}/v1/identifiers", json={"handle": handle, "values": []}, headers=token, timeout=WAIT_S
            )
        except httpx.ReadError:
            continue  # it was with the one who was killed
        assert answer.status_code == 201
        acknowledged.append(handle)
    assert len(acknowledged) >= 29
    wait_until(lambda: len(children(server.process.pid)) == 3)
    assert all(httpx.get(f"{server.url}/api/handles/{handle}").status_code == 200 for handle in acknowledged)


def test_workers_end_with_their_supervisor(servers: Servers) -> None:
    server = servers.start(workers=2)
    workers = children(server.process.pid)
    assert len(workers) == 2
    server.kill()
    wait_until(lambda: not any(map(is_alive, workers)))
    again = servers.start(workers=2)  # the port and the store are free
    assert again.stop() == 0


def test_a_new_generation_takes_over_without_a_refused_connection(running: Running) -> None:
    server, token = running.server, running.token
    order = {"handle": "88.100.1/G1", "values": values("x")}
    assert httpx.post(f"{server.url}/v1/identifiers", json=order, headers=token).status_code == 201
    before, over, counts, wrong = set(children(server.process.pid)), threading.Event(), [0, 0], list[object]()

    def load(place: int) -> None:
        while not over.is_set():
            try:
                with socket.create_connection(("127.0.0.1", port_of(server)), 5) as connection:
                    connection.sendall(b"GET /api/handles/88.100.1/G1 HTTP/1.1\r\nConnection: close\r\n\r\n")
                    answer = b"".join(iter(lambda: connection.recv(65536), b""))
                if not answer.startswith(b"HTTP/1.1 200 "):
                    wrong.append(answer)
            except OSError as error:
                wrong.append(error)
            counts[place] += 1

    threads = [threading.Thread(target=load, args=(place,)) for place in range(2)]
    for thread in threads:
        thread.start()
    try:
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: len(now := set(children(server.process.pid))) == 3 and not now & before)
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert wrong == []
    assert min(counts) > 20


def test_what_is_under_way_is_finished_within_five_seconds_of_sigterm(servers: Servers) -> None:
    server = servers.start(workers=2)
    token = registrar(server)
    body = b'{"handle": "88.100.1/SLOW", "values": []}'
    head = f"POST /v1/identifiers HTTP/1.1\r\nAuthorization: {token['Authorization']}\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port_of(server)), WAIT_S) as slow:
        slow.sendall(head.encode() + body[:10])
        wait_until(lambda: httpx.get(f"{server.url}/healthz").status_code == 200)
        began = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: not can_connect(port_of(server)))
        slow.sendall(body[10:])
        assert slow.recv(65536).startswith(b"HTTP/1.1 201 ")
    server.process.communicate(timeout=WAIT_S)
    assert server.process.returncode == 0
    assert time.monotonic() - began < WAIT_S
    again = servers.start()
    assert httpx.get(f"{again.url}/api/handles/88.100.1/SLOW").status_code == 200
    assert again.stop() == 0


def can_connect(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def test_a_port_that_another_node_shares_among_its_workers_is_taken(running: Running, servers: Servers) -> None:
    process = servers.launch(workers=2, listen=f"127.0.0.1:{port_of(running.server)}")
    _, errors = process.communicate(timeout=WAIT_S)
    assert (process.returncode, errors.count("\n")) == (5, 1)


@pytest.mark.parametrize("count", [0, 65])
def test_the_number_of_workers_is_bounded(servers: Servers, count: int) -> None:
    process = servers.launch(workers=count)
    _, errors = process.communicate(timeout=WAIT_S)
    assert process.returncode != 0
    assert "workers" in errors


def test_metrics_are_of_all_processes_whichever_answers(running: Running) -> None:
    server = running.server
    admin = {"Authorization": f"Bearer {server.admin}"}
    with clients(server, 3) as workers:
        before = samples(workers[0].get("/metrics", headers=admin).text)
        for client in workers:
            assert client.get("/api/handles/88.100.1/METRICS").status_code == 404
        after = [samples(client.get("/metrics", headers=admin).text) for client in workers]
    expected = requests(before, "handle", "88.100.1", 404) + 3
    assert [requests(each, "handle", "88.100.1", 404) for each in after] == [expected] * 3
    assert after[0]["mumian_idnode_commit_seconds_count", ()] > 0
    processes = {dict(labels)["process"] for name, labels in after[0] if name == "mumian_idnode_resident_memory_bytes"}
    assert processes == {"supervisor", "worker-0", "worker-1", "worker-2"}
