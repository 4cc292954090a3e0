"""The Handle wire protocol of nodes in processes of their own, on real sockets."""

from __future__ import annotations

import json
import signal
import socket
from collections.abc import Iterator
from functools import partial

import httpx
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from .conftest import Server, Servers
from .handle_people import coded
from .wire_client import (
    ANSWER,
    CERT,
    CREATE,
    GET_SITE_INFO,
    PUBL,
    Fields,
    Reply,
    Request,
    answering,
    asking,
    counted,
    join,
    read_reply,
    read_site,
    server_for,
    value,
    writing,
)

ON = {"address": "127.0.0.1", "port": 0}
ASK = Request(asking("88.100.1/P1"))


def place(server: Server) -> tuple[str, int]:
    host, _, port = server.handle.rpartition(":")
    return host.strip("[]"), int(port)


def over_tcp(connection: socket.socket, *requests: Request) -> list[Reply]:
    connection.sendall(b"".join(request.packed() for request in requests))
    received, found = b"", list[Reply]()
    while len(found) < len(requests):
        if len(received) >= 20 and len(received) >= 20 + int.from_bytes(received[16:20], "big"):
            reply, received = read_reply(received)
            found.append(reply)
            continue
        piece = connection.recv(65_536)
        assert piece, "the node closed the connection"
        received += piece
    return found


def over_udp(server: Server, request: Request) -> Reply:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking_from:
        asking_from.settimeout(10)
        asking_from.connect(place(server))
        for datagram in [request.packed()] if len(request.packed()) <= 512 else request.cut():
            asking_from.send(datagram)
        got = [asking_from.recv(2048)]
        while sum(len(each) - 20 for each in got) < int.from_bytes(got[0][16:20], "big"):
            got.append(asking_from.recv(2048))
    return join(got)


def furnish(server: Server) -> None:
    with httpx.Client(base_url=server.url, headers={"Authorization": f"Bearer {server.admin}"}) as client:
        name = {"zh": "泵", "en": "Pump"}
        assert client.post("/v1/enterprises", json={"id": "pumpworks", "name": name}).status_code == 201
        values = [{"index": number, "type": "X", "data": "y" * 30} for number in range(2, 15)]
        made = client.post("/v1/identifiers", json={"handle": "88.100.1/P1", "values": values})
        assert made.status_code == 201, made.text


@pytest.fixture(params=[1, 2], ids=["one", "workers"])
def server(servers: Servers, request: pytest.FixtureRequest) -> Iterator[Server]:
    made = servers.start(handle=ON, workers=request.param)
    furnish(made)
    yield made
    assert made.stop() == 0


def test_a_node_answers_over_tcp_and_udp_counts_and_tells_a_change_at_once(server: Server) -> None:
    with socket.create_connection(place(server), timeout=10) as connection:
        first, second = over_tcp(connection, ASK, Request(asking("88.100.1/none"), request_id=2))
        assert (len(first.values()), second.code, second.request_id) == (14, 100, 2)
        # Not all of it: each says until when it is fresh, by the second.
        for again in (*over_tcp(connection, ASK), over_udp(server, ASK)):
            assert (again.code, again.values()) == (first.code, first.values())
        long = Request(asking("88.100.1/P1", range(2, 400)))
        assert len(over_udp(server, long).values()) == 13
        (site,) = over_tcp(connection, Request(counted(b"/"), GET_SITE_INFO))
        assert place(server)[1].to_bytes(4, "big") in site.body
        assert Fields(site.body).number(2) == 1
    with httpx.Client(base_url=server.url, headers={"Authorization": f"Bearer {server.admin}"}) as client:
        told = client.get("/metrics").text
    counted_there = [line for line in told.splitlines() if 'face="wire",prefix="88.100.1",status="200"' in line]
    assert counted_there
    assert counted_there[0].endswith(" 4")
    with httpx.Client(base_url=server.url, headers={"Authorization": f"Bearer {server.admin}"}) as client:
        for change in range(5):
            values = [{"index": 2, "type": "X", "data": str(change)}]
            assert client.put("/v1/identifiers/88.100.1/P1", json={"values": values}).status_code == 200
            for _ in range(4):  # of several workers not always the same takes it
                assert over_udp(server, ASK).values()[1].data == str(change).encode()
                with socket.create_connection(place(server), timeout=10) as connection:
                    assert over_tcp(connection, ASK)[0].values()[1].data == str(change).encode()


def test_a_client_that_knows_one_address_finds_its_way(server: Server) -> None:
    """As a stock client goes: the site where it was pointed, the prefix's own site from there, then the identifier."""
    known = over_udp(server, Request(counted(b"/"), GET_SITE_INFO))
    serial, servers = read_site(known.body)
    assert (known.serial, serial) == (1, 1)
    for prefix in ("88.100", "88.100.1"):
        named = over_udp(server, Request(asking(f"0.NA/{prefix}", (), ("HS_SITE", "HS_SERV", "HS_NAMESPACE"))))
        (site,) = named.values()
        assert site.type == "HS_SITE"
        assert read_site(site.data) == (serial, servers)
    home = server_for("88.100.1/P1", read_site(site.data)[1])
    assert home.address == bytes(12) + socket.inet_aton("127.0.0.1")
    with socket.create_connection((socket.inet_ntoa(home.address[12:]), home.ports[1]), timeout=10) as connection:
        assert len(over_tcp(connection, ASK)[0].values()) == 14
    told = httpx.get(f"{server.url}/api/handles/0.NA/88.100.1").json()
    assert told["values"][0]["data"]["value"]["servers"][0]["interfaces"][0]["port"] == home.ports[0]


def test_a_new_worker_takes_over_and_the_old_one_finishes(servers: Servers) -> None:
    server = servers.start(handle=ON, workers=2)
    furnish(server)
    with socket.create_connection(place(server), timeout=10) as connection:
        assert over_tcp(connection, ASK)[0].code == 1
        server.process.send_signal(signal.SIGHUP)
        assert connection.recv(1) == b"", "an idle connection is closed when its worker has been replaced"
        for _ in range(10):
            assert over_udp(server, ASK).code == 1
            with socket.create_connection(place(server), timeout=10) as another:
                assert over_tcp(another, ASK)[0].code == 1
    assert server.stop() == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_a_client_administers_over_connections_of_their_own(servers: Servers, workers: int) -> None:
    """As stock clients do: the answer to a challenge comes on a connection of its own, so that any worker may get it."""
    server = servers.start(handle={**ON, "key_file": "wire.pem"}, workers=workers)
    furnish(server)
    with httpx.Client(base_url=server.url, headers={"Authorization": f"Bearer {server.admin}"}) as client:
        order = {"label": "line", "role": "registrar"}
        key = client.post("/v1/enterprises/pumpworks/handle-keys", json=order).json()["secret"].encode()
    pem = (server.folder / "wire.pem").read_bytes()
    assert (server.folder / "wire.pem").stat().st_mode & 0o777 == 0o600
    node_key = load_pem_private_key(pem, None).public_key()

    def alone(request: Request) -> Reply:
        with socket.create_connection(place(server), timeout=10) as connection:
            return over_tcp(connection, request)[0]

    for number in range(6):
        ask = alone if number % 2 else partial(over_udp, server)
        challenge = ask(Request(writing(f"88.100.1/W{number}", value(1, "X", b"y")), CREATE, 0))
        assert challenge.digest is not None
        proof = coded(key, challenge.nonce + challenge.digest[1])
        answer = Request(answering("HS_SECKEY", "0.NA/88.100.1", 300, proof), ANSWER, 0, session=challenge.session)
        assert ask(answer).code == 1
        certified = ask(Request(asking(f"88.100.1/W{number}"), flags=PUBL | CERT))
        assert len(certified.values()) == 1
        kind, _, _, signature, part = certified.signed()
        assert kind == "HS_SIGNED"
        assert isinstance(node_key, rsa.RSAPublicKey)
        node_key.verify(signature, part, padding.PKCS1v15(), hashes.SHA256())
    assert server.stop() == 0


def test_a_key_that_others_can_read_is_refused(servers: Servers) -> None:
    (servers.folder / "wire.pem").write_text("key")
    (servers.folder / "wire.pem").chmod(0o644)
    process = servers.launch(handle={**ON, "key_file": "wire.pem"})
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 2
    assert "wire.pem: others can read it" in errors


def test_a_port_that_is_taken_is_named(servers: Servers) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = servers.launch(handle={"address": "127.0.0.1", "port": port})
        out, errors = process.communicate(timeout=30)
    assert process.returncode == 5
    assert out == ""
    assert f"127.0.0.1 port {port} (handle)" in errors


def test_a_node_without_handle_says_nothing_of_it(servers: Servers) -> None:
    process = servers.launch()
    assert process.stdout is not None
    assert list(json.loads(process.stdout.readline())) == ["url"]
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
